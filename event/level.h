/*
 * Levels: the words and numbers of the many conventions, as the few canonical
 * ones.
 */

#ifndef _LB_LEVEL_H_INCLUDED_
#define _LB_LEVEL_H_INCLUDED_

#include "event/lift.h"
#include "event/names.h"

/* trace, debug, info, notice, warn, error, fatal; behind them an empty one */
#define LB_LEVELS 7
extern const lb_str_t lb_level_names[LB_LEVELS + 1];

/* The same as numbers of OpenTelemetry; 0: none. */
extern const uint8_t lb_level_numbers[LB_LEVELS + 1];

/* The level that the text p..end stands for, an index of lb_level_names: a
 * word in any case (also with a number behind it, as in "debug1", "INFO+2"),
 * or, as `read` allows, a number.  *same: it is the canonical word.  -1: none. */
int lb_level(const uint8_t *p, const uint8_t *end, lb_read_t read, int *same);

/* The number of OpenTelemetry that the text p..end is, 1 to 24; 0: none. */
uint8_t lb_severity(const uint8_t *p, const uint8_t *end);

#endif /* _LB_LEVEL_H_INCLUDED_ */
