/*
 * Strings of an event without their escapes.
 */

#include "event/lift_private.h"
#include "event/block.h"

/* Four hexadecimal digits; -1 if they are none. */
static int
lb_lift_hex(const uint8_t *p, const uint8_t *end)
{
    int value = 0;

    if (end - p < 4) {
        return -1;
    }
    for (unsigned i = 0; i < 4; i++) {
        int c = p[i];

        if (c >= '0' && c <= '9') {
            c -= '0';
        } else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f') {
            c = (c | 0x20) - 'a' + 10;
        } else {
            return -1;
        }
        value = value * 16 + c;
    }
    return value;
}

static uint8_t *
lb_lift_put_utf8(uint8_t *o, uint32_t c)
{
    if (c < 0x80) {
        *o++ = (uint8_t)c;
    } else if (c < 0x800) {
        *o++ = (uint8_t)(0xc0 | c >> 6);
        *o++ = (uint8_t)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *o++ = (uint8_t)(0xe0 | c >> 12);
        *o++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *o++ = (uint8_t)(0x80 | (c & 0x3f));
    } else {
        *o++ = (uint8_t)(0xf0 | c >> 18);
        *o++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        *o++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *o++ = (uint8_t)(0x80 | (c & 0x3f));
    }
    return o;
}

/* The \uXXXX at *p, a pair of surrogates as one character.  Never longer than
 * the escape. */
static uint8_t *
lb_lift_unicode(uint8_t *o, const uint8_t **p, const uint8_t *end)
{
    int c = lb_lift_hex(*p + 2, end);

    if (c < 0) {
        /* No scanner wrote this. */
        *o++ = *(*p)++;
        return o;
    }
    *p += 6;
    if (c >= 0xd800 && c < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' &&
        (*p)[1] == 'u') {
        int low = lb_lift_hex(*p + 2, end);

        if (low >= 0xdc00 && low < 0xe000) {
            *p += 6;
            return lb_lift_put_utf8(o, 0x10000u +
                                           ((uint32_t)(c - 0xd800) << 10) +
                                           (uint32_t)(low - 0xdc00));
        }
    }
    if (c >= 0xd800 && c < 0xe000) {
        c = 0xfffd;
    }
    return lb_lift_put_utf8(o, (uint32_t)c);
}

uint8_t *
lb_lift_unescape(uint8_t *o, const uint8_t *p, const uint8_t *end,
                 const uint8_t *event_end)
{
    static const uint8_t named[128] = {
        ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
        ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t',
    };

    while (p < end) {
#if LB_BLOCK_X86
        while (event_end - p >= 16) {
            __m128i v = _mm_loadu_si128((const __m128i *)p);
            unsigned m = (unsigned)_mm_movemask_epi8(
                _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
            size_t n = m ? (size_t)__builtin_ctz(m) : 16;

            _mm_storeu_si128((__m128i *)o, v);
            if (n >= (size_t)(end - p)) {
                return o + (end - p);
            }
            o += n;
            p += n;
            if (m) {
                break;
            }
        }
#else
        (void)event_end;
#endif
        if (*p != '\\' || end - p < 2) {
            *o++ = *p++;
        } else if (p[1] == 'u') {
            o = lb_lift_unicode(o, &p, end);
        } else if (p[1] < 128 && named[p[1]]) {
            *o++ = named[p[1]];
            p += 2;
        } else {
            *o++ = *p++;
        }
    }

    return o;
}
