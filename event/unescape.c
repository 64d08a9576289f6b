#include "event/unescape.h"
#include "event/block.h"

/* Four hexadecimal digits; -1 if they are none. */
static int
hex4(const uint8_t *p, const uint8_t *end)
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
put_utf8(uint8_t *o, uint32_t c)
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
put_unicode(uint8_t *o, const uint8_t **p, const uint8_t *end)
{
    int c = hex4(*p + 2, end);

    if (c < 0) {
        /* No scanner wrote this. */
        *o++ = *(*p)++;
        return o;
    }
    *p += 6;
    if (c >= 0xd800 && c < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' &&
        (*p)[1] == 'u') {
        int low = hex4(*p + 2, end);

        if (low >= 0xdc00 && low < 0xe000) {
            *p += 6;
            return put_utf8(o, 0x10000u + ((uint32_t)(c - 0xd800) << 10) +
                                   (uint32_t)(low - 0xdc00));
        }
    }
    if (c >= 0xd800 && c < 0xe000) {
        c = 0xfffd;
    }
    return put_utf8(o, (uint32_t)c);
}

/* The escape at *p; at least one byte is taken and put. */
LB_INLINE uint8_t *
put_escape(uint8_t *o, const uint8_t **p, const uint8_t *end)
{
    static const uint8_t named[256] = {
        ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
        ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t',
    };

    if (lb_likely(end - *p >= 2)) {
        uint8_t c = named[(*p)[1]];

        if (lb_likely(c != 0)) {
            *o++ = c;
            *p += 2;
            return o;
        }
        if ((*p)[1] == 'u') {
            return put_unicode(o, p, end);
        }
    }
    *o++ = *(*p)++;
    return o;
}

#if LB_WAYS_X86 || LB_WAYS_NEON

/* The first 64 of the n bytes at p, or all of them; nothing behind them is
 * read. */
LB_INLINE void
copy_block(uint8_t *o, const uint8_t *p, size_t n)
{
    if (lb_likely(n >= LB_BLOCK)) {
        memcpy(o, p, LB_BLOCK);
    } else if (n >= 32) {
        memcpy(o, p, 32);
        memcpy(o + n - 32, p + n - 32, 32);
    } else if (n >= 16) {
        memcpy(o, p, 16);
        memcpy(o + n - 16, p + n - 16, 16);
    } else if (n >= 8) {
        memcpy(o, p, 8);
        memcpy(o + n - 8, p + n - 8, 8);
    } else {
        for (size_t i = 0; i < n; i++) {
            o[i] = p[i];
        }
    }
}

#endif

#if LB_WAYS_X86
#define LB_WAY sse2
#include "event/unescape_tpl.h"
#define LB_WAY avx2
#include "event/unescape_tpl.h"
#elif LB_WAYS_NEON
#define LB_WAY neon
#include "event/unescape_tpl.h"
#endif

static uint8_t *
unescape_plain(uint8_t *o, const uint8_t *p, const uint8_t *end,
               const uint8_t *event, const uint8_t *event_end)
{
    (void)event;
    (void)event_end;
    while (p < end) {
        const uint8_t *escape = memchr(p, '\\', (size_t)(end - p));
        size_t n = (size_t)((escape ? escape : end) - p);

        memcpy(o, p, n);
        o += n;
        p += n;
        if (escape) {
            o = put_escape(o, &p, end);
        }
    }
    return o;
}

const lb_unescape_fn lb_unescape_ways[LB_WAYS] = LB_EACH_WAY(unescape);
