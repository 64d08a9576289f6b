/*
 * The request, its body's arrival, and its answer.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/format.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_answer.h"
#include "ngx_http_logbroker_accept.h"
#include "ngx_http_logbroker_body.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_group.h"
#include "ngx_http_logbroker_key.h"
#include "ngx_http_logbroker_large.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_ring.h"
#include "ngx_http_logbroker_stage.h"
#include "ngx_http_logbroker_request.h"


static ngx_int_t ngx_http_logbroker_refuse_early(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason);
static void ngx_http_logbroker_body_handler(ngx_http_request_t *r);
static void ngx_http_logbroker_cleanup(void *data);


ngx_int_t
ngx_http_logbroker_handler(ngx_http_request_t *r)
{
    ngx_int_t                            rc;
    ngx_uint_t                           reason;
    ngx_http_cleanup_t                  *cln;
    ngx_http_logbroker_ctx_t            *ctx;
    ngx_http_logbroker_worker_t         *w;
    ngx_http_logbroker_loc_conf_t       *llcf;
    const ngx_http_logbroker_dialect_t  *dialect;

    w = ngx_http_logbroker_worker;

    if (w == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_logbroker_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    dialect = llcf->dialect;

    ctx->request = r;
    ctx->done = ngx_http_logbroker_finish;
    ctx->dialect = dialect;
    ctx->formats = dialect->formats;

    /* gone as soon as the body is asked for */
    ctx->streamed = r->request_body_no_buffering;

    /* nothing to warn of at each request */
    r->request_body_file_log_level = NGX_LOG_INFO;

    ngx_http_set_ctx(r, ctx, ngx_http_logbroker_module);

    if (dialect->greet) {
        rc = dialect->greet(ctx);

        if (rc != NGX_DECLINED) {
            return rc;
        }

        dialect = ctx->dialect;
    }

    if (!(r->method & dialect->methods)) {
        return ngx_http_logbroker_refuse_early(ctx,
                                               NGX_HTTP_LOGBROKER_METHOD);
    }

    reason = ngx_http_logbroker_content_type(ctx);

    if (reason == 0) {
        reason = ngx_http_logbroker_content_encoding(ctx);
    }

    if (reason == 0) {
        reason = dialect->stream(ctx);
    }

    if (reason == 0) {
        reason = ngx_http_logbroker_key(ctx);
    }

    if (reason == 0 && w->hang.hanging) {
        reason = NGX_HTTP_LOGBROKER_DISK_HANGS;
    }

    if (reason == 0
        && r->headers_in.content_length_n > 0
        && r->headers_in.content_length_n
           > (off_t) ngx_http_logbroker_body_limit(r))
    {
        reason = NGX_HTTP_LOGBROKER_BODY_TOO_BIG;
        ngx_http_logbroker_too_big(ctx, reason, 1);
    }

    if (reason == 0 && ngx_http_logbroker_no_ring(w)) {
        reason = NGX_HTTP_LOGBROKER_NO_RING;
    }

    if (reason) {
        return ngx_http_logbroker_refuse_early(ctx, reason);
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_logbroker_cleanup;
    cln->data = ctx;

    rc = ngx_http_logbroker_body_request(ctx, ngx_http_logbroker_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_logbroker_refuse_early(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason)
{
    ngx_int_t  rc;

    rc = ngx_http_discard_request_body(ctx->request);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_logbroker_send_refusal(ctx, reason);
}


static void
ngx_http_logbroker_body_handler(ngx_http_request_t *r)
{
    ngx_uint_t                 reason;
    ngx_http_logbroker_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_logbroker_module);

    /* nothing to write before the answer; also when the body came with the
     * header, where nginx leaves the phase handler here */

    r->write_event_handler = ngx_http_request_empty_handler;
    r->read_event_handler = ngx_http_block_reading;

    r->connection->log->action = "storing events";

    ctx->len = ngx_http_logbroker_body_len(r);

    if (!ngx_http_logbroker_body_whole(ctx)) {
        ngx_http_logbroker_finish(ctx, NGX_HTTP_LOGBROKER_BODY_PARTIAL);
        return;
    }

    if (ctx->len > ngx_http_logbroker_body_limit(r)) {
        ngx_http_logbroker_too_big(ctx, NGX_HTTP_LOGBROKER_BODY_TOO_BIG, 1);
        ngx_http_logbroker_finish(ctx, NGX_HTTP_LOGBROKER_BODY_TOO_BIG);
        return;
    }

    reason = ngx_http_logbroker_key_body(ctx);

    if (reason) {
        ngx_http_logbroker_finish(ctx, reason);
        return;
    }

    ngx_http_logbroker_stage_enter(ctx);
}


static void
ngx_http_logbroker_cleanup(void *data)
{
    ngx_http_logbroker_forget(data);
}


void
ngx_http_logbroker_forget(ngx_http_logbroker_ctx_t *ctx)
{
    switch (ctx->state) {

    case NGX_HTTP_LOGBROKER_STAGED:
        ngx_http_logbroker_group_forget(ngx_http_logbroker_worker, ctx);
        break;

    case NGX_HTTP_LOGBROKER_QUEUED:
    case NGX_HTTP_LOGBROKER_WORKING:
        ngx_http_logbroker_large_forget(ngx_http_logbroker_worker, ctx);
        break;

    case NGX_HTTP_LOGBROKER_PARKED:
        ngx_http_logbroker_stage_forget(ngx_http_logbroker_worker, ctx);
        break;

    default:
        break;
    }

    ctx->state = NGX_HTTP_LOGBROKER_DONE;

    lb_reply_free(&ctx->reply);
}
