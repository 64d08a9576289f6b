/*
 * gzip and zlib that stand inside of a body, where no Content-Encoding tells.
 */

#ifndef _LB_INFLATE_H_INCLUDED_
#define _LB_INFLATE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "event/scan.h"

/* libdeflate's */
struct libdeflate_decompressor;

/* At its best, zlib makes one byte of as many ("zlib Technical Details"). */
#define LB_INFLATE_RATIO 1032u

/* Do the bytes begin as gzip or zlib does, and as no text can? */
int lb_inflate_maybe(const uint8_t *in, size_t len);

/* What they are, of at most max bytes, in memory that the caller frees: gzip,
 * member behind member, or zlib.  LB_SCAN_OK; LB_SCAN_BAD: they are cut or
 * broken; LB_SCAN_TOOBIG; LB_SCAN_NOMEM. */
lb_scan_status_t lb_inflate(const uint8_t *in, size_t len, size_t max,
                            uint8_t **out, size_t *out_len);

/* libdeflate takes half of zlib's time, but only where all of the bytes and the
 * room for what they become are there from the beginning.  So it takes the
 * first member of gzip, if the end of the bytes says how large that is (RFC
 * 1952, ISIZE); zlib takes the rest, and whatever is wrong.
 *
 * lb_inflate_says: the room, at most max bytes; 0: nothing that may be true.
 *
 * lb_inflate_member: 1: the member is whole and its checksum holds; it took
 * *used bytes and became *made.  0: zlib has to look, from the beginning. */
size_t lb_inflate_says(const uint8_t *in, size_t len, size_t max);
int lb_inflate_member(struct libdeflate_decompressor *d, const uint8_t *in,
                      size_t len, uint8_t *out, size_t room, size_t *used,
                      size_t *made);

#endif /* _LB_INFLATE_H_INCLUDED_ */
