/*
 * Amazon Data Firehose: see firehose.h.
 */

#include "event/firehose.h"
#include "event/base64.h"
#include "event/cloudwatch.h"
#include "event/explain.h"
#include "event/inflate.h"
#include "event/json.h"
#include "event/lines.h"
#include "event/repair.h"
#include "event/unescape.h"

#include <stdlib.h>

/* A request, its base64 and what that says are on the stack up to this size. */
#define STACK_MAX 16384

/* A context line. */
#define CONTEXT_MAX 16000

/* What unescaping may write behind its end. */
#define SLACK 64

static const char words_request[] =
    "a delivery is an object with a string requestId and an array records";

typedef struct {
    lb_door_t door; /* first: a pointer to it is one to this */
    size_t number;  /* of the record, from 0 */
    size_t left;    /* bytes that may still be decompressed */
    int cloudwatch; /* the record may come from there */

    /* contexts: the common attributes of all records; and of some events */
    uint8_t attributes[CONTEXT_MAX];
    size_t attributes_len;
    uint8_t context[CONTEXT_MAX];
} firehose_t;

static const char begin[] = "\001{\"fields\":{";

/* Closes the context line that out has begun at line: its length, 0 where it
 * says nothing. */
static size_t
end_context(lb_out_t *out, const uint8_t *line)
{
    if ((size_t)(out->o - line) == sizeof(begin) - 1) {
        return 0;
    }
    /* room was left for this */
    out->o -= out->o[-1] == ',';
    memcpy(out->o, "}}\n", 3);
    return (size_t)(out->o + 3 - line);
}

/* The events from here on stand behind this context. */
static void
use_context(firehose_t *f, const uint8_t *line, size_t len)
{
    f->door.context = len > 0 ? line : NULL;
    f->door.context_len = len;
}

/* The common attributes: 0, or -1, they are too long. */
static int
read_attributes(firehose_t *f, const char *text)
{
    uint8_t json[STACK_MAX];
    lb_out_t out = {f->attributes, f->attributes + CONTEXT_MAX - 3};
    size_t len = text != NULL ? strlen(text) : 0;
    lb_scan_result_t one;
    lb_member_t m;
    const uint8_t *p, *end;
    uint8_t *o;

    if (len == 0) {
        return 0;
    }
    if (len > sizeof(json) / 6 || lb_out_puts(&out, begin) != 0) {
        return -1;
    }
    if (lb_scan_json((const uint8_t *)text, len, json, sizeof(json),
                     sizeof(json), &one) == LB_SCAN_OK &&
        one.events == 1) {
        p = json + 1;
        end = json + one.out_len - 2;
        while (p < end) {
            p = lb_member(p, end, &m);
            if (*m.value == '{' && lb_member_is(&m, "commonAttributes")
                    ? lb_put_members(&out, m.value, m.end)
                    : lb_put_member(&out, &m, 0)) {
                return -1;
            }
        }
    } else {
        o = json;
        *o++ = '"';
        lb_repair_quote(&o, (const uint8_t *)text, len, len, NULL);
        *o++ = '"';
        if (lb_put(&out, "commonAttributes", json, (size_t)(o - json))) {
            return -1;
        }
    }
    f->attributes_len = end_context(&out, f->attributes);
    return 0;
}

/* The context of events that share something: the attributes as well. */
static int
enter_shared(firehose_t *f, const uint8_t *line, size_t len)
{
    lb_out_t out = {f->context, f->context + CONTEXT_MAX - 3};

    if (f->attributes_len > 0
            ? lb_out_put(&out, f->attributes, f->attributes_len - 3) ||
                  lb_out_puts(&out, ",")
            : lb_out_puts(&out, begin)) {
        return -1;
    }
    if (lb_cloudwatch_shared(&out, line, len) != 0) {
        return -1;
    }
    use_context(f, f->context, end_context(&out, f->context));
    return 0;
}

/* An object of a record. */
static lb_scan_status_t
take(void *data, const uint8_t *line, size_t len)
{
    firehose_t *f = data;
    lb_door_t *d = &f->door;
    lb_scan_status_t rc;
    lb_member_t events;
    lb_cloudwatch_t kind =
        f->cloudwatch ? lb_cloudwatch(line, len, &events) : LB_CLOUDWATCH_NONE;

    switch (kind) {
    case LB_CLOUDWATCH_CONTROL:
        return LB_SCAN_OK;
    case LB_CLOUDWATCH_EVENTS:
        rc = enter_shared(f, line, len) != 0
                 ? lb_door_reject_this(d, "what the events share is too large")
                 : lb_cloudwatch_put(d, &events);
        use_context(f, f->attributes, f->attributes_len);
        return rc;
    default:
        return lb_door_begin(d) != 0 ||
                       lb_put_members(&d->out, line, line + len) != 0
                   ? LB_SCAN_NOSPACE
                   : lb_door_end(d);
    }
}

static lb_scan_status_t
take_bytes(firehose_t *f, const uint8_t *p, size_t len)
{
    f->cloudwatch = lb_cloudwatch_maybe(p, len);
    use_context(f, f->attributes, f->attributes_len);
    return lb_door_lines(&f->door, p, len);
}

static lb_scan_status_t
inflate_record(firehose_t *f, const lb_member_t *record, const uint8_t *p,
               size_t len)
{
    const lb_scan_options_t *options = f->door.options;
    const size_t limit = options->max_body / 2;
    uint8_t *bytes;
    lb_scan_status_t rc;
    int last = f->left < limit;

    if (!options->patient) {
        return LB_SCAN_LATER;
    }
    rc = lb_inflate(p, len, last ? f->left : limit, &bytes, &len);
    switch (rc) {
    case LB_SCAN_OK:
        f->left -= len;
        rc = take_bytes(f, bytes, len);
        free(bytes);
        return rc;
    case LB_SCAN_NOMEM:
        return rc;
    case LB_SCAN_TOOBIG:
        if (last) {
            f->door.res->error = "decompressed, the records are too large";
            return rc;
        }
        f->left -= limit;
        return lb_door_reject(&f->door, record->value, lb_member_len(record),
                              "decompressed, the record is too large");
    default:
        return lb_door_reject(&f->door, record->value, lb_member_len(record),
                              "the record is not valid gzip or zlib");
    }
}

/* {"data":"..."}; room: of LB_BASE64_MAX of the request and SLACK. */
static lb_scan_status_t
read_record(firehose_t *f, const lb_member_t *record, uint8_t *room)
{
    const uint8_t *p = record->value + 1, *end = record->end - 1;
    lb_member_t m, data = {0};
    size_t len;

    if (*record->value == '{') {
        while (p < end) {
            p = lb_member(p, end, &m);
            if (lb_member_is(&m, "data") && *m.value == '"') {
                data = m;
            }
        }
    }
    if (data.value == NULL) {
        return lb_door_reject(&f->door, record->value, lb_member_len(record),
                              "a record is an object with a string data");
    }

    p = data.value + 1;
    end = data.end - 1;
    if (memchr(p, '\\', (size_t)(end - p)) != NULL) {
        end = lb_unescape_ways[lb_way()](room, p, end, p, end);
        p = room;
    }
    if (lb_base64(p, (size_t)(end - p), room, &len) != 0) {
        return lb_door_reject(&f->door, record->value, lb_member_len(record),
                              "the record's data is not base64");
    }
    return lb_inflate_maybe(room, len) ? inflate_record(f, record, room, len)
                                       : take_bytes(f, room, len);
}

/* Is it the id that the header has? */
static int
same_id(const lb_scan_options_t *options, const lb_member_t *id)
{
    const char *header = lb_param(options, "id");

    return header == NULL ||
           (strlen(header) == lb_member_len(id) - 2 &&
            memcmp(header, id->value + 1, lb_member_len(id) - 2) == 0);
}

static lb_scan_status_t
read_request(firehose_t *f, const uint8_t *request, size_t len, uint8_t *room)
{
    const uint8_t *p = request + 1, *end = request + len - 1;
    lb_door_t *d = &f->door;
    lb_member_t m, id = {0}, records = {0};
    lb_scan_status_t rc = LB_SCAN_OK;

    while (p < end) {
        p = lb_member(p, end, &m);
        if (lb_member_is(&m, "requestId") && *m.value == '"') {
            id = m;
        } else if (lb_member_is(&m, "records") && *m.value == '[') {
            records = m;
        }
    }
    if (id.value == NULL || records.value == NULL) {
        d->res->error = words_request;
        return LB_SCAN_BAD;
    }
    if (!same_id(d->options, &id)) {
        d->res->error = "requestId is not what X-Amz-Firehose-Request-Id says";
        return LB_SCAN_BAD;
    }

    p = records.value + 1;
    end = records.end - 1;
    for (; p < end && rc == LB_SCAN_OK; f->number++) {
        p = lb_element(p, end, &m);
        rc = read_record(f, &m, room);
    }
    if (rc == LB_SCAN_OK && lb_reply_put(d->options->reply, id.value + 1,
                                         lb_member_len(&id) - 2) != 0) {
        rc = LB_SCAN_NOMEM;
    }
    return rc;
}

static lb_scan_status_t
scan_firehose(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
              const lb_scan_options_t *options, lb_scan_result_t *res)
{
    const size_t size = lb_scan_json_out_max(len);
    uint8_t stack[STACK_MAX];
    uint8_t *request = stack;
    lb_scan_result_t one;
    lb_scan_status_t rc;
    firehose_t f;

    lb_door_start(&f.door, out, cap, options, res);
    f.door.noun = "record";
    f.door.number = &f.number;
    f.door.max = SIZE_MAX;
    f.door.pieces.take = take;
    f.number = 0;
    f.left = options->max_body;
    f.attributes_len = 0;

    if (read_attributes(&f, lb_param(options, "attributes")) != 0) {
        res->error = "X-Amz-Firehose-Common-Attributes is too long";
        return LB_SCAN_BAD;
    }
    if (size + len + SLACK > sizeof(stack)) {
        if (!options->patient) {
            return LB_SCAN_LATER;
        }
        request = size < SIZE_MAX / 2 ? malloc(size + len + SLACK) : NULL;
        if (request == NULL) {
            return LB_SCAN_NOMEM;
        }
    }

    rc = lb_scan_json(in, len, request, size, SIZE_MAX, &one);
    if (rc == LB_SCAN_OK && one.events == 1) {
        rc = read_request(&f, request, one.out_len - 1, request + size);
        if (rc == LB_SCAN_OK) {
            rc = lb_door_finish(&f.door, out);
        }
    } else {
        *res = one;
        if (rc != LB_SCAN_BAD) {
            res->error = words_request;
            res->row = 0;
            rc = LB_SCAN_BAD;
        }
        res->events = 0;
    }

    if (request != stack) {
        free(request);
    }
    return rc;
}

/* All of it may be compressed. */
static size_t
firehose_out_max(size_t len)
{
    return len > SIZE_MAX / LB_INFLATE_RATIO
               ? SIZE_MAX
               : lb_door_out_max(len * LB_INFLATE_RATIO);
}

static const char *const all_types[] = {"", NULL};

const lb_format_t lb_format_firehose = {
    .name = "firehose",
    .types = all_types,
    .scan = scan_firehose,
    .out_usual = 10,
    .out_max = firehose_out_max,
    .explain = lb_scan_explain,
};
