/*
 * Elasticsearch's _bulk: see bulk.h.
 */

#include "event/bulk.h"
#include "event/context.h"
#include "event/json.h"
#include "event/members.h"
#include "event/reject.h"
#include "event/stream.h"

#include <stdio.h>

/* The longest action line: _index has at most 255 bytes, _id 512; escapes. */
#define ACTION_MAX 8192

typedef struct {
    const char *name; /* "create", "index", "update", "delete" */
    int document;     /* one follows */
    int taken;
} verb_t;

static const verb_t verbs[] = {
    {"create", 1, 1},
    {"index", 1, 1},
    {"update", 1, 0},
    {"delete", 0, 0},
};

typedef struct {
    const verb_t *verb; /* NULL: it is no action */
    const char *error;
    /* JSON as it stands, in line; len 0: not given */
    const uint8_t *index;
    size_t index_len; /* without the quotes */
    const uint8_t *id;
    size_t id_len; /* with the quotes, if there are any */

    char stream[LB_STREAM_NAME_MAX];
    size_t stream_len;
    uint8_t line[ACTION_MAX + 2];
} action_t;

typedef struct {
    char stream[LB_STREAM_NAME_MAX];
    int len; /* -1: the location's */
} stream_t;

typedef struct {
    const lb_scan_options_t *options;
    lb_scan_result_t *res;
    const uint8_t *in;
    lb_out_t out;

    const char *path_index; /* of the request's path, NULL: none */
    const char *streams;    /* those that may be written; NULL: all */
    int brief;              /* statuses alone */

    stream_t now; /* of the context in force */

    size_t row; /* of the line, 1-based */
    size_t actions;
    size_t items;
    size_t errors;
} bulk_t;

static int
all_digits(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return 0;
        }
    }
    return 1;
}

/* Bytes of "-2026.11.26", "-2026-11-26" or "-2026.11" at the end of a name. */
static size_t
date_len(const char *s, size_t len)
{
    const char *p;

    if (len > 11) {
        p = s + len - 11;
        if (p[0] == '-' && all_digits(p + 1, 4) &&
            (p[5] == '.' || p[5] == '-') && all_digits(p + 6, 2) &&
            p[8] == p[5] && all_digits(p + 9, 2)) {
            return 11;
        }
    }
    if (len > 8) {
        p = s + len - 8;
        if (p[0] == '-' && all_digits(p + 1, 4) && p[5] == '.' &&
            all_digits(p + 6, 2)) {
            return 8;
        }
    }
    return 0;
}

const char *
lb_bulk_stream(const char *index, size_t *len)
{
    size_t n = *len;

    if (n > 4 && memcmp(index, ".ds-", 4) == 0) {
        index += 4;
        n -= 4;
        if (n > 7 && index[n - 7] == '-' && all_digits(index + n - 6, 6)) {
            n -= 7;
        }
    }
    *len = n - date_len(index, n);
    return index;
}

/* The stream of an action: NULL, or what is wrong with its index. */
static const char *
name_stream(const bulk_t *b, action_t *a)
{
    const char *index = (const char *)a->index;
    size_t len = a->index_len;

    if (len == 0 && b->path_index != NULL) {
        index = b->path_index;
        len = strlen(index);
    }
    if (len == 0) {
        a->stream_len = 0;
        return NULL;
    }
    index = lb_bulk_stream(index, &len);
    if (!lb_stream_valid(index, len)) {
        return "an index is the name of a stream: up to 64 letters, digits, "
               "'.', '-' and '_'";
    }
    if (b->streams != NULL &&
        !lb_streams_have(b->streams, strlen(b->streams), index, len)) {
        return "this sender may not write to this index";
    }
    memcpy(a->stream, index, len);
    a->stream_len = len;
    return NULL;
}

/* The members of an action: {"_index":"x","_id":"7"} from p to end. */
static void
read_target(action_t *a, const uint8_t *p, const uint8_t *end)
{
    lb_member_t m;

    for (p++; p < end - 1;) {
        p = lb_member(p, end - 1, &m);
        if (lb_member_is(&m, "_index") && *m.value == '"') {
            a->index = m.value + 1;
            a->index_len = (size_t)(m.end - m.value) - 2;
        } else if (lb_member_is(&m, "_id") &&
                   (*m.value == '"' || (*m.value >= '0' && *m.value <= '9'))) {
            a->id = m.value;
            a->id_len = (size_t)(m.end - m.value);
        }
    }
}

/* The action in a line.  What it is not allowed to be is in a->error. */
static void
read_action(const bulk_t *b, action_t *a, const uint8_t *line, size_t len)
{
    lb_scan_result_t res;
    lb_member_t m;
    const uint8_t *end;

    a->verb = NULL;
    a->index_len = a->id_len = a->stream_len = 0;
    a->error = "an action is an object with one member: create, index, update "
               "or delete";

    if (lb_scan_json(line, len, a->line, sizeof(a->line), ACTION_MAX, &res) !=
            LB_SCAN_OK ||
        res.events != 1 || a->line[1] != '"') {
        return;
    }

    end = a->line + res.out_len - 2; /* the closing brace */
    if (lb_member(a->line + 1, end, &m) != end || *m.value != '{') {
        return;
    }
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (lb_member_is(&m, verbs[i].name)) {
            a->verb = &verbs[i];
            read_target(a, m.value, m.end);
            a->error = verbs[i].taken
                           ? name_stream(b, a)
                           : "update and delete are not supported: what is "
                             "stored is not changed";
            return;
        }
    }
}

/* Is it the stream of the context in force? */
static int
is_now(const bulk_t *b, const char *stream, int len)
{
    return len == b->now.len &&
           (len <= 0 || memcmp(stream, b->now.stream, (size_t)len) == 0);
}

static void
now(bulk_t *b, const char *stream, int len)
{
    if (len > 0) {
        memcpy(b->now.stream, stream, (size_t)len);
    }
    b->now.len = len;
}

/* A line of context where the stream is another one than that before. */
static int
enter(bulk_t *b, const char *stream, int len)
{
    lb_context_t context = {0};
    size_t n;

    if (is_now(b, stream, len)) {
        return 0;
    }
    if (len > 0) {
        context.stream.data = (const uint8_t *)stream;
        context.stream.len = (size_t)len;
    }
    n = lb_context_put(b->out.o, lb_out_room(&b->out), &context);
    if (n == 0) {
        return -1;
    }
    b->out.o += n;
    b->res->contexts = 1;
    now(b, stream, len);
    return 0;
}

static int
put(bulk_t *b, const void *data, size_t len)
{
    return lb_reply_put(b->options->reply, data, len);
}

/* The item of an action; error NULL: it is stored. */
static int
item(bulk_t *b, const action_t *a, const char *error)
{
    const char *verb = a->verb != NULL ? a->verb->name : "index";
    char text[512];
    int n, bad;

    n = snprintf(text, sizeof(text), "%s{\"%s\":{", b->items++ > 0 ? "," : "",
                 verb);
    bad = put(b, text, (size_t)n);

    if (!b->brief) {
        const char *index = a->index_len > 0        ? (const char *)a->index
                            : b->path_index != NULL ? b->path_index
                                                    : "";
        size_t len = a->index_len > 0 ? a->index_len : strlen(index);

        bad |= put(b, "\"_index\":\"", 10);
        bad |= put(b, index, len);
        bad |= put(b, "\",", 2);

        if (a->id_len > 0) {
            const size_t quote = *a->id == '"' ? 0 : 1;

            bad |= put(b, "\"_id\":\"", 6 + quote);
            bad |= put(b, a->id, a->id_len);
            bad |= put(b, quote ? "\"," : ",", 1 + quote);
        }
    }

    if (error == NULL) {
        n = snprintf(text, sizeof(text), "%s\"status\":201}}",
                     b->brief ? "" : "\"result\":\"created\",");
    } else {
        b->errors++;
        n = snprintf(text, sizeof(text),
                     "\"status\":400,\"error\":{\"type\":"
                     "\"document_parsing_exception\",\"reason\":"
                     "\"line %zu: %s\"}}}",
                     b->row, error);
    }
    bad |= put(b, text, (size_t)n);
    return bad;
}

static const char rejected[] = "rejected"; /* of LB_REJECT_CONTEXT */

/* What could not be taken is kept, and said. */
static lb_scan_status_t
reject(bulk_t *b, const action_t *a, const uint8_t *line, size_t len,
       const char *error)
{
    char place[32];
    lb_reject_t r = {
        .reason = error,
        .place = place,
        .origin = a->stream,
        .origin_len = a->stream_len,
        .body = len > 0 ? line : NULL,
        .body_len = len,
    };
    const int in_force = is_now(b, rejected, sizeof(rejected) - 1);
    const uint32_t events = b->res->events;
    lb_scan_status_t rc;

    if (item(b, a, error) != 0) {
        return LB_SCAN_NOMEM;
    }
    if (b->res->rejected == 0) {
        b->res->row = b->row;
        b->res->column = 1;
    }
    snprintf(place, sizeof(place), "line %zu", b->row);

    rc = lb_reject(b->res, &b->out, in_force, (size_t)(line - b->in), &r);
    if (b->res->events > events) {
        now(b, rejected, sizeof(rejected) - 1);
    }
    return rc;
}

/* The first byte of a line that is no white space, or 0. */
static uint8_t
first(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r') {
            return p[i];
        }
    }
    return 0;
}

/* The words for a document that is none; NULL: it is one, or the scan's status
 * says more. */
static const char *
not_taken(const bulk_t *b, const action_t *a, lb_scan_status_t rc,
          const lb_scan_result_t *one, uint8_t begin)
{
    switch (rc) {
    case LB_SCAN_OK:
        if (one->events != 1 || begin != '{') {
            return "a document is one JSON object on one line";
        }
        return one->out_len + (a->id_len > 0 ? a->id_len + 7 : 0) >
                       b->options->max_event + 1
                   ? "the document is too large"
                   : NULL;
    case LB_SCAN_NOSPACE:
        return NULL;
    case LB_SCAN_TOOBIG:
        return "the document is too large";
    default:
        return "the document is no valid JSON object";
    }
}

static lb_scan_status_t
document(bulk_t *b, const action_t *a, const uint8_t *line, size_t len)
{
    uint8_t *const begin = b->out.o;
    const stream_t before = b->now;
    lb_scan_result_t one;
    lb_scan_status_t rc;
    const char *error;
    uint8_t *o;

    if (a->error != NULL) {
        return reject(b, a, line, len, a->error);
    }
    if (enter(b, a->stream, a->stream_len > 0 ? (int)a->stream_len : -1) != 0) {
        return LB_SCAN_NOSPACE;
    }

    rc = lb_scan_json(line, len, b->out.o, lb_out_room(&b->out),
                      b->options->max_event, &one);
    error = not_taken(b, a, rc, &one, first(line, len));
    if (error != NULL) {
        b->out.o = begin;
        b->now = before;
        return reject(b, a, line, len, error);
    }
    if (rc != LB_SCAN_OK) {
        return rc;
    }

    o = b->out.o + one.out_len;
    if (a->id_len > 0) {
        if ((size_t)(b->out.end - o) < a->id_len + 7) {
            return LB_SCAN_NOSPACE;
        }
        o -= 2;
        o += sprintf((char *)o, "%s\"_id\":", one.out_len == 3 ? "" : ",");
        memcpy(o, a->id, a->id_len);
        o += a->id_len;
        *o++ = '}';
        *o++ = '\n';
    }
    b->out.o = o;
    b->res->events++;
    return item(b, a, NULL) != 0 ? LB_SCAN_NOMEM : LB_SCAN_OK;
}

static lb_scan_status_t
scan_lines(bulk_t *b, size_t len)
{
    const uint8_t *const end = b->in + len;
    const uint8_t *p, *nl;
    lb_scan_status_t rc;
    action_t action;
    int pending = 0; /* a document is awaited */
    size_t n;

    action.verb = NULL;

    for (p = b->in; p < end; p = nl + 1) {
        nl = memchr(p, '\n', (size_t)(end - p));
        if (nl == NULL) {
            nl = end;
        }
        n = (size_t)(nl - p);
        b->row++;

        if (first(p, n) == 0) {
            continue;
        }
        if (pending) {
            pending = 0;
            rc = document(b, &action, p, n);
        } else {
            read_action(b, &action, p, n);
            b->actions += action.verb != NULL;
            if (action.verb != NULL && action.verb->document) {
                pending = 1;
                continue;
            }
            rc = reject(b, &action, p, n, action.error);
        }
        if (rc != LB_SCAN_OK) {
            return rc;
        }
    }

    return pending ? reject(b, &action, p, 0,
                            "the body ends behind an action, without its "
                            "document")
                   : LB_SCAN_OK;
}

static lb_scan_status_t
scan_bulk(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
          const lb_scan_options_t *options, lb_scan_result_t *res)
{
    static const char begin[] = "{\"took\":0,\"errors\":false,\"items\":[";
    bulk_t b = {
        .options = options,
        .res = res,
        .in = in,
        .out = {out, out + cap},
        .path_index = lb_param(options, "index"),
        .streams = lb_param(options, "streams"),
        .brief = lb_param(options, "filter_path") != NULL,
        .now.len = -1,
    };
    lb_scan_status_t rc;

    memset(res, 0, sizeof(*res));

    if (put(&b, begin, sizeof(begin) - 1) != 0) {
        return LB_SCAN_NOMEM;
    }
    rc = scan_lines(&b, len);
    if (rc != LB_SCAN_OK) {
        return rc;
    }
    if (b.items == 0) {
        return LB_SCAN_EMPTY;
    }
    if (b.actions == 0) {
        return LB_SCAN_BAD; /* nothing of it is a bulk */
    }
    if (put(&b, "]}", 2) != 0) {
        return LB_SCAN_NOMEM;
    }
    if (b.errors > 0) {
        memcpy(options->reply->data + sizeof("{\"took\":0,\"errors\":") - 1,
               "true, ", 6);
    }
    res->out_len = (size_t)(b.out.o - out);
    return LB_SCAN_OK;
}

/* What is kept of a rejected line may need six bytes for one of it, and has
 * members and contexts of its own. */
static size_t
bulk_out_max(size_t len)
{
    return len > (SIZE_MAX - LB_REJECT_MORE) / 7 ? SIZE_MAX
                                                 : len * 7 + LB_REJECT_MORE;
}

static const char *const bulk_types[] = {"", NULL};

const lb_format_t lb_format_bulk = {
    .name = "bulk",
    .types = bulk_types,
    .scan = scan_bulk,
    .out_usual = 9,
    .out_max = bulk_out_max,
};
