/*
 * What the lifter knows of an event while it looks at its members; shared by
 * lift.c, value.c and rest.c.
 */

#ifndef _LB_WALK_H_INCLUDED_
#define _LB_WALK_H_INCLUDED_

#include "event/lift.h"
#include "event/names.h"
#include "event/unescape.h"

/* Room that copying by whole registers may touch behind the last byte. */
#define LB_LIFT_SLACK 64

/* A rank is the place in lb_names; what is less sure comes behind all of
 * these: a number for a date, or no string for a message; then all that is
 * found inside of objects under its own name. */
#define LB_RANK_UNSURE 0x100u
#define LB_RANK_INSIDE 0x200u
#define LB_RANK_NONE 0xffffu

typedef enum {
    LB_FORM_AS_IT_IS, /* a string without escapes */
    LB_FORM_ESCAPED,  /* one with them */
    LB_FORM_JSON,     /* another value: its text */
    LB_FORM_BYTES,    /* an array of numbers */
    /* parts of a string, which stays: */
    LB_FORM_PART,  /* from lb_walk_t.part to part_end */
    LB_FORM_TRACE, /* the ids of a traceparent */
    LB_FORM_SPAN,
} lb_form_t;

/* The best member for a field so far. */
typedef struct {
    const uint8_t *key; /* behind the quote */
    const uint8_t *value;
    const uint8_t *end;    /* of the value */
    const uint8_t *parent; /* the key of the object it is in; NULL: the event */
    uint8_t form;
    uint8_t stays; /* in the attributes as well: it says more */
} lb_found_t;

typedef struct {
    const uint8_t *event;
    const uint8_t *end;
    lb_unescape_fn unescape;
    /* 1 the best; LB_RANK_NONE: no member found */
    uint16_t rank[LB_ALL_FIELDS + 3];
    lb_found_t found[LB_ALL_FIELDS];
    uint8_t order[LB_ALL_FIELDS]; /* the fields found, as they are in the
                                     event */
    unsigned n;
    unsigned signs;
    unsigned needs; /* of any member taken */
    int64_t received_s;
    int64_t timestamp_ns;
    int level;
    unsigned columns; /* LB_LIFT_*, asked for */
    unsigned more;    /* LB_LIFT_*, found */
    uint8_t severity;
    uint8_t trace_flags;
    const uint8_t *part;
    const uint8_t *part_end;
} lb_walk_t;

#endif /* _LB_WALK_H_INCLUDED_ */
