/*
 * gzip and zlib inside of a body: see inflate.h.
 */

#include "event/inflate.h"

#include <libdeflate.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

/* The larger one of windowBits, and the flag that tells gzip from zlib by its
 * header, as zlib.h has them. */
#define ANY_HEADER (MAX_WBITS + 32)

/* RFC 1952: the header and the trailer of a member at the least, and the flag
 * of a checksum of the header, which libdeflate does not look at. */
#define MEMBER_MIN 18
#define FLG 3
#define FHCRC 2

int
lb_inflate_maybe(const uint8_t *in, size_t len)
{
    return len >= 2 && ((in[0] == 0x1f && in[1] == 0x8b) ||
                        (in[0] == 0x78 && ((in[0] << 8) | in[1]) % 31 == 0 &&
                         (in[1] & 0x20) == 0));
}

size_t
lb_inflate_says(const uint8_t *in, size_t len, size_t max)
{
    const uint8_t *p;
    size_t size;

    if (len < MEMBER_MIN || in[0] != 0x1f || in[1] != 0x8b ||
        (in[FLG] & FHCRC) != 0) {
        return 0;
    }
    p = in + len - 4;
    size = p[0] | (size_t)p[1] << 8 | (size_t)p[2] << 16 | (size_t)p[3] << 24;
    return size <= max && size / LB_INFLATE_RATIO <= len ? size : 0;
}

int
lb_inflate_member(struct libdeflate_decompressor *d, const uint8_t *in,
                  size_t len, uint8_t *out, size_t room, size_t *used,
                  size_t *made)
{
    return libdeflate_gzip_decompress_ex(d, in, len, out, room, used, made) ==
           LIBDEFLATE_SUCCESS;
}

/* More room: one byte above max tells what just fits from what does not. */
static lb_scan_status_t
grow(uint8_t **out, size_t *size, size_t max)
{
    uint8_t *more;

    if (*size > max) {
        return LB_SCAN_TOOBIG;
    }
    *size = *size < max / 2 ? *size * 2 : max + 1;
    more = realloc(*out, *size);
    if (more == NULL) {
        return LB_SCAN_NOMEM;
    }
    *out = more;
    return LB_SCAN_OK;
}

static lb_scan_status_t
run(z_stream *z, int state, size_t max, uint8_t **out, size_t *size)
{
    lb_scan_status_t rc;

    for (;;) {
        size_t done = (size_t)(z->next_out - *out);

        if (state == Z_STREAM_END) {
            /* what does not go on as another member is padding */
            if (z->avail_in < 2 || z->next_in[0] != 0x1f ||
                z->next_in[1] != 0x8b) {
                return done > max ? LB_SCAN_TOOBIG : LB_SCAN_OK;
            }
            inflateReset(z);
        }
        if (done == *size) {
            rc = grow(out, size, max);
            if (rc != LB_SCAN_OK) {
                return rc;
            }
            z->next_out = *out + done;
        }
        z->avail_out = *size - done > INT_MAX ? INT_MAX : (uInt)(*size - done);
        state = inflate(z, Z_NO_FLUSH);
        if (state != Z_OK && state != Z_STREAM_END) {
            return state == Z_MEM_ERROR ? LB_SCAN_NOMEM : LB_SCAN_BAD;
        }
    }
}

/* The first member of gzip by libdeflate, if it can be had so: the state that
 * zlib goes on from. */
static int
begin(z_stream *z, const uint8_t *in, size_t len, size_t room, uint8_t *out)
{
    struct libdeflate_decompressor *d;
    size_t used, made;
    int state = Z_OK;

    d = room > 0 ? libdeflate_alloc_decompressor() : NULL;
    if (d == NULL) {
        return state;
    }
    if (lb_inflate_member(d, in, len, out, room, &used, &made)) {
        z->next_in += used;
        z->avail_in -= (uInt)used;
        z->next_out += made;
        state = Z_STREAM_END;
    }
    libdeflate_free_decompressor(d);
    return state;
}

lb_scan_status_t
lb_inflate(const uint8_t *in, size_t len, size_t max, uint8_t **out,
           size_t *out_len)
{
    z_stream z = {0};
    const size_t says = lb_inflate_says(in, len, max);
    size_t size = len < max / 8 ? len * 8 + 64 : max + 1;
    lb_scan_status_t rc;

    *out = NULL;
    *out_len = 0;

    if (len > INT_MAX || max > SIZE_MAX / 2) {
        return LB_SCAN_TOOBIG;
    }
    size = size < says ? says : size;
    *out = malloc(size);
    if (*out == NULL || inflateInit2(&z, ANY_HEADER) != Z_OK) {
        free(*out);
        *out = NULL;
        return LB_SCAN_NOMEM;
    }

    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)len;
    z.next_out = *out;
    rc = run(&z, begin(&z, in, len, says, *out), max, out, &size);
    *out_len = (size_t)(z.next_out - *out);
    inflateEnd(&z);

    if (rc != LB_SCAN_OK) {
        free(*out);
        *out = NULL;
        *out_len = 0;
    }
    return rc;
}
