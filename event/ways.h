/*
 * The scanner's ways of working, for json.c and for the tests that hold
 * one against the other.
 */

#ifndef _LB_SCANNER_PRIVATE_H_INCLUDED_
#define _LB_SCANNER_PRIVATE_H_INCLUDED_

#include "event/scan.h"

typedef lb_scan_status_t (*lb_scan_fn)(const uint8_t *in, size_t len,
                                       uint8_t *out, size_t cap,
                                       size_t max_event, lb_scan_result_t *res);

typedef struct {
    const char *name;
    lb_scan_fn json;
    lb_scan_fn text;
} lb_scan_impl_t;

/* The implementations this processor can run, the best one last; n is set to
 * their number. */
const lb_scan_impl_t *lb_scan_impls(size_t *n);

/* The way of json_flat.c, for processors with AVX2 alone: whole flat events
 * from the begin of in are copied to out.  Returns their bytes and adds their
 * number to *events. */
size_t lb_scan_flat(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
                    size_t max_event, uint32_t *events);

#endif /* _LB_SCANNER_PRIVATE_H_INCLUDED_ */
