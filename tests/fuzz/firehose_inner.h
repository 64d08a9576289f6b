/*
 * What is inside of Firehose's records, as a format of its own: the bytes of a
 * body are those of a record, and of a second one, packed.  A fuzzer cannot
 * guess base64 and gzip.
 */

#ifndef _LB_FUZZ_FIREHOSE_INNER_H_INCLUDED_
#define _LB_FUZZ_FIREHOSE_INNER_H_INCLUDED_

#include "event/firehose.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* in, in base64. */
static inline char *
lb_fuzz_encode(char *o, const uint8_t *in, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqr"
                                 "stuvwxyz0123456789+/";

    for (size_t i = 0; i < len; i += 3) {
        uint32_t bits = (uint32_t)in[i] << 16 |
                        (i + 1 < len ? (uint32_t)in[i + 1] << 8 : 0) |
                        (i + 2 < len ? in[i + 2] : 0);

        *o++ = digits[bits >> 18];
        *o++ = digits[bits >> 12 & 63];
        *o++ = i + 1 < len ? digits[bits >> 6 & 63] : '=';
        *o++ = i + 2 < len ? digits[bits & 63] : '=';
    }
    return o;
}

static lb_scan_status_t
lb_fuzz_scan(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
             const lb_scan_options_t *options, lb_scan_result_t *res)
{
    static const char before[] =
        "{\"requestId\":\"s\",\"records\":[{\"data\":\"";
    uLongf packed_len = compressBound(len);
    uint8_t *packed = malloc(packed_len);
    char *body = malloc(4 * (len + packed_len) + 200), *o = body;
    lb_scan_status_t rc;

    if (packed == NULL || body == NULL ||
        compress(packed, &packed_len, in, len) != Z_OK) {
        abort();
    }
    memcpy(o, before, sizeof(before) - 1);
    o = lb_fuzz_encode(o + sizeof(before) - 1, in, len);
    memcpy(o, "\"},{\"data\":\"", 12);
    o = lb_fuzz_encode(o + 12, packed, packed_len);
    memcpy(o, "\"}]}", 4);

    rc = lb_format_firehose.scan((uint8_t *)body, (size_t)(o + 4 - body), out,
                                 cap, options, res);
    /* these point into the body made here */
    res->offset = res->event_start = 0;
    free(packed);
    free(body);
    return rc;
}

static size_t
lb_fuzz_out_max(size_t len)
{
    return lb_format_firehose.out_max(4 * len + 1000);
}

static const lb_format_t lb_format_firehose_inner = {
    .name = "firehose_inner",
    .scan = lb_fuzz_scan,
    .out_max = lb_fuzz_out_max,
};

#endif /* _LB_FUZZ_FIREHOSE_INNER_H_INCLUDED_ */
