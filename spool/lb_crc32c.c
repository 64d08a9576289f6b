/*
 * CRC-32C (Castagnoli): reversed polynomial 0x82f63b78, initial value and
 * final xor 0xffffffff (RFC 3720, appendix B.4 has the test vectors).
 *
 * x86-64 with SSE4.2 and 64-bit ARM with the CRC extension have an instruction
 * for it, of a latency of two or three cycles and a throughput of one, so three
 * independent streams run side by side; each is then advanced over the bytes of
 * the streams behind it by a table and xored in.
 */

#include "lb_crc32c.h"

#include <string.h>

#define POLY 0x82f63b78u

static uint32_t bytes_table[8][256];

/*
 * Of each processor: step64 and step8 take a CRC over more bytes, which only
 * functions with HARDWARE may call, and those only if can_step says so.
 */
#if defined(__x86_64__)

#include <nmmintrin.h>

#define HARDWARE __attribute__((target("sse4.2")))
#define HARDWARE_NAME "sse4.2"

#define step64(crc, v) _mm_crc32_u64(crc, v)
#define step8(crc, v) _mm_crc32_u8(crc, v)

static int
can_step(void)
{
    return __builtin_cpu_supports("sse4.2");
}

#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

#include <asm/hwcap.h>
#include <sys/auxv.h>

#if defined(__clang__)
#define HARDWARE __attribute__((target("crc")))
#define step64(crc, v) __builtin_arm_crc32cd((uint32_t)(crc), v)
#define step8(crc, v) __builtin_arm_crc32cb(crc, v)
#else
#include <arm_acle.h>
#define HARDWARE __attribute__((target("+crc")))
#define step64(crc, v) __crc32cd((uint32_t)(crc), v)
#define step8(crc, v) __crc32cb(crc, v)
#endif
#define HARDWARE_NAME "armv8"

static int
can_step(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}

#endif

#ifdef HARDWARE

#define LONG_LEN 2048u
#define SHORT_LEN 256u

static int have_hardware;
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

HARDWARE static inline uint32_t
three_way(uint32_t crc, const uint8_t *p, size_t len, uint32_t table[4][256])
{
    size_t i;
    uint64_t a = crc, b = 0, c = 0;

    for (i = 0; i < len; i += 8) {
        a = step64(a, load64(p + i));
        b = step64(b, load64(p + len + i));
        c = step64(c, load64(p + 2 * len + i));
    }

    b ^= shift(table, (uint32_t)a);

    return shift(table, (uint32_t)b) ^ (uint32_t)c;
}

HARDWARE static uint32_t
crc_hardware(uint32_t crc, const uint8_t *p, size_t len)
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
        v = step64(v, load64(p));
    }

    crc = (uint32_t)v;

    for (; len > 0; p++, len--) {
        crc = step8(crc, *p);
    }

    return ~crc;
}

#endif /* HARDWARE */

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

#ifdef HARDWARE
    have_hardware = can_step();
    make_shift(long_shift, LONG_LEN);
    make_shift(short_shift, SHORT_LEN);
#endif
}

uint32_t
lb_crc32c(uint32_t crc, const void *data, size_t len)
{
#ifdef HARDWARE
    if (have_hardware) {
        return crc_hardware(crc, data, len);
    }
#endif

    return crc_portable(crc, data, len);
}

/* For tests: the path that other processors take, and which one this does. */
uint32_t lb_crc32c_portable(uint32_t crc, const void *data, size_t len);
const char *lb_crc32c_way(void);

uint32_t
lb_crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    return crc_portable(crc, data, len);
}

const char *
lb_crc32c_way(void)
{
#ifdef HARDWARE
    if (have_hardware) {
        return HARDWARE_NAME;
    }
#endif

    return "portable";
}
