/*
 * Lifting: the few well-known fields out of one event, the rest left as it
 * is.  Total: every line the scanner produced can be lifted, and nothing is
 * lost (a well-known field of an unexpected type or a second one of the same
 * name stays in the attributes).
 */

#ifndef _LB_LIFT_H_INCLUDED_
#define _LB_LIFT_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *data;
    size_t len;
} lb_str_t;

typedef struct {
    int64_t timestamp_ns; /* since 1970 UTC */
    lb_str_t level;       /* lower case */
    lb_str_t service;
    lb_str_t host;
    lb_str_t message;
    lb_str_t trace_id;
    lb_str_t attributes; /* a JSON object, "{}" if nothing is left */
} lb_fields_t;

/* Scratch a caller must provide for an event of len bytes. */
size_t lb_lift_scratch(size_t len);

/* event: one line of the scanner, without its \n.  Strings of fields point
 * into event or scratch and live as long as both.  timestamp_ns is that of the
 * event, or received_us. */
void lb_lift(const uint8_t *event, size_t len, uint64_t received_us,
             uint8_t *scratch, lb_fields_t *fields);

/* The same in one of the ways of ways.h. */
void lb_lift_by(unsigned way, const uint8_t *event, size_t len,
                uint64_t received_us, uint8_t *scratch, lb_fields_t *fields);

#endif /* _LB_LIFT_H_INCLUDED_ */
