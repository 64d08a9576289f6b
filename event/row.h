/*
 * An event as the row it becomes, in JSON: for people who look at it before the
 * table has it.
 */

#ifndef _LB_ROW_H_INCLUDED_
#define _LB_ROW_H_INCLUDED_

#include "event/context.h"
#include "event/lift.h"
#include "event/out.h"

/* Room for the members of an event of len bytes, with its context. */
size_t lb_row_max(size_t len, const lb_context_t *context);

/* The members of the row, a comma behind each: those of its columns that are
 * not empty, "timestamp" and "message" always.  fields: the event, lifted with
 * all of LB_LIFT_ALL that its context has not.  0, or -1: there may be no
 * room. */
int lb_row_put(lb_out_t *out, const lb_fields_t *fields,
               const lb_context_t *context);

#endif /* _LB_ROW_H_INCLUDED_ */
