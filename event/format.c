/*
 * Input formats: see format.h.  Those of our own directive are here, on top of
 * the scanner; the others have a file each.
 */

#include "event/format.h"
#include "event/explain.h"
#include "event/json.h"
#include "event/text.h"
#include "event/unfold.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What is certainly no log event in JSON or text. */
static const char *const foreign_types[] = {
    "text/",
    "image/",
    "audio/",
    "video/",
    "font/",
    "model/",
    "message/",
    "multipart/",
    "application/avro",
    "application/bson",
    "application/cbor",
    "application/csv",
    "application/gzip",
    "application/grpc",
    "application/java-archive",
    "application/javascript",
    "application/msgpack",
    "application/pdf",
    "application/protobuf",
    "application/toml",
    "application/vnd.apache.parquet",
    "application/vnd.google.protobuf",
    "application/vnd.msgpack",
    "application/wasm",
    "application/x-avro",
    "application/x-gzip",
    "application/x-msgpack",
    "application/x-protobuf",
    "application/x-tar",
    "application/x-thrift",
    "application/x-yaml",
    "application/x-zip-compressed",
    "application/xml",
    "application/yaml",
    "application/zip",
    "application/zstd",
    NULL,
};

static const char *const foreign_suffixes[] = {
    "+xml", "+cbor", "+protobuf", "+msgpack", "+yaml",
    "+zip", "+gzip", "+proto",    NULL,
};

/* Does the pattern, of a list of types, take this one? */
static int
takes(const char *pattern, const char *type, size_t len)
{
    size_t n;

    if (*pattern == '\0') {
        return 1;
    }
    /* most differ at once */
    if (len == 0 || *pattern != (*type | 0x20)) {
        return 0;
    }
    n = strlen(pattern);
    return (n == len || (n < len && pattern[n - 1] == '/')) &&
           strncasecmp(pattern, type, n) == 0;
}

static int
foreign(const char *type, size_t len)
{
    const char *const *t;

    for (t = foreign_suffixes; *t != NULL; t++) {
        size_t n = strlen(*t);

        if (len > n && strncasecmp(type + len - n, *t, n) == 0) {
            return 1;
        }
    }
    for (t = foreign_types; *t != NULL; t++) {
        if (takes(*t, type, len)) {
            return 1;
        }
    }
    return 0;
}

const lb_format_t *
lb_format_find(const lb_format_t *const *formats, const char *type, size_t len)
{
    for (; *formats != NULL; formats++) {
        for (const char *const *t = (*formats)->types; *t != NULL; t++) {
            if (strcmp(*t, LB_TYPE_UNCLEAR) == 0 ? !foreign(type, len)
                                                 : takes(*t, type, len)) {
                return *formats;
            }
        }
    }
    return NULL;
}

lb_scan_status_t
lb_format_scan(const lb_format_t *format, const uint8_t *in, size_t len,
               uint8_t *out, size_t cap, const lb_scan_options_t *options,
               lb_scan_result_t *res)
{
    size_t mark =
        !format->binary && len >= 3 && memcmp(in, "\xef\xbb\xbf", 3) == 0 ? 3
                                                                          : 0;
    lb_scan_status_t rc;

    res->replaced = 0;
    rc = format->scan(in + mark, len - mark, out, cap, options, res);

    res->offset += mark;
    res->event_start += mark;
    return rc;
}

const char *
lb_format_explain(const lb_format_t *format, const uint8_t *in, size_t len,
                  const lb_scan_result_t *res, char *text, size_t size)
{
    if (format->explain == NULL || res->row == 0) {
        return res->error ? res->error : "malformed event";
    }
    return format->explain(in, len, res, text, size);
}

const char *
lb_param(const lb_scan_options_t *options, const char *name)
{
    const char *p = options->params;
    const char *end = p + options->params_len;

    while (p < end) {
        const char *value = p + strlen(p) + 1;

        if (strcmp(p, name) == 0) {
            return value;
        }
        p = value + strlen(value) + 1;
    }
    return NULL;
}

int
lb_reply_put(lb_reply_t *reply, const void *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    if (len > reply->size - reply->len) {
        size_t size = reply->size < 2048 ? 4096 : reply->size * 2;
        uint8_t *p;

        if (size - reply->len < len) {
            size = reply->len + len;
        }
        p = realloc(reply->data, size);
        if (p == NULL) {
            return -1;
        }
        reply->data = p;
        reply->size = size;
    }
    memcpy(reply->data + reply->len, data, len);
    reply->len += len;
    return 0;
}

void
lb_reply_free(lb_reply_t *reply)
{
    free(reply->data);
    memset(reply, 0, sizeof(*reply));
}

/*
 * out holds the body's one event, or nothing if it exceeds max_event, which is
 * no limit for a wrapper.  With a wrapper: its events; otherwise rc as it is.
 */
static lb_scan_status_t
unwrap(lb_scan_status_t rc, const uint8_t *in, size_t len, uint8_t *out,
       size_t cap, const lb_scan_options_t *options, lb_scan_result_t *res)
{
    lb_scan_result_t whole = *res;
    lb_scan_status_t unfolded;
    uint8_t *line;

    if (rc == LB_SCAN_TOOBIG &&
        (lb_scan_json(in, len, out, cap, cap, &whole) != LB_SCAN_OK ||
         whole.events != 1 || !lb_unfold_maybe(out, whole.out_len))) {
        return rc;
    }

    line = malloc(whole.out_len);
    if (line == NULL) {
        return LB_SCAN_NOMEM;
    }
    memcpy(line, out, whole.out_len);
    unfolded =
        lb_unfold(line, whole.out_len, out, cap, options->max_event, &whole);
    free(line);

    switch (unfolded) {
    case LB_SCAN_OK:
        *res = whole;
        return LB_SCAN_OK;
    case LB_SCAN_TOOBIG:
        res->error = "an event in the array is larger than the limit for one "
                     "event";
        res->row = 0;
        return LB_SCAN_TOOBIG;
    case LB_SCAN_EMPTY: /* no wrapper; out is as it was */
        return rc;
    default:
        return unfolded;
    }
}

static lb_scan_status_t
scan_json(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
          const lb_scan_options_t *options, lb_scan_result_t *res)
{
    lb_scan_status_t rc =
        lb_scan_json(in, len, out, cap, options->max_event, res);

    if (rc == LB_SCAN_OK
            ? res->events != 1 || !lb_unfold_maybe(out, res->out_len)
            : rc != LB_SCAN_TOOBIG || res->events != 0) {
        return rc;
    }
    return options->patient ? unwrap(rc, in, len, out, cap, options, res)
                            : LB_SCAN_LATER;
}

static lb_scan_status_t
scan_text(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
          const lb_scan_options_t *options, lb_scan_result_t *res)
{
    return lb_scan_text(in, len, out, cap, options->max_event, res);
}

/* Does it begin as an object does, or an array of them? */
static int
begins_as_json(const uint8_t *p, const uint8_t *end)
{
    static const char space[] = " \t\r\n";
    const char *next;

    while (p < end && memchr(space, *p, 4) != NULL) {
        p++;
    }
    next = p < end && *p == '[' ? "{" : "\"}";
    if (p == end || (*p != '{' && *p != '[')) {
        return 0;
    }
    for (p++; p < end && memchr(space, *p, 4) != NULL; p++) {
    }
    return p < end && strchr(next, *p) != NULL && *p != '\0';
}

static lb_scan_status_t
scan_plain(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
           const lb_scan_options_t *options, lb_scan_result_t *res)
{
    lb_scan_status_t rc = LB_SCAN_BAD;

    if (begins_as_json(in, in + len)) {
        rc = scan_json(in, len, out, cap, options, res);
    }
    return rc == LB_SCAN_BAD ? scan_text(in, len, out, cap, options, res) : rc;
}

static lb_scan_status_t
scan_event(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
           const lb_scan_options_t *options, lb_scan_result_t *res)
{
    return lb_scan_json(in, len, out, cap, options->max_event, res);
}

static const char *const json_types[] = {
    "application/json", "application/x-ndjson",
    "text/json",        "text/x-json",
    "text/ndjson",      "text/x-ndjson",
    "text/jsonl",       "text/jsonlines",
    LB_TYPE_UNCLEAR,    NULL,
};

static const char *const text_types[] = {"text/plain", NULL};

static const char *const any_types[] = {"", NULL};

static const char *const no_types[] = {NULL};

const lb_format_t lb_format_json = {
    .name = "json",
    .types = json_types,
    .scan = scan_json,
    .out_usual = 9,
    .out_max = lb_scan_json_out_max,
    .explain = lb_scan_explain,
};

const lb_format_t lb_format_text = {
    .name = "text",
    .types = text_types,
    .scan = scan_text,
    .out_usual = 9,
    .out_max = lb_scan_text_out_max,
};

const lb_format_t lb_format_plain = {
    .name = "plain",
    .types = text_types,
    .scan = scan_plain,
    .out_usual = 9,
    .out_max = lb_scan_text_out_max,
};

const lb_format_t lb_format_any = {
    .name = "any",
    .types = any_types,
    .scan = scan_json,
    .out_usual = 9,
    .out_max = lb_scan_json_out_max,
    .explain = lb_scan_explain,
};

const lb_format_t lb_format_event = {
    .name = "event",
    .types = no_types,
    .scan = scan_event,
    .out_usual = 9,
    .out_max = lb_scan_json_out_max,
};
