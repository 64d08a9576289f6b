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

/* Columns that a table may lack: what is not asked for stays in the
 * attributes. */
#define LB_LIFT_SPAN_ID 1u
#define LB_LIFT_TRACE_FLAGS 2u
#define LB_LIFT_SEVERITY 4u
#define LB_LIFT_EVENT_NAME 8u
#define LB_LIFT_RESOURCE 16u
#define LB_LIFT_SCOPE 32u
#define LB_LIFT_ALL 63u

typedef struct {
    int64_t timestamp_ns; /* since 1970 UTC */
    lb_str_t level;       /* lower case */
    lb_str_t service;
    lb_str_t host;
    lb_str_t message;
    lb_str_t trace_id;
    lb_str_t attributes; /* a JSON object, "{}" if nothing is left */

    uint8_t severity_number; /* the event's, or else that of its level; 0 */

    /* Those of the event that were asked for and are in it; the others of these
     * are not set. */
    unsigned more;
    lb_str_t span_id;
    lb_str_t event_name;
    lb_str_t resource; /* a JSON object */
    lb_str_t scope;
    uint8_t trace_flags;
} lb_fields_t;

/* Scratch a caller must provide for an event of len bytes. */
size_t lb_lift_scratch(size_t len);

/* event: one line of the scanner, without its \n.  Strings of fields point
 * into event or scratch and live as long as both.  timestamp_ns is that of the
 * event, or received_us.  columns: those of LB_LIFT_* that are asked for. */
void lb_lift(const uint8_t *event, size_t len, uint64_t received_us,
             unsigned columns, uint8_t *scratch, lb_fields_t *fields);

/* The same in one of the ways of ways.h. */
void lb_lift_by(unsigned way, const uint8_t *event, size_t len,
                uint64_t received_us, unsigned columns, uint8_t *scratch,
                lb_fields_t *fields);

#endif /* _LB_LIFT_H_INCLUDED_ */
