/*
 * The variables of a request.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_digest.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_senders.h"
#include "ngx_http_logbroker_variables.h"


#define NGX_HTTP_LOGBROKER_VAR_STREAM    0
#define NGX_HTTP_LOGBROKER_VAR_EVENTS    1
#define NGX_HTTP_LOGBROKER_VAR_BYTES     2
#define NGX_HTTP_LOGBROKER_VAR_RING      3
#define NGX_HTTP_LOGBROKER_VAR_ERROR     4


static ngx_int_t ngx_http_logbroker_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_logbroker_vars[] = {

    { ngx_string("logbroker_stream"), NULL, ngx_http_logbroker_variable,
      NGX_HTTP_LOGBROKER_VAR_STREAM, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("logbroker_events"), NULL, ngx_http_logbroker_variable,
      NGX_HTTP_LOGBROKER_VAR_EVENTS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("logbroker_bytes"), NULL, ngx_http_logbroker_variable,
      NGX_HTTP_LOGBROKER_VAR_BYTES, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("logbroker_ring"), NULL, ngx_http_logbroker_variable,
      NGX_HTTP_LOGBROKER_VAR_RING, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("logbroker_error"), NULL, ngx_http_logbroker_variable,
      NGX_HTTP_LOGBROKER_VAR_ERROR, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("logbroker_digest"), NULL, ngx_http_logbroker_digest_variable,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("logbroker_sender"), NULL, ngx_http_logbroker_sender_variable,
      NGX_HTTP_LOGBROKER_SENDER_VAR_NAME, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("logbroker_sender_streams"), NULL,
      ngx_http_logbroker_sender_variable,
      NGX_HTTP_LOGBROKER_SENDER_VAR_STREAMS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("logbroker_sender_refused"), NULL,
      ngx_http_logbroker_sender_variable,
      NGX_HTTP_LOGBROKER_SENDER_VAR_REFUSED, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_logbroker_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_logbroker_vars; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                    *p;
    ngx_uint_t                 n;
    ngx_str_t                  s;
    ngx_http_logbroker_ctx_t  *ctx;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    ctx = ngx_http_get_module_ctx(r, ngx_http_logbroker_module);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    switch (data) {

    case NGX_HTTP_LOGBROKER_VAR_STREAM:
        s = ctx->stream;
        goto string;

    case NGX_HTTP_LOGBROKER_VAR_ERROR:
        s = ngx_http_logbroker_reasons[ctx->reason].name;
        goto string;

    case NGX_HTTP_LOGBROKER_VAR_EVENTS:
        n = ctx->has_slot ? ctx->events : 0;
        break;

    case NGX_HTTP_LOGBROKER_VAR_BYTES:
        n = ctx->has_slot ? ctx->bytes : 0;
        break;

    default: /* NGX_HTTP_LOGBROKER_VAR_RING */

        if (!ctx->has_slot) {
            v->not_found = 1;
            return NGX_OK;
        }

        n = ctx->slot;
        break;
    }

    p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(p, "%ui", n) - p;
    v->data = p;

    return NGX_OK;

string:

    if (s.len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->len = s.len;
    v->data = s.data;

    return NGX_OK;
}
