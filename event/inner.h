/*
 * Events inside of an event: a message that is a JSON object, or the text of
 * one.  Private to formats.
 */

#ifndef _LB_INNER_H_INCLUDED_
#define _LB_INNER_H_INCLUDED_

#include "event/put.h"

typedef struct {
    const uint8_t *p;   /* its members, as the scanner writes them */
    const uint8_t *end; /* of them, where the comma behind them is */
    int time;           /* it says of itself when it was, */
    int level;          /* and how bad */
} lb_inner_t;

/* Writes the members of the object that a value is, a comma behind each: what
 * inner says then is all set.  0; 1: it is none, or an empty one, nothing was
 * written; -1: no room.  While it works it needs twice the room. */
int lb_inner(lb_out_t *out, const uint8_t *value, const uint8_t *end,
             lb_inner_t *inner);

#endif /* _LB_INNER_H_INCLUDED_ */
