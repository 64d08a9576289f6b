/*
 * Words for an error of the JSON scanner that a person can act on, on the cold
 * path.
 */

#ifndef _LB_EXPLAIN_H_INCLUDED_
#define _LB_EXPLAIN_H_INCLUDED_

#include "event/scan.h"

/* The words are jansson's where it finds the same fault, else the scanner's
 * own.  Writes at most size bytes to text, zero-terminated, valid UTF-8, and
 * returns text. */
const char *lb_scan_explain(const uint8_t *in, size_t len,
                            const lb_scan_result_t *res, char *text,
                            size_t size);

#endif /* _LB_EXPLAIN_H_INCLUDED_ */
