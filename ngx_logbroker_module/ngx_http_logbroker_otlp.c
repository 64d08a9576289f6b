/*
 * The dialect of OpenTelemetry: logs by OTLP/HTTP, in protobuf and in JSON.
 *
 * Source: the OpenTelemetry protocol's specification, "OTLP/HTTP"; the answers
 * are messages of opentelemetry/proto/collector/logs/v1/logs_service.proto and
 * google/rpc/status.proto, in the encoding of the request.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/otlp_json.h"
#include "event/otlp_proto.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_accept.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_reason.h"


/* codes of google.rpc.Status */
#define NGX_HTTP_LOGBROKER_OTLP_INVALID      3
#define NGX_HTTP_LOGBROKER_OTLP_UNIMPLEMENTED 12
#define NGX_HTTP_LOGBROKER_OTLP_UNAVAILABLE  14

/* bytes of a varint of 64 bits */
#define NGX_HTTP_LOGBROKER_OTLP_VARINT       10


static ngx_int_t ngx_http_logbroker_otlp_greet(ngx_http_logbroker_ctx_t *ctx);
static u_char *ngx_http_logbroker_otlp_warning(ngx_http_logbroker_ctx_t *ctx,
    u_char *text, size_t size);
static ngx_int_t ngx_http_logbroker_otlp_success(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_otlp_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words);
static ngx_int_t ngx_http_logbroker_otlp_status(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t status, ngx_uint_t code, ngx_str_t *words);
static ngx_int_t ngx_http_logbroker_otlp_send(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t status, ngx_buf_t *b);
static u_char *ngx_http_logbroker_otlp_varint(u_char *p, uint64_t n);


static const lb_format_t  *const ngx_http_logbroker_otlp_formats[] = {
    &lb_format_otlp_proto,
    &lb_format_otlp_json,
    NULL
};


const ngx_http_logbroker_dialect_t  ngx_http_logbroker_otlp = {
    ngx_string("logbroker_otlp"),
    NGX_HTTP_POST,
    "POST",
    ngx_http_logbroker_otlp_formats,
    ngx_null_string,                       /* key */
    1,                                     /* deduplicate */
    ngx_http_logbroker_otlp_greet,
    ngx_http_logbroker_stream_set,
    ngx_http_logbroker_otlp_success,
    ngx_http_logbroker_otlp_error
};


/* The location is that of the logs, or of all signals: who has set one
 * endpoint for all of them is told, and sends the others no more. */

static ngx_int_t
ngx_http_logbroker_otlp_greet(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_str_t            path;
    ngx_http_request_t  *r;

    static ngx_str_t  words = ngx_string("only logs are taken here, at "
                                         "/v1/logs: switch the exporters of "
                                         "traces and metrics off, or send "
                                         "them elsewhere");

    r = ctx->request;

    ngx_http_logbroker_path(r, &path);

    if (path.len == 0
        || (path.len == 4 && ngx_strncmp(path.data, "logs", 4) == 0)
        || (path.len == 7 && ngx_strncmp(path.data, "v1/logs", 7) == 0))
    {
        return NGX_DECLINED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    (void) ngx_http_logbroker_content_type(ctx);

    return ngx_http_logbroker_otlp_status(ctx, NGX_HTTP_NOT_FOUND,
                                        NGX_HTTP_LOGBROKER_OTLP_UNIMPLEMENTED,
                                        &words);
}


/* ExportLogsServiceResponse, with partial_success if anything was rejected. */

/* What a client should know although all of its records are stored: the end of
 * the words in text. */

static u_char *
ngx_http_logbroker_otlp_warning(ngx_http_logbroker_ctx_t *ctx, u_char *text,
    size_t size)
{
    lb_otlp_reply_t  note;

    if (ctx->reply.len != sizeof(note)) {
        return text;
    }

    ngx_memcpy(&note, ctx->reply.data, sizeof(note));

    return ngx_snprintf(text, size, "%uL places of the request are not UTF-8 "
                        "and were replaced by U+FFFD", note.replaced);
}


static ngx_int_t
ngx_http_logbroker_otlp_success(ngx_http_logbroker_ctx_t *ctx)
{
    size_t      len;
    u_char     *p, count[NGX_HTTP_LOGBROKER_OTLP_VARINT], text[128];
    ngx_buf_t  *b;
    ngx_str_t   words;

    words = ctx->error;

    if (ctx->rejected == 0) {
        words.data = text;
        words.len = ngx_http_logbroker_otlp_warning(ctx, text,
                                                    sizeof(text)) - text;
    }

    len = sizeof("{\"partialSuccess\":{\"rejectedLogRecords\":\"\","
                 "\"errorMessage\":\"\"}}") + NGX_INT_T_LEN
          + 4 * (1 + NGX_HTTP_LOGBROKER_OTLP_VARINT)
          + words.len + ngx_escape_json(NULL, words.data, words.len);

    b = ngx_create_temp_buf(ctx->request->pool, len);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->format == &lb_format_otlp_json) {

        if (ctx->rejected == 0 && words.len == 0) {
            b->last = ngx_cpymem(b->last, "{}", 2);
            return ngx_http_logbroker_otlp_send(ctx, NGX_HTTP_OK, b);
        }

        b->last = ngx_sprintf(b->last, "{\"partialSuccess\":{"
                              "\"rejectedLogRecords\":\"%ui\","
                              "\"errorMessage\":\"", ctx->rejected);
        b->last = (u_char *) ngx_escape_json(b->last, words.data, words.len);
        b->last = ngx_cpymem(b->last, "\"}}", 3);

        return ngx_http_logbroker_otlp_send(ctx, NGX_HTTP_OK, b);
    }

    if (ctx->rejected || words.len) {

        /* 1: partial_success {1: rejected_log_records, 2: error_message} */

        p = ngx_http_logbroker_otlp_varint(count, words.len);

        len = 1 + (p - count) + words.len;

        p = ngx_http_logbroker_otlp_varint(count, ctx->rejected);

        len += 1 + (p - count);

        *b->last++ = 1 << 3 | 2;
        b->last = ngx_http_logbroker_otlp_varint(b->last, len);
        *b->last++ = 1 << 3 | 0;
        b->last = ngx_http_logbroker_otlp_varint(b->last, ctx->rejected);
        *b->last++ = 2 << 3 | 2;
        b->last = ngx_http_logbroker_otlp_varint(b->last, words.len);
        b->last = ngx_cpymem(b->last, words.data, words.len);
    }

    return ngx_http_logbroker_otlp_send(ctx, NGX_HTTP_OK, b);
}


static ngx_int_t
ngx_http_logbroker_otlp_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words)
{
    ngx_uint_t  code;

    /* a request without records is none that fails; in JSON it has an object */

    if (ctx->reason == NGX_HTTP_LOGBROKER_EMPTY
        && (ctx->format == &lb_format_otlp_proto || ctx->len > 0))
    {
        return ngx_http_logbroker_otlp_success(ctx);
    }

    code = why->status >= NGX_HTTP_INTERNAL_SERVER_ERROR
               ? NGX_HTTP_LOGBROKER_OTLP_UNAVAILABLE
               : NGX_HTTP_LOGBROKER_OTLP_INVALID;

    return ngx_http_logbroker_otlp_status(ctx, why->status, code, words);
}


/* google.rpc.Status {1: code, 2: message} */

static ngx_int_t
ngx_http_logbroker_otlp_status(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t status, ngx_uint_t code, ngx_str_t *words)
{
    size_t      len;
    ngx_buf_t  *b;

    len = sizeof("{\"code\":,\"message\":\"\"}") + NGX_INT_T_LEN
          + 2 * (1 + NGX_HTTP_LOGBROKER_OTLP_VARINT)
          + words->len + ngx_escape_json(NULL, words->data, words->len);

    b = ngx_create_temp_buf(ctx->request->pool, len);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->format == &lb_format_otlp_proto) {
        *b->last++ = 1 << 3 | 0;
        b->last = ngx_http_logbroker_otlp_varint(b->last, code);
        *b->last++ = 2 << 3 | 2;
        b->last = ngx_http_logbroker_otlp_varint(b->last, words->len);
        b->last = ngx_cpymem(b->last, words->data, words->len);

    } else {
        b->last = ngx_sprintf(b->last, "{\"code\":%ui,\"message\":\"", code);
        b->last = (u_char *) ngx_escape_json(b->last, words->data,
                                             words->len);
        b->last = ngx_cpymem(b->last, "\"}", 2);
    }

    return ngx_http_logbroker_otlp_send(ctx, status, b);
}


static ngx_int_t
ngx_http_logbroker_otlp_send(ngx_http_logbroker_ctx_t *ctx, ngx_uint_t status,
    ngx_buf_t *b)
{
    return ngx_http_logbroker_send(ctx->request, status,
                                   ctx->format == &lb_format_otlp_proto
                                       ? "application/x-protobuf"
                                       : "application/json", b);
}


static u_char *
ngx_http_logbroker_otlp_varint(u_char *p, uint64_t n)
{
    while (n >= 0x80) {
        *p++ = (u_char) (n | 0x80);
        n >>= 7;
    }

    *p++ = (u_char) n;

    return p;
}
