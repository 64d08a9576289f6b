/*
 * Bodies that are too large for the event loop.
 *
 *     queue ----> job (a thread reads, decodes, scans) ----> pending group
 *
 * What takes longer than a moment, a body of some size or one that becomes
 * one when it is decoded, is made a record by a thread.  There is one job at
 * a time, until its record is in a group: that bounds what a worker holds
 * decoded, whatever it is sent.  Small requests pass by meanwhile.
 *
 * A job owns its memory and its descriptor, so that the request may die at
 * any time.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/format.h"
#include "spool/lb_record.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_append.h"
#include "ngx_http_logbroker_aside.h"
#include "ngx_http_logbroker_body.h"
#include "ngx_http_logbroker_group.h"
#include "ngx_http_logbroker_hold.h"
#include "ngx_http_logbroker_job.h"
#include "ngx_http_logbroker_keys.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_ring.h"
#include "ngx_http_logbroker_room.h"
#include "ngx_http_logbroker_large.h"


static void ngx_http_logbroker_large_next(ngx_http_logbroker_worker_t *w);
static ngx_uint_t ngx_http_logbroker_large_start(
    ngx_http_logbroker_worker_t *w, ngx_http_logbroker_ctx_t *ctx);
static ngx_uint_t ngx_http_logbroker_job_body(ngx_http_logbroker_job_t *job,
    ngx_http_request_t *r);
static void ngx_http_logbroker_job_done(ngx_event_t *ev);
static void ngx_http_logbroker_job_tell(ngx_http_logbroker_job_t *job);
static void ngx_http_logbroker_job_refused(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_job_t *job);
static void ngx_http_logbroker_large_handler(ngx_event_t *ev);
static void ngx_http_logbroker_large_end(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_job_t *job);
static ngx_int_t ngx_http_logbroker_large_aside(
    ngx_http_logbroker_worker_t *w, ngx_http_logbroker_job_t *job,
    ngx_uint_t *reason);


void
ngx_http_logbroker_large_init(ngx_http_logbroker_worker_t *w)
{
    ngx_queue_init(&w->large.queue);

    w->large.next.handler = ngx_http_logbroker_large_handler;
    w->large.next.data = w;
    w->large.next.log = ngx_cycle->log;
}


void
ngx_http_logbroker_large(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx)
{
    ctx->waited = 1;
    ctx->state = NGX_HTTP_LOGBROKER_QUEUED;
    ngx_queue_insert_tail(&w->large.queue, &ctx->queue);
    w->large.n++;

    ngx_http_logbroker_hold_update(w);

    /* not here: it may have to refuse this request, or others */

    if (w->large.job == NULL) {
        ngx_post_event(&w->large.next, &ngx_posted_events);
    }
}


static void
ngx_http_logbroker_large_handler(ngx_event_t *ev)
{
    ngx_http_logbroker_worker_t  *w;

    w = ev->data;

    ngx_http_logbroker_large_next(w);
    ngx_http_logbroker_hold_update(w);
}


static void
ngx_http_logbroker_large_next(ngx_http_logbroker_worker_t *w)
{
    ngx_uint_t                 reason;
    ngx_queue_t               *q;
    ngx_http_logbroker_ctx_t  *ctx;

    while (w->large.job == NULL && !ngx_queue_empty(&w->large.queue)) {

        q = ngx_queue_head(&w->large.queue);
        ngx_queue_remove(q);

        ctx = ngx_queue_data(q, ngx_http_logbroker_ctx_t, queue);
        ctx->state = NGX_HTTP_LOGBROKER_NEW;

        ngx_http_set_log_request(ctx->request->connection->log, ctx->request);

        reason = ngx_http_logbroker_large_start(w, ctx);

        if (reason) {
            w->large.n--;
            ctx->done(ctx, reason);
        }
    }
}


/* 0 or a reason */

static ngx_uint_t
ngx_http_logbroker_large_start(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx)
{
    lb_meta_t                       meta;
    ngx_uint_t                      reason;
    ngx_http_request_t             *r;
    ngx_http_logbroker_job_t       *job;
    ngx_http_logbroker_loc_conf_t  *llcf;

    if (w->hang.hanging) {
        return NGX_HTTP_LOGBROKER_DISK_HANGS;
    }

    if (ngx_http_logbroker_no_ring(w)) {
        return NGX_HTTP_LOGBROKER_NO_RING;
    }

    r = ctx->request;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    job = ngx_calloc(sizeof(ngx_http_logbroker_job_t), r->connection->log);
    if (job == NULL) {
        return NGX_HTTP_LOGBROKER_NO_MEMORY;
    }

    job->worker = w;
    job->ctx = ctx;
    job->fd = NGX_INVALID_FILE;
    job->len = ctx->len;
    job->encoding = ctx->encoding;
    job->open = ctx->open;
    job->format = ctx->format;
    job->limit = ngx_http_logbroker_body_limit(r);
    job->max_body = llcf->max_body;

    job->options.max_event = llcf->max_event;
    job->options.max_body = llcf->max_body;
    job->options.patient = 1;
    job->options.reply = &job->reply;

    if (ctx->params.len) {
        job->params = malloc(ctx->params.len);

        if (job->params == NULL) {
            ngx_http_logbroker_job_free(job);
            return NGX_HTTP_LOGBROKER_NO_MEMORY;
        }

        ngx_memcpy(job->params, ctx->params.data, ctx->params.len);

        job->options.params = job->params;
        job->options.params_len = ctx->params.len;
    }

    ngx_http_logbroker_meta(ctx, &meta);

    job->header = lb_writer_header(&meta);

    reason = ngx_http_logbroker_job_body(job, r);

    if (reason) {
        ngx_http_logbroker_job_free(job);
        return reason;
    }

    job->task.ctx = job;
    job->task.handler = ngx_http_logbroker_job_thread;
    job->task.event.handler = ngx_http_logbroker_job_done;
    job->task.event.data = job;
    job->task.event.log = ngx_cycle->log;

    if (ngx_thread_task_post(w->pool, &job->task) != NGX_OK) {
        ngx_http_logbroker_job_free(job);
        return NGX_HTTP_LOGBROKER_NO_MEMORY;
    }

    /* the thread may be at work by now */

    job->running = 1;

    w->large.job = job;
    ctx->job = job;
    ctx->state = NGX_HTTP_LOGBROKER_WORKING;

    return 0;
}


/*
 * Takes the body over: the pieces of it that lie in one block of memory of its
 * own with this block, others as copies, a file by its descriptor.
 */

static ngx_uint_t
ngx_http_logbroker_job_body(ngx_http_logbroker_job_t *job,
    ngx_http_request_t *r)
{
    u_char       *block, *end, *copy;
    size_t        copied;
    ngx_buf_t    *b, *file;
    ngx_str_t    *piece;
    ngx_uint_t    n;
    ngx_chain_t  *cl;

    block = ngx_http_logbroker_body_block(job->ctx, &end);

    file = NULL;
    copied = 0;
    n = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {

            if (b->pos == b->last) {
                continue;
            }

            /* nginx gives one buffer with the whole file; a body filter of
             * another module may have put memory before it */

            if (file == NULL) {

                if (b->pos < block || b->last > end) {
                    copied += b->last - b->pos;
                }

                n++;
                continue;
            }

        } else if (b->in_file && file == NULL) {
            file = b;
            continue;

        } else if (ngx_buf_size(b) == 0) {
            continue;
        }

        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "logbroker: unexpected buffers of a request body");

        return NGX_HTTP_LOGBROKER_BODY_FAILED;
    }

    job->pieces = malloc((n + 1) * sizeof(ngx_str_t) + copied);

    if (job->pieces == NULL) {
        return NGX_HTTP_LOGBROKER_NO_MEMORY;
    }

    job->npieces = n;

    piece = job->pieces;
    copy = (u_char *) (piece + n + 1);

    for (cl = r->request_body->bufs; cl && cl->buf != file; cl = cl->next) {
        b = cl->buf;

        if (!ngx_buf_in_memory(b) || b->pos == b->last) {
            continue;
        }

        piece->len = b->last - b->pos;

        if (b->pos < block || b->last > end) {
            piece->data = copy;
            copy = ngx_cpymem(copy, b->pos, piece->len);

        } else {
            piece->data = b->pos;
        }

        piece++;
    }

    if (file) {
        job->offset = file->file_pos;

        /* the request's own descriptor is closed when the request goes away */

        job->fd = fcntl(file->file->fd, F_DUPFD_CLOEXEC, 0);

        if (job->fd == NGX_INVALID_FILE) {
            ngx_log_error(NGX_LOG_CRIT, r->connection->log, ngx_errno,
                          "logbroker: cannot duplicate the descriptor of "
                          "\"%V\"", &file->file->name);

            return NGX_HTTP_LOGBROKER_BODY_FAILED;
        }
    }

    if (block) {
        job->block = block;
        ngx_http_logbroker_body_detach(job->ctx);
    }

    return 0;
}


static void
ngx_http_logbroker_job_done(ngx_event_t *ev)
{
    ngx_http_logbroker_job_t     *job;
    ngx_http_logbroker_worker_t  *w;

    job = ev->data;
    w = job->worker;

    job->running = 0;
    w->large.trim = 1;

    if (job->ctx == NULL) {
        /* the client left */
        w->large.job = NULL;
        ngx_http_logbroker_job_free(job);

    } else {
        ngx_http_logbroker_job_tell(job);

        if (job->reason) {
            ngx_http_logbroker_job_refused(w, job);
        }
    }

    ngx_http_logbroker_large_next(w);
    w->ready(w);

    if (ngx_http_logbroker_wants_room(w)) {
        ngx_http_logbroker_room_wanted(w);
    }

    ngx_http_logbroker_hold_update(w);
}


/* What the answer will need, whatever it is. */

static void
ngx_http_logbroker_job_tell(ngx_http_logbroker_job_t *job)
{
    ngx_http_logbroker_ctx_t  *ctx;

    ctx = job->ctx;

    ctx->rejected = job->rejected;
    ctx->replaced = job->replaced;
    ctx->row = job->row;
    ctx->column = job->column;

    if (job->error) {
        ngx_http_logbroker_error(ctx, job->error);

        if (job->rejected && job->reason != NGX_HTTP_LOGBROKER_MALFORMED
            && job->reason != NGX_HTTP_LOGBROKER_EVENT_TOO_BIG)
        {
            ngx_http_logbroker_rejected(ctx);
        }
    }

    lb_reply_free(&ctx->reply);

    ctx->reply = job->reply;
    ngx_memzero(&job->reply, sizeof(lb_reply_t));
}


static void
ngx_http_logbroker_job_refused(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_job_t *job)
{
    ngx_log_t                 *log;
    ngx_uint_t                 reason;
    ngx_http_logbroker_ctx_t  *ctx;

    ctx = job->ctx;
    reason = job->reason;
    log = ctx->request->connection->log;

    ngx_http_set_log_request(log, ctx->request);

    w->large.job = NULL;
    w->large.n--;
    ctx->job = NULL;
    ctx->state = NGX_HTTP_LOGBROKER_NEW;

    if (reason == NGX_HTTP_LOGBROKER_BODY_FAILED) {
        ngx_log_error(NGX_LOG_CRIT, log, job->err,
                      "logbroker: cannot read a request body back from its "
                      "temporary file");

    } else if (reason == NGX_HTTP_LOGBROKER_BODY_TOO_BIG
               || reason == NGX_HTTP_LOGBROKER_TOO_MANY)
    {
        ngx_http_logbroker_too_big(ctx, reason, job->decoding);
    }

    ngx_http_logbroker_job_free(job);
    ctx->done(ctx, reason);
}


/* The record of the job goes into the pending group as soon as there is
 * room.  Called before others are unparked. */

void
ngx_http_logbroker_large_stage(ngx_http_logbroker_worker_t *w)
{
    int                        rc;
    size_t                     staged;
    lb_meta_t                  meta;
    ngx_uint_t                 reason;
    ngx_http_logbroker_job_t  *job;
    ngx_http_logbroker_ctx_t  *ctx;

    job = w->large.job;

    if (job == NULL || job->running
        || (ngx_http_logbroker_waits(w) && !w->hang.hanging))
    {
        return;
    }

    ctx = job->ctx;

    ngx_http_set_log_request(ctx->request->connection->log, ctx->request);

    if (w->hang.hanging) {
        reason = NGX_HTTP_LOGBROKER_DISK_HANGS;
        goto done;
    }

    if (w->ring.writer == NULL) {
        reason = NGX_HTTP_LOGBROKER_NO_RING;
        goto done;
    }

    reason = 0;

    switch (ngx_http_logbroker_large_aside(w, job, &reason)) {

    case NGX_OK:
    case NGX_AGAIN:
        return;

    case NGX_ERROR:
        goto done;

    default: /* NGX_DECLINED */
        break;
    }

    staged = lb_writer_staged(w->ring.writer);

    if (staged && staged + job->payload > NGX_HTTP_LOGBROKER_STAGED_MAX) {
        return;
    }

    ngx_http_logbroker_meta(ctx, &meta);

    meta.contexts = job->contexts;

    if (ctx->has_key) {
        reason = ngx_http_logbroker_keys_begin(w, ctx,
                                               lb_writer_slot(w->ring.writer),
                                               job->crc, job->payload);
    }

    if (reason) {
        goto done;
    }

    rc = lb_writer_append_made(w->ring.writer, &meta, &job->record.data,
                               job->record.size, job->payload, job->events,
                               job->crc);

    ctx->events = job->events;

    reason = ngx_http_logbroker_appended(w, ctx, rc, job->payload);

    if (reason == NGX_HTTP_LOGBROKER_SEEK) {
        return;
    }

done:

    ngx_http_logbroker_large_end(w, job);

    if (reason) {
        ctx->state = NGX_HTTP_LOGBROKER_NEW;
        ctx->done(ctx, reason);
    }
}


/* The record is in a group, or never will be: the next one has its turn. */

static void
ngx_http_logbroker_large_end(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_job_t *job)
{
    w->large.job = NULL;
    w->large.n--;
    job->ctx->job = NULL;

    ngx_http_logbroker_job_free(job);

    if (!ngx_queue_empty(&w->large.queue)) {
        ngx_post_event(&w->large.next, &ngx_posted_events);
    }
}


/*
 * The record into the second ring.  NGX_OK: it is being written, the job is
 * over; NGX_AGAIN: not yet; NGX_ERROR: refused, for *reason; NGX_DECLINED: it
 * belongs into the worker's group.
 */

static ngx_int_t
ngx_http_logbroker_large_aside(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_job_t *job, ngx_uint_t *reason)
{
    int                             rc;
    lb_meta_t                       meta;
    ngx_int_t                       ready;
    ngx_http_logbroker_ctx_t       *ctx;
    ngx_http_logbroker_loc_conf_t  *llcf;

    ctx = job->ctx;

    llcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_logbroker_module);

    if (!llcf->sync || job->payload < NGX_HTTP_LOGBROKER_ASIDE_MIN) {
        return NGX_DECLINED;
    }

    ready = ngx_http_logbroker_aside_ready(w, job->payload
                                              + LB_RECORD_HEADER_MAX + 8);
    if (ready != NGX_OK) {
        return ready;
    }

    ngx_http_logbroker_meta(ctx, &meta);

    meta.contexts = job->contexts;

    if (ctx->has_key) {
        *reason = ngx_http_logbroker_keys_begin(w, ctx,
                                               lb_writer_slot(w->aside.writer),
                                               job->crc, job->payload);
        if (*reason) {
            return NGX_ERROR;
        }
    }

    rc = lb_writer_append_made(w->aside.writer, &meta, &job->record.data,
                               job->record.size, job->payload, job->events,
                               job->crc);
    if (rc != 0) {

        if (ctx->has_key) {
            ngx_http_logbroker_keys_end(w, ctx->key,
                                        NGX_HTTP_LOGBROKER_KEY_NOT_STORED);
        }

        ngx_http_logbroker_aside_refused(w);

        return NGX_DECLINED;
    }

    ctx->events = job->events;
    ctx->bytes = job->payload;

    ngx_http_logbroker_large_end(w, job);
    ngx_http_logbroker_aside_write(w, ctx);

    return NGX_OK;
}


/* The request goes away: the job, if it runs, finishes alone. */

void
ngx_http_logbroker_large_forget(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx)
{
    ngx_http_logbroker_job_t  *job;

    w->large.n--;

    if (ctx->state == NGX_HTTP_LOGBROKER_QUEUED) {
        ngx_queue_remove(&ctx->queue);
        return;
    }

    job = ctx->job;

    ctx->job = NULL;
    job->ctx = NULL;

    if (job->running) {
        return;
    }

    w->large.job = NULL;

    ngx_http_logbroker_job_free(job);

    if (!ngx_queue_empty(&w->large.queue)) {
        ngx_post_event(&w->large.next, &ngx_posted_events);
    }
}
