/*
 * Base64 (RFC 4648, section 4), decoded.
 */

#ifndef _LB_BASE64_H_INCLUDED_
#define _LB_BASE64_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

/* Bytes that len of them become at most. */
#define LB_BASE64_MAX(len) ((len) / 4 * 3 + 2)

/* Decodes into out, which may be in itself, and sets *out_len.  0, or -1: it is
 * no base64; the padding may be missing. */
int lb_base64(const uint8_t *in, size_t len, uint8_t *out, size_t *out_len);

#endif /* _LB_BASE64_H_INCLUDED_ */
