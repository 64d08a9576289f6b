/*
 * The dialect of OpenTelemetry: logs by OTLP/HTTP, in protobuf and in JSON.
 * What comes as gRPC is for grpc.c.
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
#include "ngx_http_logbroker_otlp.h"
#include "ngx_http_logbroker_reason.h"


static ngx_int_t ngx_http_logbroker_otlp_greet(ngx_http_logbroker_ctx_t *ctx);
static ngx_uint_t ngx_http_logbroker_otlp_is_grpc(ngx_http_request_t *r);
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

    if (ngx_http_logbroker_otlp_is_grpc(r)) {

        if (r->http_version >= NGX_HTTP_VERSION_20) {
            ctx->dialect = &ngx_http_logbroker_grpc;
            return ctx->dialect->greet(ctx);
        }

        ngx_str_set(&ctx->error, "gRPC needs HTTP/2 (\"listen ... http2\")");
        return NGX_DECLINED;
    }

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


/* By its media type, whatever the message is encoded in.  gRPC-Web is another
 * protocol. */

static ngx_uint_t
ngx_http_logbroker_otlp_is_grpc(ngx_http_request_t *r)
{
    ngx_str_t  *type;

    static ngx_str_t  grpc = ngx_string("application/grpc");

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    type = &r->headers_in.content_type->value;

    return type->len >= grpc.len
           && ngx_strncasecmp(type->data, grpc.data, grpc.len) == 0
           && (type->len == grpc.len || type->data[grpc.len] == '+'
               || type->data[grpc.len] == ';' || type->data[grpc.len] == ' ');
}


void
ngx_http_logbroker_otlp_words(ngx_http_logbroker_ctx_t *ctx, ngx_str_t *words,
    u_char *text)
{
    lb_otlp_reply_t  note;

    *words = ctx->error;

    if (ctx->rejected) {
        return;
    }

    words->data = text;
    words->len = 0;

    if (ctx->reply.len == sizeof(note)) {
        ngx_memcpy(&note, ctx->reply.data, sizeof(note));

        words->len = ngx_snprintf(text, NGX_HTTP_LOGBROKER_OTLP_WARNING,
                                  "%uL places of the request are not UTF-8 "
                                  "and were replaced by U+FFFD", note.replaced)
                     - text;
    }
}


u_char *
ngx_http_logbroker_otlp_response(u_char *p, ngx_uint_t rejected,
    ngx_str_t *words)
{
    size_t   len;
    u_char  *n, count[NGX_HTTP_LOGBROKER_OTLP_VARINT];

    if (rejected == 0 && words->len == 0) {
        return p;
    }

    /* 1: partial_success {1: rejected_log_records, 2: error_message} */

    n = ngx_http_logbroker_otlp_varint(count, words->len);

    len = 1 + (n - count) + words->len;

    n = ngx_http_logbroker_otlp_varint(count, rejected);

    len += 1 + (n - count);

    *p++ = 1 << 3 | 2;
    p = ngx_http_logbroker_otlp_varint(p, len);
    *p++ = 1 << 3 | 0;
    p = ngx_http_logbroker_otlp_varint(p, rejected);
    *p++ = 2 << 3 | 2;
    p = ngx_http_logbroker_otlp_varint(p, words->len);

    return ngx_cpymem(p, words->data, words->len);
}


u_char *
ngx_http_logbroker_otlp_rpc_status(u_char *p, ngx_uint_t code,
    ngx_str_t *words)
{
    /* 1: code, 2: message */

    *p++ = 1 << 3 | 0;
    p = ngx_http_logbroker_otlp_varint(p, code);
    *p++ = 2 << 3 | 2;
    p = ngx_http_logbroker_otlp_varint(p, words->len);

    return ngx_cpymem(p, words->data, words->len);
}


static ngx_int_t
ngx_http_logbroker_otlp_success(ngx_http_logbroker_ctx_t *ctx)
{
    size_t      len;
    u_char      text[NGX_HTTP_LOGBROKER_OTLP_WARNING];
    ngx_buf_t  *b;
    ngx_str_t   words;

    ngx_http_logbroker_otlp_words(ctx, &words, text);

    len = sizeof("{\"partialSuccess\":{\"rejectedLogRecords\":\"\","
                 "\"errorMessage\":\"\"}}") + NGX_INT_T_LEN
          + NGX_HTTP_LOGBROKER_OTLP_REPLY
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

    b->last = ngx_http_logbroker_otlp_response(b->last, ctx->rejected,
                                               &words);

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


static ngx_int_t
ngx_http_logbroker_otlp_status(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t status, ngx_uint_t code, ngx_str_t *words)
{
    size_t      len;
    ngx_buf_t  *b;

    len = sizeof("{\"code\":,\"message\":\"\"}") + NGX_INT_T_LEN
          + NGX_HTTP_LOGBROKER_OTLP_REPLY
          + words->len + ngx_escape_json(NULL, words->data, words->len);

    b = ngx_create_temp_buf(ctx->request->pool, len);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->format == &lb_format_otlp_proto) {
        b->last = ngx_http_logbroker_otlp_rpc_status(b->last, code, words);

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
