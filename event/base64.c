/*
 * Base64: see base64.h.
 */

#include "event/base64.h"

/* Of a character that has no value: a bit that no 24 bits have. */
#define NONE 0x80000000u

/* The value of a character where it is the first to the fourth of four, in its
 * place of the 24 bits. */
static uint32_t shifted[4][256];

__attribute__((constructor)) static void
make_values(void)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz"
                                   "0123456789+/";

    for (unsigned place = 0; place < 4; place++) {
        for (unsigned c = 0; c < 256; c++) {
            shifted[place][c] = NONE;
        }
        for (uint32_t i = 0; i < 64; i++) {
            shifted[place][(uint8_t)alphabet[i]] = i << (18 - 6 * place);
        }
    }
}

/* The n characters at p, 2 to 4, as 24 bits; NONE is set if one has no value. */
static inline uint32_t
quad(const uint8_t *p, size_t n)
{
    return shifted[0][p[0]] | shifted[1][p[1]] |
           (n > 2 ? shifted[2][p[2]] : 0) | (n > 3 ? shifted[3][p[3]] : 0);
}

int
lb_base64(const uint8_t *in, size_t len, uint8_t *out, size_t *out_len)
{
    const uint8_t *end;
    uint8_t *o = out;
    uint32_t bits;
    size_t n;

    if (len > 0 && len % 4 == 0) {
        len -= in[len - 1] == '=';
        len -= in[len - 1] == '=';
    }

    for (end = in + len; end - in >= 4; in += 4) {
        bits = quad(in, 4);
        if (bits & NONE) {
            return -1;
        }
        o[0] = (uint8_t)(bits >> 16);
        o[1] = (uint8_t)(bits >> 8);
        o[2] = (uint8_t)bits;
        o += 3;
    }

    n = (size_t)(end - in);
    if (n > 0) {
        bits = n > 1 ? quad(in, n) : NONE;

        /* bits that no byte takes are zeros */
        if ((bits & NONE) || (bits & (n == 2 ? 0xffffu : 0xffu)) != 0) {
            return -1;
        }
        *o++ = (uint8_t)(bits >> 16);
        if (n == 3) {
            *o++ = (uint8_t)(bits >> 8);
        }
    }
    *out_len = (size_t)(o - out);
    return 0;
}
