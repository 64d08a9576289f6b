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

#if LB_WAYS_X86

LB_INLINE uint64_t
backslashes(const uint8_t *p)
{
    uint64_t m = 0;

    for (unsigned i = 0; i < LB_BLOCK; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(p + i));

        v = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
        m |= (uint64_t)(uint32_t)_mm_movemask_epi8(v) << i;
    }
    return m;
}

#elif LB_WAYS_NEON

LB_INLINE uint64_t
backslashes(const uint8_t *p)
{
    const lb_neon_t v = lb_neon_load(p);

    return lb_neon_equal(&v, '\\');
}

#endif

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

/* A block is copied, whole, behind every escape: to write too much is cheaper
 * than a branch on where the next escape is. */
LB_INLINE uint8_t *
blocks(uint8_t *o, const uint8_t *p, const uint8_t *end, const uint8_t *event,
       const uint8_t *event_end)
{
    while (p < end) {
        const uint8_t *const block = p;
        const uint8_t *stop = p + LB_BLOCK;
        size_t left = (size_t)(event_end - p);
        uint64_t m;

        if (lb_likely(left >= LB_BLOCK)) {
            m = backslashes(p);
        } else if (lb_likely(event_end - event >= (ptrdiff_t)LB_BLOCK)) {
            m = backslashes(event_end - LB_BLOCK) >> (LB_BLOCK - left);
        } else {
            uint8_t small[LB_BLOCK] = {0};

            memcpy(small, p, left);
            m = backslashes(small);
        }
        if (end - p < (ptrdiff_t)LB_BLOCK) {
            m &= (UINT64_C(1) << (end - p)) - 1;
            stop = end;
        }

        copy_block(o, p, left);
        while (m != 0) {
            const uint8_t *escape = block + __builtin_ctzll(m);
            size_t taken;

            o += escape - p;
            p = escape;
            o = put_escape(o, &p, end);
            if (p >= stop) {
                break;
            }
            copy_block(o, p, (size_t)(event_end - p));
            taken = (size_t)(p - block);
            m = m >> taken << taken;
        }
        if (p < stop) {
            o += stop - p;
            p = stop;
        }
    }

    return o;
}

#endif

#if LB_WAYS_X86

static uint8_t *
unescape_sse2(uint8_t *o, const uint8_t *p, const uint8_t *end,
              const uint8_t *event, const uint8_t *event_end)
{
    return blocks(o, p, end, event, event_end);
}

/* The same in wider registers. */
LB_FN_avx2 static uint8_t *
unescape_avx2(uint8_t *o, const uint8_t *p, const uint8_t *end,
              const uint8_t *event, const uint8_t *event_end)
{
    return blocks(o, p, end, event, event_end);
}

#elif LB_WAYS_NEON

static uint8_t *
unescape_neon(uint8_t *o, const uint8_t *p, const uint8_t *end,
              const uint8_t *event, const uint8_t *event_end)
{
    return blocks(o, p, end, event, event_end);
}

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
