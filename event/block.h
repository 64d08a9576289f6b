/*
 * Text, 64 bytes at a time: where the bytes are that end a run of ordinary
 * ones.  Shared by the scanner and the lifter; private to event/.
 *
 * A mask has one bit per byte of the block, the lowest for the first.  The
 * ways of computing it agree bit by bit (test_scanner compares them): plain C,
 * SSE2 (any x86-64), AVX2 (chosen at run time), NEON (any 64-bit ARM).
 */

#ifndef _LB_BLOCK_H_INCLUDED_
#define _LB_BLOCK_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#define LB_BLOCK_X86 1
#include <immintrin.h>
#else
#define LB_BLOCK_X86 0
#endif

/* A big-endian ARM takes the plain way. */
#if defined(__aarch64__) && defined(__ARM_NEON) &&                             \
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LB_BLOCK_NEON 1
#include <arm_neon.h>
#else
#define LB_BLOCK_NEON 0
#endif

#define LB_BLOCK 64u

#define lb_likely(x) __builtin_expect(!!(x), 1)
#define lb_unlikely(x) __builtin_expect(!!(x), 0)
#define LB_COLD __attribute__((noinline, cold))
#define LB_INLINE static inline __attribute__((always_inline, unused))
#define LB_AVX2 __attribute__((target("avx2,bmi,bmi2")))
#define LB_INLINE_AVX2                                                         \
    static inline                                                              \
        __attribute__((always_inline, unused, target("avx2,bmi,bmi2")))

typedef struct {
    uint64_t special; /* '"', '\\' and bytes below 0x20 */
    uint64_t wide;    /* bytes of 0x80 and above */
} lb_block_t;

typedef struct {
    uint64_t quote;     /* '"' */
    uint64_t backslash; /* '\\' */
} lb_quotes_t;

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

/*
 * Whether the 64 bytes at p are UTF-8, by three table lookups on each pair of
 * neighbouring bytes (Keiser and Lemire, "Validating UTF-8 in less than one
 * instruction per byte", 2021).  Each bit of the tables stands for one kind of
 * error; a pair has that error if all three lookups agree.  Reads p[-3..64).
 * A character cut off by the end of the block is not noticed.
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

#if LB_BLOCK_X86

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

LB_INLINE_AVX2 lb_block_t
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

LB_INLINE_AVX2 lb_quotes_t
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

LB_INLINE_AVX2 int
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

LB_INLINE int
lb_have_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") &&
           __builtin_cpu_supports("pclmul");
}

#endif /* LB_BLOCK_X86 */

#if LB_BLOCK_NEON

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

#endif /* LB_BLOCK_NEON */

#endif /* _LB_BLOCK_H_INCLUDED_ */
