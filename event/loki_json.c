/*
 * Loki's push in JSON: see loki_json.h.
 */

#include "event/loki_json.h"
#include "event/explain.h"
#include "event/json.h"
#include "event/loki_write.h"
#include "event/members.h"
#include "event/unescape.h"

#include <stdlib.h>

/* Bytes of labels as text, without the escapes of JSON; the copy may write 64
 * behind. */
#define TEXT_MAX LB_LOKI_LABELS_MAX

static const char words_push[] =
    "a push is an object with an array streams of objects";

/* The nanoseconds of a string or number, at most 19 digits: 0, or -1. */
static int
read_ns(const lb_member_t *m, uint64_t *ns)
{
    const uint8_t *p = m->value, *end = m->end;

    if (*p == '"') {
        p++;
        end--;
    }
    if (p == end || end - p > 19) {
        return -1;
    }
    for (*ns = 0; p < end; p++) {
        if (*p < '0' || *p > '9') {
            return -1;
        }
        *ns = *ns * 10 + (uint64_t)(*p - '0');
    }
    return 0;
}

/* ["ns","line",{...}] */
static lb_scan_status_t
read_value(lb_loki_t *w, const lb_member_t *value)
{
    const uint8_t *p = value->value + 1, *end = value->end - 1;
    lb_member_t ts = {0}, line = {0}, meta = {0};
    uint64_t ns;
    int bad;

    if (lb_loki_begin(w) != 0) {
        return LB_SCAN_NOSPACE;
    }
    if (*value->value == '[') {
        p = p < end ? lb_element(p, end, &ts) : end;
        p = p < end ? lb_element(p, end, &line) : end;
        p = p < end ? lb_element(p, end, &meta) : end;
    }
    if (line.value == NULL || *line.value != '"' || p != end ||
        (meta.value != NULL && *meta.value != '{')) {
        return lb_loki_reject(w, value->value, lb_member_len(value),
                              "an entry is an array of a time, a line and, if "
                              "there are any, an object of metadata");
    }
    if (read_ns(&ts, &ns) != 0) {
        return lb_loki_reject(w, value->value, lb_member_len(value),
                              "the time of an entry is a string of "
                              "nanoseconds");
    }

    bad = ns > 0 ? lb_loki_time(w, (int64_t)(ns / 1000000000),
                                (uint32_t)(ns % 1000000000))
                 : 0;
    bad = bad || lb_loki_line_json(w, line.value, lb_member_len(&line));
    if (meta.value != NULL && lb_member_len(&meta) > 2) {
        bad = bad ||
              lb_out_put(&w->out, meta.value + 1, lb_member_len(&meta) - 2) ||
              lb_out_puts(&w->out, ",");
    }
    return bad ? LB_SCAN_NOSPACE
               : lb_loki_end(w, value->value, lb_member_len(value));
}

/* {"ts":"2026-05-17T10:05:03Z","line":"..."} */
static lb_scan_status_t
read_entry(lb_loki_t *w, const lb_member_t *entry)
{
    const uint8_t *p = entry->value + 1, *end = entry->end - 1;
    lb_member_t m, line = {0};
    int bad;

    if (lb_loki_begin(w) != 0) {
        return LB_SCAN_NOSPACE;
    }
    bad = 0;
    if (*entry->value == '{') {
        while (p < end) {
            p = lb_member(p, end, &m);
            if (lb_member_is(&m, "line")) {
                line = m;
                bad = bad || (*m.value == '"' &&
                              lb_loki_line_json(w, m.value, lb_member_len(&m)));
                continue;
            }
            bad = bad ||
                  (lb_member_is(&m, "ts")
                       ? lb_out_puts(&w->out, "\"timestamp\":") ||
                             lb_out_put(&w->out, m.value, lb_member_len(&m))
                       : lb_out_put(&w->out, m.key - 1,
                                    (size_t)(m.end - m.key) + 1)) ||
                  lb_out_puts(&w->out, ",");
        }
    }
    if (bad) {
        return LB_SCAN_NOSPACE;
    }
    if (line.value == NULL || *line.value != '"') {
        return lb_loki_reject(w, entry->value, lb_member_len(entry),
                              "an entry is an object with a time ts and a "
                              "line");
    }
    return lb_loki_end(w, entry->value, lb_member_len(entry));
}

/* The labels of the older form, a JSON string. */
static void
set_labels(lb_loki_t *w, const lb_member_t *m, const uint8_t *in,
           const uint8_t *in_end)
{
    uint8_t text[TEXT_MAX + 64];
    uint8_t *end;

    if (*m->value != '"' || lb_member_len(m) > TEXT_MAX) {
        lb_loki_stream_text(w, (const uint8_t *)"", 0);
        return;
    }
    end =
        lb_unescape_ways[lb_way()](text, m->value + 1, m->end - 1, in, in_end);
    lb_loki_stream_text(w, text, (size_t)(end - text));
}

static lb_scan_status_t
read_stream(lb_loki_t *w, const lb_member_t *stream, const uint8_t *in,
            const uint8_t *in_end)
{
    const uint8_t *p = stream->value + 1, *end = stream->end - 1;
    lb_member_t m, values = {0};
    int older = 0, labels = 0;
    lb_scan_status_t rc = LB_SCAN_OK;

    while (p < end) {
        p = lb_member(p, end, &m);
        if (lb_member_is(&m, "stream") && *m.value == '{') {
            lb_loki_stream_json(w, m.value + 1, lb_member_len(&m) - 2);
            labels = 1;
        } else if (lb_member_is(&m, "labels")) {
            set_labels(w, &m, in, in_end);
            labels = 1;
        } else if (*m.value == '[' && (lb_member_is(&m, "values") ||
                                       lb_member_is(&m, "entries"))) {
            values = m;
            older = *m.key == 'e';
        }
    }
    if (!labels) {
        lb_loki_stream_json(w, (const uint8_t *)"", 0);
    }
    if (values.value == NULL) {
        return LB_SCAN_OK;
    }

    p = values.value + 1;
    end = values.end - 1;
    w->nentry = 0;
    while (p < end && rc == LB_SCAN_OK) {
        p = lb_element(p, end, &m);
        rc = older ? read_entry(w, &m) : read_value(w, &m);
    }
    w->nstream++;
    return rc;
}

static lb_scan_status_t
read_push(lb_loki_t *w, const uint8_t *push, size_t len)
{
    const uint8_t *p = push + 1, *end = push + len - 1;
    const uint8_t *in_end = push + len;
    lb_member_t m, streams = {0};
    lb_scan_status_t rc = LB_SCAN_OK;

    while (p < end) {
        p = lb_member(p, end, &m);
        if (lb_member_is(&m, "streams")) {
            streams = m;
        }
    }
    if (streams.value == NULL || *streams.value != '[') {
        w->res->error = words_push;
        return LB_SCAN_BAD;
    }

    p = streams.value + 1;
    end = streams.end - 1;
    while (p < end && rc == LB_SCAN_OK) {
        p = lb_element(p, end, &m);
        if (*m.value != '{') {
            w->res->error = words_push;
            return LB_SCAN_BAD;
        }
        rc = read_stream(w, &m, push, in_end);
    }
    return rc == LB_SCAN_OK ? lb_loki_finish(w) : rc;
}

static lb_scan_status_t
scan_json(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
          const lb_scan_options_t *options, lb_scan_result_t *res)
{
    uint8_t stack[LB_LOKI_STACK];
    uint8_t *push = stack;
    size_t size = lb_scan_json_out_max(len);
    lb_scan_status_t rc;
    lb_loki_t w;

    if (size > sizeof(stack)) {
        memset(res, 0, sizeof(*res));
        if (!options->patient) {
            return LB_SCAN_LATER;
        }
        push = malloc(size);
        if (push == NULL) {
            return LB_SCAN_NOMEM;
        }
    }

    rc = lb_scan_json(in, len, push, size, size, res);
    if (rc == LB_SCAN_OK) {
        size = res->out_len;
        rc = res->events == 1 ? LB_SCAN_OK : LB_SCAN_BAD;
        lb_loki_start(&w, out, cap, options, res);
        if (rc == LB_SCAN_OK) {
            rc = read_push(&w, push, size - 1);
        } else {
            res->error = words_push;
        }
    }

    if (push != stack) {
        free(push);
    }
    return rc;
}

static size_t
json_out_max(size_t len)
{
    return len > (SIZE_MAX - LB_LOKI_OUT_MORE) / 16
               ? SIZE_MAX
               : len * 16 + LB_LOKI_OUT_MORE;
}

static const char *const json_types[] = {"application/json", NULL};

const lb_format_t lb_format_loki_json = {
    .name = "loki_json",
    .types = json_types,
    .scan = scan_json,
    .out_usual = 12,
    .out_max = json_out_max,
    .explain = lb_scan_explain,
};
