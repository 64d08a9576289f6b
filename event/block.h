/*
 * Text, 64 bytes at a time: where the bytes are that end a run of ordinary
 * ones.  Shared by the scanner and the lifter; private to event/.
 *
 * A mask has one bit per byte of the block, the lowest for the first.  The
 * ways of computing it agree bit by bit (test_scanner compares them).
 */

#ifndef _LB_BLOCK_H_INCLUDED_
#define _LB_BLOCK_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "event/ways.h"

#if LB_WAYS_X86
#include <immintrin.h>
#elif LB_WAYS_NEON
#include <arm_neon.h>
#endif

#define LB_BLOCK 64u

typedef struct {
    uint64_t special; /* '"', '\\' and bytes below 0x20 */
    uint64_t wide;    /* bytes of 0x80 and above */
} lb_block_t;

typedef struct {
    uint64_t quote;     /* '"' */
    uint64_t backslash; /* '\\' */
} lb_quotes_t;

/*
 * Plain C: eight bytes in a word.  Each step keeps to its own byte (nothing is
 * carried or borrowed across), so that the result is exact.
 */
#define LB_ONES UINT64_C(0x0101010101010101)

/* 0x80 in each byte of x that equals c; x has no byte above 0x7f. */
LB_INLINE uint64_t
lb_word_equal(uint64_t x, uint8_t c)
{
    return ~((x ^ (LB_ONES * c)) + LB_ONES * 0x7f) & (LB_ONES * 0x80);
}

/* The 0x80 bits of a word, packed into one byte, first byte lowest. */
LB_INLINE uint64_t
lb_word_pack(uint64_t x)
{
    return ((x >> 7) * UINT64_C(0x0102040810204080)) >> 56;
}

LB_INLINE lb_block_t
lb_block_plain(const uint8_t *p)
{
    lb_block_t b = {0, 0};

    for (unsigned i = 0; i < LB_BLOCK; i += 8) {
        uint64_t x, low, wide, hit;

        memcpy(&x, p + i, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x = __builtin_bswap64(x);
#endif
        wide = x & (LB_ONES * 0x80);
        low = x & (LB_ONES * 0x7f);
        hit = lb_word_equal(low, '"') | lb_word_equal(low, '\\') |
              (~(low + LB_ONES * 0x60) & (LB_ONES * 0x80));
        b.special |= lb_word_pack(hit & ~wide) << i;
        b.wide |= lb_word_pack(wide) << i;
    }

    return b;
}

LB_INLINE lb_quotes_t
lb_quotes_plain(const uint8_t *p)
{
    lb_quotes_t q = {0, 0};

    for (unsigned i = 0; i < LB_BLOCK; i += 8) {
        uint64_t x, low, narrow;

        memcpy(&x, p + i, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x = __builtin_bswap64(x);
#endif
        narrow = ~x & (LB_ONES * 0x80);
        low = x & (LB_ONES * 0x7f);
        q.quote |= lb_word_pack(lb_word_equal(low, '"') & narrow) << i;
        q.backslash |= lb_word_pack(lb_word_equal(low, '\\') & narrow) << i;
    }

    return q;
}

/*
 * Which bytes of a block a backslash before them escapes, other than
 * backslashes: the first byte behind each run of backslashes of odd length.
 * *carry is 1 if the first byte of the block is escaped by the block before,
 * and is set for the next one.
 *
 * Adding its first bit to a run moves a bit behind its end.  A run that begins
 * at an even place has an odd length if it ends before an odd one, and the
 * other way round; one that reaches the end of the block carries out of it.
 */
LB_INLINE uint64_t
lb_escaped(uint64_t backslash, uint64_t *carry)
{
    const uint64_t even = LB_ONES * 0x55;
    uint64_t escaped = *carry;
    uint64_t runs = backslash & ~escaped;
    uint64_t first = runs & ~(runs << 1);
    uint64_t behind_even = (runs + (first & even)) & ~runs;
    uint64_t behind_odd;

    *carry = __builtin_add_overflow(runs, first & ~even, &behind_odd);
    behind_odd &= ~runs;

    return escaped | (behind_even & ~even) | (behind_odd & even);
}

#if LB_WAYS_X86

LB_INLINE lb_block_t
lb_block_sse2(const uint8_t *p)
{
    lb_block_t b = {0, 0};

    for (unsigned i = 0; i < LB_BLOCK; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(p + i));
        /* The comparison is signed: bytes of 0x80 and above count as below
         * 0x20 too and are taken out again. */
        __m128i hit =
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                      _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))),
                         _mm_cmplt_epi8(v, _mm_set1_epi8(0x20)));

        b.special |= (uint64_t)(uint32_t)_mm_movemask_epi8(hit) << i;
        b.wide |= (uint64_t)(uint32_t)_mm_movemask_epi8(v) << i;
    }

    b.special &= ~b.wide;
    return b;
}

LB_INLINE lb_quotes_t
lb_quotes_sse2(const uint8_t *p)
{
    lb_quotes_t q = {0, 0};

    for (unsigned i = 0; i < LB_BLOCK; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(p + i));
        __m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
        __m128i backslash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));

        q.quote |= (uint64_t)(uint32_t)_mm_movemask_epi8(quote) << i;
        q.backslash |= (uint64_t)(uint32_t)_mm_movemask_epi8(backslash) << i;
    }

    return q;
}

LB_PART_avx2 lb_block_t
lb_block_avx2(const uint8_t *p)
{
    lb_block_t b = {0, 0};

    for (unsigned i = 0; i < LB_BLOCK; i += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(p + i));
        __m256i hit = _mm256_or_si256(
            _mm256_or_si256(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('"')),
                            _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\'))),
            _mm256_cmpgt_epi8(_mm256_set1_epi8(0x20), v));

        b.special |= (uint64_t)(uint32_t)_mm256_movemask_epi8(hit) << i;
        b.wide |= (uint64_t)(uint32_t)_mm256_movemask_epi8(v) << i;
    }

    b.special &= ~b.wide;
    return b;
}

LB_PART_avx2 lb_quotes_t
lb_quotes_avx2(const uint8_t *p)
{
    lb_quotes_t q = {0, 0};

    for (unsigned i = 0; i < LB_BLOCK; i += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(p + i));
        __m256i quote = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('"'));
        __m256i backslash = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\'));

        q.quote |= (uint64_t)(uint32_t)_mm256_movemask_epi8(quote) << i;
        q.backslash |= (uint64_t)(uint32_t)_mm256_movemask_epi8(backslash) << i;
    }

    return q;
}

#endif /* LB_WAYS_X86 */

#if LB_WAYS_NEON

typedef struct {
    uint8x16_t part[4];
} lb_neon_t;

/* A bit for each of the 64 bytes; they are all ones or 0. */
LB_INLINE uint64_t
lb_neon_mask(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
    static const uint8_t bits[16] = {1, 2, 4, 8, 16, 32, 64, 128,
                                     1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bit = vld1q_u8(bits);

    /* Sums of neighbours: after the third, each byte is that of eight. */
    a = vpaddq_u8(vandq_u8(a, bit), vandq_u8(b, bit));
    c = vpaddq_u8(vandq_u8(c, bit), vandq_u8(d, bit));
    a = vpaddq_u8(a, c);
    a = vpaddq_u8(a, a);
    return vgetq_lane_u64(vreinterpretq_u64_u8(a), 0);
}

LB_INLINE uint64_t
lb_neon_equal(const lb_neon_t *v, uint8_t c)
{
    const uint8x16_t all = vdupq_n_u8(c);

    return lb_neon_mask(vceqq_u8(v->part[0], all), vceqq_u8(v->part[1], all),
                        vceqq_u8(v->part[2], all), vceqq_u8(v->part[3], all));
}

LB_INLINE lb_neon_t
lb_neon_load(const uint8_t *p)
{
    lb_neon_t v = {
        {vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)}};

    return v;
}

LB_INLINE uint8x16_t
lb_neon_special(uint8x16_t v)
{
    return vorrq_u8(
        vorrq_u8(vceqq_u8(v, vdupq_n_u8('"')), vceqq_u8(v, vdupq_n_u8('\\'))),
        vcltq_u8(v, vdupq_n_u8(0x20)));
}

LB_INLINE uint8x16_t
lb_neon_wide(uint8x16_t v)
{
    return vcltzq_s8(vreinterpretq_s8_u8(v));
}

LB_INLINE lb_block_t
lb_block_neon(const uint8_t *p)
{
    const lb_neon_t v = lb_neon_load(p);
    lb_block_t b;

    b.special =
        lb_neon_mask(lb_neon_special(v.part[0]), lb_neon_special(v.part[1]),
                     lb_neon_special(v.part[2]), lb_neon_special(v.part[3]));
    b.wide = lb_neon_mask(lb_neon_wide(v.part[0]), lb_neon_wide(v.part[1]),
                          lb_neon_wide(v.part[2]), lb_neon_wide(v.part[3]));
    return b;
}

LB_INLINE lb_quotes_t
lb_quotes_neon(const uint8_t *p)
{
    const lb_neon_t v = lb_neon_load(p);
    lb_quotes_t q;

    q.quote = lb_neon_equal(&v, '"');
    q.backslash = lb_neon_equal(&v, '\\');
    return q;
}

#endif /* LB_WAYS_NEON */

#endif /* _LB_BLOCK_H_INCLUDED_ */
