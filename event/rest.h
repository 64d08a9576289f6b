/*
 * What is left of an event without the members that were lifted.
 */

#ifndef _LB_REST_H_INCLUDED_
#define _LB_REST_H_INCLUDED_

#include "event/walk.h"

/* A JSON object, in scratch or the event itself. */
lb_str_t lb_rest_of(const lb_walk_t *walk, uint8_t *scratch);

#endif /* _LB_REST_H_INCLUDED_ */
