/*
 * The scanner's way for what most bodies are: flat events, compact, each on a
 * line of its own.
 *
 *   {"level":"info","status":200,"message":"..."}\n
 *
 * For processors with AVX2 and PCLMUL.
 *
 * Such lines need no look at one token after the other: their rules are about
 * neighbours.  Outside strings, the byte before it says what a byte may be, for
 * that one is outside too, or ends a string.  So each of the 64 bytes of a block
 * is looked up in two tables, what it is and what may stand behind it, and one
 * AND with its neighbour judges all of them.  What is left, that a colon stands
 * behind each key and behind nothing else, is a subtraction of masks that have
 * a bit per byte.  No branch depends on where the tokens are.
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

/* The sets that the tables hold: what a byte is, and what may be behind it. */
enum {
    OPEN = 0x01,  /* '{' */
    MORE = 0x02,  /* ',', '}' */
    COLON = 0x04, /* ':' */
    LINE = 0x08,  /* '\n' */
    QUOTE = 0x10, /* '"', where a string begins */
    FIRST = 0x20, /* the first byte of a number or literal */
    NEXT = 0x40,  /* another one of it */

    /* a member begins behind it: only of what a byte is */
    MEMBER = 0x80
};

/* Of a byte that is none of the six. */
#define OTHER (FIRST | NEXT)
#define BEHIND_OTHER (MORE | NEXT)

/* The place of a byte in the tables: no two of the six have the same. */
#define AT(c) (((c) ^ (c) >> 3) & 0x0f)

static const uint8_t six[16] = {
    [AT('{')] = '{', [AT('}')] = '}', [AT(',')] = ',',
    [AT(':')] = ':', [AT('"')] = '"', [AT('\n')] = '\n',
};

static const uint8_t what_of[16] = {
    [AT('{')] = OPEN | MEMBER, [AT('}')] = MORE,  [AT(',')] = MORE | MEMBER,
    [AT(':')] = COLON,         [AT('"')] = QUOTE, [AT('\n')] = LINE,
};

static const uint8_t behind_of[16] = {
    [AT('{')] = QUOTE,         [AT('}')] = LINE,         [AT(',')] = QUOTE,
    [AT(':')] = QUOTE | FIRST, [AT('"')] = COLON | MORE, [AT('\n')] = OPEN,
};

/* A block. */
typedef struct {
    __m256i low, high;
} bytes_t;

/* v of a constant, without telling the compiler: it would rather make the
 * vector anew in every round than keep it. */
#define KEEP(v) __asm__("" : "+x"(v))

LB_PART_avx2 __m256i
table(const uint8_t *t)
{
    __m256i v =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)t));

    KEEP(v);
    return v;
}

LB_PART_avx2 __m256i
all(uint8_t c)
{
    __m256i v = _mm256_set1_epi8((char)c);

    KEEP(v);
    return v;
}

/* A bit for each byte: whether its highest is set. */
LB_PART_avx2 uint64_t
mask_of(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) |
           (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

LB_PART_avx2 uint64_t
equal_to(bytes_t v, __m256i c)
{
    return mask_of(_mm256_cmpeq_epi8(v.low, c), _mm256_cmpeq_epi8(v.high, c));
}

LB_PART_avx2 uint64_t
not_above(bytes_t v, __m256i c)
{
    return mask_of(_mm256_cmpeq_epi8(_mm256_min_epu8(v.low, c), v.low),
                   _mm256_cmpeq_epi8(_mm256_min_epu8(v.high, c), v.high));
}

/* A bit for each byte whose set holds this one thing. */
LB_PART_avx2 uint64_t
holding(bytes_t sets, unsigned thing)
{
    int n = __builtin_clz(thing) - 24; /* to the highest bit */

    return mask_of(_mm256_slli_epi16(sets.low, n),
                   _mm256_slli_epi16(sets.high, n));
}

LB_PART_avx2 bytes_t
common(bytes_t a, bytes_t b)
{
    return (bytes_t){_mm256_and_si256(a.low, b.low),
                     _mm256_and_si256(a.high, b.high)};
}

/* What a block is looked up with. */
typedef struct {
    __m256i six, what, behind, other, behind_other, half;
} tables_t;

/* Half a block: what each byte is, and what may be behind it. */
LB_PART_avx2 void
look_up(__m256i v, const tables_t *t, __m256i *what, __m256i *behind)
{
    __m256i at =
        _mm256_and_si256(_mm256_xor_si256(v, _mm256_srli_epi16(v, 3)), t->half);
    __m256i found = _mm256_cmpeq_epi8(_mm256_shuffle_epi8(t->six, at), v);

    *what =
        _mm256_blendv_epi8(t->other, _mm256_shuffle_epi8(t->what, at), found);
    *behind = _mm256_blendv_epi8(t->behind_other,
                                 _mm256_shuffle_epi8(t->behind, at), found);
}

/* v, each byte in the place of the next one; the first comes from last. */
LB_PART_avx2 bytes_t
moved_up(__m256i last, bytes_t v)
{
    return (bytes_t){
        _mm256_alignr_epi8(v.low, _mm256_permute2x128_si256(last, v.low, 0x21),
                           15),
        _mm256_alignr_epi8(v.high,
                           _mm256_permute2x128_si256(v.low, v.high, 0x21), 15)};
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
    const tables_t tables = {table(six), table(what_of),    table(behind_of),
                             all(OTHER), all(BEHIND_OTHER), all(0x0f)};
    const __m256i v_quote = all('"');
    const __m256i v_backslash = all('\\');
    const __m256i v_control = all(0x1f);
    __m256i behind_last = all(OPEN); /* as behind a '\n' */
    size_t blocks = (len < cap ? len : cap) / LB_BLOCK * LB_BLOCK;
    size_t done = 0; /* behind the last whole event */
    uint32_t n = 0;
    uint64_t in_string = 0;      /* all ones if the block begins in one */
    uint64_t escape = 0;         /* 1 if its first byte is escaped */
    unsigned char colonless = 0; /* 1 if it begins between a key and its ':' */

    /* Only the first event that ends in a block is measured. */
    if (max_event < LB_BLOCK) {
        return 0;
    }

    for (size_t base = 0; base < blocks; base += LB_BLOCK) {
        const uint8_t *p = in + base;
        const bytes_t v = {_mm256_loadu_si256((const __m256i *)p),
                           _mm256_loadu_si256((const __m256i *)(p + 32))};
        bytes_t what, behind, right;
        uint64_t quote, backslash, control, escaped, string, outside;
        uint64_t member, colon, scalar, wrong, some;
        unsigned long long keys;
        size_t first, last;

        _mm256_storeu_si256((__m256i *)(out + base), v.low);
        _mm256_storeu_si256((__m256i *)(out + base + 32), v.high);

        if (_mm256_movemask_epi8(_mm256_or_si256(v.low, v.high)) != 0 &&
            !(base > 0 && lb_utf8_block_avx2(p) &&
              lb_utf8_whole(p, len - base)) &&
            lb_utf8_errors(in, len, base) != 0) {
            break;
        }

        quote = equal_to(v, v_quote);
        backslash = equal_to(v, v_backslash);
        if ((backslash | escape) != 0) {
            escaped = lb_escaped(backslash, &escape);
            if ((escaped & ~quote) != 0 &&
                !escapes_right(p, in + len, escaped & ~quote)) {
                break;
            }
            quote &= ~escaped;
        }

        control = not_above(v, v_control);

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
        outside = ~(string | quote);

        look_up(v.low, &tables, &what.low, &behind.low);
        look_up(v.high, &tables, &what.high, &behind.high);
        right = common(what, moved_up(behind_last, behind));
        behind_last = behind.high;

        /* Neighbours are judged outside strings and where one begins. */
        wrong = equal_to(right, _mm256_setzero_si256()) & ~(string ^ quote);
        wrong |= control & string;

        /* Each member's first bit is subtracted from that of its colon, which
         * sets all from the one to the other.  So it must be at the first, and
         * not at the colon, nor where a line ends. */
        member = holding(what, MEMBER) & outside;
        colon = holding(what, COLON) & outside;
        colonless = _subborrow_u64(colonless, colon, member, &keys);
        wrong |= (keys ^ member) & (member | colon | control);
        if (lb_unlikely(wrong != 0)) {
            break;
        }

        scalar = holding(right, FIRST) & outside;
        if (scalar != 0 && !scalars_right(p, in + len, scalar)) {
            break;
        }

        /* What is left of control are lines' ends.  Unpredictable whether
         * there is one: no branch. */
        some = control != 0 ? ~UINT64_C(0) : 0;
        first = base + (size_t)__builtin_ctzll(control | UINT64_C(1) << 63);
        last = base + LB_BLOCK - (size_t)__builtin_clzll(control | 1);
        if (lb_unlikely(((first - done) & some) > max_event)) {
            break;
        }
        done += (last - done) & some;
        n += (uint32_t)__builtin_popcountll(control);
    }

    *events += n;
    return done;
}

#else

/* a file must hold something */
typedef int lb_json_no_flat_t;

#endif
