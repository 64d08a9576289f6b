/*
 * The dialect of GELF over HTTP.
 *
 * Source: Graylog's documentation, "GELF": 202 without a body, also for a
 * message that turns out to be none.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/gelf.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_accept.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_reason.h"


static ngx_int_t ngx_http_logbroker_gelf_greet(ngx_http_logbroker_ctx_t *ctx);
static ngx_uint_t ngx_http_logbroker_gelf_stream(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_gelf_success(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_gelf_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words);


static const lb_format_t  *const ngx_http_logbroker_gelf_formats[] = {
    &lb_format_gelf,
    NULL
};


const ngx_http_logbroker_dialect_t  ngx_http_logbroker_gelf = {
    ngx_string("logbroker_gelf"),
    NGX_HTTP_POST,
    "POST",
    ngx_http_logbroker_gelf_formats,
    ngx_null_string,                       /* key */
    0,                                     /* deduplicate */
    ngx_http_logbroker_gelf_greet,
    ngx_http_logbroker_gelf_stream,
    ngx_http_logbroker_gelf_success,
    ngx_http_logbroker_gelf_error
};


/* Handlers for Python name both codings they know and use one: the first bytes
 * tell which. */

static ngx_int_t
ngx_http_logbroker_gelf_greet(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_table_elt_t  *h;

    static ngx_str_t  name = ngx_string("content-encoding");
    static ngx_str_t  both = ngx_string("gzip,deflate");

    h = ngx_http_logbroker_header(ctx->request, &name, NULL);

    if (h && h->value.len == both.len
        && ngx_strncasecmp(h->value.data, both.data, both.len) == 0)
    {
        ngx_str_set(&h->value, "identity");
    }

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_http_logbroker_gelf_stream(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_uint_t                  reason;
    ngx_http_logbroker_param_t  stream = { ngx_string("stream"),
                                           ngx_null_string, 0 };

    reason = ngx_http_logbroker_stream_set(ctx);

    if (reason) {
        return reason;
    }

    stream.value = ctx->stream;

    return ngx_http_logbroker_params(ctx, &stream, 1);
}


static ngx_int_t
ngx_http_logbroker_gelf_success(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_buf_t  *b;

    b = ngx_calloc_buf(ctx->request->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_logbroker_send(ctx->request, NGX_HTTP_ACCEPTED,
                                   "text/plain", b);
}


/* The protocol has no words for errors: those of logbroker. */

static ngx_int_t
ngx_http_logbroker_gelf_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words)
{
    return ngx_http_logbroker_log.error(ctx, why, words);
}
