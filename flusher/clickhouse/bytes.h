/*
 * Bytes that grow, and what Native writes into them.  Whatever puts something
 * returns 0, or -ENOMEM.
 */

#ifndef _LB_BYTES_H_INCLUDED_
#define _LB_BYTES_H_INCLUDED_

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t *data;
    size_t len;
    size_t cap;
} lb_bytes_t;

static inline int
lb_reserve(lb_bytes_t *b, size_t more)
{
    size_t cap;
    uint8_t *data;

    if (b->cap - b->len >= more) {
        return 0;
    }

    cap = b->cap * 2 > 4096 ? b->cap * 2 : 4096;
    if (cap < b->len + more) {
        cap = b->len + more;
    }

    data = realloc(b->data, cap);
    if (data == NULL) {
        return -ENOMEM;
    }

    b->data = data;
    b->cap = cap;

    return 0;
}

#define LB_VARINT_MAX 10

static inline size_t
lb_varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;

    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }

    p[n++] = (uint8_t)v;

    return n;
}

/* memcpy, without the call for the few bytes that most strings have. */
static inline void
lb_copy(uint8_t *to, const uint8_t *from, size_t len)
{
    if (len > 16) {
        memcpy(to, from, len);
    } else if (len >= 8) {
        memcpy(to, from, 8);
        memcpy(to + len - 8, from + len - 8, 8);
    } else if (len >= 4) {
        memcpy(to, from, 4);
        memcpy(to + len - 4, from + len - 4, 4);
    } else {
        while (len-- > 0) {
            to[len] = from[len];
        }
    }
}

static inline int
lb_put_string(lb_bytes_t *b, const void *data, size_t len)
{
    if (lb_reserve(b, len + LB_VARINT_MAX) != 0) {
        return -ENOMEM;
    }

    b->len += lb_varint(b->data + b->len, len);
    lb_copy(b->data + b->len, data, len);
    b->len += len;

    return 0;
}

/* The same bytes n times; n and len are not 0. */
static inline int
lb_put_again(lb_bytes_t *b, const void *data, size_t len, size_t n)
{
    size_t done = len, more;
    uint8_t *to;

    if (lb_reserve(b, len * n) != 0) {
        return -ENOMEM;
    }

    to = b->data + b->len;
    memcpy(to, data, len);

    /* what is there is doubled */
    while (done < len * n) {
        more = done < len * n - done ? done : len * n - done;
        memcpy(to + done, to, more);
        done += more;
    }

    b->len += done;

    return 0;
}

static inline int
lb_put_byte(lb_bytes_t *b, uint8_t v)
{
    if (lb_reserve(b, 1) != 0) {
        return -ENOMEM;
    }

    b->data[b->len++] = v;

    return 0;
}

static inline int
lb_put_u64(lb_bytes_t *b, uint64_t v)
{
    if (lb_reserve(b, 8) != 0) {
        return -ENOMEM;
    }

    v = htole64(v);
    memcpy(b->data + b->len, &v, 8);
    b->len += 8;

    return 0;
}

static inline int
lb_put_bytes(lb_bytes_t *b, const void *data, size_t len)
{
    if (lb_reserve(b, len) != 0) {
        return -ENOMEM;
    }

    memcpy(b->data + b->len, data, len);
    b->len += len;

    return 0;
}

#endif /* _LB_BYTES_H_INCLUDED_ */
