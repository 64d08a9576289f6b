/*
 * From records to answers: group commit.
 *
 *     pending --- lb_writer_begin() ---> flight --- written ---> answers
 *
 * One group is in flight at a time; the next one grows meanwhile.  A group is
 * begun in a posted event, so that the requests of one turn of the event loop
 * share a write.  With sync it is written in a thread, without sync at once,
 * also while the thread makes durable what was written without sync before.
 *
 * A request that goes away takes itself out of these queues; its record, once
 * staged, stays.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_clock.h"
#include "spool/lb_error.h"
#include "spool/lb_format.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_fill.h"
#include "ngx_http_logbroker_hang.h"
#include "ngx_http_logbroker_hold.h"
#include "ngx_http_logbroker_keys.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_ring.h"
#include "ngx_http_logbroker_group.h"


/* what is written in the event loop at most */
#define NGX_HTTP_LOGBROKER_WRITE_MAX     (256 * 1024)


static void ngx_http_logbroker_commit_handler(ngx_event_t *ev);
static void ngx_http_logbroker_commit(ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_lost(ngx_http_logbroker_worker_t *w, int rc,
    ngx_uint_t written);
static void ngx_http_logbroker_group_hangs(ngx_http_logbroker_worker_t *w);
static ngx_int_t ngx_http_logbroker_io_post(ngx_http_logbroker_worker_t *w,
    ngx_uint_t io);
static void ngx_http_logbroker_io_thread(void *data, ngx_log_t *log);
static void ngx_http_logbroker_io_done(ngx_event_t *ev);


void
ngx_http_logbroker_group_init(ngx_http_logbroker_worker_t *w)
{
    ngx_http_logbroker_group_clear(&w->group.pending);
    ngx_http_logbroker_group_clear(&w->group.flight);

    w->group.commit.handler = ngx_http_logbroker_commit_handler;
    w->group.commit.data = w;
    w->group.commit.log = ngx_cycle->log;

    w->group.task.ctx = w;
    w->group.task.handler = ngx_http_logbroker_io_thread;
    w->group.task.event.handler = ngx_http_logbroker_io_done;
    w->group.task.event.data = w;
    w->group.task.event.log = ngx_cycle->log;

    w->hang.hangs = ngx_http_logbroker_group_hangs;
}


/* The record of the request is staged: the request waits for its group. */

void
ngx_http_logbroker_group_join(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, ngx_uint_t sync)
{
    ngx_http_logbroker_group_add(&w->group.pending, ctx, sync);

    ngx_http_logbroker_hold_update(w);

    /* otherwise the end of what the thread does begins the next group */

    if (w->group.io != NGX_HTTP_LOGBROKER_IO_GROUP && !w->group.commit.posted) {
        ngx_post_event(&w->group.commit, &ngx_posted_events);
    }
}


void
ngx_http_logbroker_group_add(ngx_http_logbroker_group_t *group,
    ngx_http_logbroker_ctx_t *ctx, ngx_uint_t sync)
{
    ngx_http_logbroker_group_key_t  *key;

    ctx->waited = 1;
    ctx->state = NGX_HTTP_LOGBROKER_STAGED;

    ngx_queue_insert_tail(&group->waiters, &ctx->queue);

    group->requests++;
    group->events += ctx->events;
    group->replaced += ctx->replaced;
    group->bytes += ctx->bytes;
    group->sync |= sync;

    if (ctx->has_key) {
        key = ngx_alloc(sizeof(ngx_http_logbroker_group_key_t),
                        ngx_cycle->log);

        /* without memory the key is PENDING until it expires */

        if (key) {
            ngx_memcpy(key->hash, ctx->key, LB_KEY_LEN);
            ngx_queue_insert_tail(&group->keys, &key->queue);
        }
    }
}


void
ngx_http_logbroker_group_forget(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx)
{
    (void) ngx_atomic_fetch_add(&w->counters->dropped, 1);

    ngx_queue_remove(&ctx->queue);
}


/* A record nobody waits for is staged: it is written in its group's turn. */

void
ngx_http_logbroker_group_join_silent(ngx_http_logbroker_worker_t *w)
{
    w->group.pending.access++;

    ngx_http_logbroker_hold_update(w);

    if (w->group.io != NGX_HTTP_LOGBROKER_IO_GROUP && !w->group.commit.posted) {
        ngx_post_event(&w->group.commit, &ngx_posted_next_events);
    }
}


static void
ngx_http_logbroker_commit_handler(ngx_event_t *ev)
{
    ngx_http_logbroker_commit(ev->data);
}


/* Begins the next group, if there is something to write and nobody writes.
 * What is to be synced waits for a sync that runs. */

static void
ngx_http_logbroker_commit(ngx_http_logbroker_worker_t *w)
{
    int          rc;
    ngx_uint_t   thread;
    ngx_queue_t  waiters;

    if (w->ring.writer == NULL || w->hang.hanging || w->group.failed
        || w->group.io == NGX_HTTP_LOGBROKER_IO_GROUP)
    {
        return;
    }

    /* without sync, what is large, or has to wait, is still nothing for the
     * event loop */

    thread = w->group.pending.sync
             || lb_writer_staged(w->ring.writer) > NGX_HTTP_LOGBROKER_WRITE_MAX
             || lb_writer_fill_busy(w->ring.writer)
             || lb_writer_raises(w->ring.writer);

    if (w->group.io == NGX_HTTP_LOGBROKER_IO_SYNC && thread) {
        return;
    }

    rc = lb_writer_begin(w->ring.writer);

    if (rc == 0) {
        w->group.ended(w);
        return;
    }

    if (rc < 0) {
        ngx_http_logbroker_lost(w, rc, 0);
        return;
    }

    ngx_http_logbroker_group_move(&w->group.pending, &w->group.flight);

    if (thread) {

        if (ngx_http_logbroker_io_post(w, NGX_HTTP_LOGBROKER_IO_GROUP)
            == NGX_OK)
        {
            w->ready(w);
            return;
        }

        /* the queue of the thread pool is full: slow, but still right */
        (void) lb_writer_write(w->ring.writer, w->group.flight.sync);

    } else {
        (void) lb_writer_write(w->ring.writer, 0);
    }

    rc = lb_writer_end(w->ring.writer);

    if (rc != 0) {

        if (w->group.io == NGX_HTTP_LOGBROKER_IO_SYNC) {
            /* the thread still has the file: when its sync has ended */
            w->group.failed = rc;
            return;
        }

        ngx_http_logbroker_lost(w, rc, 0);
        return;
    }

    ngx_http_logbroker_group_stored(w, &w->group.flight, &waiters);

    w->ready(w);
    ngx_http_logbroker_group_answer(&waiters, 0);
    w->group.ended(w);
    ngx_http_logbroker_hold_update(w);
}


void
ngx_http_logbroker_group_clear(ngx_http_logbroker_group_t *group)
{
    ngx_memzero(group, sizeof(ngx_http_logbroker_group_t));
    ngx_queue_init(&group->waiters);
    ngx_queue_init(&group->keys);
}


void
ngx_http_logbroker_group_move(ngx_http_logbroker_group_t *from,
    ngx_http_logbroker_group_t *to)
{
    ngx_queue_add(&to->waiters, &from->waiters);
    ngx_queue_init(&from->waiters);

    ngx_queue_add(&to->keys, &from->keys);
    ngx_queue_init(&from->keys);

    to->requests += from->requests;
    to->events += from->events;
    to->replaced += from->replaced;
    to->bytes += from->bytes;
    to->access += from->access;
    to->sync |= from->sync;

    from->requests = 0;
    from->events = 0;
    from->replaced = 0;
    from->bytes = 0;
    from->access = 0;
    from->sync = 0;
}


void
ngx_http_logbroker_group_stored(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_group_t *group, ngx_queue_t *waiters)
{
    ngx_atomic_uint_t               largest;
    ngx_http_logbroker_group_t      done;
    ngx_http_logbroker_counters_t  *counters;

    ngx_http_logbroker_group_clear(&done);
    ngx_http_logbroker_group_move(group, &done);

    ngx_http_logbroker_keys_end_group(w, &done.keys,
                                      NGX_HTTP_LOGBROKER_KEY_IS_STORED);

    counters = w->counters;

    (void) ngx_atomic_fetch_add(&counters->requests, done.requests);
    (void) ngx_atomic_fetch_add(&counters->events, done.events);
    (void) ngx_atomic_fetch_add(&counters->replaced, done.replaced);
    (void) ngx_atomic_fetch_add(&counters->bytes, done.bytes);
    (void) ngx_atomic_fetch_add(&counters->access, done.access);

    do {
        largest = counters->largest;
    } while (done.requests > largest
             && !ngx_atomic_cmp_set(&counters->largest, largest,
                                    done.requests));

    if (done.requests) {
        ngx_http_logbroker_count_group(w->counters, done.requests);
    }

    ngx_queue_init(waiters);
    ngx_queue_add(waiters, &done.waiters);
}


/* Answering one request may make others of the same queue go away. */

void
ngx_http_logbroker_group_answer(ngx_queue_t *waiters, ngx_uint_t reason)
{
    ngx_queue_t               *q;
    ngx_http_logbroker_ctx_t  *ctx;

    while (!ngx_queue_empty(waiters)) {

        q = ngx_queue_head(waiters);
        ngx_queue_remove(q);

        ctx = ngx_queue_data(q, ngx_http_logbroker_ctx_t, queue);
        ctx->state = NGX_HTTP_LOGBROKER_NEW;

        if (reason) {
            ctx->events = 0;
            ctx->bytes = 0;
        }

        ctx->done(ctx, reason);
    }
}


/*
 * A write or sync failed, or the file has gone.  The ring is abandoned: its
 * pages may be marked clean although they never reached the disk, so it is not
 * tried again.  Nothing runs in the thread.
 *
 * The group in flight may be on the disk or not, and a recovery of the ring may
 * bring it back: its requests must not be sent elsewhere as if nothing had been
 * stored.  Written: it was committed before the file turned out to have moved,
 * like the groups that were answered before it.  What is only staged is
 * certainly not stored.
 */

static void
ngx_http_logbroker_lost(ngx_http_logbroker_worker_t *w, int rc,
    ngx_uint_t written)
{
    char                        buf[128];
    u_char                      text[400];
    ngx_uint_t                  slot;
    ngx_queue_t                 stored;
    ngx_http_logbroker_group_t  unknown, refused;

    ngx_queue_init(&stored);

    if (written) {
        ngx_http_logbroker_group_stored(w, &w->group.flight, &stored);
    }

    ngx_http_logbroker_group_clear(&unknown);
    ngx_http_logbroker_group_move(&w->group.flight, &unknown);

    ngx_http_logbroker_keys_end_group(w, &unknown.keys,
                                      NGX_HTTP_LOGBROKER_KEY_UNKNOWN);

    ngx_http_logbroker_group_clear(&refused);
    ngx_http_logbroker_group_move(&w->group.pending, &refused);

    ngx_http_logbroker_keys_end_group(w, &refused.keys,
                                      NGX_HTTP_LOGBROKER_KEY_NOT_STORED);

    (void) ngx_atomic_fetch_add(&w->counters->access_lost,
                                unknown.access + refused.access);

    slot = lb_writer_slot(w->ring.writer);

    ngx_http_logbroker_fill_close(w, w->ring.writer);
    w->ring.writer = NULL;
    w->group.want_sync = 0;
    w->group.failed = 0;

    *ngx_snprintf(text, sizeof(text) - 1,
                  "writing ring %ui failed: %s; ring abandoned: %ui requests "
                  "got 502 (stored or not), %ui got 503, %ui access-log "
                  "events lost ring=%ui", slot,
                  lb_strerror(rc, buf, sizeof(buf)), unknown.requests,
                  refused.requests, unknown.access + refused.access, slot)
        = '\0';

    (void) ngx_atomic_fetch_add(&w->counters->failures, 1);
    ngx_http_logbroker_problem(w, NGX_LOG_CRIT, rc, (char *) text);

    w->group.lost(w);

    ngx_http_logbroker_group_answer(&stored, 0);
    ngx_http_logbroker_group_answer(&unknown.waiters,
                                    NGX_HTTP_LOGBROKER_WRITE_UNKNOWN);
    ngx_http_logbroker_group_answer(&refused.waiters,
                                    NGX_HTTP_LOGBROKER_WRITE_FAILED);
    w->ready(w);
    ngx_http_logbroker_hold_update(w);
}


/* The disk hangs: what is staged behind the group in flight is not written. */

static void
ngx_http_logbroker_group_hangs(ngx_http_logbroker_worker_t *w)
{
    ngx_http_logbroker_group_t  dropped;

    /* records that nobody waits for may stay */

    if (w->group.pending.requests == 0) {
        return;
    }

    ngx_http_logbroker_group_clear(&dropped);
    ngx_http_logbroker_group_move(&w->group.pending, &dropped);

    lb_writer_discard(w->ring.writer);

    ngx_http_logbroker_keys_end_group(w, &dropped.keys,
                                      NGX_HTTP_LOGBROKER_KEY_NOT_STORED);

    (void) ngx_atomic_fetch_add(&w->counters->access_lost, dropped.access);

    ngx_http_logbroker_group_answer(&dropped.waiters,
                                    NGX_HTTP_LOGBROKER_DISK_HANGS);
}


/* The file of the ring is no longer the ring: nothing more is written to it, as
 * soon as the thread is done with it. */

void
ngx_http_logbroker_group_gone(ngx_http_logbroker_worker_t *w)
{
    if (w->group.io == NGX_HTTP_LOGBROKER_IO_IDLE) {
        ngx_http_logbroker_lost(w, LB_EGONE, 0);

    } else {
        w->group.failed = LB_EGONE;
    }
}


/* Once a second: what is committed without sync becomes durable. */

void
ngx_http_logbroker_group_sync(ngx_http_logbroker_worker_t *w)
{
    int  rc;

    w->group.want_sync = 0;

    if (w->ring.writer == NULL || !lb_writer_dirty(w->ring.writer)) {
        return;
    }

    if (w->group.io != NGX_HTTP_LOGBROKER_IO_IDLE) {
        /* before the next group */
        w->group.want_sync = 1;
        return;
    }

    if (!lb_writer_sync_begin(w->ring.writer)) {
        return;
    }

    if (ngx_http_logbroker_io_post(w, NGX_HTTP_LOGBROKER_IO_SYNC) == NGX_OK) {
        return;
    }

    lb_writer_sync_run(w->ring.writer);
    rc = lb_writer_sync_end(w->ring.writer);

    if (rc != 0) {
        ngx_http_logbroker_lost(w, rc, 0);
    }
}


static ngx_int_t
ngx_http_logbroker_io_post(ngx_http_logbroker_worker_t *w, ngx_uint_t io)
{
    w->group.io = io;

    if (ngx_thread_task_post(w->pool, &w->group.task) != NGX_OK) {
        w->group.io = NGX_HTTP_LOGBROKER_IO_IDLE;
        return NGX_ERROR;
    }

    w->group.started = ngx_current_msec;

    ngx_http_logbroker_hang_watch(w);
    ngx_http_logbroker_hold_update(w);

    return NGX_OK;
}


static void
ngx_http_logbroker_io_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_worker_t *w = data;

    uint64_t  started;

    started = lb_mono_us();

    if (w->group.io == NGX_HTTP_LOGBROKER_IO_GROUP) {
        (void) lb_writer_write(w->ring.writer, w->group.flight.sync);

    } else {
        lb_writer_sync_run(w->ring.writer);
    }

    w->group.us = lb_mono_us() - started;
}


static void
ngx_http_logbroker_io_done(ngx_event_t *ev)
{
    int                           rc;
    ngx_uint_t                    written;
    ngx_queue_t                   waiters;
    ngx_http_logbroker_worker_t  *w;

    w = ev->data;

    ngx_queue_init(&waiters);

    rc = w->group.io == NGX_HTTP_LOGBROKER_IO_GROUP
             ? lb_writer_end(w->ring.writer)
             : lb_writer_sync_end(w->ring.writer);

    if (rc != 0 || w->group.failed) {

        /* the promise of its answer holds for the file, wherever it is; with
         * sync lb_writer_write() has looked */

        written = rc == 0 && w->group.io == NGX_HTTP_LOGBROKER_IO_GROUP
                  && (w->group.flight.sync || lb_writer_intact(w->ring.writer));

        w->group.io = NGX_HTTP_LOGBROKER_IO_IDLE;
        ngx_http_logbroker_hang_over(w);
        ngx_http_logbroker_lost(w, w->group.failed ? w->group.failed : rc,
                                written);
        return;
    }

    ngx_http_logbroker_count_sync(w->counters, w->group.us);

    if (w->group.io == NGX_HTTP_LOGBROKER_IO_GROUP) {
        ngx_http_logbroker_group_stored(w, &w->group.flight, &waiters);
    }

    w->group.io = NGX_HTTP_LOGBROKER_IO_IDLE;

    ngx_http_logbroker_hang_over(w);

    if (w->group.want_sync) {
        ngx_http_logbroker_group_sync(w);
    }

    ngx_http_logbroker_group_answer(&waiters, 0);

    w->group.ended(w);

    /* what is ready to be read by now joins the next group */

    if (!w->group.commit.posted) {
        ngx_post_event(&w->group.commit, &ngx_posted_next_events);
    }

    ngx_http_logbroker_hold_update(w);
}
