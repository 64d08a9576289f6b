/*
 * When to check the table.  After a start, delivery comes first: the look
 * is made when there is nothing to deliver, or after some requests.  Not so for
 * a spool whose table was never looked at: it may be one that throws everything
 * away.  Then regularly, more
 * often while the verdict is not yes, and soon after an error that can come from
 * a changed table.  It is a request like any other, in this node's own slots.
 */

#ifndef _LB_LOOK_H_INCLUDED_
#define _LB_LOOK_H_INCLUDED_

#include "flusher/sink.h"

typedef struct {
    int64_t at;    /* monotonic ms, not earlier if something is to do, */
    int64_t idle;  /* nor than this if not */
    int64_t made;  /* the last one, 0: none yet */
    uint32_t need; /* so many other requests come first, if there are any */
    uint32_t since;
    int first; /* nothing is sent before the table was seen */
} lb_look_t;

/* known: the table was looked at before. */
void lb_look_init(lb_look_t *l, int64_t now, int known);

/* The next look is made after so many other requests, whatever else there is to
 * do: nothing is known of the table's columns. */
void lb_look_soon(lb_look_t *l, int64_t now, uint32_t requests);

/* 1: the next request is to be the look.  wanted: something else is to do. */
int lb_look_due(const lb_look_t *l, int64_t now, int wanted);

/* Another request was made and ended so. */
void lb_look_request(lb_look_t *l, int64_t now, uint32_t node_count,
                     const lb_said_t *said);

/* A look was made.  again: it has to be repeated at once. */
void lb_look_made(lb_look_t *l, int64_t now, uint32_t node_count,
                  const lb_verdict_t *p, int again);

#endif /* _LB_LOOK_H_INCLUDED_ */
