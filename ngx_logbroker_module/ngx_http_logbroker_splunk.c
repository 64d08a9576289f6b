/*
 * The dialect of Splunk's HTTP Event Collector: events, raw lines, health.
 *
 * Source: Splunk's documentation, "HTTP Event Collector REST API endpoints" and
 * "Troubleshoot HTTP Event Collector" for the codes of the answers.  There are
 * no acknowledgements to ask for: an answer of 200 is durable.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/splunk.h"
#include "event/splunk_raw.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_accept.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_ring.h"


/* bytes of the status at the begin of a reply, "200 " */
#define NGX_HTTP_LOGBROKER_SPLUNK_STATUS  4


static ngx_int_t ngx_http_logbroker_splunk_greet(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_uint_t ngx_http_logbroker_splunk_is(ngx_str_t *path, char *name);
static ngx_int_t ngx_http_logbroker_splunk_health(ngx_http_request_t *r);
static ngx_uint_t ngx_http_logbroker_splunk_stream(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_splunk_success(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_splunk_error(
    ngx_http_logbroker_ctx_t *ctx, ngx_http_logbroker_reason_t *why,
    ngx_str_t *words);
static ngx_int_t ngx_http_logbroker_splunk_send(ngx_http_request_t *r,
    ngx_uint_t status, ngx_uint_t code, char *text, ngx_str_t *words);


static const lb_format_t  *const ngx_http_logbroker_splunk_formats[] = {
    &lb_format_splunk,
    NULL
};

static const lb_format_t  *const ngx_http_logbroker_splunk_raw_formats[] = {
    &lb_format_splunk_raw,
    NULL
};


const ngx_http_logbroker_dialect_t  ngx_http_logbroker_splunk = {
    ngx_string("logbroker_splunk"),
    NGX_HTTP_POST,
    "POST",
    ngx_http_logbroker_splunk_formats,
    ngx_null_string,                       /* key */
    0,                                     /* deduplicate */
    ngx_http_logbroker_splunk_greet,
    ngx_http_logbroker_splunk_stream,
    ngx_http_logbroker_splunk_success,
    ngx_http_logbroker_splunk_error
};


/* Docker asks for OPTIONS of the event URL before it sends, and wants 200. */

static ngx_int_t
ngx_http_logbroker_splunk_greet(ngx_http_logbroker_ctx_t *ctx)
{
    size_t               n;
    ngx_int_t            rc;
    ngx_str_t            path;
    ngx_uint_t           events, raw, health, ack;
    ngx_http_request_t  *r;

    static char  api[] = "services/collector";

    r = ctx->request;

    ngx_http_logbroker_path(r, &path);

    /* where the location is the root */

    n = sizeof(api) - 1;

    if (path.len >= n && ngx_strncmp(path.data, api, n) == 0
        && (path.len == n || path.data[n] == '/'))
    {
        path.data += n;
        path.len -= n;

        if (path.len) {
            path.data++;
            path.len--;
        }
    }

    raw = ngx_http_logbroker_splunk_is(&path, "raw");
    events = raw || path.len == 0
             || ngx_http_logbroker_splunk_is(&path, "event");
    health = ngx_http_logbroker_splunk_is(&path, "health");
    ack = ngx_http_logbroker_splunk_is(&path, "ack");

    if (events && r->method != NGX_HTTP_OPTIONS) {

        if (raw) {
            ctx->formats = ngx_http_logbroker_splunk_raw_formats;
        }

        return NGX_DECLINED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if ((health || events)
        && (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD|NGX_HTTP_OPTIONS)))
    {
        return ngx_http_logbroker_splunk_health(r);
    }

    if (ack) {
        return ngx_http_logbroker_splunk_send(r, NGX_HTTP_BAD_REQUEST, 14,
                                              "ACK is disabled", NULL);
    }

    return ngx_http_logbroker_splunk_send(r, NGX_HTTP_NOT_FOUND, 404,
                                          "The requested URL was not found on "
                                          "this server.", NULL);
}


/* Is it the name of the endpoint, or that of its version, "NAME/1.0"? */

static ngx_uint_t
ngx_http_logbroker_splunk_is(ngx_str_t *path, char *name)
{
    size_t  n;

    n = ngx_strlen(name);

    return path->len >= n && ngx_strncmp(path->data, name, n) == 0
           && (path->len == n
               || (path->len == n + 4
                   && ngx_strncmp(path->data + n, "/1.0", 4) == 0));
}


static ngx_int_t
ngx_http_logbroker_splunk_health(ngx_http_request_t *r)
{
    ngx_http_logbroker_worker_t  *w;

    w = ngx_http_logbroker_worker;

    if (w->hang.hanging || ngx_http_logbroker_no_ring(w)) {

        if (ngx_http_logbroker_add_header(r, "Retry-After", "1") != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_logbroker_splunk_send(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                              18, "HEC is unhealthy, queues "
                                              "are full", NULL);
    }

    return ngx_http_logbroker_splunk_send(r, NGX_HTTP_OK, 17, "HEC is healthy",
                                          NULL);
}


/* The stream is what logbroker_stream says, what the query says of all events
 * is said to the scan. */

static ngx_uint_t
ngx_http_logbroker_splunk_stream(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_uint_t                   reason, i;
    ngx_http_logbroker_param_t   params[] = {
        { ngx_string("host"), ngx_null_string, 1 },
        { ngx_string("source"), ngx_null_string, 1 },
        { ngx_string("sourcetype"), ngx_null_string, 1 },
        { ngx_string("index"), ngx_null_string, 1 },
        { ngx_string("streams"), ngx_null_string, 0 }
    };

    reason = ngx_http_logbroker_stream_set(ctx);

    if (reason) {
        return reason;
    }

    for (i = 0; i < 4; i++) {
        (void) ngx_http_arg(ctx->request, params[i].name.data,
                            params[i].name.len, &params[i].value);
    }

    params[4].value = ctx->streams;

    return ngx_http_logbroker_params(ctx, params, 5);
}


static ngx_int_t
ngx_http_logbroker_splunk_success(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_buf_t   *b;
    ngx_uint_t   status;

    b = ngx_calloc_buf(ctx->request->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    status = ngx_atoi(ctx->reply.data, 3);

    b->pos = ctx->reply.data + NGX_HTTP_LOGBROKER_SPLUNK_STATUS;
    b->last = ctx->reply.data + ctx->reply.len;
    b->memory = 1;

    return ngx_http_logbroker_send(ctx->request, status, "application/json",
                                   b);
}


static ngx_int_t
ngx_http_logbroker_splunk_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words)
{
    char        *text;
    ngx_uint_t   code;

    switch (ctx->reason) {

    case NGX_HTTP_LOGBROKER_EMPTY:
        code = 5;
        text = "No data";
        break;

    case NGX_HTTP_LOGBROKER_STREAM:
    case NGX_HTTP_LOGBROKER_STREAM_DENIED:
        code = 7;
        text = "Incorrect index";
        break;

    default:

        if (why->status == NGX_HTTP_SERVICE_UNAVAILABLE) {
            code = 9;
            text = "Server is busy";

        } else if (why->status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
            code = 8;
            text = "Internal server error";

        } else {
            code = 6;
            text = "Invalid data format";
        }
    }

    return ngx_http_logbroker_splunk_send(ctx->request, why->status, code,
                                          text, words);
}


static ngx_int_t
ngx_http_logbroker_splunk_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_uint_t code, char *text, ngx_str_t *words)
{
    size_t      len;
    ngx_buf_t  *b;

    len = sizeof("{\"text\":\"\",\"code\":,\"reason\":\"\"}")
          + ngx_strlen(text) + NGX_INT_T_LEN;

    if (words) {
        len += words->len + ngx_escape_json(NULL, words->data, words->len);
    }

    b = ngx_create_temp_buf(r->pool, len);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_sprintf(b->last, "{\"text\":\"%s\",\"code\":%ui", text, code);

    if (words) {
        b->last = ngx_cpymem(b->last, ",\"reason\":\"", 11);
        b->last = (u_char *) ngx_escape_json(b->last, words->data, words->len);
        *b->last++ = '"';
    }

    *b->last++ = '}';

    return ngx_http_logbroker_send(r, status, "application/json", b);
}
