/*
 * A format's scan as the module calls it, in memory of exactly the sizes: the
 * sanitizer sees the byte beside it.
 */

#ifndef _LB_TESTS_SCAN_ENV_H_INCLUDED_
#define _LB_TESTS_SCAN_ENV_H_INCLUDED_

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/format.h"

/* What came of the last scan that was LB_SCAN_OK, as strings. */
static char out[1 << 20];
static char reply[1 << 16];

static inline lb_scan_status_t
scan_format(const lb_format_t *format, const void *body, size_t len, size_t cap,
            const char *params, size_t params_len, int patient,
            lb_scan_result_t *res)
{
    lb_reply_t r = {0};
    lb_scan_options_t options = {
        .max_event = 1000,
        .max_body = 1 << 20,
        .patient = patient,
        .params = params,
        .params_len = params_len,
        .reply = &r,
    };
    uint8_t *in = malloc(len + 1);
    uint8_t *to = malloc(cap + 1);
    lb_scan_status_t rc;

    assert_non_null(in);
    assert_non_null(to);
    memcpy(in + 1, body, len);
    rc = format->scan(in + 1, len, to + 1, cap, &options, res);
    if (rc == LB_SCAN_OK) {
        memcpy(out, to + 1, res->out_len);
        out[res->out_len] = '\0';
        if (r.len > 0) {
            memcpy(reply, r.data, r.len);
        }
        reply[r.len] = '\0';
    }
    free(in);
    free(to);
    lb_reply_free(&r);
    return rc;
}

#endif /* _LB_TESTS_SCAN_ENV_H_INCLUDED_ */
