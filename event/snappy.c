/*
 * Snappy's block format: see snappy.h.
 *
 * After format_description.txt of Snappy: the size as a varint, then literals
 * and copies of what is there already.
 */

#include "event/snappy.h"
#include "event/wire.h"

#include <string.h>

/* No element makes more of its bytes: 3 of a copy become 64. */
#define RATIO_MAX 22

static int
read_size(lb_wire_t *w, size_t *size)
{
    uint64_t n;

    if (!lb_wire_varint(w, &n) || n > UINT32_MAX ||
        n / RATIO_MAX > (uint64_t)(w->end - w->p)) {
        return -1;
    }
    *size = (size_t)n;
    return 0;
}

int
lb_snappy_size(const uint8_t *in, size_t len, size_t *size)
{
    lb_wire_t w = {in, in + len};

    return read_size(&w, size);
}

/* Bytes of a literal behind its tag; its length may take up to 4 of them. */
static const uint8_t *
literal(const uint8_t *p, const uint8_t *end, unsigned tag, size_t *n)
{
    unsigned more = tag >> 2 < 60 ? 0 : (tag >> 2) - 59;

    if ((size_t)(end - p) < more) {
        return NULL;
    }
    *n = (size_t)(more > 0 ? lb_wire_little(p, more) : tag >> 2) + 1;
    p += more;
    return (size_t)(end - p) < *n ? NULL : p;
}

/* The length and offset of a copy; where it ends. */
static const uint8_t *
copy(const uint8_t *p, const uint8_t *end, unsigned tag, size_t *n,
     size_t *offset)
{
    unsigned bytes = (tag & 3) == 3 ? 4 : tag & 3;

    if ((size_t)(end - p) < bytes) {
        return NULL;
    }
    *offset = (size_t)lb_wire_little(p, bytes);
    *n = (tag >> 2) + 1;
    if (bytes == 1) {
        *offset |= (size_t)(tag >> 5) << 8;
        *n = (tag >> 2 & 7) + 4;
    }
    return p + bytes;
}

int
lb_snappy(const uint8_t *in, size_t len, uint8_t *out, size_t size)
{
    lb_wire_t w = {in, in + len};
    const uint8_t *p, *end = in + len;
    uint8_t *o = out;
    size_t said, n, offset;

    if (read_size(&w, &said) != 0 || said != size) {
        return -1;
    }

    for (p = w.p; p < end;) {
        unsigned tag = *p++;

        if ((tag & 3) == 0) {
            p = literal(p, end, tag, &n);
            if (p == NULL || (size_t)(out + size - o) < n) {
                return -1;
            }
            memcpy(o, p, n);
            p += n;
            o += n;
            continue;
        }
        p = copy(p, end, tag, &n, &offset);
        if (p == NULL || offset == 0 || offset > (size_t)(o - out) ||
            (size_t)(out + size - o) < n) {
            return -1;
        }
        if (offset >= n) {
            memcpy(o, o - offset, n);
            o += n;
        } else {
            for (; n > 0; n--, o++) {
                *o = *(o - offset);
            }
        }
    }

    return o == out + size ? 0 : -1;
}
