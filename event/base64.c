/*
 * Base64: see base64.h.
 */

#include "event/base64.h"

#include <string.h>

/* 1 + the value of a character; 0: it has none. */
static uint8_t digits[256];

__attribute__((constructor)) static void
make_digits(void)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz"
                                   "0123456789+/";

    for (uint8_t i = 0; i < 64; i++) {
        digits[(uint8_t)alphabet[i]] = (uint8_t)(i + 1);
    }
}

/* The n characters at p, 2 to 4, as 24 bits; or UINT32_MAX. */
static inline uint32_t
quad(const uint8_t *p, size_t n)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < n; i++) {
        uint32_t digit = digits[p[i]];

        if (digit == 0) {
            return UINT32_MAX;
        }
        bits |= (digit - 1) << (18 - 6 * i);
    }
    return bits;
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
        if (bits == UINT32_MAX) {
            return -1;
        }
        o[0] = (uint8_t)(bits >> 16);
        o[1] = (uint8_t)(bits >> 8);
        o[2] = (uint8_t)bits;
        o += 3;
    }

    n = (size_t)(end - in);
    if (n > 0) {
        bits = n > 1 ? quad(in, n) : UINT32_MAX;

        /* bits that no byte takes are zeros */
        if (bits == UINT32_MAX || (bits & (n == 2 ? 0xffffu : 0xffu)) != 0) {
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
