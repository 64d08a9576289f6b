/*
 * OTLP: what both decoders write.  See otlp_write.h.
 */

#include "event/otlp_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "event/context.h"
#include "event/otlp.h"
#include "event/reject.h"

static const char hex[] = "0123456789abcdef";

void
lb_otlp_start(lb_otlp_t *w, const uint8_t *in, size_t len, uint8_t *out,
              size_t cap, const lb_scan_options_t *options,
              lb_scan_result_t *res)
{
    memset(w, 0, sizeof(*w));
    memset(res, 0, sizeof(*res));
    w->options = options;
    w->res = res;
    w->in = in;
    w->in_end = in + len;
    w->out = w->o = w->line = out;
    w->end = w->limit = out + cap;
    w->second = UINT64_MAX;
}

lb_scan_status_t
lb_otlp_finish(lb_otlp_t *w)
{
    lb_otlp_reply_t reply = {w->replaced};

    w->res->out_len = (size_t)(w->o - w->out);
    w->res->replaced = w->replaced;

    if (w->res->events == 0) {
        return LB_SCAN_EMPTY;
    }
    if (w->replaced > 0 &&
        lb_reply_put(w->options->reply, &reply, sizeof(reply)) != 0) {
        return LB_SCAN_NOMEM;
    }

    return LB_SCAN_OK;
}

lb_scan_status_t
lb_otlp_bad(lb_otlp_t *w, const uint8_t *at, const char *error)
{
    w->res->error = error;
    w->res->offset = (size_t)(at - w->in);

    return LB_SCAN_BAD;
}

/*
 * Lines
 */

void
lb_otlp_begin(lb_otlp_t *w)
{
    size_t room = (size_t)(w->end - w->o), max = w->options->max_event;

    /* and the \n */
    room = room > 0 ? room - 1 : 0;
    w->line = w->o;
    w->limit = w->o + (room <= max ? room : max);
}

/* No room in out, or only none that the line may have? */
static int
no_space(const lb_otlp_t *w)
{
    return w->limit + 1 >= w->end;
}

static lb_scan_status_t
reject(lb_otlp_t *w, const char *reason, const uint8_t *bytes, size_t len)
{
    char place[96];
    lb_out_t out = {w->o, w->end};
    lb_reject_t r = {
        .reason = reason,
        .place = place,
        .body = bytes,
        .body_len = len,
    };
    const int inside = bytes >= w->in && bytes <= w->in_end;
    lb_scan_status_t rc;

    (void)snprintf(place, sizeof(place),
                   "resourceLogs[%u].scopeLogs[%u].logRecords[%u]",
                   w->nresource, w->nscope, w->nrecord);

    rc = lb_reject(w->res, &out, w->rejecting,
                   inside ? (size_t)(bytes - w->in) : 0, &r);
    w->rejecting |= w->res->rejected <= LB_REJECT_MAX;
    w->o = out.o;
    w->limit = w->end;
    return rc;
}

lb_scan_status_t
lb_otlp_end_record(lb_otlp_t *w, lb_otlp_rc_t rc, const uint8_t *bytes,
                   size_t len)
{
    if (lb_likely(rc == LB_OTLP_OK)) {
        *w->o++ = '\n';
        w->res->events++;
        return LB_SCAN_OK;
    }

    if (rc == LB_OTLP_FULL && no_space(w)) {
        return LB_SCAN_NOSPACE;
    }

    w->o = w->line;

    return reject(w,
                  rc == LB_OTLP_FULL
                      ? "the record is larger than the limit for one event"
                  : rc == LB_OTLP_DEEP ? "the record is nested too deep"
                                       : "the record is malformed",
                  bytes, len);
}

/* The line is written: it counts, unless it says what is in force anyway. */
static void
context_written(lb_otlp_t *w)
{
    size_t len;

    *w->o++ = '\n';
    len = (size_t)(w->o - w->line);

    if (!w->rejecting &&
        (w->context_len == 0 ? len == sizeof("\001{}\n") - 1
                             : len == w->context_len &&
                                   memcmp(w->context, w->line, len) == 0)) {
        w->o = w->line;
        if (w->resource >= w->line) {
            w->resource = w->context_len > 0
                              ? w->context + (w->resource - w->line)
                              : w->out;
        }
        return;
    }

    w->res->contexts = 1;
    w->context = w->line;
    w->context_len = len;
    w->rejecting = 0;
}

/*
 * A resource is made once and copied then, and only if the scope fits behind
 * it: what many scopes of a large resource cost is bounded by what they write.
 */
lb_scan_status_t
lb_otlp_enter(lb_otlp_t *w, lb_otlp_part_fn resource, lb_otlp_part_fn scope,
              void *arg)
{
    int copied = w->resource != NULL;
    uint8_t *at, *behind;
    lb_otlp_rc_t rc;

    if (w->resource_too_large) {
        return LB_SCAN_TOOBIG;
    }

    lb_otlp_begin(w);
    if (lb_otlp_literal(w, "\001{") != LB_OTLP_OK) {
        return no_space(w) ? LB_SCAN_NOSPACE : LB_SCAN_TOOBIG;
    }
    at = w->o;

    if (copied) {
        rc = (size_t)(w->limit - at) < w->resource_len ? LB_OTLP_FULL
                                                       : LB_OTLP_OK;
        w->o += rc == LB_OTLP_OK ? w->resource_len : 0;
    } else {
        rc = resource(w, arg);
        if (rc == LB_OTLP_OK) {
            w->resource = at;
            w->resource_len = (size_t)(w->o - at);
        } else {
            w->resource_too_large = rc == LB_OTLP_FULL && !no_space(w);
        }
    }

    behind = w->o;

    if (rc == LB_OTLP_OK) {
        rc = scope(w, arg);
        if (rc == LB_OTLP_OK && copied && w->resource_len > 0) {
            /* its comma may have become a bracket there */
            memcpy(at, w->resource, w->resource_len);
            at[w->resource_len - 1] = ',';
        }
        if (rc == LB_OTLP_OK) {
            rc = lb_otlp_close(w, '}');
        }

        if (rc == LB_OTLP_FULL && !copied && !no_space(w)) {
            /* kept, to be copied for other scopes */
            w->o = behind;
            if (lb_otlp_close(w, '}') == LB_OTLP_OK) {
                context_written(w);
                return LB_SCAN_TOOBIG;
            }
            w->resource_too_large = 1;
        }
    }

    switch (rc) {
    case LB_OTLP_OK:
        context_written(w);
        return LB_SCAN_OK;
    case LB_OTLP_FULL:
        w->o = w->line;
        return no_space(w) ? LB_SCAN_NOSPACE : LB_SCAN_TOOBIG;
    default:
        return LB_SCAN_BAD;
    }
}

lb_scan_status_t
lb_otlp_no_context(lb_otlp_t *w, const uint8_t *bytes, size_t len)
{
    return reject(w,
                  "its resource and scope are larger than the limit for one "
                  "event",
                  bytes, len);
}

/*
 * Values
 */

lb_otlp_rc_t
lb_otlp_special(lb_otlp_t *w, const uint8_t **s, size_t *len)
{
    size_t n;
    uint8_t c = **s, *o = w->o;
    static const char escapes[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r',
    };

    if (w->limit - o < 6) {

        /* the last bytes of a line */
        n = c >= 0x20 && c < 0x80 && c != '"' && c != '\\'
                ? 1
                : (c >= 0x80 ? lb_utf8_len(*s, *len) : 2);
        if (n == 0) {
            n = 3;
        } else if (c < 0x20 && escapes[c] == 0) {
            n = 6;
        }
        if ((size_t)(w->limit - o) < n) {
            return LB_OTLP_FULL;
        }
    }

    if (c >= 0x80) {

        do {
            n = lb_utf8_len(*s, *len);

            if (n > 0) {
                memcpy(o, *s, n);
                o += n;
            } else {
                n = (size_t)-lb_repair_char(*s, *len);
                memcpy(o, "\xef\xbf\xbd", 3);
                o += 3;
                w->replaced++;
            }

            *s += n;
            *len -= n;
        } while (*len > 0 && **s >= 0x80 && w->limit - o >= 6);

        w->o = o;
        return LB_OTLP_OK;
    }

    if (c == '"' || c == '\\') {
        *o++ = '\\';
        *o++ = c;
    } else if (c >= 0x20) {
        *o++ = c;
    } else if (escapes[c] != 0) {
        *o++ = '\\';
        *o++ = (uint8_t)escapes[c];
    } else {
        memcpy(o, "\\u00", 4);
        o[4] = (uint8_t)hex[c >> 4];
        o[5] = (uint8_t)hex[c & 15];
        o += 6;
    }

    w->o = o;
    ++*s;
    --*len;

    return LB_OTLP_OK;
}

lb_otlp_rc_t
lb_otlp_unsigned(lb_otlp_t *w, uint64_t value)
{
    char text[20];
    unsigned n = sizeof(text);

    do {
        text[--n] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);

    return lb_otlp_raw(w, text + n, sizeof(text) - n);
}

lb_otlp_rc_t
lb_otlp_signed(lb_otlp_t *w, int64_t value)
{
    if (value >= 0) {
        return lb_otlp_unsigned(w, (uint64_t)value);
    }

    LB_OTLP_TRY(lb_otlp_literal(w, "-"));

    return lb_otlp_unsigned(w, 0 - (uint64_t)value);
}

lb_otlp_rc_t
lb_otlp_double(lb_otlp_t *w, double value)
{
    int n = 0, digits;
    char text[40];

    if (isnan(value)) {
        return lb_otlp_literal(w, "\"NaN\"");
    }
    if (isinf(value)) {
        return value > 0 ? lb_otlp_literal(w, "\"Infinity\"")
                         : lb_otlp_literal(w, "\"-Infinity\"");
    }

    /* the shortest that is read as the same again */
    for (digits = 15; digits <= 17; digits++) {
        n = snprintf(text, sizeof(text) - 2, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }

    if (strcspn(text, ".e") == (size_t)n) {
        memcpy(text + n, ".0", 2);
        n += 2;
    }

    return lb_otlp_raw(w, text, (size_t)n);
}

lb_otlp_rc_t
lb_otlp_base64(lb_otlp_t *w, const uint8_t *s, size_t len)
{
    uint32_t x;
    uint8_t *o = w->o;
    static const char code[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstu"
                               "vwxyz0123456789+/";

    if ((size_t)(w->limit - o) < 2 || (size_t)(w->limit - o) - 2 < len ||
        ((size_t)(w->limit - o) - 2) / 4 < (len + 2) / 3) {
        return LB_OTLP_FULL;
    }

    *o++ = '"';

    for (; len >= 3; len -= 3, s += 3) {
        x = (uint32_t)s[0] << 16 | (uint32_t)s[1] << 8 | s[2];
        *o++ = (uint8_t)code[x >> 18];
        *o++ = (uint8_t)code[x >> 12 & 63];
        *o++ = (uint8_t)code[x >> 6 & 63];
        *o++ = (uint8_t)code[x & 63];
    }

    if (len > 0) {
        x = (uint32_t)s[0] << 16 | (len > 1 ? (uint32_t)s[1] << 8 : 0);
        *o++ = (uint8_t)code[x >> 18];
        *o++ = (uint8_t)code[x >> 12 & 63];
        *o++ = (uint8_t)(len > 1 ? code[x >> 6 & 63] : '=');
        *o++ = '=';
    }

    *o++ = '"';
    w->o = o;

    return LB_OTLP_OK;
}
