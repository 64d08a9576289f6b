/*
 * Loki's push in protobuf: see loki_proto.h.
 */

#include "event/loki_proto.h"
#include "event/loki_write.h"
#include "event/snappy.h"
#include "event/wire.h"

#include <stdlib.h>
#include <string.h>

/* The largest push, without snappy. */
#define PUSH_MAX (64u << 20)

#define BYTES(number) LB_WIRE_FIELD(number, LB_WIRE_BYTES)
#define VARINT(number) LB_WIRE_FIELD(number, LB_WIRE_VARINT)

/* The last second of the year 9999. */
#define SECOND_MAX INT64_C(253402300799)

static const char words_push[] = "the body is no push of Loki's: protobuf in "
                                 "a block of snappy, or JSON with its "
                                 "Content-Type";
static const char words_entry[] = "the entry is malformed";
static const char words_time[] = "the time of the entry is out of range";

/* What an entry has beside its metadata; the last of each counts. */
typedef struct {
    int64_t second;
    int64_t ns;
    lb_wire_t line;
} entry_t;

static int
read_time(lb_wire_t w, entry_t *e)
{
    lb_wire_field_t f;
    int rc;

    while ((rc = lb_wire_next(&w, &f)) > 0) {
        if (f.tag == VARINT(1)) {
            e->second = (int64_t)f.number;
        } else if (f.tag == VARINT(2)) {
            e->ns = (int32_t)f.number;
        }
    }
    return rc;
}

/* NULL, or what is wrong.  The metadata are read too, so that they are well
 * formed when they are written. */
static const char *
read_entry(lb_wire_t w, entry_t *e)
{
    lb_wire_field_t f, pair;
    int rc, inner = 0;

    memset(e, 0, sizeof(*e));
    e->line.p = e->line.end = w.p;

    while ((rc = lb_wire_next(&w, &f)) > 0 && inner == 0) {
        if (f.tag == BYTES(1)) {
            inner = read_time(f.bytes, e);
        } else if (f.tag == BYTES(2)) {
            e->line = f.bytes;
        } else if (f.tag == BYTES(3)) {
            while ((inner = lb_wire_next(&f.bytes, &pair)) > 0) {
            }
        }
    }
    if (rc != 0 || inner != 0) {
        return words_entry;
    }
    return e->second < 0 || e->second > SECOND_MAX || e->ns < 0 ||
                   e->ns > 999999999
               ? words_time
               : NULL;
}

static int
put_pair(lb_loki_t *w, lb_wire_t message)
{
    lb_wire_t name = {message.p, message.p}, value = name;
    lb_wire_field_t f;

    while (lb_wire_next(&message, &f) > 0) {
        if (f.tag == BYTES(1)) {
            name = f.bytes;
        } else if (f.tag == BYTES(2)) {
            value = f.bytes;
        }
    }
    return lb_loki_quote(w, name.p, (size_t)(name.end - name.p)) ||
           lb_out_puts(&w->out, ":") ||
           lb_loki_quote(w, value.p, (size_t)(value.end - value.p)) ||
           lb_out_puts(&w->out, ",");
}

static lb_scan_status_t
take_entry(lb_loki_t *w, lb_wire_t bytes)
{
    const uint8_t *begin = bytes.p;
    const size_t len = (size_t)(bytes.end - bytes.p);
    const char *error;
    lb_wire_field_t f;
    entry_t e;
    int bad = 0;

    if (lb_loki_begin(w) != 0) {
        return LB_SCAN_NOSPACE;
    }
    error = read_entry(bytes, &e);
    if (error != NULL) {
        return lb_loki_reject(w, begin, len, error);
    }

    if (e.second > 0 || e.ns > 0) {
        bad = lb_loki_time(w, e.second, (uint32_t)e.ns);
    }
    bad = bad || lb_loki_line(w, e.line.p, (size_t)(e.line.end - e.line.p));
    while (!bad && lb_wire_next(&bytes, &f) > 0) {
        bad = f.tag == BYTES(3) && put_pair(w, f.bytes);
    }
    return bad ? LB_SCAN_NOSPACE : lb_loki_end(w, begin, len);
}

/* Labels may stand behind the entries. */
static lb_scan_status_t
read_stream(lb_loki_t *w, lb_wire_t stream)
{
    lb_wire_t again = stream, labels = {NULL, NULL};
    lb_wire_field_t f;
    lb_scan_status_t status = LB_SCAN_OK;
    int rc;

    while ((rc = lb_wire_next(&stream, &f)) > 0) {
        if (f.tag == BYTES(1)) {
            labels = f.bytes;
        }
    }
    if (rc != 0) {
        return LB_SCAN_BAD;
    }
    if (labels.p == labels.end) {
        lb_loki_stream_json(w, (const uint8_t *)"", 0);
    } else {
        lb_loki_stream_text(w, labels.p, (size_t)(labels.end - labels.p));
    }

    w->nentry = 0;
    while (status == LB_SCAN_OK && lb_wire_next(&again, &f) > 0) {
        if (f.tag == BYTES(2)) {
            status = take_entry(w, f.bytes);
        }
    }
    w->nstream++;
    return status;
}

static lb_scan_status_t
read_push(lb_loki_t *w, lb_wire_t push)
{
    lb_scan_status_t status = LB_SCAN_OK;
    lb_wire_field_t f;
    int rc;

    while ((rc = lb_wire_next(&push, &f)) > 0 && status == LB_SCAN_OK) {
        if (f.tag == BYTES(1)) {
            status = read_stream(w, f.bytes);
        }
    }
    if (rc < 0 && status == LB_SCAN_OK) {
        status = LB_SCAN_BAD;
    }
    return status == LB_SCAN_OK ? lb_loki_finish(w) : status;
}

static lb_scan_status_t
scan_proto(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
           const lb_scan_options_t *options, lb_scan_result_t *res)
{
    uint8_t stack[LB_LOKI_STACK];
    uint8_t *push = stack;
    size_t size;
    lb_scan_status_t rc = LB_SCAN_BAD;
    lb_loki_t w;

    lb_loki_start(&w, out, cap, options, res);
    if (lb_snappy_size(in, len, &size) != 0) {
        res->error = words_push;
        return LB_SCAN_BAD;
    }
    if (size > PUSH_MAX) {
        res->error = "the push is larger than 64 MB without snappy";
        return LB_SCAN_TOOBIG;
    }
    if (size > sizeof(stack)) {
        if (!options->patient) {
            return LB_SCAN_LATER;
        }
        push = malloc(size);
        if (push == NULL) {
            return LB_SCAN_NOMEM;
        }
    }

    if (lb_snappy(in, len, push, size) == 0) {
        rc = read_push(&w, (lb_wire_t){push, push + size});
    }
    if (rc == LB_SCAN_BAD) {
        memset(res, 0, sizeof(*res));
        res->error = words_push;
    }

    if (push != stack) {
        free(push);
    }
    return rc;
}

/* Snappy makes 22 of a byte at most, and a byte may need 6. */
static size_t
proto_out_max(size_t len)
{
    return len > (SIZE_MAX - LB_LOKI_OUT_MORE) / 512
               ? SIZE_MAX
               : len * 512 + LB_LOKI_OUT_MORE;
}

static const char *const proto_types[] = {"", NULL};

const lb_format_t lb_format_loki_proto = {
    .name = "loki_proto",
    .types = proto_types,
    .scan = scan_proto,
    .out_usual = 32,
    .out_max = proto_out_max,
    .binary = 1,
};
