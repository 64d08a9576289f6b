/*
 * The members of an object that a scanner wrote: no white space, strings that
 * end, brackets that match, so that nothing has to be checked again.  Still
 * nothing is read behind end.
 */

#ifndef _LB_MEMBERS_H_INCLUDED_
#define _LB_MEMBERS_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "event/ways.h"

#if LB_WAYS_X86
#include <immintrin.h>
#elif LB_WAYS_NEON
#include <arm_neon.h>
#endif

typedef struct {
    const uint8_t *key; /* behind the quote; escapes as they are */
    size_t key_len;
    const uint8_t *value;
    const uint8_t *end; /* of the value */
} lb_member_t;

/* The next quote or backslash, or end. */
static inline const uint8_t *
lb_find_quote(const uint8_t *p, const uint8_t *end)
{
#if LB_WAYS_X86
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');

    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        int hits = _mm_movemask_epi8(_mm_or_si128(
            _mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash)));

        if (hits != 0) {
            return p + __builtin_ctz((unsigned)hits);
        }
    }
#elif LB_WAYS_NEON
    for (; end - p >= 16; p += 16) {
        uint8x16_t v = vld1q_u8(p);

        if (vmaxvq_u8(vorrq_u8(vceqq_u8(v, vdupq_n_u8('"')),
                               vceqq_u8(v, vdupq_n_u8('\\')))) != 0) {
            break;
        }
    }
#endif
    while (p < end && *p != '"' && *p != '\\') {
        p++;
    }
    return p;
}

/* Behind the string that begins at p. */
static inline const uint8_t *
lb_skip_string(const uint8_t *p, const uint8_t *end)
{
    for (p++; p < end; p += 2) {
        p = lb_find_quote(p, end);
        if (p == end || *p == '"') {
            break;
        }
    }
    return p < end ? p + 1 : end;
}

/* Behind the value that begins at p. */
static inline const uint8_t *
lb_skip_value(const uint8_t *p, const uint8_t *end)
{
    size_t depth = 0;

    while (p < end) {
        switch (*p) {
        case '"':
            p = lb_skip_string(p, end);
            break;
        case '{':
        case '[':
            depth++;
            p++;
            break;
        case '}':
        case ']':
            if (depth == 0) {
                return p;
            }
            depth--;
            p++;
            break;
        case ',':
            if (depth == 0) {
                return p;
            }
            p++;
            continue;
        default:
            p++;
            continue;
        }
        if (depth == 0) {
            return p;
        }
    }
    return end;
}

/* The member at p, which is behind the object's '{' at first; end is the
 * object's '}'.  Returns where the next one begins, or end. */
static inline const uint8_t *
lb_member(const uint8_t *p, const uint8_t *end, lb_member_t *m)
{
    m->key = p + 1;
    p = lb_skip_string(p, end);
    m->key_len = (size_t)(p - 1 - m->key);
    m->value = p < end ? p + 1 : end;
    m->end = lb_skip_value(m->value, end);
    return m->end < end && *m->end == ',' ? m->end + 1 : end;
}

/* The value at p of an array, p behind its '[' at first; end is the array's ']'.
 * Of m only value and end are set.  Returns where the next one begins, or
 * end. */
static inline const uint8_t *
lb_element(const uint8_t *p, const uint8_t *end, lb_member_t *m)
{
    m->value = p;
    m->end = lb_skip_value(p, end);
    return m->end < end && *m->end == ',' ? m->end + 1 : end;
}

/* Is this its name? */
static inline int
lb_member_is(const lb_member_t *m, const char *name)
{
    return strlen(name) == m->key_len && memcmp(name, m->key, m->key_len) == 0;
}

/* Bytes of its value. */
static inline size_t
lb_member_len(const lb_member_t *m)
{
    return (size_t)(m->end - m->value);
}

/* Has the object from p to end, its braces included, a member of that name? */
static inline int
lb_object_has(const uint8_t *p, const uint8_t *end, const uint8_t *key,
              size_t len)
{
    lb_member_t m;

    for (p++, end--; p < end;) {
        p = lb_member(p, end, &m);
        if (m.key_len == len && memcmp(m.key, key, len) == 0) {
            return 1;
        }
    }
    return 0;
}

#endif /* _LB_MEMBERS_H_INCLUDED_ */
