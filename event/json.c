/*
 * Scanner: see scan.h for what it accepts and json_tpl.h for how.
 *
 * This file holds what is the same for every processor: the words, single
 * values other than strings, the cold paths, and the choice of the loop.
 */

#include "event/scan.h"
#include "event/ways.h"
#include "event/block.h"

/* Copied at once while compact lines go by: large enough that the copy's
 * start does not matter, small enough that it is still in the first cache. */
#define LB_SCAN_RUN 8192

typedef struct {
    const uint8_t *in;
    const uint8_t *end;
} lb_scan_input_t;

/* The last block looked at. */
typedef struct {
    size_t base; /* its offset in the body */
    uint64_t mask;
    uint64_t next; /* the mask of the block behind it */
} lb_scan_block_t;

/* No offset is in the block of this base, or in the one behind it. */
static const lb_scan_block_t lb_scan_no_block = {(size_t)0 - 2 * LB_BLOCK, 0,
                                                 0};

/*
 * Words.  They name what was expected, or the rule that was broken.
 */
static const char lb_scan_words_object[] = "an event must be a JSON object";
static const char lb_scan_words_bom[] =
    "the body begins with a byte order mark (U+FEFF): send UTF-8 without it";
static const char lb_scan_words_comma[] =
    "unexpected ',' between events: separate them by white space, or send "
    "an array";
static const char lb_scan_words_close[] = "nothing is open here to be closed";
static const char lb_scan_words_last_comma[] =
    "an event must follow the ',': remove it or add one";
static const char lb_scan_words_array[] =
    "expected ',' or ']' after an event of the array";
static const char lb_scan_words_cut[] = "the body ends inside an event";
static const char lb_scan_words_cut_string[] = "the body ends inside a string";
static const char lb_scan_words_cut_array[] =
    "the body ends inside an array of events: ']' is missing";
static const char lb_scan_words_depth[] =
    "the event is nested deeper than 128 levels";
static const char lb_scan_words_first_key[] =
    "expected a key in double quotes, or '}'";
static const char lb_scan_words_key[] =
    "expected a key in double quotes after ','";
static const char lb_scan_words_colon[] = "expected ':' after a key";
static const char lb_scan_words_value[] =
    "expected a value: a string, number, object, array, true, false or null";
static const char lb_scan_words_object_after[] =
    "expected ',' or '}' after a value";
static const char lb_scan_words_array_after[] =
    "expected ',' or ']' after an array element";
static const char lb_scan_words_zero[] =
    "a number must not begin with a superfluous 0";
static const char lb_scan_words_digit[] = "expected a digit";
static const char lb_scan_words_control[] =
    "a control character in a string must be escaped";
static const char lb_scan_words_utf8[] = "this is not valid UTF-8";
static const char lb_scan_words_escape[] =
    "unknown escape: only \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX exist";
static const char lb_scan_words_hex[] =
    "\\u must be followed by four hexadecimal digits";
static const char lb_scan_words_toobig[] =
    "the event is larger than the limit for one event";

_Static_assert(LB_SCAN_DEPTH_MAX == 128, "lb_scan_words_depth says 128");
_Static_assert(LB_SCAN_DEPTH_MAX % 64 == 0, "the stack is made of words");

/* What may follow a backslash: 1 nothing more, 2 four hexadecimal digits. */
static const uint8_t lb_scan_escape[256] = {
    ['"'] = 1, ['\\'] = 1, ['/'] = 1, ['b'] = 1, ['f'] = 1,
    ['n'] = 1, ['r'] = 1,  ['t'] = 1, ['u'] = 2,
};

LB_INLINE int
lb_scan_is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

LB_INLINE const uint8_t *
lb_scan_skip_space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && lb_scan_is_space(*p)) {
        p++;
    }
    return p;
}

/* A \n, or the \r before it or at the end of the body. */
LB_INLINE int
lb_scan_is_line_end(const uint8_t *p, const uint8_t *end)
{
    return *p == '\n' || (*p == '\r' && (p + 1 == end || p[1] == '\n'));
}

/* memcpy of n bytes; short ones by whole registers where both sides have the
 * room (what is written too much is overwritten by what comes next). */
LB_INLINE void
lb_scan_copy(uint8_t *to, const uint8_t *to_end, const uint8_t *from,
             const uint8_t *from_end, size_t n)
{
    if (n <= 32 && to_end - to >= 32 && from_end - from >= 32) {
        memcpy(to, from, 16);
        memcpy(to + 16, from + 16, 16);
    } else {
        memcpy(to, from, n);
    }
}

/* A control character as JSON escapes it; 0 if there is no room. */
static size_t
lb_scan_put_control(uint8_t *to, size_t room, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    static const char names[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r',
    };

    if (names[c]) {
        if (room < 2) {
            return 0;
        }
        to[0] = '\\';
        to[1] = (uint8_t)names[c];
        return 2;
    }

    if (room < 6) {
        return 0;
    }
    memcpy(to, "\\u00", 4);
    to[4] = (uint8_t)hex[c >> 4];
    to[5] = (uint8_t)hex[c & 15];
    return 6;
}

/* The escape at p that is not one of the two-byte ones: its length, or 0 with
 * *at and *error set. */
static size_t
lb_scan_long_escape(const uint8_t *p, const uint8_t *end, const uint8_t **at,
                    const char **error)
{
    const uint8_t *q;

    if (end - p < 2) {
        *at = end;
        *error = lb_scan_words_cut_string;
        return 0;
    }
    if (p[1] != 'u') {
        *at = p;
        *error = lb_scan_words_escape;
        return 0;
    }

    for (q = p + 2; q < p + 6; q++) {
        if (q == end) {
            *at = end;
            *error = lb_scan_words_cut_string;
            return 0;
        }
        if (!((*q >= '0' && *q <= '9') ||
              ((*q | 0x20) >= 'a' && (*q | 0x20) <= 'f'))) {
            *at = q;
            *error = lb_scan_words_hex;
            return 0;
        }
    }

    return 6;
}

LB_INLINE int
lb_scan_is_digit(const uint8_t *p, const uint8_t *end)
{
    return p < end && (uint8_t)(*p - '0') <= 9;
}

/* Behind the digits at p.  Eight at once: how many a number has is nothing a
 * branch could foresee. */
LB_INLINE const uint8_t *
lb_scan_skip_digits(const uint8_t *p, const uint8_t *end)
{
    while (end - p >= 8) {
        uint64_t x, other;

        memcpy(&x, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x = __builtin_bswap64(x);
#endif
        /* A digit is 0x30 + 0..9.  What a byte carries into the next one does
         * not matter: it is itself no digit then. */
        x ^= LB_ONES * 0x30;
        other = (x | (x + LB_ONES * 6)) & (LB_ONES * 0xf0);
        if (other != 0) {
            return p + __builtin_ctzll(other) / 8;
        }
        p += 8;
    }
    while (lb_scan_is_digit(p, end)) {
        p++;
    }
    return p;
}

/* The number at p: where it ends, or NULL. */
LB_INLINE const uint8_t *
lb_scan_number(const uint8_t *p, const uint8_t *end, const uint8_t **at,
               const char **error)
{
    const uint8_t *q;

    p += *p == '-';
    q = lb_scan_skip_digits(p, end);
    if (lb_unlikely(q == p)) {
        goto digit;
    }
    if (lb_unlikely(*p == '0' && q - p > 1)) {
        *at = p;
        *error = lb_scan_words_zero;
        return NULL;
    }

    p = q;
    if (p < end && *p == '.') {
        q = lb_scan_skip_digits(++p, end);
        if (lb_unlikely(q == p)) {
            goto digit;
        }
        p = q;
    }
    if (p < end && (*p | 0x20) == 'e') {
        p++;
        if (p < end && (*p == '+' || *p == '-')) {
            p++;
        }
        q = lb_scan_skip_digits(p, end);
        if (lb_unlikely(q == p)) {
            goto digit;
        }
        p = q;
    }
    return p;

digit:
    *at = p;
    *error = p == end ? lb_scan_words_cut : lb_scan_words_digit;
    return NULL;
}

/* true, false or null at p: where it ends, or NULL. */
LB_INLINE const uint8_t *
lb_scan_literal(const uint8_t *p, const uint8_t *end, const uint8_t **at,
                const char **error)
{
    const char *word;
    const uint8_t *first = p;

    switch (*p) {
    case 't':
        word = "true";
        break;
    case 'f':
        word = "false";
        break;
    case 'n':
        word = "null";
        break;
    default:
        *at = p;
        *error = lb_scan_words_value;
        return NULL;
    }

    for (; *word; word++, p++) {
        if (lb_unlikely(p == end)) {
            *at = end;
            *error = lb_scan_words_cut;
            return NULL;
        }
        if (lb_unlikely(*p != (uint8_t)*word)) {
            *at = first;
            *error = lb_scan_words_value;
            return NULL;
        }
    }
    return p;
}

/* Words for a p that should be the first byte of an event. */
LB_COLD static const char *
lb_scan_words_item(const uint8_t *in, const uint8_t *end, const uint8_t *p,
                   int array)
{
    if (p == in && end - p >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0) {
        return lb_scan_words_bom;
    }
    if (array) {
        return *p == ']' ? lb_scan_words_last_comma : lb_scan_words_object;
    }
    if (*p == ',') {
        return lb_scan_words_comma;
    }
    if (*p == '}' || *p == ']') {
        return lb_scan_words_close;
    }
    return lb_scan_words_object;
}

/* The first character that begins in the block at base and is not UTF-8, as a
 * bit of the mask.  The block before was checked or is ASCII, so the bytes of
 * a character that began there need no second look. */
static __attribute__((noinline)) uint64_t
lb_scan_utf8_errors(const uint8_t *in, size_t len, size_t base)
{
    size_t i = base;
    size_t end = len - base < LB_BLOCK ? len : base + LB_BLOCK;

    if (base >= 3 && in[base - 3] >= 0xf0) {
        i = base + 1;
    }
    if (base >= 2 && in[base - 2] >= 0xe0) {
        i = in[base - 2] >= 0xf0 ? base + 2 : base + 1;
    }
    if (base >= 1 && in[base - 1] >= 0xc0) {
        i = in[base - 1] >= 0xf0   ? base + 3
            : in[base - 1] >= 0xe0 ? base + 2
                                   : base + 1;
    }

    while (i < end) {
        size_t n = lb_utf8_len(in + i, len - i);

        if (n == 0) {
            return UINT64_C(1) << (i - base);
        }
        i += n;
    }

    return 0;
}

/* Whether the last character that begins in the block at p is complete: the
 * block itself has been found right.  left >= LB_BLOCK. */
LB_INLINE int
lb_scan_block_whole(const uint8_t *p, size_t left)
{
    for (unsigned back = 1; back <= 3; back++) {
        if (p[LB_BLOCK - back] >= 0xc0) {
            return lb_utf8_len(p + LB_BLOCK - back, left - LB_BLOCK + back) !=
                   0;
        }
    }
    return 1;
}

/* Rows and columns are counted only now. */
LB_COLD static lb_scan_status_t
lb_scan_failed(lb_scan_status_t status, const uint8_t *in, const uint8_t *at,
               const uint8_t *event, const char *error, lb_scan_result_t *res)
{
    const uint8_t *p;
    const uint8_t *line = in;

    res->row = 1;
    for (p = in; p < at; p++) {
        if (*p == '\n') {
            res->row++;
            line = p + 1;
        }
    }

    res->column = 1;
    for (p = line; p < at; p++) {
        if ((*p & 0xc0) != 0x80) {
            res->column++;
        }
    }

    res->error = error;
    res->offset = (size_t)(at - in);
    res->event_start = (size_t)(event - in);
    return status;
}

#define LB_LOOP(name) name##_plain
#define LB_LOOP_TARGET
#define LB_LOOP_INLINE LB_INLINE
#define LB_LOOP_BLOCK lb_block_plain
#include "event/json_tpl.h"
#undef LB_LOOP
#undef LB_LOOP_TARGET
#undef LB_LOOP_INLINE
#undef LB_LOOP_BLOCK

#if LB_BLOCK_X86

#define LB_LOOP(name) name##_sse2
#define LB_LOOP_TARGET
#define LB_LOOP_INLINE LB_INLINE
#define LB_LOOP_BLOCK lb_block_sse2
#include "event/json_tpl.h"
#undef LB_LOOP
#undef LB_LOOP_TARGET
#undef LB_LOOP_INLINE
#undef LB_LOOP_BLOCK

#define LB_LOOP(name) name##_avx2
#define LB_LOOP_TARGET LB_AVX2
#define LB_LOOP_INLINE LB_INLINE_AVX2
#define LB_LOOP_BLOCK lb_block_avx2
#define LB_LOOP_UTF8 lb_utf8_block_avx2
#define LB_LOOP_FLAT lb_scan_flat
#include "event/json_flat.c"
#include "event/json_tpl.h"

#elif LB_BLOCK_NEON

#define LB_LOOP(name) name##_neon
#define LB_LOOP_TARGET
#define LB_LOOP_INLINE LB_INLINE
#define LB_LOOP_BLOCK lb_block_neon
#define LB_LOOP_UTF8 lb_utf8_block_neon
#include "event/json_tpl.h"

#endif

static const lb_scan_impl_t lb_scan_impl[] = {
    {"plain", lb_scan_json_plain, lb_scan_text_plain},
#if LB_BLOCK_X86
    {"sse2", lb_scan_json_sse2, lb_scan_text_sse2},
    {"avx2", lb_scan_json_avx2, lb_scan_text_avx2},
#elif LB_BLOCK_NEON
    {"neon", lb_scan_json_neon, lb_scan_text_neon},
#endif
};

const lb_scan_impl_t *
lb_scan_impls(size_t *n)
{
    *n = sizeof(lb_scan_impl) / sizeof(lb_scan_impl[0]);
#if LB_BLOCK_X86
    *n -= !lb_have_avx2();
#endif
    return lb_scan_impl;
}

lb_scan_status_t
lb_scan_json(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
             size_t max_event, lb_scan_result_t *res)
{
#if LB_BLOCK_X86
    if (lb_have_avx2()) {
        return lb_scan_json_avx2(in, len, out, cap, max_event, res);
    }
    return lb_scan_json_sse2(in, len, out, cap, max_event, res);
#elif LB_BLOCK_NEON
    return lb_scan_json_neon(in, len, out, cap, max_event, res);
#else
    return lb_scan_json_plain(in, len, out, cap, max_event, res);
#endif
}

lb_scan_status_t
lb_scan_text(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
             size_t max_event, lb_scan_result_t *res)
{
#if LB_BLOCK_X86
    if (lb_have_avx2()) {
        return lb_scan_text_avx2(in, len, out, cap, max_event, res);
    }
    return lb_scan_text_sse2(in, len, out, cap, max_event, res);
#elif LB_BLOCK_NEON
    return lb_scan_text_neon(in, len, out, cap, max_event, res);
#else
    return lb_scan_text_plain(in, len, out, cap, max_event, res);
#endif
}

/* Worst: {}{}{}..., a \n for every two bytes. */
size_t
lb_scan_json_out_max(size_t len)
{
    return len > SIZE_MAX / 2 ? SIZE_MAX : len + len / 2;
}

/* Worst: lines of one control character, 15 + 6 bytes for every two. */
size_t
lb_scan_text_out_max(size_t len)
{
    return len > (SIZE_MAX - 21) / 11 ? SIZE_MAX : len * 11 + 21;
}
