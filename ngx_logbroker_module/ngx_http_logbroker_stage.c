/*
 * From a body to a record in the pending group.
 *
 * A request is NEW until its body is known, then either STAGED (its record
 * lies in the pending group) or PARKED (no room there yet).  A large body goes
 * by another way, which is large.c.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/format.h"
#include "event/scan.h"
#include "spool/lb_crc32c.h"
#include "spool/lb_record.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_access.h"
#include "ngx_http_logbroker_append.h"
#include "ngx_http_logbroker_body.h"
#include "ngx_http_logbroker_group.h"
#include "ngx_http_logbroker_hold.h"
#include "ngx_http_logbroker_keys.h"
#include "ngx_http_logbroker_large.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_record.h"
#include "ngx_http_logbroker_ring.h"
#include "ngx_http_logbroker_room.h"
#include "ngx_http_logbroker_stage.h"


static void ngx_http_logbroker_stage_unpark(ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_stage_park(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, ngx_uint_t first);
static ngx_uint_t ngx_http_logbroker_has_room(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx);
static ngx_uint_t ngx_http_logbroker_stage(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx);
static ngx_uint_t ngx_http_logbroker_scan(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, lb_meta_t *meta, ngx_str_t *body,
    ngx_str_t *payload);
static void ngx_http_logbroker_explain(ngx_http_logbroker_ctx_t *ctx,
    ngx_str_t *body, lb_scan_result_t *res);


void
ngx_http_logbroker_stage_init(ngx_http_logbroker_worker_t *w)
{
    ngx_queue_init(&w->stage.parked);

    w->ready = ngx_http_logbroker_stage_unpark;
}


void
ngx_http_logbroker_stage_enter(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_uint_t                    reason;
    ngx_http_logbroker_worker_t  *w;

    w = ngx_http_logbroker_worker;

    if (ngx_http_logbroker_body_large(ctx)) {
        ngx_http_logbroker_large(w, ctx);
        return;
    }

    if (!w->hang.hanging
        && (ngx_http_logbroker_waits(w)
            || (w->ring.writer
                && (!ngx_queue_empty(&w->stage.parked)
                    || !ngx_http_logbroker_has_room(w, ctx)))))
    {
        ngx_http_logbroker_stage_park(w, ctx, 0);
        ngx_http_logbroker_room_wanted(w);
        return;
    }

    reason = ngx_http_logbroker_stage(w, ctx);

    if (reason) {
        ctx->done(ctx, reason);
    }
}


/* first: it was taken in already, before the others. */

static void
ngx_http_logbroker_stage_park(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, ngx_uint_t first)
{
    ctx->waited = 1;
    ctx->state = NGX_HTTP_LOGBROKER_PARKED;

    if (first) {
        ngx_queue_insert_head(&w->stage.parked, &ctx->queue);

    } else {
        ngx_queue_insert_tail(&w->stage.parked, &ctx->queue);
    }

    w->stage.nparked++;

    ngx_http_logbroker_hold_update(w);
}


void
ngx_http_logbroker_stage_forget(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx)
{
    ngx_queue_remove(&ctx->queue);
    ctx->state = NGX_HTTP_LOGBROKER_NEW;
    w->stage.nparked--;
}


/* Takes parked requests in again, in order, as far as there is room. */

static void
ngx_http_logbroker_stage_unpark(ngx_http_logbroker_worker_t *w)
{
    ngx_uint_t                 reason;
    ngx_queue_t               *q;
    ngx_connection_t          *c;
    ngx_http_logbroker_ctx_t  *ctx;

    ngx_http_logbroker_access_held(w);
    ngx_http_logbroker_large_stage(w);

    while (!ngx_queue_empty(&w->stage.parked)
           && (w->hang.hanging || !ngx_http_logbroker_waits(w)))
    {

        q = ngx_queue_head(&w->stage.parked);
        ctx = ngx_queue_data(q, ngx_http_logbroker_ctx_t, queue);

        if (w->ring.writer && !w->hang.hanging
            && !ngx_http_logbroker_has_room(w, ctx))
        {
            break;
        }

        ngx_http_logbroker_stage_forget(w, ctx);

        c = ctx->request->connection;
        ngx_http_set_log_request(c->log, ctx->request);

        reason = ngx_http_logbroker_stage(w, ctx);

        if (reason) {
            ctx->done(ctx, reason);
        }
    }
}


/* A record larger than the limit is taken when it is alone. */

static ngx_uint_t
ngx_http_logbroker_has_room(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx)
{
    size_t  staged;

    staged = lb_writer_staged(w->ring.writer);

    if (staged && staged + ctx->len > NGX_HTTP_LOGBROKER_STAGED_MAX) {
        return 0;
    }

    return 1;
}


/* The request becomes STAGED, PARKED again if the ring is full, QUEUED if its
 * body turns out to be large, or a reason is returned. */

static ngx_uint_t
ngx_http_logbroker_stage(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx)
{
    int         rc;
    lb_meta_t   meta;
    ngx_str_t   body, payload;
    ngx_uint_t  reason;

    if (w->hang.hanging) {
        return NGX_HTTP_LOGBROKER_DISK_HANGS;
    }

    if (w->ring.writer == NULL) {
        return NGX_HTTP_LOGBROKER_NO_RING;
    }

    ngx_http_logbroker_meta(ctx, &meta);

    ngx_str_null(&payload);

    reason = ngx_http_logbroker_body(w, ctx, &body);

    if (reason == 0) {
        reason = ngx_http_logbroker_scan(w, ctx, &meta, &body, &payload);
    }

    if (reason == NGX_HTTP_LOGBROKER_LARGE && ctx->frame == NULL) {
        ngx_http_logbroker_large(w, ctx);
        return 0;
    }

    if (reason == 0 && ctx->has_key) {
        reason = ngx_http_logbroker_keys_begin(w, ctx,
                                               lb_writer_slot(w->ring.writer),
                                               lb_crc32c(0, payload.data,
                                                         payload.len),
                                               payload.len);
    }

    if (reason == 0) {
        rc = lb_writer_append(w->ring.writer, &meta, payload.len, ctx->events);

        reason = ngx_http_logbroker_appended(w, ctx, rc, payload.len);

        if (reason == NGX_HTTP_LOGBROKER_SEEK) {
            /* with its body, for the ring that is sought */
            ngx_http_logbroker_stage_park(w, ctx, 1);
            return 0;
        }
    }

    ngx_http_logbroker_body_done(ctx);

    return reason;
}


static ngx_uint_t
ngx_http_logbroker_scan(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, lb_meta_t *meta, ngx_str_t *body,
    ngx_str_t *payload)
{
    ngx_uint_t                      reason;
    ngx_http_logbroker_record_t     record;
    ngx_http_logbroker_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_logbroker_module);

    record.format = ctx->format;
    record.options.max_event = llcf->max_event;
    record.options.max_body = llcf->max_body;
    record.options.patient = 0;
    record.options.params = (char *) ctx->params.data;
    record.options.params_len = ctx->params.len;
    record.options.reply = &ctx->reply;
    record.max = llcf->max_body;

    reason = ngx_http_logbroker_record_stage(w->ring.writer, meta, &record,
                                             body);

    ctx->rejected = record.res.rejected;
    ctx->replaced = record.res.replaced;

    if (reason == NGX_HTTP_LOGBROKER_MALFORMED
        || reason == NGX_HTTP_LOGBROKER_EVENT_TOO_BIG)
    {
        ngx_http_logbroker_explain(ctx, body, &record.res);

    } else if (ctx->rejected) {
        ngx_http_logbroker_explain(ctx, body, &record.res);
        ngx_http_logbroker_rejected(ctx);
    }

    if (reason == NGX_HTTP_LOGBROKER_BODY_TOO_BIG) {
        ngx_http_logbroker_too_big(ctx, reason, 0);
    }

    if (reason == 0) {
        ctx->events = record.res.events;
        payload->data = record.payload;
        payload->len = record.res.out_len;
    }

    return reason;
}


static void
ngx_http_logbroker_explain(ngx_http_logbroker_ctx_t *ctx, ngx_str_t *body,
    lb_scan_result_t *res)
{
    char  text[512];

    ctx->row = res->row;
    ctx->column = res->column;

    ngx_http_logbroker_error(ctx, lb_format_explain(ctx->format, body->data,
                                                    body->len, res, text,
                                                    sizeof(text)));
}
