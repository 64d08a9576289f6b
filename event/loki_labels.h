/*
 * Loki's labels as text: {app="x", env=`y`}, the values as Go quotes strings.
 */

#ifndef _LB_LOKI_LABELS_H_INCLUDED_
#define _LB_LOKI_LABELS_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

/* Writes them as the members of a JSON object, a comma between two, into size
 * bytes of out; what is not UTF-8 becomes U+FFFD, and *replaced grows by their
 * number.  The bytes written, or -1: it is malformed, or does not fit (a byte
 * of text may need 6). */
int lb_loki_labels(const uint8_t *text, size_t len, uint8_t *out, size_t size,
                   uint64_t *replaced);

#endif /* _LB_LOKI_LABELS_H_INCLUDED_ */
