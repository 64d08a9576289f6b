/*
 * Unfolding: a wrapper of events becomes these events.
 *
 *   {"logs":[{"message":"a"},{"message":"b"}],"app":"x"}
 *
 * A wrapper is an object with one member of a well-known name that is an array
 * of objects and nothing else, and that says nothing itself: no other member
 * of it has a name that stands for the time, the level or the message of an
 * event.  Each object of the array becomes an event, with the wrapper's other
 * members behind its own: nothing is lost.
 */

#ifndef _LB_UNFOLD_H_INCLUDED_
#define _LB_UNFOLD_H_INCLUDED_

#include "event/scan.h"

/* line: one event of the scanner, with its \n.  Could it be a wrapper?  Cheap,
 * for each request of one event. */
int lb_unfold_maybe(const uint8_t *line, size_t len);

/* LB_SCAN_EMPTY: it is none.  LB_SCAN_OK: its events are in out, as the scanner
 * writes them; LB_SCAN_NOSPACE; LB_SCAN_TOOBIG: one exceeds max_event.  Of res
 * only out_len and events are set. */
lb_scan_status_t lb_unfold(const uint8_t *line, size_t len, uint8_t *out,
                           size_t cap, size_t max_event, lb_scan_result_t *res);

#endif /* _LB_UNFOLD_H_INCLUDED_ */
