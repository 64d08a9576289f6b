/*
 * Snappy's block format, decoded.
 */

#ifndef _LB_SNAPPY_H_INCLUDED_
#define _LB_SNAPPY_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

/* Bytes that len of them become, as they say: 0, or -1, they cannot. */
int lb_snappy_size(const uint8_t *in, size_t len, size_t *size);

/* Decodes into exactly the size of lb_snappy_size().  0, or -1: malformed. */
int lb_snappy(const uint8_t *in, size_t len, uint8_t *out, size_t size);

#endif /* _LB_SNAPPY_H_INCLUDED_ */
