/*
 * The wire format of protobuf, read in place ("Encoding" in its documentation):
 * the fields of a message one by one.  Groups are refused.  Nothing is read
 * outside of the message.
 */

#ifndef _LB_WIRE_H_INCLUDED_
#define _LB_WIRE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "event/ways.h"

/* Wire types. */
enum {
    LB_WIRE_VARINT = 0,
    LB_WIRE_FIXED64 = 1,
    LB_WIRE_BYTES = 2,
    LB_WIRE_FIXED32 = 5
};

/* The number and type of a field in one. */
#define LB_WIRE_FIELD(number, type) ((number) << 3 | (type))

/* What is left of a message. */
typedef struct {
    const uint8_t *p;
    const uint8_t *end;
} lb_wire_t;

typedef struct {
    uint32_t tag; /* as LB_WIRE_FIELD() */
    uint64_t number;
    lb_wire_t bytes;
} lb_wire_field_t;

/* The pieces of a message, one after another: the fields with this tag of an
 * outer one, or only the one at hand. */
typedef struct {
    lb_wire_t outer;
    uint32_t tag;
    lb_wire_t inner;
} lb_wire_pieces_t;

/* 0: more than ten bytes, or none that ends it. */
LB_INLINE int
lb_wire_varint(lb_wire_t *w, uint64_t *value)
{
    unsigned shift = 0;
    uint64_t v = 0;
    const uint8_t *p = w->p;

    if (lb_likely(p < w->end && *p < 0x80)) {
        *value = *p;
        w->p++;
        return 1;
    }

    for (; p < w->end && shift < 70; shift += 7) {
        v |= (uint64_t)(*p & 0x7f) << shift;
        if (*p++ < 0x80) {
            *value = v;
            w->p = p;
            return 1;
        }
    }

    return 0;
}

LB_INLINE uint64_t
lb_wire_little(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;

    while (n-- > 0) {
        v = v << 8 | p[n];
    }

    return v;
}

/* The next field: 1, 0 at the end, -1: malformed. */
LB_INLINE int
lb_wire_next(lb_wire_t *w, lb_wire_field_t *f)
{
    uint64_t v;

    if (w->p == w->end) {
        return 0;
    }

    if (!lb_wire_varint(w, &v) || v > UINT32_MAX || v < LB_WIRE_FIELD(1u, 0)) {
        return -1;
    }

    f->tag = (uint32_t)v;
    f->number = 0;
    f->bytes.p = f->bytes.end = w->p;

    switch (f->tag & 7) {

    case LB_WIRE_BYTES:
        if (!lb_wire_varint(w, &v) || v > (uint64_t)(w->end - w->p)) {
            return -1;
        }
        f->bytes.p = w->p;
        f->bytes.end = w->p += v;
        return 1;

    case LB_WIRE_VARINT:
        return lb_wire_varint(w, &f->number) ? 1 : -1;

    case LB_WIRE_FIXED64:
        if (w->end - w->p < 8) {
            return -1;
        }
        f->number = lb_wire_little(w->p, 8);
        w->p += 8;
        return 1;

    case LB_WIRE_FIXED32:
        if (w->end - w->p < 4) {
            return -1;
        }
        f->number = lb_wire_little(w->p, 4);
        w->p += 4;
        return 1;

    default:
        return -1;
    }
}

LB_INLINE int
lb_wire_next_of(lb_wire_pieces_t *m, lb_wire_field_t *f)
{
    int rc = lb_wire_next(&m->inner, f);

    while (lb_unlikely(rc == 0 && m->outer.p < m->outer.end)) {
        rc = lb_wire_next(&m->outer, f);
        if (rc <= 0) {
            return rc;
        }
        rc = 0;
        if (f->tag == m->tag) {
            m->inner = f->bytes;
            rc = lb_wire_next(&m->inner, f);
        }
    }

    return rc;
}

LB_INLINE lb_wire_pieces_t
lb_wire_whole(lb_wire_t message)
{
    lb_wire_pieces_t m = {{NULL, NULL}, 0, message};

    return m;
}

/* All fields of an outer message that have this tag, as one. */
LB_INLINE lb_wire_pieces_t
lb_wire_all_of(lb_wire_t outer, uint32_t tag)
{
    lb_wire_pieces_t m = {outer, tag, {NULL, NULL}};

    return m;
}

#endif /* _LB_WIRE_H_INCLUDED_ */
