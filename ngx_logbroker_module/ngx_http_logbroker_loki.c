/*
 * The dialect of Loki: pushes, and whether it is ready.
 *
 * Source: Grafana's documentation, "Loki HTTP API": 204 without a body, or an
 * error as one line of text, whose begin is what clients log.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/loki_json.h"
#include "event/loki_proto.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_accept.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_ring.h"


static ngx_int_t ngx_http_logbroker_loki_greet(ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_loki_ready(ngx_http_request_t *r);
static ngx_uint_t ngx_http_logbroker_loki_stream(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_loki_success(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_loki_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words);
static ngx_int_t ngx_http_logbroker_loki_send(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *words);


static const lb_format_t  *const ngx_http_logbroker_loki_formats[] = {
    &lb_format_loki_json,
    &lb_format_loki_proto,                 /* of any other type */
    NULL
};


const ngx_http_logbroker_dialect_t  ngx_http_logbroker_loki = {
    ngx_string("logbroker_loki"),
    NGX_HTTP_POST,
    "POST",
    ngx_http_logbroker_loki_formats,
    ngx_null_string,                       /* key */
    1,                                     /* deduplicate */
    ngx_http_logbroker_loki_greet,
    ngx_http_logbroker_loki_stream,
    ngx_http_logbroker_loki_success,
    ngx_http_logbroker_loki_error
};


/* The location is that of a push, of /ready, or of both. */

static ngx_int_t
ngx_http_logbroker_loki_greet(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_str_t            path;
    ngx_uint_t           ready;
    ngx_table_elt_t     *h;
    ngx_http_request_t  *r;

    static ngx_str_t  encoding = ngx_string("content-encoding");

    static ngx_str_t  unknown = ngx_string("only pushes are taken here, at "
                                           "/loki/api/v1/push");

    r = ctx->request;

    ready = ngx_http_logbroker_ends(&r->uri, "/ready");

    ngx_http_logbroker_path(r, &path);

    if (!ready
        && (path.len == 0 || ngx_http_logbroker_ends(&r->uri, "/push")))
    {
        /* Vector names the snappy that is part of the form */

        h = ngx_http_logbroker_header(r, &encoding, NULL);

        if (h && h->value.len == 6
            && ngx_strncasecmp(h->value.data, (u_char *) "snappy", 6) == 0)
        {
            ngx_str_set(&h->value, "identity");
        }

        return NGX_DECLINED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ready && (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_http_logbroker_loki_ready(r);
    }

    return ngx_http_logbroker_loki_send(r, NGX_HTTP_NOT_FOUND, &unknown);
}


static ngx_int_t
ngx_http_logbroker_loki_ready(ngx_http_request_t *r)
{
    ngx_http_logbroker_worker_t  *w;

    static ngx_str_t  ready = ngx_string("ready");
    static ngx_str_t  not_ready = ngx_string("not ready: the spool cannot be "
                                             "written");

    w = ngx_http_logbroker_worker;

    if (w->hang.hanging || ngx_http_logbroker_no_ring(w)) {

        if (ngx_http_logbroker_add_header(r, "Retry-After", "1") != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_logbroker_loki_send(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                            &not_ready);
    }

    return ngx_http_logbroker_loki_send(r, NGX_HTTP_OK, &ready);
}


/* The stream is what logbroker_stream says, or the tenant. */

static ngx_uint_t
ngx_http_logbroker_loki_stream(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_table_elt_t                *h;
    ngx_http_logbroker_loc_conf_t  *llcf;

    static ngx_str_t  name = ngx_string("x-scope-orgid");

    llcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_logbroker_module);

    h = ngx_http_logbroker_header(ctx->request, &name, NULL);

    if (llcf->stream == NULL && h) {
        ctx->stream = h->value;
    }

    return ngx_http_logbroker_stream_set(ctx);
}


static ngx_int_t
ngx_http_logbroker_loki_success(ngx_http_logbroker_ctx_t *ctx)
{
    return ngx_http_logbroker_send_nothing(ctx->request);
}


static ngx_int_t
ngx_http_logbroker_loki_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words)
{
    /* a push without entries is none that fails */

    if (ctx->reason == NGX_HTTP_LOGBROKER_EMPTY && ctx->len > 0) {
        return ngx_http_logbroker_loki_success(ctx);
    }

    return ngx_http_logbroker_loki_send(ctx->request, why->status, words);
}


static ngx_int_t
ngx_http_logbroker_loki_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *words)
{
    ngx_buf_t  *b;

    b = ngx_create_temp_buf(r->pool, words->len + 1);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_cpymem(b->last, words->data, words->len);
    *b->last++ = LF;

    return ngx_http_logbroker_send(r, status, "text/plain; charset=utf-8", b);
}
