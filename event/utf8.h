/*
 * UTF-8 (RFC 3629), character by character and block by block.
 */

#ifndef _LB_UTF8_H_INCLUDED_
#define _LB_UTF8_H_INCLUDED_

#include "event/block.h"

/* Length of the UTF-8 character at p (RFC 3629: no overlong form, no
 * surrogate, nothing above U+10FFFF), 0 if it is none or not complete within
 * avail bytes. */
LB_INLINE size_t
lb_utf8_len(const uint8_t *p, size_t avail)
{
    uint8_t c, lo, hi;

    if (avail == 0) {
        return 0;
    }

    c = p[0];
    if (c < 0x80) {
        return 1;
    }
    if (c < 0xc2 || c > 0xf4) {
        return 0;
    }
    if (c < 0xe0) {
        return (avail >= 2 && (p[1] & 0xc0) == 0x80) ? 2 : 0;
    }

    /* The second byte alone excludes overlong forms, surrogates and what is
     * beyond Unicode. */
    lo = 0x80;
    hi = 0xbf;
    switch (c) {
    case 0xe0:
        lo = 0xa0;
        break;
    case 0xed:
        hi = 0x9f;
        break;
    case 0xf0:
        lo = 0x90;
        break;
    case 0xf4:
        hi = 0x8f;
        break;
    }

    if (avail < 2 || p[1] < lo || p[1] > hi) {
        return 0;
    }
    if (avail < 3 || (p[2] & 0xc0) != 0x80) {
        return 0;
    }
    if (c < 0xf0) {
        return 3;
    }
    return (avail >= 4 && (p[3] & 0xc0) == 0x80) ? 4 : 0;
}

/*
 * Whether the 64 bytes at p are UTF-8, by three table lookups on each pair of
 * neighbouring bytes (Keiser and Lemire, "Validating UTF-8 in less than one
 * instruction per byte", 2021).  Each bit of the tables stands for one kind of
 * error; a pair has that error if all three lookups agree.  Reads p[-3..64).
 * A character cut off by the end of the block is not noticed.
 *
 * The ways without such a lookup always say 0: look closer.
 */
enum {
    LB_U8_SHORT = 0x01, /* a lead byte, no continuation behind it */
    LB_U8_LONG = 0x02,  /* ASCII, a continuation behind it */
    LB_U8_OVER2 = 0x04, /* C0, C1 */
    LB_U8_OVER3 = 0x08, /* E0 80..9F */
    LB_U8_SURR = 0x10,  /* ED A0..BF */
    LB_U8_LARGE = 0x20, /* F4 90..BF, F5..FF 90..BF */
    LB_U8_EIGHT = 0x40, /* F0 80..8F (overlong), F5..FF 80..8F (too large) */
    LB_U8_TWO = 0x80,   /* two continuations: right only in longer ones */
    LB_U8_ANY = LB_U8_SHORT | LB_U8_LONG | LB_U8_TWO,
    LB_U8_BIG = LB_U8_ANY | LB_U8_LARGE | LB_U8_EIGHT
};

/* By the high half of the first byte, the low half of it, the high half of the
 * second. */
static const uint8_t lb_utf8_kinds[3][16] __attribute__((unused)) = {
    {
        LB_U8_LONG,
        LB_U8_LONG,
        LB_U8_LONG,
        LB_U8_LONG,
        LB_U8_LONG,
        LB_U8_LONG,
        LB_U8_LONG,
        LB_U8_LONG,
        LB_U8_TWO,
        LB_U8_TWO,
        LB_U8_TWO,
        LB_U8_TWO,
        LB_U8_SHORT | LB_U8_OVER2,
        LB_U8_SHORT,
        LB_U8_SHORT | LB_U8_OVER3 | LB_U8_SURR,
        LB_U8_SHORT | LB_U8_LARGE | LB_U8_EIGHT,
    },
    {
        LB_U8_ANY | LB_U8_OVER2 | LB_U8_OVER3 | LB_U8_EIGHT,
        LB_U8_ANY | LB_U8_OVER2,
        LB_U8_ANY,
        LB_U8_ANY,
        LB_U8_ANY | LB_U8_LARGE,
        LB_U8_BIG,
        LB_U8_BIG,
        LB_U8_BIG,
        LB_U8_BIG,
        LB_U8_BIG,
        LB_U8_BIG,
        LB_U8_BIG,
        LB_U8_BIG,
        LB_U8_BIG | LB_U8_SURR,
        LB_U8_BIG,
        LB_U8_BIG,
    },
    {
        LB_U8_SHORT,
        LB_U8_SHORT,
        LB_U8_SHORT,
        LB_U8_SHORT,
        LB_U8_SHORT,
        LB_U8_SHORT,
        LB_U8_SHORT,
        LB_U8_SHORT,
        LB_U8_LONG | LB_U8_TWO | LB_U8_OVER2 | LB_U8_OVER3 | LB_U8_EIGHT,
        LB_U8_LONG | LB_U8_TWO | LB_U8_OVER2 | LB_U8_OVER3 | LB_U8_LARGE,
        LB_U8_LONG | LB_U8_TWO | LB_U8_OVER2 | LB_U8_SURR | LB_U8_LARGE,
        LB_U8_LONG | LB_U8_TWO | LB_U8_OVER2 | LB_U8_SURR | LB_U8_LARGE,
        LB_U8_SHORT,
        LB_U8_SHORT,
        LB_U8_SHORT,
        LB_U8_SHORT,
    },
};

LB_INLINE int
lb_utf8_block_plain(const uint8_t *p)
{
    (void)p;
    return 0;
}

#if LB_WAYS_X86

LB_INLINE int
lb_utf8_block_sse2(const uint8_t *p)
{
    (void)p;
    return 0;
}

LB_PART_avx2 int
lb_utf8_block_avx2(const uint8_t *p)
{
    const __m256i nibble = _mm256_set1_epi8(0x0f);
    const __m256i fh = _mm256_broadcastsi128_si256(
        _mm_loadu_si128((const __m128i *)lb_utf8_kinds[0]));
    const __m256i fl = _mm256_broadcastsi128_si256(
        _mm_loadu_si128((const __m128i *)lb_utf8_kinds[1]));
    const __m256i sh = _mm256_broadcastsi128_si256(
        _mm_loadu_si128((const __m128i *)lb_utf8_kinds[2]));
    __m256i bad = _mm256_setzero_si256();

    for (unsigned i = 0; i < LB_BLOCK; i += 32) {
        __m256i cur = _mm256_loadu_si256((const __m256i *)(p + i));
        __m256i one = _mm256_loadu_si256((const __m256i *)(p + i - 1));
        __m256i two = _mm256_loadu_si256((const __m256i *)(p + i - 2));
        __m256i three = _mm256_loadu_si256((const __m256i *)(p + i - 3));
        __m256i kinds, longer;

        kinds = _mm256_and_si256(
            _mm256_and_si256(
                _mm256_shuffle_epi8(
                    fh, _mm256_and_si256(_mm256_srli_epi16(one, 4), nibble)),
                _mm256_shuffle_epi8(fl, _mm256_and_si256(one, nibble))),
            _mm256_shuffle_epi8(
                sh, _mm256_and_si256(_mm256_srli_epi16(cur, 4), nibble)));

        /* The third byte of a character of three, the third and fourth of one
         * of four, must be second continuations; no other byte may be. */
        longer = _mm256_or_si256(
            _mm256_subs_epu8(two, _mm256_set1_epi8((char)(0xe0 - 0x80))),
            _mm256_subs_epu8(three, _mm256_set1_epi8((char)(0xf0 - 0x80))));
        longer = _mm256_and_si256(longer, _mm256_set1_epi8((char)0x80));
        bad = _mm256_or_si256(bad, _mm256_xor_si256(kinds, longer));
    }

    return _mm256_testz_si256(bad, bad);
}

#elif LB_WAYS_NEON

LB_INLINE int
lb_utf8_block_neon(const uint8_t *p)
{
    const uint8x16_t fh = vld1q_u8(lb_utf8_kinds[0]);
    const uint8x16_t fl = vld1q_u8(lb_utf8_kinds[1]);
    const uint8x16_t sh = vld1q_u8(lb_utf8_kinds[2]);
    uint8x16_t bad = vdupq_n_u8(0);

    for (unsigned i = 0; i < LB_BLOCK; i += 16) {
        uint8x16_t cur = vld1q_u8(p + i);
        uint8x16_t one = vld1q_u8(p + i - 1);
        uint8x16_t two = vld1q_u8(p + i - 2);
        uint8x16_t three = vld1q_u8(p + i - 3);
        uint8x16_t kinds, longer;

        kinds =
            vandq_u8(vandq_u8(vqtbl1q_u8(fh, vshrq_n_u8(one, 4)),
                              vqtbl1q_u8(fl, vandq_u8(one, vdupq_n_u8(0x0f)))),
                     vqtbl1q_u8(sh, vshrq_n_u8(cur, 4)));

        /* As in lb_utf8_block_avx2. */
        longer = vorrq_u8(vqsubq_u8(two, vdupq_n_u8(0xe0 - 0x80)),
                          vqsubq_u8(three, vdupq_n_u8(0xf0 - 0x80)));
        longer = vandq_u8(longer, vdupq_n_u8(0x80));
        bad = vorrq_u8(bad, veorq_u8(kinds, longer));
    }

    return vmaxvq_u8(bad) == 0;
}

#endif

/* The first character that begins in the block at base and is not UTF-8, as a
 * bit of the mask.  The block before was checked or is ASCII, so the bytes of
 * a character that began there need no second look. */
static __attribute__((noinline, unused)) uint64_t
lb_utf8_errors(const uint8_t *in, size_t len, size_t base)
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
lb_utf8_whole(const uint8_t *p, size_t left)
{
    for (unsigned back = 1; back <= 3; back++) {
        if (p[LB_BLOCK - back] >= 0xc0) {
            return lb_utf8_len(p + LB_BLOCK - back, left - LB_BLOCK + back) !=
                   0;
        }
    }
    return 1;
}

#endif /* _LB_UTF8_H_INCLUDED_ */
