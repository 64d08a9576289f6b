/*
 * The dialect of Amazon Data Firehose, delivering to an HTTP endpoint.
 *
 * Source: Amazon's documentation, "HTTP endpoint delivery request and response
 * specifications": 200 with the id of the request, as the only answer that is a
 * success; any other with an errorMessage, and it is sent again.  The id is the
 * same in all attempts.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/firehose.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_accept.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_reason.h"


static ngx_uint_t ngx_http_logbroker_firehose_stream(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_firehose_success(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_firehose_error(
    ngx_http_logbroker_ctx_t *ctx, ngx_http_logbroker_reason_t *why,
    ngx_str_t *words);
static ngx_int_t ngx_http_logbroker_firehose_send(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *id, ngx_str_t *words);


static ngx_str_t  ngx_http_logbroker_firehose_id =
    ngx_string("x-amz-firehose-request-id");
static ngx_str_t  ngx_http_logbroker_firehose_attributes =
    ngx_string("x-amz-firehose-common-attributes");


static const lb_format_t  *const ngx_http_logbroker_firehose_formats[] = {
    &lb_format_firehose,
    NULL
};


const ngx_http_logbroker_dialect_t  ngx_http_logbroker_firehose = {
    ngx_string("logbroker_firehose"),
    NGX_HTTP_POST,
    "POST",
    ngx_http_logbroker_firehose_formats,
    ngx_string("x-amz-firehose-request-id"),
    0,                                     /* deduplicate */
    NULL,                                  /* greet */
    ngx_http_logbroker_firehose_stream,
    ngx_http_logbroker_firehose_success,
    ngx_http_logbroker_firehose_error
};


static ngx_uint_t
ngx_http_logbroker_firehose_stream(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_uint_t                   reason;
    ngx_table_elt_t             *h;
    ngx_http_request_t          *r;
    ngx_http_logbroker_param_t   params[] = {
        { ngx_string("stream"), ngx_null_string, 0 },
        { ngx_string("id"), ngx_null_string, 0 },
        { ngx_string("attributes"), ngx_null_string, 0 }
    };

    r = ctx->request;

    reason = ngx_http_logbroker_stream_set(ctx);

    if (reason) {
        return reason;
    }

    params[0].value = ctx->stream;

    h = ngx_http_logbroker_header(r, &ngx_http_logbroker_firehose_id, NULL);

    if (h) {
        params[1].value = h->value;
    }

    h = ngx_http_logbroker_header(r, &ngx_http_logbroker_firehose_attributes,
                                  NULL);

    if (h) {
        params[2].value = h->value;
    }

    return ngx_http_logbroker_params(ctx, params, 3);
}


/* The reply is the id, as the inside of a JSON string. */

static ngx_int_t
ngx_http_logbroker_firehose_success(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_str_t  id;

    id.data = ctx->reply.data;
    id.len = ctx->reply.len;

    return ngx_http_logbroker_firehose_send(ctx->request, NGX_HTTP_OK, &id,
                                            NULL);
}


static ngx_int_t
ngx_http_logbroker_firehose_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words)
{
    ngx_str_t         id;
    ngx_table_elt_t  *h;

    /* a delivery that brings nothing, such as CloudWatch's control messages */

    if (ctx->reason == NGX_HTTP_LOGBROKER_EMPTY && ctx->reply.len) {
        return ngx_http_logbroker_firehose_success(ctx);
    }

    ngx_str_null(&id);

    h = ngx_http_logbroker_header(ctx->request,
                                  &ngx_http_logbroker_firehose_id, NULL);

    if (h) {
        id.len = h->value.len
                 + ngx_escape_json(NULL, h->value.data, h->value.len);

        id.data = ngx_pnalloc(ctx->request->pool, id.len);
        if (id.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        (void) ngx_escape_json(id.data, h->value.data, h->value.len);
    }

    return ngx_http_logbroker_firehose_send(ctx->request, why->status, &id,
                                            words);
}


static ngx_int_t
ngx_http_logbroker_firehose_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *id, ngx_str_t *words)
{
    size_t       len;
    ngx_buf_t   *b;
    ngx_time_t  *now;

    len = sizeof("{\"requestId\":\"\",\"timestamp\":,\"errorMessage\":\"\"}")
          + id->len + NGX_TIME_T_LEN + 3;

    if (words) {
        len += words->len + ngx_escape_json(NULL, words->data, words->len);
    }

    b = ngx_create_temp_buf(r->pool, len);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    now = ngx_timeofday();

    b->last = ngx_sprintf(b->last, "{\"requestId\":\"%V\",\"timestamp\":%T%03ui",
                          id, now->sec, now->msec);

    if (words) {
        b->last = ngx_cpymem(b->last, ",\"errorMessage\":\"",
                             sizeof(",\"errorMessage\":\"") - 1);
        b->last = (u_char *) ngx_escape_json(b->last, words->data, words->len);
        *b->last++ = '"';
    }

    *b->last++ = '}';

    return ngx_http_logbroker_send(r, status, "application/json", b);
}
