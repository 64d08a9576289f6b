/*
 * What a member says: as a time, a level, a text.
 */

#ifndef _LB_VALUE_H_INCLUDED_
#define _LB_VALUE_H_INCLUDED_

#include "event/walk.h"

/* A value as what its name stands for; escapes: it is a string with some.  What
 * it says is noted in the walk, but for where it is.  Returns what makes it
 * less sure, to be added to its rank, or -1: it says nothing, or what was found
 * already is better. */
int lb_read_time(lb_walk_t *walk, unsigned rank, const uint8_t *value,
                 const uint8_t *end, int escapes);
int lb_read_level(lb_walk_t *walk, const lb_name_t *name, const uint8_t *value,
                  const uint8_t *end, int escapes);

/* Of all that is no string to be taken as it is; field: for which it is read,
 * which need not be the one of its name. */
int lb_read_text(lb_walk_t *walk, const lb_name_t *name, unsigned field,
                 unsigned rank, const uint8_t *value, const uint8_t *end,
                 int escapes);

/* The text of a field that is not LB_FORM_AS_IT_IS; moves *scratch behind what
 * it has put there. */
lb_str_t lb_make_string(lb_walk_t *walk, lb_found_t *found, uint8_t **scratch);

#endif /* _LB_VALUE_H_INCLUDED_ */
