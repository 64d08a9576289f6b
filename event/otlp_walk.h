/*
 * OTLP in JSON: walking what the scanner wrote, where brackets match and strings
 * end.  Private to the decoder.
 *
 * A value is the place where it begins.  LB_OTLP_SLACK bytes behind the whole
 * may be read.
 */

#ifndef _LB_OTLP_WALK_H_INCLUDED_
#define _LB_OTLP_WALK_H_INCLUDED_

#include <string.h>

#include "event/otlp_write.h"

/* May be read behind what the scanner wrote. */
#define LB_OTLP_SLACK 16

/* Of 16 bytes those that end a string or escape, or those that are a quote or a
 * bracket. */
LB_INLINE unsigned
lb_otlp_in_string(const uint8_t *p)
{
#if LB_WAYS_X86
    __m128i v = _mm_loadu_si128((const __m128i *)p);

    return (unsigned)_mm_movemask_epi8(
        _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                     _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
#else
    unsigned mask = 0;

    for (unsigned i = 0; i < 16; i++) {
        mask |= (unsigned)(p[i] == '"' || p[i] == '\\') << i;
    }

    return mask;
#endif
}

LB_INLINE unsigned
lb_otlp_between_strings(const uint8_t *p)
{
#if LB_WAYS_X86
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    __m128i lower = _mm_or_si128(v, _mm_set1_epi8(0x20));

    return (unsigned)_mm_movemask_epi8(
        _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                     _mm_or_si128(_mm_cmpeq_epi8(lower, _mm_set1_epi8('{')),
                                  _mm_cmpeq_epi8(lower, _mm_set1_epi8('}')))));
#else
    unsigned mask = 0;

    for (unsigned i = 0; i < 16; i++) {
        uint8_t lower = p[i] | 0x20;

        mask |= (unsigned)(p[i] == '"' || lower == '{' || lower == '}') << i;
    }

    return mask;
#endif
}

/* Behind the string that begins at p. */
LB_INLINE const uint8_t *
lb_otlp_skip_string(const uint8_t *p)
{
    unsigned mask;

    for (p++;;) {
        mask = lb_otlp_in_string(p);
        if (mask == 0) {
            p += 16;
            continue;
        }
        p += __builtin_ctz(mask);
        if (*p == '"') {
            return p + 1;
        }
        p += 2;
    }
}

static inline const uint8_t *
lb_otlp_skip_brackets(const uint8_t *p)
{
    unsigned mask, depth = 0;

    for (;;) {
        mask = lb_otlp_between_strings(p);
        if (mask == 0) {
            p += 16;
            continue;
        }
        p += __builtin_ctz(mask);
        if (*p == '"') {
            p = lb_otlp_skip_string(p);
            continue;
        }
        depth += (*p | 0x20) == '{' ? 1u : -1u;
        p++;
        if (depth == 0) {
            return p;
        }
    }
}

/* Behind the value that begins at p. */
LB_INLINE const uint8_t *
lb_otlp_skip(const uint8_t *p)
{
    if (*p == '"') {
        return lb_otlp_skip_string(p);
    }
    if (*p == '{' || *p == '[') {
        return lb_otlp_skip_brackets(p);
    }
    while (*p != ',' && *p != '}' && *p != ']') {
        p++;
    }
    return p;
}

/* The member at *p, which is behind the object's '{' or behind a member: its
 * key, and *p at its value.  0: there is none. */
LB_INLINE int
lb_otlp_member(const uint8_t **p, lb_otlp_text_t *key)
{
    if (**p == ',') {
        ++*p;
    }
    if (**p == '}') {
        return 0;
    }

    key->p = *p + 1;
    *p = lb_otlp_skip_string(*p);
    key->len = (size_t)(*p - 1 - key->p);
    key->json = 1;
    ++*p;

    return 1;
}

/* The same of an array. */
LB_INLINE int
lb_otlp_element(const uint8_t **p)
{
    if (**p == ',') {
        ++*p;
    }

    return **p != ']';
}

#define LB_OTLP_IS(key, name)                                                  \
    ((key).len == sizeof(name) - 1 &&                                          \
     memcmp((key).p, name, sizeof(name) - 1) == 0)

#endif /* _LB_OTLP_WALK_H_INCLUDED_ */
