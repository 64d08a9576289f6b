#include "event/timestamp.h"
#include "event/block.h"

/* 1900-01-01 and 2262-04-11, the ends of DateTime64(9), in seconds. */
#define TIME_FIRST INT64_C(-2208988800)
#define TIME_LAST INT64_C(9223286400)
#define TIME_NS INT64_C(1000000000)

/* The parts of a date, in the order of "YmdHMS". */
enum {
    YEAR,
    MONTH,
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    PARTS
};

/*
 * Eight characters at once, the first in the lowest byte.  After the exclusive
 * or with what they should look like, a digit is 0..9 and anything else is 0.
 */
LB_INLINE uint64_t
load(const uint8_t *p, uint64_t like)
{
    uint64_t x;

    memcpy(&x, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x ^ like;
}

/* Two neighbouring digits as one number in the byte of the first. */
LB_INLINE uint64_t
pairs(uint64_t x)
{
    return x * 10 + (x >> 8);
}

LB_INLINE int
byte_of(uint64_t x, unsigned i)
{
    return (int)(x >> (8 * i) & 0xff);
}

/* Bits in the bytes that are not 0..9, right up to the first of them: what a
 * byte carries into the next one does not matter, it is itself no digit then. */
LB_INLINE uint64_t
other_than_digits(uint64_t x)
{
    return (x | (x + LB_ONES * 6)) & (LB_ONES * 0xf0);
}

/* The number of eight digits: neighbours become pairs, pairs fours, fours the
 * eight. */
LB_INLINE int64_t
from_eight(uint64_t x)
{
    x = (x * 10 + (x >> 8)) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x * 100 + (x >> 16)) & UINT64_C(0x0000ffff0000ffff);
    return (int64_t)((x * 10000 + (x >> 32)) & UINT32_MAX);
}

/* The eight digits at p as a number; -1 if one of them is none. */
LB_INLINE int64_t
eight_digits(const uint8_t *p)
{
    uint64_t x = load(p, LB_ONES * '0');

    return other_than_digits(x) != 0 ? -1 : from_eight(x);
}

LB_INLINE int
is_digit(const uint8_t *p, const uint8_t *end)
{
    return p < end && (uint8_t)(*p - '0') <= 9;
}

/* The n digits at p as a number; -1 if there are fewer. */
LB_INLINE int
digits(const uint8_t *p, const uint8_t *end, unsigned n)
{
    int value = 0;

    if (end - p < (ptrdiff_t)n) {
        return -1;
    }
    for (unsigned i = 0; i < n; i++) {
        if (!is_digit(p + i, end)) {
            return -1;
        }
        value = value * 10 + (p[i] - '0');
    }
    return value;
}

LB_INLINE int
two_digits(const uint8_t *p)
{
    unsigned tens = (unsigned)p[0] - '0';
    unsigned ones = (unsigned)p[1] - '0';

    return tens <= 9 && ones <= 9 ? (int)(tens * 10 + ones) : -1;
}

/* Digits at *p, at least one behind a point, as the fraction of 10^places; *p is moved behind them all, and
 * *inexact is set if those beyond are not all zero. */
LB_INLINE int64_t
fraction_of(const uint8_t **p, const uint8_t *end, unsigned places,
            int *inexact)
{
    static const int64_t power[10] = {1,         10,        100,     1000,
                                      10000,     100000,    1000000, 10000000,
                                      100000000, 1000000000};
    const uint8_t *q = *p;
    int64_t value = 0;

    if (places >= 8 && end - q >= 7) {
        /* seven characters, and the point before them */
        uint64_t x = load(q - 1, LB_ONES * '0') >> 8;
        unsigned n = (unsigned)__builtin_ctzll(other_than_digits(x) |
                                               UINT64_C(0xf0) << 56) /
                     8;

        value = from_eight(x << (64 - 8 * n));
        places -= n;
        q += n;
    }
    for (; is_digit(q, end); q++) {
        if (places > 0) {
            value = value * 10 + (*q - '0');
            places--;
        } else if (*q != '0') {
            *inexact = 1;
        }
    }
    *p = q;
    return value * power[places];
}

/* A fraction behind a point or a comma, if there is one at *p; -1: a point
 * without digits. */
LB_INLINE int64_t
optional_fraction(const uint8_t **p, const uint8_t *end, unsigned places,
                  int *inexact)
{
    *inexact = 0;
    if (*p == end || (**p != '.' && **p != ',')) {
        return 0;
    }
    ++*p;
    return is_digit(*p, end) ? fraction_of(p, end, places, inexact) : -1;
}

/*
 * Numbers
 */

/* How many digits the whole seconds, milliseconds, microseconds and nanoseconds
 * of a date have, from 1973-03-03 on: what is smaller is hardly a date. */
static const struct {
    uint64_t from;
    int64_t scale;   /* to nanoseconds */
    unsigned places; /* of the fraction that a nanosecond can hold */
} units[] = {
    {UINT64_C(100000000000000000), 1, 0},
    {UINT64_C(100000000000000), 1000, 3},
    {UINT64_C(100000000000), 1000000, 6},
    {UINT64_C(100000000), 1000000000, 9},
};

/* A number without an exponent. */
static int
plain_epoch(const uint8_t *p, const uint8_t *end, int64_t *ns, int *inexact)
{
    const uint8_t *q = p + 8;
    int64_t whole, fraction;
    uint64_t value;
    unsigned u;

    /* What is smaller than nine digits is hardly a date. */
    if (end - p < 9 || *p == '0' || (whole = eight_digits(p)) < 0) {
        return 0;
    }
    for (value = (uint64_t)whole; is_digit(q, end); q++) {
        if (q - p == 19) {
            return 0;
        }
        value = value * 10 + (uint64_t)(*q - '0');
    }

    for (u = 0; value < units[u].from; u++) {
        if (u == sizeof(units) / sizeof(units[0]) - 1) {
            return 0;
        }
    }
    if (value >= (uint64_t)(TIME_LAST * (TIME_NS / units[u].scale))) {
        return 0;
    }

    fraction = optional_fraction(&q, end, units[u].places, inexact);
    *ns = (int64_t)value * units[u].scale + fraction;
    return fraction >= 0 && q == end;
}

/* The number in p..end without its exponent, in text; its length, or 0 if it
 * has none, or one that makes it no date. */
static size_t
without_exponent(const uint8_t *p, const uint8_t *end, uint8_t *text,
                 size_t size)
{
    size_t n = 0, point = 0, whole = 0;
    int exponent = 0, minus;

    /* The digits alone, without zeros before the first; point: how many of
     * them are whole. */
    for (; p < end && n < size; p++) {
        if (*p == '.' || *p == ',') {
            if (point++ > 0) {
                return 0;
            }
        } else if (!is_digit(p, end)) {
            break;
        } else {
            whole += point == 0;
            text[n++] = *p;
        }
    }
    if (n == 0 || p == end || (*p | 0x20) != 'e') {
        return 0;
    }
    p++;
    minus = p < end && *p == '-';
    p += p < end && (*p == '-' || *p == '+');
    if (end - p < 1 || end - p > 2) {
        return 0;
    }
    exponent = digits(p, end, (unsigned)(end - p));
    if (exponent < 0 || (minus && (size_t)exponent >= whole)) {
        return 0;
    }

    whole = minus ? whole - (size_t)exponent : whole + (size_t)exponent;
    if (whole + 1 >= size || n + 1 >= size) {
        return 0;
    }
    while (n < whole) {
        text[n++] = '0';
    }
    if (n > whole) {
        memmove(text + whole + 1, text + whole, n - whole);
        text[whole] = '.';
        n++;
    }
    for (point = 0; point < whole && text[point] == '0'; point++) {
    }
    memmove(text, text + point, n - point);
    return n - point;
}

int
lb_time_epoch(const uint8_t *p, const uint8_t *end, int64_t *ns, int *inexact)
{
    uint8_t text[64];
    size_t n;

    if (lb_likely(plain_epoch(p, end, ns, inexact))) {
        return 1;
    }
    n = without_exponent(p, end, text, sizeof(text));
    return n > 0 && plain_epoch(text, text + n, ns, inexact);
}

/*
 * Dates
 */

/* Days from 1970-01-01 to a date of the Gregorian calendar: whole years by
 * their leap days, whole months by the table. */
LB_INLINE int64_t
days_to(int year, int month, int day)
{
    static const uint16_t before[12] = {0,   31,  59,  90,  120, 151,
                                        181, 212, 243, 273, 304, 334};
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int y = year - 1;

    return (int64_t)y * 365 + y / 4 - y / 100 + y / 400 - 719162 +
           before[month - 1] + (leap && month > 2) + day - 1;
}

/* Is there such a day, and such a time of it? */
LB_INLINE int
is_real(const int *part)
{
    static const uint8_t days[12] = {31, 29, 31, 30, 31, 30,
                                     31, 31, 30, 31, 30, 31};
    int year = part[YEAR];

    if (year < 1 || part[MONTH] < 1 || part[MONTH] > 12 || part[DAY] < 1 ||
        part[DAY] > days[part[MONTH] - 1] || part[HOUR] > 23 ||
        part[MINUTE] > 59 || part[SECOND] > 59) {
        return 0;
    }
    return part[MONTH] != 2 || part[DAY] != 29 ||
           (year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
}

LB_INLINE int
instant(const int *part, int offset, int64_t fraction, int64_t *ns)
{
    int64_t seconds;

    if (!is_real(part)) {
        return 0;
    }
    seconds = days_to(part[YEAR], part[MONTH], part[DAY]) * 86400 +
              part[HOUR] * 3600 + part[MINUTE] * 60 + part[SECOND] - offset;
    if (seconds < TIME_FIRST || seconds >= TIME_LAST) {
        return 0;
    }
    *ns = seconds * TIME_NS + fraction;
    return 1;
}

/* What says in words what the offset before it says: "[Europe/Moscow]", " MSK",
 * " (Moscow Standard Time)".  Moves behind it. */
static const uint8_t *
zone_name(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *q;

    if (end - p < 3) {
        return p;
    }
    if ((*p == '[' && end[-1] == ']') ||
        (p[0] == ' ' && p[1] == '(' && end[-1] == ')')) {
        return end;
    }
    for (q = p + 1; q < end && (uint8_t)(*q - 'A') < 26; q++) {
    }
    return *p == ' ' && q == end && end - p <= 6 ? end : p;
}

/* The +hh:mm, +hhmm or +hh at p, as seconds; behind it, or NULL. */
LB_INLINE const uint8_t *
zone_offset(const uint8_t *p, const uint8_t *end, int *offset)
{
    int sign = *p == '+' ? 1 : -1;
    int hours = digits(p + 1, end, 2), minutes = 0;

    if (hours < 0 || hours > 23) {
        return NULL;
    }
    p += 3;
    if (p < end && (*p == ':' || is_digit(p, end))) {
        p += *p == ':';
        minutes = digits(p, end, 2);
        if (minutes < 0 || minutes > 59) {
            return NULL;
        }
        p += 2;
    }
    *offset = sign * (hours * 3600 + minutes * 60);
    return p;
}

/* The zone at p, a space before it or not; nothing is UTC.  Behind it, or NULL
 * if it is something else. */
LB_INLINE const uint8_t *
zone(const uint8_t *p, const uint8_t *end, int *offset)
{
    int utc;

    *offset = 0;
    if (p >= end) {
        return p;
    }
    if (*p == ' ' && ++p == end) {
        return NULL;
    }
    if ((*p | 0x20) == 'z') {
        return p + 1;
    }
    utc =
        end - p >= 3 && (memcmp(p, "UTC", 3) == 0 || memcmp(p, "GMT", 3) == 0);
    p += 3 * utc;
    if (p < end && (*p == '+' || *p == '-')) {
        p = zone_offset(p, end, offset);
        return p != NULL && p < end ? zone_name(p, end) : p;
    }
    return utc ? p : NULL;
}

/* The 1-based number of the name at p among three-letter ones, or -1. */
static int
one_of(const char *names, const uint8_t *p, const uint8_t *end)
{
    if (end - p < 3) {
        return -1;
    }
    for (int i = 0; names[3 * i] != '\0'; i++) {
        if (memcmp(p, names + 3 * i, 3) == 0) {
            return i + 1;
        }
    }
    return -1;
}

/*
 * Dates other than RFC 3339's.  Y m d H M S are parts in digits, e the day in
 * one or two of them, b and a names of a month and a weekday, T 'T' or a space,
 * F a fraction or none, Z a zone or none; anything else is itself.
 */
static const char *const patterns[] = {
    "Y/m/dTH:M:SFZ",                     /* Go, nginx's error log */
    "YmdTHMSFZ",                         /* ISO 8601, basic */
    "d/b/Y:H:M:SFZ",                     /* Common Log Format */
    "[d/b/Y:H:M:SFZ]",                   /* ditto */
    "d/b/Y H:M:SFZ",    "d-b-Y H:M:SFZ", /* BIND, Tomcat */
    "d.m.YTH:M:SFZ",                     /* as many countries write it */
    "a, e b Y H:M:SFZ",                  /* RFC 2822, HTTP */
    "e b Y H:M:SFZ",                     /* RFC 2822 */
    "a b e H:M:SF Y",                    /* asctime() */
    "a b e H:M:SFZ Y",                   /* date */
    "a b e Y H:M:SFZ",                   /* JavaScript */
};

static int
by_pattern(const char *f, const uint8_t *p, const uint8_t *end, int64_t *ns,
           int *inexact)
{
    static const char letters[] = "YmdHMS";
    int part[PARTS] = {0}, offset = 0, value;
    int64_t fraction = 0;
    const char *letter;

    for (; *f != '\0'; f++) {
        letter = strchr(letters, *f);
        if (letter != NULL) {
            value = digits(p, end, *f == 'Y' ? 4 : 2);
            part[letter - letters] = value;
            p += *f == 'Y' ? 4 : 2;
        } else if (*f == 'e') {
            p += p < end && *p == ' ';
            value = is_digit(p, end) && !is_digit(p + 1, end) ? 1 : 2;
            part[DAY] = digits(p, end, (unsigned)value);
            p += value;
            value = part[DAY];
        } else if (*f == 'b') {
            value = one_of("JanFebMarAprMayJunJulAugSepOctNovDec", p, end);
            part[MONTH] = value;
            p += 3;
        } else if (*f == 'a') {
            value = one_of("MonTueWedThuFriSatSun", p, end);
            p += 3;
        } else if (*f == 'F') {
            fraction = optional_fraction(&p, end, 9, inexact);
            value = fraction < 0 ? -1 : 0;
        } else if (*f == 'Z') {
            p = zone(p, end - (f[1] == ']'), &offset);
            value = p == NULL ? -1 : 0;
        } else {
            value = p == end || (*p != (uint8_t)*f &&
                                 (*f != 'T' || (*p != ' ' && *p != 't')))
                        ? -1
                        : 0;
            p++;
        }
        if (value < 0) {
            return 0;
        }
    }
    return p == end && instant(part, offset, fraction, ns);
}

/* The parts of "2024-05-17T10:05:03"; 0 if it looks otherwise. */
LB_INLINE int
rfc3339(const uint8_t *p, int *part)
{
    /* "2024-05-" and "17T10:05"; the separator in the second one is looked at
     * by itself. */
    uint64_t date = load(p, UINT64_C(0x2d30302d30303030));
    uint64_t time = load(p + 8, UINT64_C(0x30303a3030003030));
    uint64_t wrong = (date | (date + UINT64_C(0x0006060006060606))) &
                     UINT64_C(0xfff0f0fff0f0f0f0);

    wrong |= (time | (time + UINT64_C(0x0606000606000606))) &
             UINT64_C(0xf0f0fff0f000f0f0);
    part[SECOND] = two_digits(p + 17);
    if (wrong != 0 || part[SECOND] < 0 || p[16] != ':' ||
        (p[10] != ' ' && (p[10] | 0x20) != 't')) {
        return 0;
    }
    date = pairs(date);
    time = pairs(time & ~UINT64_C(0xff0000));
    part[YEAR] = byte_of(date, 0) * 100 + byte_of(date, 2);
    part[MONTH] = byte_of(date, 5);
    part[DAY] = byte_of(time, 0);
    part[HOUR] = byte_of(time, 3);
    part[MINUTE] = byte_of(time, 6);
    return 1;
}

int
lb_time_date(const uint8_t *p, const uint8_t *end, int64_t *ns, int *inexact)
{
    int part[PARTS], offset = 0;
    int64_t fraction;

    if (end - p >= 19 && lb_likely(rfc3339(p, part))) {
        p += 19;
        fraction = optional_fraction(&p, end, 9, inexact);
        p = fraction < 0 ? NULL : zone(p, end, &offset);
        return p == end && instant(part, offset, fraction, ns);
    }

    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        if (by_pattern(patterns[i], p, end, ns, inexact)) {
            return 1;
        }
    }
    return 0;
}
