/*
 * The dialect of Datadog's log intake: /api/v2/logs, the older /v1/input, and
 * the question whether a key is valid.
 *
 * Source: Datadog's documentation, "API Reference", "Logs" and
 * "Authentication": 202 or, by the older path, 200, with an empty object.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/datadog.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_accept.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_reason.h"


static ngx_int_t ngx_http_logbroker_datadog_greet(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_uint_t ngx_http_logbroker_datadog_older(ngx_http_request_t *r);
static ngx_uint_t ngx_http_logbroker_datadog_stream(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_datadog_success(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_datadog_error(
    ngx_http_logbroker_ctx_t *ctx, ngx_http_logbroker_reason_t *why,
    ngx_str_t *words);
static ngx_int_t ngx_http_logbroker_datadog_refuse(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *words);
static ngx_int_t ngx_http_logbroker_datadog_send(ngx_http_request_t *r,
    ngx_uint_t status, char *text);


static const lb_format_t  *const ngx_http_logbroker_datadog_formats[] = {
    &lb_format_datadog_text,
    &lb_format_datadog_logplex,
    &lb_format_datadog,                    /* of any other type */
    NULL
};


const ngx_http_logbroker_dialect_t  ngx_http_logbroker_datadog = {
    ngx_string("logbroker_datadog"),
    NGX_HTTP_POST,
    "POST",
    ngx_http_logbroker_datadog_formats,
    ngx_null_string,                       /* key */
    0,                                     /* deduplicate */
    ngx_http_logbroker_datadog_greet,
    ngx_http_logbroker_datadog_stream,
    ngx_http_logbroker_datadog_success,
    ngx_http_logbroker_datadog_error
};


/* The location is the root of the API, or that of one endpoint. */

static ngx_int_t
ngx_http_logbroker_datadog_greet(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_str_t            path;
    ngx_uint_t           validate;
    ngx_http_request_t  *r;

    static ngx_str_t  unknown = ngx_string("nothing is here: events go to "
                                           "/api/v2/logs");

    r = ctx->request;

    ngx_http_logbroker_path(r, &path);

    validate = ngx_http_logbroker_ends(&r->uri, "/api/v1/validate");

    if (!validate
        && (path.len == 0 || ngx_http_logbroker_ends(&r->uri, "/api/v2/logs")
            || ngx_http_logbroker_datadog_older(r)))
    {
        return NGX_DECLINED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (validate && (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_http_logbroker_datadog_send(r, NGX_HTTP_OK,
                                               "{\"valid\":true}");
    }

    return ngx_http_logbroker_datadog_refuse(r, NGX_HTTP_NOT_FOUND, &unknown);
}


/* "/v1/input", and with a key behind it. */

static ngx_uint_t
ngx_http_logbroker_datadog_older(ngx_http_request_t *r)
{
    u_char     *p;
    ngx_str_t   uri;

    uri = r->uri;

    for (p = uri.data + uri.len; p > uri.data && p[-1] != '/'; p--) {
        /* void */
    }

    if (ngx_http_logbroker_ends(&uri, "/v1/input")) {
        return 1;
    }

    if (p == uri.data) {
        return 0;
    }

    uri.len = p - 1 - uri.data;

    return ngx_http_logbroker_ends(&uri, "/v1/input");
}


/* The stream is what logbroker_stream says; what the query says of all events
 * is said to the scan. */

static ngx_uint_t
ngx_http_logbroker_datadog_stream(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_uint_t                   reason, i;
    ngx_table_elt_t             *h;
    ngx_http_logbroker_param_t   params[] = {
        { ngx_string("stream"), ngx_null_string, 0 },
        { ngx_string("count"), ngx_null_string, 0 },
        { ngx_string("ddsource"), ngx_null_string, 1 },
        { ngx_string("ddtags"), ngx_null_string, 1 },
        { ngx_string("env"), ngx_null_string, 1 },
        { ngx_string("host"), ngx_null_string, 1 },
        { ngx_string("hostname"), ngx_null_string, 1 },
        { ngx_string("service"), ngx_null_string, 1 },
        { ngx_string("version"), ngx_null_string, 1 }
    };

    static ngx_str_t  count = ngx_string("logplex-msg-count");

    reason = ngx_http_logbroker_stream_set(ctx);

    if (reason) {
        return reason;
    }

    params[0].value = ctx->stream;

    h = ngx_http_logbroker_header(ctx->request, &count, NULL);

    if (h) {
        params[1].value = h->value;
    }

    for (i = 2; i < sizeof(params) / sizeof(params[0]); i++) {
        (void) ngx_http_arg(ctx->request, params[i].name.data,
                            params[i].name.len, &params[i].value);
    }

    return ngx_http_logbroker_params(ctx, params,
                                     sizeof(params) / sizeof(params[0]));
}


static ngx_int_t
ngx_http_logbroker_datadog_success(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_uint_t  status;

    status = ngx_http_logbroker_datadog_older(ctx->request)
                 ? NGX_HTTP_OK : NGX_HTTP_ACCEPTED;

    return ngx_http_logbroker_datadog_send(ctx->request, status, "{}");
}


static ngx_int_t
ngx_http_logbroker_datadog_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words)
{
    /* the agent asks with a body without events whether it is heard */

    if (ctx->reason == NGX_HTTP_LOGBROKER_EMPTY) {
        return ngx_http_logbroker_datadog_success(ctx);
    }

    return ngx_http_logbroker_datadog_refuse(ctx->request, why->status, words);
}


static ngx_int_t
ngx_http_logbroker_datadog_refuse(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *words)
{
    size_t      len;
    ngx_buf_t  *b;

    len = sizeof("{\"errors\":[{\"status\":\"\",\"title\":\"Bad Request\","
                 "\"detail\":\"\"}]}")
          + NGX_INT_T_LEN + words->len
          + ngx_escape_json(NULL, words->data, words->len);

    b = ngx_create_temp_buf(r->pool, len);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_logbroker_datadog_older(r)) {
        b->last = ngx_sprintf(b->last, "{\"code\":%ui,\"message\":\"", status);

    } else {
        b->last = ngx_sprintf(b->last, "{\"errors\":[{\"status\":\"%ui\","
                              "\"title\":\"%s\",\"detail\":\"", status,
                              status < 500 ? "Bad Request" : "Try again");
    }

    b->last = (u_char *) ngx_escape_json(b->last, words->data, words->len);

    b->last = ngx_sprintf(b->last,
                          ngx_http_logbroker_datadog_older(r) ? "\"}"
                                                              : "\"}]}");

    return ngx_http_logbroker_send(r, status, "application/json", b);
}


static ngx_int_t
ngx_http_logbroker_datadog_send(ngx_http_request_t *r, ngx_uint_t status,
    char *text)
{
    ngx_buf_t  *b;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->pos = (u_char *) text;
    b->last = b->pos + ngx_strlen(text);
    b->memory = 1;

    return ngx_http_logbroker_send(r, status, "application/json", b);
}
