/*
 * The dialect of OpenTelemetry over gRPC: what logbroker_otlp gets as
 * application/grpc over HTTP/2.
 *
 * Source: gRPC's "gRPC over HTTP2" and "Status codes", the OpenTelemetry
 * protocol's specification, "OTLP/gRPC", for what is to be repeated.
 *
 * An answer is a message and trailers, or only the header where there is no
 * message.  A deadline (grpc-timeout) is the client's own: whoever is past it
 * leaves as any other client does.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/grpc.h"
#include "event/otlp_proto.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_accept.h"
#include "ngx_http_logbroker_decode.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_otlp.h"
#include "ngx_http_logbroker_reason.h"


static ngx_int_t ngx_http_logbroker_grpc_greet(ngx_http_logbroker_ctx_t *ctx);
static ngx_uint_t ngx_http_logbroker_grpc_open(ngx_str_t *body, size_t limit,
    ngx_uint_t *coding, char **error);
static ngx_int_t ngx_http_logbroker_grpc_success(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_grpc_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words);
static ngx_uint_t ngx_http_logbroker_grpc_code(ngx_uint_t reason,
    ngx_uint_t status);
static ngx_int_t ngx_http_logbroker_grpc_refuse(ngx_http_request_t *r,
    ngx_uint_t status, ngx_uint_t code, ngx_str_t *words);
static ngx_int_t ngx_http_logbroker_grpc_details(ngx_http_request_t *r,
    ngx_uint_t code, ngx_str_t *words);
static ngx_int_t ngx_http_logbroker_grpc_codings(ngx_http_request_t *r);
static void ngx_http_logbroker_grpc_header(ngx_http_request_t *r,
    ngx_uint_t status);


static const lb_format_t  *const ngx_http_logbroker_grpc_formats[] = {
    &lb_format_otlp_grpc,
    NULL
};


static const ngx_str_t  ngx_http_logbroker_grpc_coding =
    ngx_string("grpc-encoding");


const ngx_http_logbroker_dialect_t  ngx_http_logbroker_grpc = {
    ngx_null_string,
    NGX_HTTP_POST,
    "POST",
    ngx_http_logbroker_grpc_formats,
    ngx_null_string,                       /* key */
    1,                                     /* deduplicate */
    ngx_http_logbroker_grpc_greet,
    ngx_http_logbroker_stream_set,
    ngx_http_logbroker_grpc_success,
    ngx_http_logbroker_grpc_error
};


static ngx_int_t
ngx_http_logbroker_grpc_greet(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    static ngx_str_t  method = ngx_string("/opentelemetry.proto.collector."
                                          "logs.v1.LogsService/Export");
    static ngx_str_t  words = ngx_string("only logs are taken here, by the "
                                         "Export of LogsService: switch the "
                                         "exporters of traces and metrics "
                                         "off, or send them elsewhere");

    r = ctx->request;

    ctx->formats = ngx_http_logbroker_grpc_formats;
    ctx->coding = &ngx_http_logbroker_grpc_coding;
    ctx->open = ngx_http_logbroker_grpc_open;

    /* a proxy may have put something before it */

    if (r->uri.len >= method.len
        && ngx_strncmp(r->uri.data + r->uri.len - method.len, method.data,
                       method.len)
           == 0)
    {
        return NGX_DECLINED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_logbroker_grpc_refuse(r, NGX_HTTP_NOT_FOUND,
                                        NGX_HTTP_LOGBROKER_OTLP_UNIMPLEMENTED,
                                        &words);
}


static ngx_uint_t
ngx_http_logbroker_grpc_open(ngx_str_t *body, size_t limit,
    ngx_uint_t *coding, char **error)
{
    lb_grpc_status_t   rc;
    lb_grpc_message_t  message;

    rc = lb_grpc_message(body->data, body->len, limit, &message);

    if (rc != LB_GRPC_OK) {
        *error = (char *) message.error;

        return rc == LB_GRPC_TOO_LONG ? NGX_HTTP_LOGBROKER_BODY_TOO_BIG
                                      : NGX_HTTP_LOGBROKER_CORRUPT;
    }

    if (!message.packed) {
        *coding = NGX_HTTP_LOGBROKER_IDENTITY;

    } else if (*coding == NGX_HTTP_LOGBROKER_IDENTITY) {
        *error = "the message is compressed, but \"grpc-encoding\" does not "
                 "say how";
        return NGX_HTTP_LOGBROKER_CORRUPT;
    }

    body->data = (u_char *) message.data;
    body->len = message.len;

    return 0;
}


static ngx_int_t
ngx_http_logbroker_grpc_success(ngx_http_logbroker_ctx_t *ctx)
{
    u_char               text[NGX_HTTP_LOGBROKER_OTLP_WARNING];
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_str_t            words;
    ngx_chain_t          out;
    ngx_table_elt_t     *h;
    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_logbroker_otlp_words(ctx, &words, text);

    b = ngx_create_temp_buf(r->pool, LB_GRPC_HEADER
                                     + NGX_HTTP_LOGBROKER_OTLP_REPLY
                                     + words.len);
    h = ngx_list_push(&r->headers_out.trailers);

    if (b == NULL || h == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_http_logbroker_otlp_response(b->pos + LB_GRPC_HEADER,
                                               ctx->rejected, &words);
    (void) lb_grpc_header(b->pos, b->last - b->pos - LB_GRPC_HEADER);

    h->hash = 1;
    ngx_str_set(&h->key, "grpc-status");
    ngx_str_set(&h->value, "0");

    ngx_http_logbroker_grpc_header(r, NGX_HTTP_OK);

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_logbroker_grpc_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words)
{
    /* a request without records is none that fails */

    if (ctx->reason == NGX_HTTP_LOGBROKER_EMPTY) {
        return ngx_http_logbroker_grpc_success(ctx);
    }

    if (ctx->reason == NGX_HTTP_LOGBROKER_ENCODING
        && ngx_http_logbroker_grpc_codings(ctx->request) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_logbroker_grpc_refuse(ctx->request, why->status,
                                  ngx_http_logbroker_grpc_code(ctx->reason,
                                                               why->status),
                                  words);
}


/* Clients send again what is UNAVAILABLE, and nothing else of these. */

static ngx_uint_t
ngx_http_logbroker_grpc_code(ngx_uint_t reason, ngx_uint_t status)
{
    if (reason == NGX_HTTP_LOGBROKER_CORRUPT) {
        return NGX_HTTP_LOGBROKER_OTLP_INTERNAL;
    }

    switch (status) {

    case NGX_HTTP_NOT_ALLOWED:
    case NGX_HTTP_UNSUPPORTED_MEDIA_TYPE:
        return NGX_HTTP_LOGBROKER_OTLP_UNIMPLEMENTED;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        return NGX_HTTP_LOGBROKER_OTLP_EXHAUSTED;

    default:
        return status >= NGX_HTTP_INTERNAL_SERVER_ERROR
                   ? NGX_HTTP_LOGBROKER_OTLP_UNAVAILABLE
                   : NGX_HTTP_LOGBROKER_OTLP_INVALID;
    }
}


/* An answer that is only a header.  Its status is 200, except for an edge that
 * has another broker to ask, as long as nothing is stored here. */

static ngx_int_t
ngx_http_logbroker_grpc_refuse(ngx_http_request_t *r, ngx_uint_t status,
    ngx_uint_t code, ngx_str_t *words)
{
    u_char  *value, *last;

    value = ngx_pnalloc(r->pool, NGX_INT_T_LEN + 1 + 3 * words->len + 1);
    if (value == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    last = ngx_sprintf(value, "%ui%Z", code);

    if (ngx_http_logbroker_add_header(r, "grpc-status", (char *) value)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    value = last;
    last = lb_grpc_words(value, words->data, words->len);
    *last = '\0';

    if (ngx_http_logbroker_add_header(r, "grpc-message", (char *) value)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (code == NGX_HTTP_LOGBROKER_OTLP_UNAVAILABLE
        && ngx_http_logbroker_grpc_details(r, code, words) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (status != NGX_HTTP_SERVICE_UNAVAILABLE
        || !ngx_http_logbroker_through_edge(r))
    {
        status = NGX_HTTP_OK;
    }

    ngx_http_logbroker_grpc_header(r, status);

    r->header_only = 1;

    return ngx_http_send_header(r);
}


/* When to come again: google.rpc.Status with a google.rpc.RetryInfo. */

static ngx_int_t
ngx_http_logbroker_grpc_details(ngx_http_request_t *r, ngx_uint_t code,
    ngx_str_t *words)
{
    u_char     *p;
    ngx_str_t   status, value;

    /* 3: details {1: type_url, 2: value {1: retry_delay {1: seconds}}} */

    static u_char  retry_info[] = "\x1a\x30"
                        "\x0a\x28type.googleapis.com/google.rpc.RetryInfo"
                        "\x12\x04\x0a\x02\x08\x01";

    p = ngx_pnalloc(r->pool, NGX_HTTP_LOGBROKER_OTLP_REPLY + words->len
                             + sizeof(retry_info));
    if (p == NULL) {
        return NGX_ERROR;
    }

    status.data = p;
    p = ngx_http_logbroker_otlp_rpc_status(p, code, words);
    p = ngx_cpymem(p, retry_info, sizeof(retry_info) - 1);
    status.len = p - status.data;

    value.data = ngx_pnalloc(r->pool, ngx_base64_encoded_length(status.len)
                                      + 1);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    ngx_encode_base64(&value, &status);

    while (value.data[value.len - 1] == '=') {
        value.len--;
    }

    value.data[value.len] = '\0';

    return ngx_http_logbroker_add_header(r, "grpc-status-details-bin",
                                         (char *) value.data);
}


/* What messages may be compressed by. */

static ngx_int_t
ngx_http_logbroker_grpc_codings(ngx_http_request_t *r)
{
    u_char  *p, *last;

    p = ngx_pnalloc(r->pool, 128);
    if (p == NULL) {
        return NGX_ERROR;
    }

    last = ngx_http_logbroker_codings_list(p, p + 127);
    *last = '\0';

    return ngx_http_logbroker_add_header(r, "grpc-accept-encoding",
                                         (char *) p);
}


static void
ngx_http_logbroker_grpc_header(ngx_http_request_t *r, ngx_uint_t status)
{
    r->headers_out.status = status;
    r->headers_out.content_length_n = -1;

    ngx_str_set(&r->headers_out.content_type, "application/grpc");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
}
