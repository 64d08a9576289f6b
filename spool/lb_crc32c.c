/*
 * CRC-32C (Castagnoli): reversed polynomial 0x82f63b78, initial value and
 * final xor 0xffffffff (RFC 3720, appendix B.4 has the test vectors).
 *
 * The crc32 instruction has a latency of three cycles and a throughput of one,
 * so three independent streams run side by side; each is then advanced over
 * the bytes of the streams behind it by a table and xored in.
 */

#include "lb_ring.h"

#include <string.h>

#define POLY 0x82f63b78u

static uint32_t bytes_table[8][256];

#if defined(__x86_64__)

#include <nmmintrin.h>

#define LONG_LEN 2048u
#define SHORT_LEN 256u

static int have_sse42;
static uint32_t long_shift[4][256];
static uint32_t short_shift[4][256];

/* The CRC after one more zero byte, from the table. */
static uint32_t
zero_byte(uint32_t crc)
{
    return bytes_table[0][crc & 0xff] ^ (crc >> 8);
}

/* Fills a table that advances a CRC over len zero bytes.  That map is linear,
 * so 32 single-bit results give all the others by xor. */
static void
make_shift(uint32_t table[4][256], size_t len)
{
    size_t i, k, n;
    uint32_t bit[32], v;

    for (i = 0; i < 32; i++) {
        v = 1u << i;
        for (n = 0; n < len; n++) {
            v = zero_byte(v);
        }
        bit[i] = v;
    }

    for (k = 0; k < 4; k++) {
        for (n = 0; n < 256; n++) {
            v = 0;
            for (i = 0; i < 8; i++) {
                if (n & (1u << i)) {
                    v ^= bit[k * 8 + i];
                }
            }
            table[k][n] = v;
        }
    }
}

static uint32_t
shift(uint32_t table[4][256], uint32_t crc)
{
    return table[0][crc & 0xff] ^ table[1][(crc >> 8) & 0xff] ^
           table[2][(crc >> 16) & 0xff] ^ table[3][crc >> 24];
}

static inline uint64_t
load64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, 8);

    return v;
}

__attribute__((target("sse4.2"))) static inline uint32_t
three_way(uint32_t crc, const uint8_t *p, size_t len, uint32_t table[4][256])
{
    size_t i;
    uint64_t a = crc, b = 0, c = 0;

    for (i = 0; i < len; i += 8) {
        a = _mm_crc32_u64(a, load64(p + i));
        b = _mm_crc32_u64(b, load64(p + len + i));
        c = _mm_crc32_u64(c, load64(p + 2 * len + i));
    }

    b ^= shift(table, (uint32_t)a);

    return shift(table, (uint32_t)b) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t
crc_sse42(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t v;

    crc = ~crc;

    while (len >= 3 * LONG_LEN) {
        crc = three_way(crc, p, LONG_LEN, long_shift);
        p += 3 * LONG_LEN;
        len -= 3 * LONG_LEN;
    }

    while (len >= 3 * SHORT_LEN) {
        crc = three_way(crc, p, SHORT_LEN, short_shift);
        p += 3 * SHORT_LEN;
        len -= 3 * SHORT_LEN;
    }

    for (v = crc; len >= 8; p += 8, len -= 8) {
        v = _mm_crc32_u64(v, load64(p));
    }

    crc = (uint32_t)v;

    for (; len > 0; p++, len--) {
        crc = _mm_crc32_u8(crc, *p);
    }

    return ~crc;
}

#endif /* __x86_64__ */

static uint32_t
crc_portable(uint32_t crc, const uint8_t *p, size_t len)
{
    uint32_t lo, hi;

    crc = ~crc;

    for (; len >= 8; p += 8, len -= 8) {
        lo = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 |
                    (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
        hi = (uint32_t)p[4] | (uint32_t)p[5] << 8 | (uint32_t)p[6] << 16 |
             (uint32_t)p[7] << 24;

        crc = bytes_table[7][lo & 0xff] ^ bytes_table[6][(lo >> 8) & 0xff] ^
              bytes_table[5][(lo >> 16) & 0xff] ^ bytes_table[4][lo >> 24] ^
              bytes_table[3][hi & 0xff] ^ bytes_table[2][(hi >> 8) & 0xff] ^
              bytes_table[1][(hi >> 16) & 0xff] ^ bytes_table[0][hi >> 24];
    }

    for (; len > 0; p++, len--) {
        crc = bytes_table[0][(crc ^ *p) & 0xff] ^ (crc >> 8);
    }

    return ~crc;
}

/* Before main, or when the module is loaded: no thread can be too early. */
__attribute__((constructor)) static void
lb_crc32c_init(void)
{
    uint32_t n, k, crc;

    for (n = 0; n < 256; n++) {
        crc = n;
        for (k = 0; k < 8; k++) {
            crc = crc & 1 ? (crc >> 1) ^ POLY : crc >> 1;
        }
        bytes_table[0][n] = crc;
    }

    for (n = 0; n < 256; n++) {
        for (k = 1; k < 8; k++) {
            crc = bytes_table[k - 1][n];
            bytes_table[k][n] = bytes_table[0][crc & 0xff] ^ (crc >> 8);
        }
    }

#if defined(__x86_64__)
    have_sse42 = __builtin_cpu_supports("sse4.2");
    make_shift(long_shift, LONG_LEN);
    make_shift(short_shift, SHORT_LEN);
#endif
}

uint32_t
lb_crc32c(uint32_t crc, const void *data, size_t len)
{
#if defined(__x86_64__)
    if (have_sse42) {
        return crc_sse42(crc, data, len);
    }
#endif

    return crc_portable(crc, data, len);
}

/* For tests: the path that other processors take. */
uint32_t lb_crc32c_portable(uint32_t crc, const void *data, size_t len);

uint32_t
lb_crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    return crc_portable(crc, data, len);
}
