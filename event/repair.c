/*
 * Bytes that should be UTF-8 and may not be.
 */

#include "repair.h"

#include <string.h>

int
lb_repair_char(const uint8_t *s, size_t len)
{
    int i, more;
    uint8_t c = s[0], low = 0x80, high = 0xbf;

    if (c < 0x80) {
        return 1;
    }

    /* no overlong forms, no surrogates, nothing above U+10FFFF: the second
     * byte tells */

    if (c >= 0xc2 && c <= 0xdf) {
        more = 1;

    } else if (c >= 0xe0 && c <= 0xef) {
        more = 2;
        low = c == 0xe0 ? 0xa0 : 0x80;
        high = c == 0xed ? 0x9f : 0xbf;

    } else if (c >= 0xf0 && c <= 0xf4) {
        more = 3;
        low = c == 0xf0 ? 0x90 : 0x80;
        high = c == 0xf4 ? 0x8f : 0xbf;

    } else {
        return -1;
    }

    for (i = 1; i <= more; i++) {
        if ((size_t)i == len || s[i] < low || s[i] > high) {
            return -i;
        }
        low = 0x80;
        high = 0xbf;
    }

    return i;
}

size_t
lb_repair(uint8_t *to, const uint8_t *from, size_t len, uint64_t *replaced)
{
    int n;
    uint8_t *out = to;
    const uint8_t *end = from + len;

    while (from < end) {

        n = lb_repair_char(from, (size_t)(end - from));

        if (n > 0) {
            memcpy(out, from, (size_t)n);
            out += n;
            from += n;
            continue;
        }

        memcpy(out, "\xef\xbf\xbd", 3);
        out += 3;
        from -= n;

        if (replaced != NULL) {
            (*replaced)++;
        }
    }

    return (size_t)(out - to);
}

size_t
lb_repair_quote(uint8_t **to, const uint8_t *s, size_t len, size_t max,
                uint64_t *replaced)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t *o = *to;
    size_t i = 0;

    while (i < len) {
        int n = lb_repair_char(s + i, len - i);
        size_t taken = n > 0 ? (size_t)n : (size_t)-n;

        if (i + taken > max) {
            break;
        }
        if (n < 0) {
            memcpy(o, "\xef\xbf\xbd", 3);
            o += 3;
            if (replaced != NULL) {
                (*replaced)++;
            }
        } else if (s[i] == '"' || s[i] == '\\') {
            *o++ = '\\';
            *o++ = s[i];
        } else if (s[i] < 0x20) {
            memcpy(o, "\\u00", 4);
            o[4] = (uint8_t)hex[s[i] >> 4];
            o[5] = (uint8_t)hex[s[i] & 15];
            o += 6;
        } else {
            memcpy(o, s + i, taken);
            o += taken;
        }
        i += taken;
    }

    *to = o;
    return i;
}

int
lb_repair_put(lb_out_t *out, const uint8_t *s, size_t len, uint64_t *replaced)
{
    while (len > 0) {
        size_t n =
            lb_repair_quote(&out->o, s, len, lb_out_room(out) / 6, replaced);

        if (n == 0) {
            return -1;
        }
        s += n;
        len -= n;
    }
    return 0;
}
