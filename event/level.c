#include "event/level.h"

enum {
    TRACE,
    DEBUG,
    INFO,
    NOTICE,
    WARN,
    ERROR,
    FATAL
};

#define NAME(s)                                                                \
    {                                                                          \
        (const uint8_t *)s, sizeof(s) - 1                                      \
    }

const lb_str_t lb_level_names[LB_LEVELS + 1] = {
    NAME("trace"), NAME("debug"), NAME("info"),  NAME("notice"),
    NAME("warn"),  NAME("error"), NAME("fatal"), NAME(""),
};

/* notice is INFO2, as OpenTelemetry has it of syslog's */
const uint8_t lb_level_numbers[LB_LEVELS + 1] = {1, 5, 9, 10, 13, 17, 21, 0};

#define WORD_MAX 13 /* "informational" */

static const struct {
    char word[WORD_MAX + 1];
    int8_t level;
} words[] = {
    {"trace", TRACE},
    {"debug", DEBUG},
    {"info", INFO},
    {"notice", NOTICE},
    {"warn", WARN},
    {"error", ERROR},
    {"fatal", FATAL},

    {"all", TRACE},
    {"finest", TRACE},
    {"silly", TRACE},
    {"t", TRACE},
    {"trac", TRACE},
    {"trc", TRACE},
    {"trce", TRACE},
    {"v", TRACE},
    {"verb", TRACE},
    {"verbose", TRACE},
    {"vrb", TRACE},
    {"config", DEBUG},
    {"d", DEBUG},
    {"dbg", DEBUG},
    {"dbug", DEBUG},
    {"debu", DEBUG},
    {"fine", DEBUG},
    {"finer", DEBUG},
    {"http", DEBUG},
    {"i", INFO},
    {"inf", INFO},
    {"information", INFO},
    {"informational", INFO},
    {"log", INFO},
    {"ok", INFO},
    {"success", INFO},
    {"n", NOTICE},
    {"note", NOTICE},
    {"ntc", NOTICE},
    {"w", WARN},
    {"warning", WARN},
    {"wrn", WARN},
    {"e", ERROR},
    {"eror", ERROR},
    {"err", ERROR},
    {"erro", ERROR},
    {"fail", ERROR},
    {"failed", ERROR},
    {"failure", ERROR},
    {"severe", ERROR},
    {"alert", FATAL},
    {"assert", FATAL},
    {"c", FATAL},
    {"crit", FATAL},
    {"critical", FATAL},
    {"dpanic", FATAL},
    {"emerg", FATAL},
    {"emergency", FATAL},
    {"f", FATAL},
    {"fata", FATAL},
    {"ftl", FATAL},
    {"pani", FATAL},
    {"panic", FATAL},
};

/* What a number means: the first row of the convention that holds it. */
static const struct {
    uint8_t read;
    uint16_t from, to;
    int8_t level;
} numbers[] = {
    {LB_READ_SYSLOG, 0, 2, FATAL},
    {LB_READ_SYSLOG, 3, 3, ERROR},
    {LB_READ_SYSLOG, 4, 4, WARN},
    {LB_READ_SYSLOG, 5, 5, NOTICE},
    {LB_READ_SYSLOG, 6, 6, INFO},
    {LB_READ_SYSLOG, 7, 7, DEBUG},
    /* syslog, GELF */
    {LB_READ_LEVEL, 0, 2, FATAL},
    {LB_READ_LEVEL, 3, 3, ERROR},
    {LB_READ_LEVEL, 4, 4, WARN},
    {LB_READ_LEVEL, 5, 5, NOTICE},
    {LB_READ_LEVEL, 6, 6, INFO},
    {LB_READ_LEVEL, 7, 7, DEBUG},
    /* pino, bunyan */
    {LB_READ_LEVEL, 10, 10, TRACE},
    {LB_READ_LEVEL, 20, 20, DEBUG},
    {LB_READ_LEVEL, 30, 30, INFO},
    {LB_READ_LEVEL, 40, 40, WARN},
    {LB_READ_LEVEL, 50, 50, ERROR},
    {LB_READ_LEVEL, 60, 60, FATAL},
    /* monolog */
    {LB_READ_LEVEL, 100, 100, DEBUG},
    {LB_READ_LEVEL, 200, 200, INFO},
    {LB_READ_LEVEL, 250, 250, NOTICE},
    {LB_READ_LEVEL, 300, 300, WARN},
    {LB_READ_LEVEL, 400, 400, ERROR},
    {LB_READ_LEVEL, 500, 500, FATAL},
    {LB_READ_LEVEL, 550, 550, FATAL},
    {LB_READ_LEVEL, 600, 600, FATAL},
    {LB_READ_OTEL, 1, 4, TRACE},
    {LB_READ_OTEL, 5, 8, DEBUG},
    {LB_READ_OTEL, 9, 12, INFO},
    {LB_READ_OTEL, 13, 16, WARN},
    {LB_READ_OTEL, 17, 20, ERROR},
    {LB_READ_OTEL, 21, 24, FATAL},
    {LB_READ_PYTHON, 10, 19, DEBUG},
    {LB_READ_PYTHON, 20, 29, INFO},
    {LB_READ_PYTHON, 30, 39, WARN},
    {LB_READ_PYTHON, 40, 49, ERROR},
    {LB_READ_PYTHON, 50, 50, FATAL},
};

#define WORDS (sizeof(words) / sizeof(words[0]))
#define NUMBERS (sizeof(numbers) / sizeof(numbers[0]))
#define SLOTS 256u

/* 1 + a row of words, or 0; made before main. */
static uint8_t slots[SLOTS];
static uint64_t firsts[WORDS];

_Static_assert(WORDS < SLOTS / 2, "most slots are free");

/* Four bytes, the first one lowest. */
LB_INLINE uint64_t
four(const uint8_t *p)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap32(lb_name_four(p));
#else
    return lb_name_four(p);
#endif
}

/* The first eight of the len bytes at p, zeros behind them. */
LB_INLINE uint64_t
first_eight(const uint8_t *p, size_t len)
{
    uint64_t x = 0;

    if (len >= 8) {
        return four(p + 4) << 32 | four(p);
    }
    if (len >= 4) {
        /* two halves that overlap */
        return four(p + len - 4) << (8 * (len - 4)) | four(p);
    }
    for (size_t i = 0; i < len; i++) {
        x |= (uint64_t)p[i] << (8 * i);
    }
    return x;
}

LB_INLINE unsigned
slot_of(uint64_t first)
{
    return (unsigned)(first * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

__attribute__((constructor)) static void
index_words(void)
{
    for (unsigned i = 0; i < WORDS; i++) {
        const uint8_t *word = (const uint8_t *)words[i].word;
        size_t len = strlen(words[i].word);
        unsigned slot;

        firsts[i] = first_eight(word, len);
        slot = slot_of(firsts[i]);
        while (slots[slot] != 0) {
            slot = (slot + 1) % SLOTS;
        }
        slots[slot] = (uint8_t)(i + 1);
    }
}

/* The row of words that p..end is in lower or upper case, or -1. */
LB_INLINE int
word_of(const uint8_t *p, const uint8_t *end)
{
    /* Makes letters lower and nothing else a letter. */
    const uint64_t lower = UINT64_C(0x2020202020202020);
    size_t len = (size_t)(end - p), i;
    uint64_t first;
    unsigned slot;

    if (len == 0 || len > WORD_MAX) {
        return -1;
    }
    first = first_eight(p, len);
    first |= len < 8 ? lower & ~(~UINT64_C(0) << (8 * len)) : lower;
    for (slot = slot_of(first); slots[slot] != 0; slot = (slot + 1) % SLOTS) {
        int row = slots[slot] - 1;

        if (firsts[row] != first) {
            continue;
        }
        for (i = 8; i < len && (p[i] | 0x20) == words[row].word[i]; i++) {
        }
        if (i >= len && words[row].word[len] == '\0') {
            return row;
        }
    }
    return -1;
}

/* A number of up to three digits, or -1. */
static int
digits_of(const uint8_t *p, const uint8_t *end)
{
    int value = 0;

    if (end == p || end - p > 3 || (*p == '0' && end - p > 1)) {
        return -1;
    }
    for (; p < end; p++) {
        if ((uint8_t)(*p - '0') > 9) {
            return -1;
        }
        value = value * 10 + (*p - '0');
    }
    return value;
}

uint8_t
lb_severity(const uint8_t *p, const uint8_t *end)
{
    int value = digits_of(p, end);

    return value >= 1 && value <= 24 ? (uint8_t)value : 0;
}

static int
number_of(const uint8_t *p, const uint8_t *end, lb_read_t read)
{
    int value = digits_of(p, end);

    if (value < 0) {
        return -1;
    }
    for (size_t i = 0; i < NUMBERS; i++) {
        if (numbers[i].read == read && value >= numbers[i].from &&
            value <= numbers[i].to) {
            return numbers[i].level;
        }
    }
    return -1;
}

int
lb_level(const uint8_t *p, const uint8_t *end, lb_read_t read, int *same)
{
    int row = word_of(p, end);

    *same = row >= 0 && row < LB_LEVELS;
    if (row >= 0) {
        return words[row].level;
    }
    if (p == end) {
        return -1;
    }
    if ((uint8_t)(*p - '0') <= 9) {
        return number_of(p, end, read);
    }

    while (end > p && (uint8_t)(end[-1] - '0') <= 9) {
        end--;
    }
    if (end > p && (end[-1] == '+' || end[-1] == '-')) {
        end--;
    }
    row = word_of(p, end);
    return row >= 0 ? words[row].level : -1;
}
