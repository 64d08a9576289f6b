/*
 * Where the idempotency key of a request comes from.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_sha1.h>

#include "spool/lb_format.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_body.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_digest.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_key.h"


#define NGX_HTTP_LOGBROKER_KEY_MAX       255


static ngx_uint_t ngx_http_logbroker_key_header(ngx_http_logbroker_ctx_t *ctx,
    const ngx_str_t *name, ngx_uint_t own);


ngx_uint_t
ngx_http_logbroker_key(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_uint_t  reason;

    static const ngx_str_t  name = ngx_string("idempotency-key");

    if (ngx_http_logbroker_worker->keys.table == NULL) {
        return 0;
    }

    reason = ngx_http_logbroker_key_header(ctx, &name, 0);

    if (reason == 0 && !ctx->has_key && ctx->dialect->key.len) {
        reason = ngx_http_logbroker_key_header(ctx, &ctx->dialect->key, 1);
    }

    return reason;
}


ngx_uint_t
ngx_http_logbroker_key_body(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_sha1_t                      sha1;
    ngx_http_logbroker_loc_conf_t  *llcf;
    u_char                          digest[NGX_HTTP_LOGBROKER_DIGEST];

    llcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_logbroker_module);

    if (ctx->has_key || !llcf->digest
        || ngx_http_logbroker_worker->keys.table == NULL)
    {
        return 0;
    }

    switch (ngx_http_logbroker_digest(ctx->request, digest)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        return NGX_HTTP_LOGBROKER_NO_RING;

    default: /* NGX_ERROR */
        return NGX_HTTP_LOGBROKER_BODY_FAILED;
    }

    /* what a client gives as a key does not begin with a zero byte */

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, ctx->stream.data, ctx->stream.len);
    ngx_sha1_update(&sha1, "\0\0", 2);
    ngx_sha1_update(&sha1, digest, sizeof(digest));
    ngx_sha1_final(digest, &sha1);

    ngx_memcpy(ctx->key, digest, LB_KEY_LEN);
    ctx->has_key = 1;
    ctx->digest = 1;

    return 0;
}


/* own: a header of the protocol, whose values mean nothing to others. */

static ngx_uint_t
ngx_http_logbroker_key_header(ngx_http_logbroker_ctx_t *ctx,
    const ngx_str_t *name, ngx_uint_t own)
{
    size_t            i;
    ngx_sha1_t        sha1;
    ngx_str_t         key;
    ngx_uint_t        n;
    ngx_table_elt_t  *h;
    u_char            digest[20];

    key.len = 0;
    key.data = NULL;
    n = 0;

    h = NULL;

    while ((h = ngx_http_logbroker_header(ctx->request, name, h))) {
        key = h->value;
        n++;
    }

    if (n == 0) {
        return 0;
    }

    if (n > 1 || key.len == 0 || key.len > NGX_HTTP_LOGBROKER_KEY_MAX) {
        goto invalid;
    }

    for (i = 0; i < key.len; i++) {
        if (key.data[i] < ' ' || key.data[i] > '~') {
            goto invalid;
        }
    }

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, ctx->stream.data, ctx->stream.len);
    ngx_sha1_update(&sha1, "\0", 1);

    if (own) {
        ngx_sha1_update(&sha1, name->data, name->len);
        ngx_sha1_update(&sha1, "\0", 1);
    }

    ngx_sha1_update(&sha1, key.data, key.len);
    ngx_sha1_final(digest, &sha1);

    ngx_memcpy(ctx->key, digest, LB_KEY_LEN);
    ctx->has_key = 1;

    return 0;

invalid:

    if (own) {
        ngx_http_logbroker_error(ctx, "invalid request id: the protocol has "
                                      "one header for it, of 1 to 255 "
                                      "printable characters");
    }

    return NGX_HTTP_LOGBROKER_KEY_INVALID;
}
