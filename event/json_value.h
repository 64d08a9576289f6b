/*
 * The values of JSON that need no look at a block: numbers, words, escapes,
 * white space.
 */

#ifndef _LB_JSON_VALUE_H_INCLUDED_
#define _LB_JSON_VALUE_H_INCLUDED_

#include "event/block.h"

static const char lb_words_cut[] = "the body ends inside an event";
static const char lb_words_cut_string[] = "the body ends inside a string";
static const char lb_words_zero[] =
    "a number must not begin with a superfluous 0";
static const char lb_words_digit[] = "expected a digit";
static const char lb_words_value[] =
    "expected a value: a string, number, object, array, true, false or null";
static const char lb_words_escape[] =
    "unknown escape: only \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX exist";
static const char lb_words_hex[] =
    "\\u must be followed by four hexadecimal digits";

/* What may follow a backslash: 1 nothing more, 2 four hexadecimal digits. */
static const uint8_t lb_json_escape[256] = {
    ['"'] = 1, ['\\'] = 1, ['/'] = 1, ['b'] = 1, ['f'] = 1,
    ['n'] = 1, ['r'] = 1,  ['t'] = 1, ['u'] = 2,
};

LB_INLINE int
lb_json_is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

LB_INLINE const uint8_t *
lb_json_skip_space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && lb_json_is_space(*p)) {
        p++;
    }
    return p;
}

/* The escape at p that is not one of the two-byte ones: its length, or 0 with
 * *at and *error set. */
static __attribute__((unused)) size_t
lb_json_long_escape(const uint8_t *p, const uint8_t *end, const uint8_t **at,
                    const char **error)
{
    const uint8_t *q;

    if (end - p < 2) {
        *at = end;
        *error = lb_words_cut_string;
        return 0;
    }
    if (p[1] != 'u') {
        *at = p;
        *error = lb_words_escape;
        return 0;
    }

    for (q = p + 2; q < p + 6; q++) {
        if (q == end) {
            *at = end;
            *error = lb_words_cut_string;
            return 0;
        }
        if (!((*q >= '0' && *q <= '9') ||
              ((*q | 0x20) >= 'a' && (*q | 0x20) <= 'f'))) {
            *at = q;
            *error = lb_words_hex;
            return 0;
        }
    }

    return 6;
}

LB_INLINE int
lb_json_is_digit(const uint8_t *p, const uint8_t *end)
{
    return p < end && (uint8_t)(*p - '0') <= 9;
}

/* Behind the digits at p.  Eight at once: how many a number has is nothing a
 * branch could foresee. */
LB_INLINE const uint8_t *
lb_json_skip_digits(const uint8_t *p, const uint8_t *end)
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
    while (lb_json_is_digit(p, end)) {
        p++;
    }
    return p;
}

/* The number at p: where it ends, or NULL. */
LB_INLINE const uint8_t *
lb_json_number(const uint8_t *p, const uint8_t *end, const uint8_t **at,
               const char **error)
{
    const uint8_t *q;

    p += *p == '-';
    q = lb_json_skip_digits(p, end);
    if (lb_unlikely(q == p)) {
        goto digit;
    }
    if (lb_unlikely(*p == '0' && q - p > 1)) {
        *at = p;
        *error = lb_words_zero;
        return NULL;
    }

    p = q;
    if (p < end && *p == '.') {
        q = lb_json_skip_digits(++p, end);
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
        q = lb_json_skip_digits(p, end);
        if (lb_unlikely(q == p)) {
            goto digit;
        }
        p = q;
    }
    return p;

digit:
    *at = p;
    *error = p == end ? lb_words_cut : lb_words_digit;
    return NULL;
}

/* true, false or null at p: where it ends, or NULL. */
LB_INLINE const uint8_t *
lb_json_literal(const uint8_t *p, const uint8_t *end, const uint8_t **at,
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
        *error = lb_words_value;
        return NULL;
    }

    for (; *word; word++, p++) {
        if (lb_unlikely(p == end)) {
            *at = end;
            *error = lb_words_cut;
            return NULL;
        }
        if (lb_unlikely(*p != (uint8_t)*word)) {
            *at = first;
            *error = lb_words_value;
            return NULL;
        }
    }
    return p;
}

#endif /* _LB_JSON_VALUE_H_INCLUDED_ */
