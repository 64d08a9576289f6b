/*
 * The scanner's way for what most bodies are: flat events, compact, each on a
 * line of its own.
 *
 *   {"level":"info","status":200,"message":"..."}\n
 *
 * For processors with AVX2 and PCLMUL.
 *
 * Such lines need no look at one token after the other.  A block of 64 bytes
 * becomes a handful of masks with a bit per byte, and each rule of the grammar
 * is a shift and an AND for all tokens of the block: what may stand before a
 * quote, a comma, a brace.  No branch depends on where the tokens are.
 *
 * At anything else (white space between tokens, nesting, an error, the end)
 * this way stops behind the last whole event, and the loop of json_tpl.h
 * goes on from there and says what it is.
 */

#include "event/json_flat.h"
#include "event/json_value.h"
#include "event/utf8.h"

#if LB_WAYS_X86

#define FLAT_TARGET __attribute__((target("avx2,bmi,bmi2,pclmul,popcnt")))

/* A bit for each byte behind one of m; *last is 1 if the last byte of the
 * block before was one, and is set for the next block. */
LB_INLINE uint64_t
behind_of(uint64_t m, uint64_t *last)
{
    uint64_t behind = m * 2 + *last;

    *last = m >> 63;
    return behind;
}

/* v of a constant, without telling the compiler: it would rather make the
 * vector anew in every round than keep it. */
#define KEEP(v) __asm__("" : "+x"(v))

LB_PART_avx2 uint64_t
mask_of(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) |
           (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

LB_PART_avx2 uint64_t
equal_to(__m256i low, __m256i high, __m256i c)
{
    return mask_of(_mm256_cmpeq_epi8(low, c), _mm256_cmpeq_epi8(high, c));
}

/* Whether each byte of escaped may stand behind a backslash. */
static __attribute__((noinline)) int
escapes_right(const uint8_t *block, const uint8_t *end, uint64_t escaped)
{
    for (; escaped != 0; escaped &= escaped - 1) {
        const uint8_t *p = block + __builtin_ctzll(escaped);
        const uint8_t *at;
        const char *error;

        if (lb_json_escape[*p] != 1 &&
            lb_json_long_escape(p - 1, end, &at, &error) == 0) {
            return 0;
        }
    }
    return 1;
}

/* Whether a number or literal begins and ends where each bit is. */
static __attribute__((noinline)) int
scalars_right(const uint8_t *block, const uint8_t *end, uint64_t first)
{
    for (; first != 0; first &= first - 1) {
        const uint8_t *p = block + __builtin_ctzll(first);
        const uint8_t *at;
        const char *error;

        p = *p == '-' || (uint8_t)(*p - '0') <= 9
                ? lb_json_number(p, end, &at, &error)
                : lb_json_literal(p, end, &at, &error);
        if (p == NULL || p == end || (*p != ',' && *p != '}')) {
            return 0;
        }
    }
    return 1;
}

/*
 * Copies whole events from in, where one begins, to out, and returns how many
 * bytes that are; what is in out behind them has no meaning.  *events grows by
 * their number.
 */
FLAT_TARGET size_t
lb_json_flat(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
             size_t max_event, uint32_t *events)
{
    size_t blocks = (len < cap ? len : cap) / LB_BLOCK * LB_BLOCK;
    size_t done = 0; /* behind the last whole event */
    uint32_t n = 0;
    uint64_t in_string = 0; /* all ones if the block begins in one */
    uint64_t in_key = 0;    /* 1 if that is a key */
    uint64_t escape = 0;    /* 1 if its first byte is escaped */
    uint64_t was_close = 0, was_next = 0, was_colon = 0, was_end = 0;
    uint64_t was_scalar = 0, was_key = 0, was_line = 1;
    __m256i v_quote = _mm256_set1_epi8('"');
    __m256i v_backslash = _mm256_set1_epi8('\\');
    __m256i v_control = _mm256_set1_epi8(0x1f);
    __m256i v_open = _mm256_set1_epi8('{');
    __m256i v_close = _mm256_set1_epi8('}');
    __m256i v_colon = _mm256_set1_epi8(':');
    __m256i v_comma = _mm256_set1_epi8(',');
    __m256i v_line = _mm256_set1_epi8('\n');

    /* Only the first event that ends in a block is measured. */
    if (max_event < LB_BLOCK) {
        return 0;
    }

    KEEP(v_quote);
    KEEP(v_backslash);
    KEEP(v_control);
    KEEP(v_open);
    KEEP(v_close);
    KEEP(v_colon);
    KEEP(v_comma);
    KEEP(v_line);

    for (size_t base = 0; base < blocks; base += LB_BLOCK) {
        const uint8_t *p = in + base;
        __m256i low = _mm256_loadu_si256((const __m256i *)p);
        __m256i high = _mm256_loadu_si256((const __m256i *)(p + 32));
        uint64_t quote, backslash, control, escaped, string, outside, sum;
        uint64_t begin, end, key, open, close, colon, comma, line, scalar;
        uint64_t behind_next, behind_colon, behind_scalar, wrong, some;
        size_t first, behind;

        _mm256_storeu_si256((__m256i *)(out + base), low);
        _mm256_storeu_si256((__m256i *)(out + base + 32), high);

        if (_mm256_movemask_epi8(_mm256_or_si256(low, high)) != 0 &&
            !(base > 0 && lb_utf8_block_avx2(p) &&
              lb_utf8_whole(p, len - base)) &&
            lb_utf8_errors(in, len, base) != 0) {
            break;
        }

        quote = equal_to(low, high, v_quote);
        backslash = equal_to(low, high, v_backslash);
        if ((backslash | escape) != 0) {
            escaped = lb_escaped(backslash, &escape);
            if ((escaped & ~quote) != 0 &&
                !escapes_right(p, in + len, escaped & ~quote)) {
                break;
            }
            quote &= ~escaped;
        }

        control =
            mask_of(_mm256_cmpeq_epi8(_mm256_min_epu8(low, v_control), low),
                    _mm256_cmpeq_epi8(_mm256_min_epu8(high, v_control), high));

        /* All of it within one string: so are most blocks of a long text.
         * Nothing is carried into the next one that was not carried in. */
        if (quote == 0 && in_string != 0) {
            if (control != 0) {
                break;
            }
            continue;
        }

        /* From each opening quote to its closing one, without that: a bit is
         * the sum of all quotes up to it, without carry. */
        string = in_string ^ (uint64_t)_mm_cvtsi128_si64(_mm_clmulepi64_si128(
                                 _mm_cvtsi64_si128((long long)quote),
                                 _mm_set1_epi8(-1), 0));
        in_string = (uint64_t)0 - (string >> 63);
        begin = quote & string;
        end = quote & ~string;

        outside = ~(string | quote);
        open = equal_to(low, high, v_open) & outside;
        close = equal_to(low, high, v_close) & outside;
        colon = equal_to(low, high, v_colon) & outside;
        comma = equal_to(low, high, v_comma) & outside;
        line = equal_to(low, high, v_line) & outside;
        scalar = outside & ~(open | close | colon | comma | line);

        behind_next = behind_of(open | comma, &was_next);
        behind_colon = behind_of(colon, &was_colon);
        behind_scalar = behind_of(scalar, &was_scalar);

        /* A bit added to the first one of a string goes to where its closing
         * quote is: done with the keys, it finds theirs. */
        in_key =
            __builtin_add_overflow(string + in_key, begin & behind_next, &sum);
        key = sum & ~string;

        wrong = control & string;
        wrong |= begin & ~(behind_next | behind_colon);
        wrong |= colon ^ behind_of(key, &was_key);
        wrong |= scalar & ~(behind_colon | behind_scalar);
        wrong |= (comma | close) & ~behind_of(end | scalar, &was_end);
        wrong |= line & ~behind_of(close, &was_close);
        wrong |= open & ~behind_of(line, &was_line);
        if (lb_unlikely(wrong != 0)) {
            break;
        }

        scalar &= ~behind_scalar;
        if (scalar != 0 && !scalars_right(p, in + len, scalar)) {
            break;
        }

        /* Unpredictable whether a line ends here: no branch. */
        some = line != 0 ? ~UINT64_C(0) : 0;
        first = base + (size_t)__builtin_ctzll(line | UINT64_C(1) << 63);
        behind = base + LB_BLOCK - (size_t)__builtin_clzll(line | 1);
        if (lb_unlikely(((first - done) & some) > max_event)) {
            break;
        }
        done += (behind - done) & some;
        n += (uint32_t)__builtin_popcountll(line);
    }

    *events += n;
    return done;
}

#else

/* a file must hold something */
typedef int lb_json_no_flat_t;

#endif
