/*
 * What formats of foreign protocols have in common whose bodies are objects: a
 * context that all events stand behind, their place in the request, and what is
 * wrong with them.  Private to these formats.
 */

#ifndef _LB_DOOR_H_INCLUDED_
#define _LB_DOOR_H_INCLUDED_

#include "event/format.h"
#include "event/pieces.h"
#include "event/put.h"

/* Bytes of out that len bytes of a body need at most, where an event itself
 * grows by no more than seven for each of its bytes. */
size_t lb_door_out_max(size_t len);

typedef struct {
    const lb_scan_options_t *options;
    lb_scan_result_t *res;
    lb_out_t out;
    lb_pieces_t pieces;
    size_t max; /* bytes of an object; 0: those of an event */

    /* for the places: what a body brings, and which of them, by default the
     * number of the piece */
    const char *noun;
    const size_t *number;

    /* the context line of the events that follow, with its \n; NULL: none */
    const uint8_t *context;
    size_t context_len;

    /* the one in force; NULL: none yet */
    const uint8_t *in_force;
    size_t in_force_len;

    size_t objects; /* JSON objects among the pieces */
    uint8_t *begin; /* of the event that is written */
} lb_door_t;

/* Clears the door and the result. */
void lb_door_start(lb_door_t *door, uint8_t *out, size_t cap,
                   const lb_scan_options_t *options, lb_scan_result_t *res);

/* What lines of text bring, written behind the context: 0, or not 0 if there is
 * no room. */
int lb_door_enter(lb_door_t *door);

/* An event: begun, written member by member with a comma behind each (put.h),
 * ended.  begin: 0, or not 0 if there is no room; end: LB_SCAN_OK, also where
 * the event was too large and the object at hand is rejected instead, or
 * LB_SCAN_NOSPACE. */
int lb_door_begin(lb_door_t *door);
lb_scan_status_t lb_door_end(lb_door_t *door);

/* The same of an event inside of an object, of these bytes. */
lb_scan_status_t lb_door_end_of(lb_door_t *door, const uint8_t *piece,
                                size_t len);

/* A member that says when it was, as "timestamp": a number is a date, which goes
 * before any other number and date of the event; what is none, or more exact,
 * as it is.  0, or not 0 if there is no room. */
int lb_put_time(lb_out_t *out, const lb_member_t *m);

/* Instead of an event: some bytes, or the object at hand.  LB_SCAN_OK, or
 * LB_SCAN_NOSPACE. */
lb_scan_status_t lb_door_reject(lb_door_t *door, const uint8_t *piece,
                                size_t len, const char *reason);
lb_scan_status_t lb_door_reject_this(lb_door_t *door, const char *reason);

/* All objects of a body.  What is none is rejected; a body without one is
 * LB_SCAN_BAD, one without anything LB_SCAN_EMPTY. */
lb_scan_status_t lb_door_objects(lb_door_t *door, const uint8_t *in,
                                 size_t len);

/* The same of a body that may be text: each line that is no object is the
 * message of an event, what is not UTF-8 in it replaced.  LB_SCAN_OK also
 * without any; nothing is LB_SCAN_BAD. */
lb_scan_status_t lb_door_lines(lb_door_t *door, const uint8_t *in, size_t len);

/* The last status of all but LB_SCAN_BAD: what the result says. */
lb_scan_status_t lb_door_finish(lb_door_t *door, const uint8_t *out);

#endif /* _LB_DOOR_H_INCLUDED_ */
