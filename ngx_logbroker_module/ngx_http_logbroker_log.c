/*
 * The dialect of our own: POST of JSON or text, 204 or an error in JSON; also
 * forms, and what Heroku sends.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/form.h"
#include "event/format.h"
#include "event/logplex.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_accept.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_reason.h"


static ngx_int_t ngx_http_logbroker_log_greet(ngx_http_logbroker_ctx_t *ctx);
static ngx_uint_t ngx_http_logbroker_log_stream(ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_log_success(ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_log_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words);


/* by NGX_HTTP_LOGBROKER_CONTENT_TYPE_... */

static const lb_format_t  *const ngx_http_logbroker_log_auto[] = {
    &lb_format_plain,
    &lb_format_form,
    &lb_format_logplex,
    &lb_format_json,                       /* and what has no clear type */
    NULL
};


static const lb_format_t  *const ngx_http_logbroker_log_strict[] = {
    &lb_format_text,
    &lb_format_form,
    &lb_format_logplex,
    &lb_format_json,
    NULL
};


static const lb_format_t  *const ngx_http_logbroker_log_json[] = {
    &lb_format_any,
    NULL
};


static const lb_format_t  *const *const ngx_http_logbroker_log_formats[] = {
    ngx_http_logbroker_log_auto,
    ngx_http_logbroker_log_strict,
    ngx_http_logbroker_log_json
};


const ngx_http_logbroker_dialect_t  ngx_http_logbroker_log = {
    ngx_string("logbroker"),
    NGX_HTTP_POST,
    "POST",
    ngx_http_logbroker_log_auto,
    ngx_string("logplex-frame-id"),        /* of Heroku */
    0,                                     /* deduplicate */
    ngx_http_logbroker_log_greet,
    ngx_http_logbroker_log_stream,
    ngx_http_logbroker_log_success,
    ngx_http_logbroker_log_error
};


static ngx_int_t
ngx_http_logbroker_log_greet(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_http_logbroker_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_logbroker_module);

    ctx->formats = ngx_http_logbroker_log_formats[llcf->content_type];

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_http_logbroker_log_stream(ngx_http_logbroker_ctx_t *ctx)
{
    u_char           *p;
    ngx_table_elt_t  *h;

    static ngx_str_t  name = ngx_string("logplex-msg-count");

    if (ctx->format == &lb_format_logplex) {

        h = ngx_http_logbroker_header(ctx->request, &name, NULL);

        if (h) {
            p = ngx_pnalloc(ctx->request->pool,
                            sizeof("count") + h->value.len + 1);
            if (p == NULL) {
                return NGX_HTTP_LOGBROKER_NO_MEMORY;
            }

            ctx->params.data = p;
            ctx->params.len = ngx_sprintf(p, "count%Z%V%Z", &h->value) - p;
        }
    }

    return ngx_http_logbroker_stream(ctx);
}


static ngx_int_t
ngx_http_logbroker_log_success(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_buf_t                      *b;
    ngx_http_request_t             *r;
    ngx_http_logbroker_loc_conf_t  *llcf;

    r = ctx->request;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    if (ctx->format == &lb_format_logplex) {
        /* the answer that Logplex's documentation shows */

        b = ngx_calloc_buf(r->pool);
        if (b == NULL) {
            return NGX_ERROR;
        }

        return ngx_http_logbroker_send(r, NGX_HTTP_OK, "text/plain", b);
    }

    if (llcf->success == NGX_HTTP_NO_CONTENT) {
        return ngx_http_logbroker_send_nothing(r);
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = (u_char *) "{}\n";
    b->last = b->pos + sizeof("{}\n") - 1;
    b->memory = 1;

    return ngx_http_logbroker_send(r, llcf->success, "application/json", b);
}


static ngx_int_t
ngx_http_logbroker_log_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words)
{
    size_t               len;
    ngx_buf_t           *b;
    ngx_http_request_t  *r;

    r = ctx->request;

    len = sizeof("{\"error\": \"\", \"row\": , \"column\": }\n") - 1
          + words->len + ngx_escape_json(NULL, words->data, words->len)
          + 2 * NGX_SIZE_T_LEN;

    b = ngx_create_temp_buf(r->pool, len);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_cpymem(b->last, "{\"error\": \"",
                         sizeof("{\"error\": \"") - 1);
    b->last = (u_char *) ngx_escape_json(b->last, words->data, words->len);
    *b->last++ = '"';

    if (ctx->row) {
        b->last = ngx_sprintf(b->last, ", \"row\": %uz, \"column\": %uz",
                              ctx->row, ctx->column);
    }

    *b->last++ = '}';
    *b->last++ = LF;

    return ngx_http_logbroker_send(r, why->status, "application/json", b);
}
