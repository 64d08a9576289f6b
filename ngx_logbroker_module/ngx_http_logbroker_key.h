/*
 * Where the idempotency key of a request comes from.
 *
 * The first of these that a request has:
 *
 *  1. the header Idempotency-Key;
 *  2. the header that its protocol has for that, "key" in the row of its
 *     dialect.
 */


#ifndef _NGX_HTTP_LOGBROKER_KEY_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_KEY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_request.h"


/* Before the body is read: sets ctx->key and ctx->has_key if the header has a
 * key.  0 or a reason, with the words in ctx->error. */
ngx_uint_t ngx_http_logbroker_key(ngx_http_logbroker_ctx_t *ctx);


#endif /* _NGX_HTTP_LOGBROKER_KEY_H_INCLUDED_ */
