/*
 * The names that members of an event are known by: which column each of them
 * stands for, and how its value is read.  docs/events.md has the same lists.
 */

#ifndef _LB_NAMES_H_INCLUDED_
#define _LB_NAMES_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "event/ways.h"

enum {
    LB_TIMESTAMP,
    LB_LEVEL,
    LB_SERVICE,
    LB_HOST,
    LB_MESSAGE,
    LB_TRACE_ID,
    LB_FIELDS,

    /* as LB_LIFT_*, in that order: they count where they are asked for */
    LB_SPAN_ID,
    LB_TRACE_FLAGS,
    LB_SEVERITY,
    LB_EVENT_NAME,
    LB_RESOURCE,
    LB_SCOPE,
    LB_ALL_FIELDS
};

#define LB_FIELD_COLUMN(field) (1u << ((field)-LB_SPAN_ID))

/* How the value is read: what else it is, is no value of this field. */
typedef enum {
    LB_READ_NOTHING,
    LB_READ_TIME,        /* a date, or a number of which lift.c thinks so */
    LB_READ_WORD,        /* a level in words; also of a number: */
    LB_READ_LEVEL,       /* of syslog, pino and bunyan, monolog */
    LB_READ_SYSLOG,      /* of syslog, 0 to 7 */
    LB_READ_OTEL,        /* of OpenTelemetry, 1 to 24; LB_SEVERITY as well */
    LB_READ_PYTHON,      /* of Python's logging, 10 to 50 */
    LB_READ_TRACEPARENT, /* of a W3C traceparent, the id; the span's and the
                            flags as well */
    LB_READ_FLAGS,       /* of a trace: a number, or two hexadecimal digits */
    LB_READ_OBJECT,      /* all of an object that is not empty */
    LB_READ_PATH,        /* of projects/NAME/traces/ID, the id */
    LB_READ_SIGNED,      /* as the next, of a name that needs a sign */
    /* all of a string that is not empty */
    LB_READ_TEXT,
    LB_READ_ANY,   /* ditto; other values as their JSON text */
    LB_READ_BYTES, /* ditto, an array of bytes as the text they are */
} lb_read_t;

/* Members by which it is known who wrote the event. */
#define LB_SIGN_PID 1u     /* pino, bunyan */
#define LB_SIGN_MONGO 2u   /* MongoDB */
#define LB_SIGN_DATADOG 4u /* Datadog's agent */
#define LB_SIGN_SPAN 8u    /* what has an LB_SPAN_ID: OpenTelemetry */

/* Of inside: its members count under "name.member". */
#define LB_DOTTED 0x8000u

typedef struct {
    const char *name;
    uint8_t field; /* LB_FIELDS: none */
    uint8_t read;
    uint16_t inside; /* what members of an object of this name stand for:
                        fields, as bits, that they count for under their own
                        names */
    uint8_t sign;    /* this is one */
    uint8_t needs;   /* counts only beside such a sign */
} lb_name_t;

/* Of names of the same field the earlier one goes before the later. */
extern const lb_name_t lb_names[];
extern const size_t lb_names_count;

#define LB_NAMES_MAX 255
#define LB_NAME_SLOTS 1024u

/* Where lb_name_find looks: made from lb_names before main. */
typedef struct {
    uint64_t ends; /* lb_name_ends() */
    uint8_t len;   /* 0: the slot is free */
    uint8_t row;   /* of lb_names */
} lb_name_slot_t;

extern lb_name_slot_t lb_name_slots[LB_NAME_SLOTS];

/* Eight bytes of each name, from the fifth on; zeros behind it. */
extern uint8_t lb_name_middles[LB_NAMES_MAX][8];

LB_INLINE uint32_t
lb_name_four(const uint8_t *p)
{
    uint32_t x;

    memcpy(&x, p, 4);
    return x;
}

/* The first four bytes and the last four; of fewer than four, the first, the
 * one in the middle and the last. */
LB_INLINE uint64_t
lb_name_ends(const uint8_t *p, size_t len)
{
    if (len >= 4) {
        return (uint64_t)lb_name_four(p) << 32 | lb_name_four(p + len - 4);
    }
    return len > 0
               ? (uint64_t)p[0] << 16 | (uint64_t)p[len / 2] << 8 | p[len - 1]
               : 0;
}

LB_INLINE unsigned
lb_name_first_slot(uint64_t ends)
{
    return (unsigned)(ends * UINT64_C(0x9e3779b97f4a7c15) >> 54);
}

_Static_assert(LB_NAME_SLOTS == 1u << (64 - 54), "lb_name_first_slot");

/* Is this name, of more than eight bytes, the one in the row?  Their ends are
 * the same. */
LB_INLINE int
lb_name_same(const uint8_t *key, size_t len, unsigned row)
{
    const uint8_t *name = (const uint8_t *)lb_names[row].name;
    uint64_t x, y;

    if (lb_unlikely(len > 16)) {
        return memcmp(name + 4, key + 4, len - 8) == 0;
    }
    memcpy(&x, key + 4, 8);
    memcpy(&y, lb_name_middles[row], 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (x ^ y) >> (8 * (16 - len)) == 0;
#else
    return (x ^ y) << (8 * (16 - len)) == 0;
#endif
}

/* The row of lb_names that has the name, or -1.  Of a key of 9 to 16 bytes, three
 * more can be read behind it: a quote, a colon and a value. */
LB_INLINE int
lb_name_find(const uint8_t *key, size_t len)
{
    uint64_t ends = lb_name_ends(key, len);
    unsigned i = lb_name_first_slot(ends);
    const lb_name_slot_t *slot;

    for (slot = &lb_name_slots[i]; slot->len != 0; slot = &lb_name_slots[i]) {
        if (slot->ends == ends && slot->len == len &&
            (len <= 8 || lb_name_same(key, len, slot->row))) {
            return slot->row;
        }
        i = (i + 1) % LB_NAME_SLOTS;
    }
    return -1;
}

#endif /* _LB_NAMES_H_INCLUDED_ */
