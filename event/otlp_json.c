/*
 * OTLP's logs in JSON: see otlp.h.
 *
 * The scanner checks the body and writes it without white space behind the room
 * for the lines; what is walked here is that, so that brackets match, strings
 * end, and nothing of it has to be checked again but what it means.  Strings go
 * into the lines with the escapes they have.
 *
 * Names are in lower camel case; 64-bit integers are numbers or strings; null
 * stands for what is not given; unknown members are passed over; of one that is
 * given twice the last counts.  The nesting of the body is bounded as a whole,
 * by LB_SCAN_DEPTH_MAX.
 */

#include "event/otlp_json.h"

#include <stdlib.h>

#include "event/explain.h"
#include "event/otlp_value.h"
#include "event/otlp_walk.h"
#include "event/otlp_write.h"
#include "event/repair.h"

/* Beside lb_otlp_record_t; NULL: not given. */
typedef struct {
    const uint8_t *body;
    const uint8_t *attributes;
} more_t;

/* A member of a record; 0: it is not what it should be. */
LB_INLINE int
record_member(const lb_otlp_text_t *key, const uint8_t *p, const uint8_t *end,
              lb_otlp_record_t *r, more_t *more)
{
    uint64_t number;

#define INTEGER(low, high, to)                                                 \
    if (!lb_otlp_integer(p, end, low, high, &number)) {                        \
        return 0;                                                              \
    }                                                                          \
    (to) = (__typeof__(to))number;

    switch (key->len) {

    case 4:
        if (LB_OTLP_IS(*key, "body")) {
            more->body = p;
        }
        break;

    case 5:
        if (LB_OTLP_IS(*key, "flags")) {
            INTEGER(0, UINT32_MAX, r->flags)
        }
        break;

    case 6:
        return !LB_OTLP_IS(*key, "spanId") ||
               lb_otlp_get_string(p, end, &r->span_id);

    case 7:
        return !LB_OTLP_IS(*key, "traceId") ||
               lb_otlp_get_string(p, end, &r->trace_id);

    case 9:
        return !LB_OTLP_IS(*key, "eventName") ||
               lb_otlp_get_string(p, end, &r->event_name);

    case 10:
        if (LB_OTLP_IS(*key, "attributes")) {
            more->attributes = p;
        }
        break;

    case 12:
        if (LB_OTLP_IS(*key, "timeUnixNano")) {
            INTEGER(0, UINT64_MAX, r->time)
        } else if (LB_OTLP_IS(*key, "severityText")) {
            return lb_otlp_get_string(p, end, &r->severity_text);
        }
        break;

    case 14:
        if (LB_OTLP_IS(*key, "severityNumber")) {
            INTEGER(INT32_MIN, INT32_MAX, r->severity_number)
        }
        break;

    case 20:
        if (LB_OTLP_IS(*key, "observedTimeUnixNano")) {
            INTEGER(0, UINT64_MAX, r->observed)
        }
        break;

    case 22:
        if (LB_OTLP_IS(*key, "droppedAttributesCount")) {
            INTEGER(0, UINT32_MAX, r->dropped)
        }
        break;
    }

#undef INTEGER
    return 1;
}

/* The record at p; *behind is behind it in any case. */
static lb_otlp_rc_t
put_record(lb_otlp_t *w, const uint8_t *p, const uint8_t **behind)
{
    int bad = 0;
    const uint8_t *value, *at;
    lb_otlp_record_t r;
    more_t more = {NULL, NULL};
    lb_otlp_text_t key;

    if (*p != '{') {
        *behind = lb_otlp_skip(p);
        return LB_OTLP_BAD;
    }

    memset(&r, 0, sizeof(r));

    for (p++; lb_otlp_member(&p, &key);) {
        value = p;
        p = lb_otlp_skip(p);
        bad |= !record_member(&key, value, p, &r, &more);
    }
    *behind = p + 1;

    if (bad) {
        return LB_OTLP_BAD;
    }

    LB_OTLP_TRY(lb_otlp_first(w, &r));

    if (more.body != NULL) {
        LB_OTLP_TRY(lb_otlp_literal(w, "\"message\":"));
        LB_OTLP_TRY(lb_otlp_put_any(w, more.body, &at));
        if (memcmp(w->o - 5, ":null", 5) == 0) {
            w->o -= sizeof("\"message\":null") - 1;
        } else {
            LB_OTLP_TRY(lb_otlp_literal(w, ","));
            w->names |= LB_OTLP_MESSAGE;
        }
    }

    LB_OTLP_TRY(lb_otlp_second(w, &r));

    if (more.attributes != NULL && *more.attributes != 'n') {
        LB_OTLP_TRY(lb_otlp_put_attributes(w, more.attributes, 1));
    }

    return lb_otlp_close(w, '}');
}

/* What stands around records; NULL: not given. */
typedef struct {
    const uint8_t *resource;
    const uint8_t *resource_schema;
    const uint8_t *scope;
    const uint8_t *scope_schema;
} around_t;

/* A resource or a scope, as its member `as`. */
static lb_otlp_rc_t
put_part(lb_otlp_t *w, const char *as, const uint8_t *p, const uint8_t *schema)
{
    uint8_t *begin = w->o;
    const uint8_t *value, *attributes = NULL;
    uint64_t dropped = 0;
    lb_otlp_text_t key, name = {0}, version = {0}, url = {0};

    if (p != NULL) {

        if (*p != '{') {
            return LB_OTLP_BAD;
        }

        for (p++; lb_otlp_member(&p, &key);) {
            value = p;
            p = lb_otlp_skip(p);

            if (LB_OTLP_IS(key, "attributes")) {
                attributes = *value != 'n' ? value : NULL;
            } else if (LB_OTLP_IS(key, "droppedAttributesCount")) {
                if (!lb_otlp_integer(value, p, 0, UINT32_MAX, &dropped)) {
                    return LB_OTLP_BAD;
                }
            } else if (*as == 's' &&
                       ((LB_OTLP_IS(key, "name") &&
                         !lb_otlp_get_string(value, p, &name)) ||
                        (LB_OTLP_IS(key, "version") &&
                         !lb_otlp_get_string(value, p, &version)))) {
                return LB_OTLP_BAD;
            }
        }
    }

    if (schema != NULL &&
        !lb_otlp_get_string(schema, lb_otlp_skip(schema), &url)) {
        return LB_OTLP_BAD;
    }

    w->names = (dropped != 0 ? LB_OTLP_DROPPED : 0) |
               (url.len > 0 ? LB_OTLP_SCHEMA_URL : 0) |
               (name.len > 0 ? LB_OTLP_NAME : 0) |
               (version.len > 0 ? LB_OTLP_VERSION : 0);

    LB_OTLP_TRY(lb_otlp_literal(w, "\""));
    LB_OTLP_TRY(lb_otlp_raw(w, as, strlen(as)));
    LB_OTLP_TRY(lb_otlp_literal(w, "\":{"));

    if (name.len > 0) {
        LB_OTLP_TRY(lb_otlp_literal(w, "\"name\":"));
        LB_OTLP_TRY(lb_otlp_string(w, &name));
        LB_OTLP_TRY(lb_otlp_literal(w, ","));
    }
    if (version.len > 0) {
        LB_OTLP_TRY(lb_otlp_literal(w, "\"version\":"));
        LB_OTLP_TRY(lb_otlp_string(w, &version));
        LB_OTLP_TRY(lb_otlp_literal(w, ","));
    }
    if (attributes != NULL) {
        LB_OTLP_TRY(lb_otlp_put_attributes(w, attributes, 1));
    }

    return lb_otlp_end_part(w, (uint32_t)dropped, &url, begin);
}

static lb_otlp_rc_t
put_resource(lb_otlp_t *w, void *arg)
{
    const around_t *a = arg;

    return put_part(w, "resource", a->resource, a->resource_schema);
}

static lb_otlp_rc_t
put_scope(lb_otlp_t *w, void *arg)
{
    const around_t *a = arg;

    return put_part(w, "scope", a->scope, a->scope_schema);
}

static lb_scan_status_t
malformed(lb_otlp_t *w)
{
    w->res->error = "the body is no valid ExportLogsServiceRequest in JSON";

    return LB_SCAN_BAD;
}

/* The array of records at p; *behind is behind it. */
static lb_scan_status_t
scan_records(lb_otlp_t *w, const uint8_t *p, around_t *a,
             const uint8_t **behind)
{
    const uint8_t *record;
    lb_otlp_rc_t written;
    lb_scan_status_t status, context = LB_SCAN_OK;

    w->nrecord = 0;

    if (*p != '[') {
        return malformed(w);
    }

    for (p++; lb_otlp_element(&p); w->nrecord++) {

        if ((w->nrecord == 0 || w->rejecting) && context == LB_SCAN_OK) {
            context = lb_otlp_enter(w, put_resource, put_scope, a);
            if (context == LB_SCAN_BAD) {
                return malformed(w);
            }
            if (context == LB_SCAN_NOSPACE) {
                return context;
            }
        }

        record = p;

        if (context != LB_SCAN_OK) {
            p = lb_otlp_skip(p);
            status = lb_otlp_no_context(w, record, (size_t)(p - record));
        } else {
            lb_otlp_begin(w);
            written = put_record(w, record, &p);
            status =
                lb_otlp_end_record(w, written, record, (size_t)(p - record));
        }
        if (status != LB_SCAN_OK) {
            return status;
        }
    }

    *behind = p + 1;

    return LB_SCAN_OK;
}

/*
 * What is around records may stand behind them, and seldom does: they are
 * written as if it did not, and once more if it does.
 */

typedef struct {
    lb_otlp_t w;
    lb_scan_result_t res;
} state_t;

static void
keep(const lb_otlp_t *w, state_t *state)
{
    state->w = *w;
    state->res = *w->res;
}

static void
restore(lb_otlp_t *w, const state_t *state)
{
    *w = state->w;
    *w->res = state->res;
}

/* The ScopeLogs at p; *behind is behind it. */
static lb_scan_status_t
scan_scope_logs(lb_otlp_t *w, const uint8_t *p, around_t *a,
                const uint8_t **behind)
{
    int late = 0;
    const uint8_t *records = NULL, *value;
    state_t before;
    lb_otlp_text_t key;
    lb_scan_status_t status;

    if (*p != '{') {
        return malformed(w);
    }

    a->scope = a->scope_schema = NULL;
    keep(w, &before);

    for (p++; lb_otlp_member(&p, &key);) {

        value = p;

        if (*p != 'n' && records == NULL && LB_OTLP_IS(key, "logRecords")) {
            records = p;
            status = scan_records(w, p, a, &p);
            if (status != LB_SCAN_OK) {
                return status;
            }
            continue;
        }

        p = lb_otlp_skip(p);

        if (*value == 'n') {
            continue;
        }
        if (LB_OTLP_IS(key, "scope")) {
            a->scope = value;
        } else if (LB_OTLP_IS(key, "schemaUrl")) {
            a->scope_schema = value;
        } else if (LB_OTLP_IS(key, "logRecords")) {
            records = value;
        } else {
            continue;
        }
        late |= records != NULL;
    }

    *behind = p + 1;

    if (!late) {
        return LB_SCAN_OK;
    }

    restore(w, &before);

    return scan_records(w, records, a, &value);
}

static lb_scan_status_t
scan_scopes(lb_otlp_t *w, const uint8_t *p, around_t *a, const uint8_t **behind)
{
    lb_scan_status_t status;

    w->resource = NULL;
    w->resource_too_large = 0;
    w->nscope = 0;

    if (*p != '[') {
        return malformed(w);
    }

    for (p++; lb_otlp_element(&p); w->nscope++) {
        status = scan_scope_logs(w, p, a, &p);
        if (status != LB_SCAN_OK) {
            return status;
        }
    }
    *behind = p + 1;

    return LB_SCAN_OK;
}

static lb_scan_status_t
scan_resource_logs(lb_otlp_t *w, const uint8_t *p, const uint8_t **behind)
{
    int late = 0;
    const uint8_t *scopes = NULL, *value;
    around_t a = {NULL, NULL, NULL, NULL};
    state_t before;
    lb_otlp_text_t key;
    lb_scan_status_t status;

    if (*p != '{') {
        return malformed(w);
    }

    keep(w, &before);

    for (p++; lb_otlp_member(&p, &key);) {

        value = p;

        if (*p != 'n' && scopes == NULL && LB_OTLP_IS(key, "scopeLogs")) {
            scopes = p;
            status = scan_scopes(w, p, &a, &p);
            if (status != LB_SCAN_OK) {
                return status;
            }
            continue;
        }

        p = lb_otlp_skip(p);

        if (*value == 'n') {
            continue;
        }
        if (LB_OTLP_IS(key, "resource")) {
            a.resource = value;
        } else if (LB_OTLP_IS(key, "schemaUrl")) {
            a.resource_schema = value;
        } else if (LB_OTLP_IS(key, "scopeLogs")) {
            scopes = value;
        } else {
            continue;
        }
        late |= scopes != NULL;
    }

    *behind = p + 1;

    if (!late) {
        return LB_SCAN_OK;
    }

    restore(w, &before);

    return scan_scopes(w, scopes, &a, &value);
}

/* The array of ResourceLogs at p; *behind is behind it. */
static lb_scan_status_t
scan_list(lb_otlp_t *w, const uint8_t *p, const uint8_t **behind)
{
    lb_scan_status_t status;

    w->nresource = 0;

    if (*p != '[') {
        return malformed(w);
    }

    for (p++; lb_otlp_element(&p); w->nresource++) {
        status = scan_resource_logs(w, p, &p);
        if (status != LB_SCAN_OK) {
            return status;
        }
    }
    *behind = p + 1;

    return LB_SCAN_OK;
}

/* The request at p, as the scanner wrote it. */
static lb_scan_status_t
scan_request(lb_otlp_t *w, const uint8_t *p)
{
    state_t before;
    lb_otlp_text_t key;
    lb_scan_status_t status;

    keep(w, &before);

    for (p++; lb_otlp_member(&p, &key);) {

        if (*p == 'n' || !LB_OTLP_IS(key, "resourceLogs")) {
            p = lb_otlp_skip(p);
            continue;
        }

        restore(w, &before);
        status = scan_list(w, p, &p);
        if (status != LB_SCAN_OK) {
            return status;
        }
    }

    return LB_SCAN_OK;
}

/* Once more with U+FFFD for what is no UTF-8; LB_SCAN_BAD: there is nothing of
 * that kind. */
static lb_scan_status_t
scan_repaired(lb_otlp_t *w, size_t len, uint8_t *to, size_t room,
              lb_scan_result_t *one)
{
    size_t n;
    uint8_t *body;
    lb_scan_status_t status = LB_SCAN_BAD;

    if (!w->options->patient) {
        return LB_SCAN_LATER;
    }

    body = malloc(LB_REPAIR_MAX(len));
    if (body == NULL) {
        return LB_SCAN_NOMEM;
    }

    n = lb_repair(body, w->in, len, &w->replaced);
    if (w->replaced > 0) {
        status = lb_scan_json(body, n, to, room, room, one);
    }
    free(body);

    return status;
}

static int
is_utf8(const uint8_t *s, size_t len)
{
    size_t n;

    for (; len > 0; s += n, len -= n) {
        n = lb_utf8_len(s, len);
        if (n == 0) {
            return 0;
        }
    }

    return 1;
}

static lb_scan_status_t
scan(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
     const lb_scan_options_t *options, lb_scan_result_t *res)
{
    size_t room = lb_scan_json_out_max(len);
    uint8_t *body;
    lb_otlp_t w;
    lb_scan_result_t one, repaired;
    lb_scan_status_t status;

    lb_otlp_start(&w, in, len, out, cap, options, res);

    if (cap < LB_OTLP_SLACK || cap - LB_OTLP_SLACK < room) {
        return LB_SCAN_NOSPACE;
    }

    body = out + (cap - LB_OTLP_SLACK - room);
    status = lb_scan_json(in, len, body, room, room, &one);

    if (status == LB_SCAN_BAD && !is_utf8(in, len)) {
        status = scan_repaired(&w, len, body, room, &repaired);
        /* places of what is wrong besides would not be those of the body */
        one = status == LB_SCAN_OK ? repaired : one;
    }

    switch (status) {
    case LB_SCAN_OK:
        break;
    case LB_SCAN_BAD:
        *res = one;
        res->out_len = res->events = 0;
        return LB_SCAN_BAD;
    default:
        return status;
    }

    while (len > 0 &&
           (*in == ' ' || *in == '\t' || *in == '\r' || *in == '\n')) {
        in++;
        len--;
    }
    if (one.events != 1 || *in != '{') {
        return malformed(&w);
    }

    w.end = w.limit = body;
    status = scan_request(&w, body);

    return status == LB_SCAN_OK ? lb_otlp_finish(&w) : status;
}

/* The body without white space, the lines, and a resource again for each of its
 * scopes. */
static size_t
out_max(size_t len)
{
    return len > (SIZE_MAX - (1u << 20)) / 64 ? SIZE_MAX
                                              : len * 64 + (1u << 20);
}

static const char *const types[] = {
    "application/json",
    NULL,
};

const lb_format_t lb_format_otlp_json = {
    .name = "otlp-json",
    .types = types,
    .scan = scan,
    .out_usual = 20,
    .out_max = out_max,
    .explain = lb_scan_explain,
};
