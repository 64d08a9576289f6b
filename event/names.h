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
    LB_FIELDS
};

/* How the value is read: what else it is, is no value of this field. */
typedef enum {
    LB_READ_NOTHING,
    LB_READ_TIME,        /* a date, or a number of which lift.c thinks so */
    LB_READ_WORD,        /* a level in words; also of a number: */
    LB_READ_LEVEL,       /* of syslog, pino and bunyan, monolog */
    LB_READ_SYSLOG,      /* of syslog, 0 to 7 */
    LB_READ_OTEL,        /* of OpenTelemetry, 1 to 24 */
    LB_READ_PYTHON,      /* of Python's logging, 10 to 50 */
    LB_READ_TRACEPARENT, /* of a W3C traceparent, the id */
    LB_READ_PATH,        /* of a path, what is behind the last '/' */
    /* all of a string that is not empty */
    LB_READ_TEXT,
    LB_READ_ANY,   /* ditto; other values as their JSON text */
    LB_READ_BYTES, /* ditto, an array of bytes as the text they are */
} lb_read_t;

/* Members by which it is known who wrote the event. */
#define LB_SIGN_PID 1u     /* pino, bunyan */
#define LB_SIGN_MONGO 2u   /* MongoDB */
#define LB_SIGN_DATADOG 4u /* Datadog's agent */

/* Of inside: its members count under "name.member". */
#define LB_DOTTED 0x80u

typedef struct {
    const char *name;
    uint8_t field; /* LB_FIELDS: none */
    uint8_t read;
    uint8_t inside; /* what members of an object of this name stand for: fields,
                       as bits, that they count for under their own names */
    uint8_t sign;   /* this is one */
    uint8_t needs;  /* counts only beside such a sign */
} lb_name_t;

/* Of names of the same field the earlier one goes before the later. */
extern const lb_name_t lb_names[];
extern const size_t lb_names_count;

#define LB_NAMES_MAX 255
#define LB_NAME_SLOTS 1024u

/* For lb_name_find: made from lb_names before main. */
typedef struct {
    uint64_t first; /* eight bytes, the first in the lowest; zeros behind */
    uint64_t last;  /* of a name of eight and more */
} lb_name_key_t;

extern lb_name_key_t lb_name_keys[LB_NAMES_MAX + 1];
extern uint8_t lb_name_lens[LB_NAMES_MAX + 1];
extern uint8_t lb_name_slots[LB_NAME_SLOTS]; /* 1 + index of lb_names, or 0 */

LB_INLINE uint64_t
lb_name_eight(const uint8_t *p)
{
    uint64_t x;

    memcpy(&x, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

static const uint64_t lb_name_masks[9] = {
    0,
    UINT64_C(0xff),
    UINT64_C(0xffff),
    UINT64_C(0xffffff),
    UINT64_C(0xffffffff),
    UINT64_C(0xffffffffff),
    UINT64_C(0xffffffffffff),
    UINT64_C(0xffffffffffffff),
    ~UINT64_C(0),
};

/* lb_name_first at the end of what can be read. */
static LB_COLD __attribute__((unused)) uint64_t
lb_name_few(const uint8_t *p, size_t len)
{
    uint8_t few[8] = {0};

    memcpy(few, p, len < 8 ? len : 8);
    return lb_name_eight(few);
}

/* The first eight of the len bytes at p, of which all before end can be read. */
LB_INLINE uint64_t
lb_name_first(const uint8_t *p, size_t len, const uint8_t *end)
{
    if (lb_unlikely(end - p < 8)) {
        return lb_name_few(p, len);
    }
    return lb_name_eight(p) & lb_name_masks[len < 8 ? len : 8];
}

LB_INLINE unsigned
lb_name_slot(uint64_t first, size_t len)
{
    return (unsigned)((first + len) * UINT64_C(0x9e3779b97f4a7c15) >> 54);
}

_Static_assert(LB_NAME_SLOTS == 1u << (64 - 54), "lb_name_slot");

/* Whether a name is the one in this row, once their first bytes are the same;
 * there are no zeros in names. */
LB_INLINE int
lb_name_same(int row, const uint8_t *key, size_t len)
{
    return len < 8 || (lb_name_lens[row] == len &&
                       lb_name_keys[row].last == lb_name_eight(key + len - 8) &&
                       (len <= 16 || memcmp(lb_names[row].name + 8, key + 8,
                                            len - 16) == 0));
}

/* The row of lb_names that has the name at key, or -1; all before end can be
 * read. */
LB_INLINE int
lb_name_find(const uint8_t *key, size_t len, const uint8_t *end)
{
    uint64_t first = lb_name_first(key, len, end);
    unsigned slot = lb_name_slot(first, len);

    while (lb_name_slots[slot] != 0) {
        int row = lb_name_slots[slot] - 1;

        if (lb_name_keys[row].first == first && lb_name_same(row, key, len)) {
            return row;
        }
        slot = (slot + 1) % LB_NAME_SLOTS;
    }
    return -1;
}

#endif /* _LB_NAMES_H_INCLUDED_ */
