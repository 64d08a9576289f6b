/*
 * The scanner of text: {"message":"..."} of each line that is not empty.  A \r
 * before the \n is not part of the line; the text must be UTF-8 (control
 * characters are escaped).
 */

#ifndef _LB_TEXT_H_INCLUDED_
#define _LB_TEXT_H_INCLUDED_

#include "event/scan.h"
#include "event/ways.h"

/* An lb_scan_fn. */
lb_scan_status_t lb_scan_text(const uint8_t *in, size_t len, uint8_t *out,
                              size_t cap, size_t max_event,
                              lb_scan_result_t *res);
size_t lb_scan_text_out_max(size_t len);

/* The same in each way, for the tests that hold one against the other. */
extern const lb_scan_fn lb_text_ways[LB_WAYS];

#endif /* _LB_TEXT_H_INCLUDED_ */
