/*
 * The scanner of JSON.
 *
 * Accepts, strictly by RFC 8259 and UTF-8 (RFC 3629): objects, and arrays of
 * objects, one after another with any white space between them or none.
 */

#ifndef _LB_JSON_H_INCLUDED_
#define _LB_JSON_H_INCLUDED_

#include "event/scan.h"
#include "event/ways.h"

/* Deepest nesting of an event; the event's own braces are level 1. */
#define LB_SCAN_DEPTH_MAX 128

/* An lb_scan_fn. */
lb_scan_status_t lb_scan_json(const uint8_t *in, size_t len, uint8_t *out,
                              size_t cap, size_t max_event,
                              lb_scan_result_t *res);
size_t lb_scan_json_out_max(size_t len);

/* The same in each way, for the tests that hold one against the other. */
extern const lb_scan_fn lb_json_ways[LB_WAYS];

#endif /* _LB_JSON_H_INCLUDED_ */
