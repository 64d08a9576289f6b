/*
 * OTLP's logs in protobuf: see otlp.h.
 *
 * The reader knows the encoding ("Encoding" in protobuf's documentation) and
 * the field numbers of opentelemetry-proto 1.x: collector/logs/v1, logs/v1,
 * common/v1, resource/v1.  No tree, no allocation: a message is looked through
 * for what stands before its parts in a line, then again for these.  Fields may
 * come in any order and several times: the last one counts, and messages that
 * are given in pieces are one.  Unknown fields are passed over, groups refused.
 */

#include "event/otlp_proto.h"
#include "event/otlp_write.h"
#include "event/wire.h"

/* ExportLogsServiceRequest */
#define REQUEST_RESOURCE_LOGS LB_WIRE_FIELD(1u, LB_WIRE_BYTES)
/* ResourceLogs */
#define RESOURCE_LOGS_RESOURCE LB_WIRE_FIELD(1u, LB_WIRE_BYTES)
#define RESOURCE_LOGS_SCOPE_LOGS LB_WIRE_FIELD(2u, LB_WIRE_BYTES)
#define RESOURCE_LOGS_SCHEMA_URL LB_WIRE_FIELD(3u, LB_WIRE_BYTES)
/* Resource */
#define RESOURCE_ATTRIBUTES LB_WIRE_FIELD(1u, LB_WIRE_BYTES)
#define RESOURCE_DROPPED LB_WIRE_FIELD(2u, LB_WIRE_VARINT)
/* ScopeLogs */
#define SCOPE_LOGS_SCOPE LB_WIRE_FIELD(1u, LB_WIRE_BYTES)
#define SCOPE_LOGS_LOG_RECORDS LB_WIRE_FIELD(2u, LB_WIRE_BYTES)
#define SCOPE_LOGS_SCHEMA_URL LB_WIRE_FIELD(3u, LB_WIRE_BYTES)
/* InstrumentationScope */
#define SCOPE_NAME LB_WIRE_FIELD(1u, LB_WIRE_BYTES)
#define SCOPE_VERSION LB_WIRE_FIELD(2u, LB_WIRE_BYTES)
#define SCOPE_ATTRIBUTES LB_WIRE_FIELD(3u, LB_WIRE_BYTES)
#define SCOPE_DROPPED LB_WIRE_FIELD(4u, LB_WIRE_VARINT)
/* LogRecord */
#define RECORD_TIME LB_WIRE_FIELD(1u, LB_WIRE_FIXED64)
#define RECORD_SEVERITY_NUMBER LB_WIRE_FIELD(2u, LB_WIRE_VARINT)
#define RECORD_SEVERITY_TEXT LB_WIRE_FIELD(3u, LB_WIRE_BYTES)
#define RECORD_BODY LB_WIRE_FIELD(5u, LB_WIRE_BYTES)
#define RECORD_ATTRIBUTES LB_WIRE_FIELD(6u, LB_WIRE_BYTES)
#define RECORD_DROPPED LB_WIRE_FIELD(7u, LB_WIRE_VARINT)
#define RECORD_FLAGS LB_WIRE_FIELD(8u, LB_WIRE_FIXED32)
#define RECORD_TRACE_ID LB_WIRE_FIELD(9u, LB_WIRE_BYTES)
#define RECORD_SPAN_ID LB_WIRE_FIELD(10u, LB_WIRE_BYTES)
#define RECORD_OBSERVED LB_WIRE_FIELD(11u, LB_WIRE_FIXED64)
#define RECORD_EVENT_NAME LB_WIRE_FIELD(12u, LB_WIRE_BYTES)
/* KeyValue */
#define KEY_VALUE_KEY LB_WIRE_FIELD(1u, LB_WIRE_BYTES)
#define KEY_VALUE_VALUE LB_WIRE_FIELD(2u, LB_WIRE_BYTES)
/* AnyValue */
#define ANY_STRING LB_WIRE_FIELD(1u, LB_WIRE_BYTES)
#define ANY_BOOL LB_WIRE_FIELD(2u, LB_WIRE_VARINT)
#define ANY_INT LB_WIRE_FIELD(3u, LB_WIRE_VARINT)
#define ANY_DOUBLE LB_WIRE_FIELD(4u, LB_WIRE_FIXED64)
#define ANY_ARRAY LB_WIRE_FIELD(5u, LB_WIRE_BYTES)
#define ANY_MAP LB_WIRE_FIELD(6u, LB_WIRE_BYTES)
#define ANY_BYTES LB_WIRE_FIELD(7u, LB_WIRE_BYTES)
/* ArrayValue, KeyValueList */
#define LIST_VALUES LB_WIRE_FIELD(1u, LB_WIRE_BYTES)

static lb_otlp_text_t
text(lb_wire_t bytes)
{
    lb_otlp_text_t t = {bytes.p, (size_t)(bytes.end - bytes.p), 0};

    return t;
}

static lb_otlp_rc_t put_any(lb_otlp_t *w, lb_wire_pieces_t any, unsigned depth);

/* A member and its comma; top: its object has names of our own. */
static lb_otlp_rc_t
put_key_value(lb_otlp_t *w, lb_wire_t key_value, unsigned depth, int top)
{
    int rc;
    unsigned values = 0;
    lb_wire_t rest = key_value;
    lb_wire_field_t f;
    lb_wire_pieces_t value = {{NULL, NULL}, 0, {NULL, NULL}};
    lb_otlp_text_t key = {(const uint8_t *)"", 0, 0};

    while ((rc = lb_wire_next(&rest, &f)) > 0) {
        if (f.tag == KEY_VALUE_KEY) {
            key = text(f.bytes);
        } else if (f.tag == KEY_VALUE_VALUE) {
            value.inner = f.bytes;
            values++;
        }
    }
    if (rc < 0) {
        return LB_OTLP_BAD;
    }
    if (lb_unlikely(values > 1)) {
        value = lb_wire_all_of(key_value, KEY_VALUE_VALUE);
    }

    LB_OTLP_TRY(lb_otlp_key(w, &key, top));
    LB_OTLP_TRY(put_any(w, value, depth));

    return lb_otlp_literal(w, ",");
}

/* The elements of an array or a map, which are in these fields of its pieces:
 * *any is where the first one is. */
static lb_otlp_rc_t
put_list(lb_otlp_t *w, lb_wire_pieces_t any, uint32_t tag, unsigned depth)
{
    int rc, more;
    lb_wire_t list;
    lb_wire_field_t f;

    /* depth are the brackets around this one */
    if (depth >= LB_SCAN_DEPTH_MAX) {
        return LB_OTLP_DEEP;
    }

    LB_OTLP_TRY(lb_otlp_raw(w, tag == ANY_MAP ? "{" : "[", 1));

    while ((rc = lb_wire_next_of(&any, &f)) > 0) {

        if (f.tag != tag) {
            continue;
        }

        list = f.bytes;
        while ((more = lb_wire_next(&list, &f)) > 0) {
            if (f.tag != LIST_VALUES) {
                continue;
            }
            if (tag == ANY_MAP) {
                LB_OTLP_TRY(put_key_value(w, f.bytes, depth + 1, 0));
            } else {
                LB_OTLP_TRY(put_any(w, lb_wire_whole(f.bytes), depth + 1));
                LB_OTLP_TRY(lb_otlp_literal(w, ","));
            }
        }
        if (more < 0) {
            return LB_OTLP_BAD;
        }
    }

    if (rc < 0) {
        return LB_OTLP_BAD;
    }

    return lb_otlp_close(w, tag == ANY_MAP ? '}' : ']');
}

/* A value; one that is none is null.  depth: brackets around it. */
static lb_otlp_rc_t
put_any(lb_otlp_t *w, lb_wire_pieces_t any, unsigned depth)
{
    int rc;
    double number;
    lb_wire_field_t f, last = {0};
    lb_wire_pieces_t from, list = any;
    lb_otlp_text_t string;

    for (;;) {

        from = any;
        rc = lb_wire_next_of(&any, &f);
        if (rc <= 0) {
            break;
        }

        switch (f.tag) {
        case ANY_ARRAY:
        case ANY_MAP:
            /* of the same one again: these are one */
            if (f.tag != last.tag) {
                list = from;
            }
            last = f;
            break;
        case ANY_STRING:
        case ANY_BOOL:
        case ANY_INT:
        case ANY_DOUBLE:
        case ANY_BYTES:
            last = f;
            break;
        }
    }

    if (rc < 0) {
        return LB_OTLP_BAD;
    }

    switch (last.tag) {

    case ANY_STRING:
        string = text(last.bytes);
        return lb_otlp_string(w, &string);

    case ANY_BOOL:
        return last.number != 0 ? lb_otlp_literal(w, "true")
                                : lb_otlp_literal(w, "false");

    case ANY_INT:
        return lb_otlp_signed(w, (int64_t)last.number);

    case ANY_DOUBLE:
        memcpy(&number, &last.number, sizeof(number));
        return lb_otlp_double(w, number);

    case ANY_ARRAY:
    case ANY_MAP:
        return put_list(w, list, last.tag, depth);

    case ANY_BYTES:
        return lb_otlp_base64(w, last.bytes.p,
                              (size_t)(last.bytes.end - last.bytes.p));

    default:
        return lb_otlp_literal(w, "null");
    }
}

/* The attributes that are fields of a message. */
static lb_otlp_rc_t
put_attributes(lb_otlp_t *w, lb_wire_pieces_t message, uint32_t tag,
               unsigned depth)
{
    int rc;
    lb_wire_field_t f;

    while ((rc = lb_wire_next_of(&message, &f)) > 0) {
        if (f.tag == tag) {
            LB_OTLP_TRY(put_key_value(w, f.bytes, depth, 1));
        }
    }

    return rc < 0 ? LB_OTLP_BAD : LB_OTLP_OK;
}

static lb_otlp_rc_t
put_record(lb_otlp_t *w, lb_wire_t record)
{
    int rc, attributes = 0, bodies = 0;
    lb_wire_field_t f;
    lb_wire_t rest = record;
    lb_wire_pieces_t body = {{NULL, NULL}, 0, {NULL, NULL}};
    lb_otlp_record_t r;

    memset(&r, 0, sizeof(r));

    while ((rc = lb_wire_next(&rest, &f)) > 0) {

        switch (f.tag) {
        case RECORD_TIME:
            r.time = f.number;
            break;
        case RECORD_SEVERITY_NUMBER:
            r.severity_number = (int32_t)f.number;
            break;
        case RECORD_SEVERITY_TEXT:
            r.severity_text = text(f.bytes);
            break;
        case RECORD_BODY:
            body.inner = f.bytes;
            bodies++;
            break;
        case RECORD_ATTRIBUTES:
            attributes = 1;
            break;
        case RECORD_DROPPED:
            r.dropped = (uint32_t)f.number;
            break;
        case RECORD_FLAGS:
            r.flags = (uint32_t)f.number;
            break;
        case RECORD_TRACE_ID:
            r.trace_id = text(f.bytes);
            break;
        case RECORD_SPAN_ID:
            r.span_id = text(f.bytes);
            break;
        case RECORD_OBSERVED:
            r.observed = f.number;
            break;
        case RECORD_EVENT_NAME:
            r.event_name = text(f.bytes);
            break;
        }
    }

    if (rc < 0) {
        return LB_OTLP_BAD;
    }

    LB_OTLP_TRY(lb_otlp_first(w, &r));

    if (bodies > 0) {
        if (lb_unlikely(bodies > 1)) {
            body = lb_wire_all_of(record, RECORD_BODY);
        }
        LB_OTLP_TRY(lb_otlp_literal(w, "\"message\":"));
        LB_OTLP_TRY(put_any(w, body, 1));
        if (memcmp(w->o - 5, ":null", 5) == 0) {
            w->o -= sizeof("\"message\":null") - 1;
        } else {
            LB_OTLP_TRY(lb_otlp_literal(w, ","));
            w->names |= LB_OTLP_MESSAGE;
        }
    }

    LB_OTLP_TRY(lb_otlp_second(w, &r));

    if (attributes) {
        LB_OTLP_TRY(
            put_attributes(w, lb_wire_whole(record), RECORD_ATTRIBUTES, 1));
    }

    return lb_otlp_close(w, '}');
}

/* Messages that are looked at again for the parts of a context. */
typedef struct {
    lb_wire_t resource_logs;
    lb_wire_t scope_logs;
    lb_wire_t resource_schema;
    lb_wire_t scope_schema;
} around_t;

static unsigned
end_names(uint32_t dropped, lb_wire_t schema)
{
    return (dropped != 0 ? LB_OTLP_DROPPED : 0) |
           (schema.end > schema.p ? LB_OTLP_SCHEMA_URL : 0);
}

static lb_otlp_rc_t
put_resource(lb_otlp_t *w, void *arg)
{
    int rc;
    uint8_t *begin = w->o;
    uint32_t dropped = 0;
    lb_wire_field_t f;
    const around_t *a = arg;
    lb_wire_pieces_t resource =
        lb_wire_all_of(a->resource_logs, RESOURCE_LOGS_RESOURCE);
    lb_wire_pieces_t rest = resource;
    lb_otlp_text_t url;

    while ((rc = lb_wire_next_of(&rest, &f)) > 0) {
        if (f.tag == RESOURCE_DROPPED) {
            dropped = (uint32_t)f.number;
        }
    }
    if (rc < 0) {
        return LB_OTLP_BAD;
    }

    w->names = end_names(dropped, a->resource_schema);
    LB_OTLP_TRY(lb_otlp_literal(w, "\"resource\":{"));
    LB_OTLP_TRY(put_attributes(w, resource, RESOURCE_ATTRIBUTES, 2));

    url = text(a->resource_schema);

    return lb_otlp_end_part(w, dropped, &url, begin);
}

static lb_otlp_rc_t
put_scope(lb_otlp_t *w, void *arg)
{
    int rc;
    uint8_t *begin = w->o;
    uint32_t dropped = 0;
    lb_wire_field_t f;
    const around_t *a = arg;
    lb_wire_pieces_t scope = lb_wire_all_of(a->scope_logs, SCOPE_LOGS_SCOPE);
    lb_wire_pieces_t rest = scope;
    lb_otlp_text_t url, name = {NULL, 0, 0}, version = {NULL, 0, 0};

    while ((rc = lb_wire_next_of(&rest, &f)) > 0) {
        switch (f.tag) {
        case SCOPE_NAME:
            name = text(f.bytes);
            break;
        case SCOPE_VERSION:
            version = text(f.bytes);
            break;
        case SCOPE_DROPPED:
            dropped = (uint32_t)f.number;
            break;
        }
    }
    if (rc < 0) {
        return LB_OTLP_BAD;
    }

    w->names = end_names(dropped, a->scope_schema);
    LB_OTLP_TRY(lb_otlp_literal(w, "\"scope\":{"));

    if (name.len > 0) {
        LB_OTLP_TRY(lb_otlp_literal(w, "\"name\":"));
        LB_OTLP_TRY(lb_otlp_string(w, &name));
        LB_OTLP_TRY(lb_otlp_literal(w, ","));
        w->names |= LB_OTLP_NAME;
    }
    if (version.len > 0) {
        LB_OTLP_TRY(lb_otlp_literal(w, "\"version\":"));
        LB_OTLP_TRY(lb_otlp_string(w, &version));
        LB_OTLP_TRY(lb_otlp_literal(w, ","));
        w->names |= LB_OTLP_VERSION;
    }

    LB_OTLP_TRY(put_attributes(w, scope, SCOPE_ATTRIBUTES, 2));

    url = text(a->scope_schema);

    return lb_otlp_end_part(w, dropped, &url, begin);
}

static lb_scan_status_t
malformed(lb_otlp_t *w, lb_wire_t at)
{
    return lb_otlp_bad(w, at.p,
                       "the body is no valid "
                       "ExportLogsServiceRequest in protobuf");
}

static lb_scan_status_t
scan_scope_logs(lb_otlp_t *w, around_t *a)
{
    int rc, records = 0;
    lb_wire_field_t f;
    lb_wire_t rest = a->scope_logs;
    lb_otlp_rc_t written;
    lb_scan_status_t status, context = LB_SCAN_OK;

    a->scope_schema.p = a->scope_schema.end = NULL;

    while ((rc = lb_wire_next(&rest, &f)) > 0) {
        if (f.tag == SCOPE_LOGS_SCHEMA_URL) {
            a->scope_schema = f.bytes;
        }
        records |= f.tag == SCOPE_LOGS_LOG_RECORDS;
    }
    if (rc < 0) {
        return malformed(w, rest);
    }
    if (!records) {
        return LB_SCAN_OK;
    }

    w->nrecord = 0;
    rest = a->scope_logs;

    while (lb_wire_next(&rest, &f) > 0) {

        if (f.tag != SCOPE_LOGS_LOG_RECORDS) {
            continue;
        }

        if ((w->nrecord == 0 || w->rejecting) && context == LB_SCAN_OK) {
            context = lb_otlp_enter(w, put_resource, put_scope, a);
            if (context == LB_SCAN_BAD) {
                return malformed(w, a->scope_logs);
            }
            if (context == LB_SCAN_NOSPACE) {
                return context;
            }
        }

        if (context != LB_SCAN_OK) {
            status = lb_otlp_no_context(w, f.bytes.p,
                                        (size_t)(f.bytes.end - f.bytes.p));
        } else {
            lb_otlp_begin(w);
            written = put_record(w, f.bytes);
            status = lb_otlp_end_record(w, written, f.bytes.p,
                                        (size_t)(f.bytes.end - f.bytes.p));
        }
        if (status != LB_SCAN_OK) {
            return status;
        }

        w->nrecord++;
    }

    return LB_SCAN_OK;
}

static lb_scan_status_t
scan_resource_logs(lb_otlp_t *w, lb_wire_t resource_logs)
{
    int rc;
    lb_wire_field_t f;
    lb_wire_t rest = resource_logs;
    around_t a;
    lb_scan_status_t status;

    a.resource_logs = resource_logs;
    a.resource_schema.p = a.resource_schema.end = NULL;
    w->resource = NULL;
    w->resource_too_large = 0;
    w->nscope = 0;

    while ((rc = lb_wire_next(&rest, &f)) > 0) {
        if (f.tag == RESOURCE_LOGS_SCHEMA_URL) {
            a.resource_schema = f.bytes;
        }
    }
    if (rc < 0) {
        return malformed(w, rest);
    }

    rest = resource_logs;

    while (lb_wire_next(&rest, &f) > 0) {
        if (f.tag == RESOURCE_LOGS_SCOPE_LOGS) {
            a.scope_logs = f.bytes;
            status = scan_scope_logs(w, &a);
            if (status != LB_SCAN_OK) {
                return status;
            }
            w->nscope++;
        }
    }

    return LB_SCAN_OK;
}

static lb_scan_status_t
scan(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
     const lb_scan_options_t *options, lb_scan_result_t *res)
{
    int rc;
    lb_wire_field_t f;
    lb_wire_t rest = {in, in + len};
    lb_otlp_t w;
    lb_scan_status_t status;

    lb_otlp_start(&w, in, len, out, cap, options, res);

    while ((rc = lb_wire_next(&rest, &f)) > 0) {
        if (f.tag == REQUEST_RESOURCE_LOGS) {
            status = scan_resource_logs(&w, f.bytes);
            if (status != LB_SCAN_OK) {
                return status;
            }
            w.nresource++;
        }
    }

    return rc < 0 ? malformed(&w, rest) : lb_otlp_finish(&w);
}

/* A resource is written again for each of its scopes. */
static size_t
out_max(size_t len)
{
    return len > (SIZE_MAX - (1u << 20)) / 64 ? SIZE_MAX
                                              : len * 64 + (1u << 20);
}

static const char *const types[] = {
    "application/x-protobuf",
    "application/protobuf",
    NULL,
};

const lb_format_t lb_format_otlp_proto = {
    .name = "otlp-protobuf",
    .types = types,
    .scan = scan,
    .out_usual = 12,
    .out_max = out_max,
    .binary = 1,
};

static const char *const grpc_types[] = {
    "application/grpc",
    "application/grpc+proto",
    NULL,
};

const lb_format_t lb_format_otlp_grpc = {
    .name = "otlp-grpc",
    .types = grpc_types,
    .scan = scan,
    .out_usual = 12,
    .out_max = out_max,
    .binary = 1,
};
