/*
 * gzip and zlib that stand inside of a body, where no Content-Encoding tells.
 */

#ifndef _LB_INFLATE_H_INCLUDED_
#define _LB_INFLATE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "event/scan.h"

/* At its best, zlib makes one byte of as many ("zlib Technical Details"). */
#define LB_INFLATE_RATIO 1032u

/* Do the bytes begin as gzip or zlib does, and as no text can? */
int lb_inflate_maybe(const uint8_t *in, size_t len);

/* What they are, of at most max bytes, in memory that the caller frees: gzip,
 * member behind member, or zlib.  LB_SCAN_OK; LB_SCAN_BAD: they are cut or
 * broken; LB_SCAN_TOOBIG; LB_SCAN_NOMEM. */
lb_scan_status_t lb_inflate(const uint8_t *in, size_t len, size_t max,
                            uint8_t **out, size_t *out_len);

#endif /* _LB_INFLATE_H_INCLUDED_ */
