/*
 * Where the idempotency key of a request comes from.
 *
 * The first of these that a request has:
 *
 *  1. the header Idempotency-Key;
 *  2. the header that its protocol has for that, "key" in the row of its
 *     dialect;
 *  3. where logbroker_deduplicate is on, which "deduplicate" in that row is the
 *     default of, the request itself: digest.h.
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

/* When the body has been read, and not been given away yet: likewise if there
 * was none in the header and the request itself is its key; ctx->digest is set
 * as well then. */
ngx_uint_t ngx_http_logbroker_key_body(ngx_http_logbroker_ctx_t *ctx);


#endif /* _NGX_HTTP_LOGBROKER_KEY_H_INCLUDED_ */
