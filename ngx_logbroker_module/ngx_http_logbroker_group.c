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

#include "ngx_http_logbroker_module.h"


/* what is written in the event loop at most */
#define NGX_HTTP_LOGBROKER_WRITE_MAX     (256 * 1024)


static void ngx_http_logbroker_commit_handler(ngx_event_t *ev);
static void ngx_http_logbroker_commit(ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_group_written(ngx_http_logbroker_worker_t *w,
    ngx_queue_t *waiters);
static void ngx_http_logbroker_lost(ngx_http_logbroker_worker_t *w, int rc,
    ngx_uint_t written);
static ngx_int_t ngx_http_logbroker_io_post(ngx_http_logbroker_worker_t *w,
    ngx_uint_t io);
static void ngx_http_logbroker_io_thread(void *data, ngx_log_t *log);
static void ngx_http_logbroker_io_done(ngx_event_t *ev);


void
ngx_http_logbroker_append_init(ngx_http_logbroker_worker_t *w)
{
    ngx_queue_init(&w->pending.waiters);
    ngx_queue_init(&w->flight.waiters);
    ngx_queue_init(&w->pending.keys);
    ngx_queue_init(&w->flight.keys);
    ngx_queue_init(&w->parked);
    ngx_queue_init(&w->held);

    ngx_http_logbroker_large_init(w);

    w->commit.handler = ngx_http_logbroker_commit_handler;
    w->commit.data = w;
    w->commit.log = ngx_cycle->log;

    w->hold.handler = ngx_http_logbroker_hold_handler;
    w->hold.data = w;
    w->hold.log = ngx_cycle->log;

    w->io_task.ctx = w;
    w->io_task.handler = ngx_http_logbroker_io_thread;
    w->io_task.event.handler = ngx_http_logbroker_io_done;
    w->io_task.event.data = w;
    w->io_task.event.log = ngx_cycle->log;
}


/* The record of the request is staged: the request waits for its group. */

void
ngx_http_logbroker_wait(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx)
{
    ngx_http_logbroker_loc_conf_t   *llcf;
    ngx_http_logbroker_group_key_t  *key;

    llcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_logbroker_module);

    ctx->state = NGX_HTTP_LOGBROKER_STAGED;

    ngx_queue_insert_tail(&w->pending.waiters, &ctx->queue);

    w->pending.requests++;
    w->pending.events += ctx->events;
    w->pending.bytes += ctx->bytes;
    w->pending.sync |= llcf->sync;

    if (ctx->has_key) {
        key = ngx_alloc(sizeof(ngx_http_logbroker_group_key_t),
                        ngx_cycle->log);

        /* without memory the key is PENDING until it expires */

        if (key) {
            ngx_memcpy(key->hash, ctx->key, LB_KEY_LEN);
            ngx_queue_insert_tail(&w->pending.keys, &key->queue);
        }
    }

    ngx_http_logbroker_hold(w);

    /* otherwise the end of what the thread does begins the next group */

    if (w->io != NGX_HTTP_LOGBROKER_IO_GROUP && !w->commit.posted) {
        ngx_post_event(&w->commit, &ngx_posted_events);
    }
}


/* A record nobody waits for is staged: it is written in its group's turn. */

void
ngx_http_logbroker_logged(ngx_http_logbroker_worker_t *w)
{
    w->pending.access++;

    ngx_http_logbroker_hold(w);

    if (w->io != NGX_HTTP_LOGBROKER_IO_GROUP && !w->commit.posted) {
        ngx_post_event(&w->commit, &ngx_posted_next_events);
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

    if (w->writer == NULL || w->hanging || w->failed
        || w->io == NGX_HTTP_LOGBROKER_IO_GROUP)
    {
        return;
    }

    /* without sync, what is large, or has to wait, is still nothing for the
     * event loop */

    thread = w->pending.sync
             || lb_writer_staged(w->writer) > NGX_HTTP_LOGBROKER_WRITE_MAX
             || lb_writer_fill_busy(w->writer);

    if (w->io == NGX_HTTP_LOGBROKER_IO_SYNC && thread) {
        return;
    }

    rc = lb_writer_begin(w->writer);

    if (rc == 0) {
        ngx_http_logbroker_share(w);
        ngx_http_logbroker_leave(w);
        return;
    }

    if (rc < 0) {
        ngx_http_logbroker_lost(w, rc, 0);
        return;
    }

    ngx_http_logbroker_group_move(&w->pending, &w->flight);

    if (thread) {

        if (ngx_http_logbroker_io_post(w, NGX_HTTP_LOGBROKER_IO_GROUP)
            == NGX_OK)
        {
            ngx_http_logbroker_unpark(w);
            return;
        }

        /* the queue of the thread pool is full: slow, but still right */
        (void) lb_writer_write(w->writer, w->flight.sync);

    } else {
        (void) lb_writer_write(w->writer, 0);
    }

    rc = lb_writer_end(w->writer);

    if (rc != 0) {

        if (w->io == NGX_HTTP_LOGBROKER_IO_SYNC) {
            /* the thread still has the file: when its sync has ended */
            w->failed = rc;
            return;
        }

        ngx_http_logbroker_lost(w, rc, 0);
        return;
    }

    ngx_http_logbroker_group_written(w, &waiters);

    ngx_http_logbroker_unpark(w);
    ngx_http_logbroker_answer(&waiters, 0);
    ngx_http_logbroker_share(w);
    ngx_http_logbroker_leave(w);
    ngx_http_logbroker_hold(w);
}


void
ngx_http_logbroker_group_init(ngx_http_logbroker_group_t *group)
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
    to->bytes += from->bytes;
    to->access += from->access;
    to->sync |= from->sync;

    from->requests = 0;
    from->events = 0;
    from->bytes = 0;
    from->access = 0;
    from->sync = 0;
}


/* The group in flight is on disk: counts it, hands over its waiters. */

static void
ngx_http_logbroker_group_written(ngx_http_logbroker_worker_t *w,
    ngx_queue_t *waiters)
{
    ngx_atomic_uint_t               largest;
    ngx_http_logbroker_group_t      done;
    ngx_http_logbroker_counters_t  *counters;

    ngx_http_logbroker_group_init(&done);
    ngx_http_logbroker_group_move(&w->flight, &done);

    ngx_http_logbroker_keys_end_group(w, &done.keys,
                                      NGX_HTTP_LOGBROKER_KEY_IS_STORED);

    counters = w->counters;

    (void) ngx_atomic_fetch_add(&counters->requests, done.requests);
    (void) ngx_atomic_fetch_add(&counters->events, done.events);
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
ngx_http_logbroker_answer(ngx_queue_t *waiters, ngx_uint_t reason)
{
    ngx_queue_t               *q;
    ngx_connection_t          *c;
    ngx_http_logbroker_ctx_t  *ctx;

    while (!ngx_queue_empty(waiters)) {

        q = ngx_queue_head(waiters);
        ngx_queue_remove(q);

        ctx = ngx_queue_data(q, ngx_http_logbroker_ctx_t, queue);
        ctx->state = NGX_HTTP_LOGBROKER_NEW;

        c = ctx->request->connection;
        ngx_http_set_log_request(c->log, ctx->request);

        if (reason) {
            ctx->events = 0;
            ctx->bytes = 0;
            ngx_http_logbroker_refused(ctx, reason, 1);

        } else {
            ngx_http_logbroker_accepted(ctx);
        }
    }
}


/*
 * A write or sync failed, or the file has gone.  The ring is given up: its
 * pages may be marked clean although they never reached the disk, so it is not
 * tried again.  Nothing runs in the thread.
 *
 * Of the group in flight nobody knows what is on the disk, and whether it turns
 * up when the ring is recovered: its requests must not be sent elsewhere as if
 * nothing had been stored.  Written: it was committed before the file was found
 * to be no longer where it was, as others that were answered before it.  What
 * is only staged is surely not stored.
 */

static void
ngx_http_logbroker_lost(ngx_http_logbroker_worker_t *w, int rc,
    ngx_uint_t written)
{
    char                        buf[128];
    u_char                      text[400];
    ngx_uint_t                  slot, again;
    ngx_queue_t                 stored;
    ngx_http_logbroker_group_t  unknown, refused;

    ngx_queue_init(&stored);

    if (written) {
        ngx_http_logbroker_group_written(w, &stored);
    }

    ngx_http_logbroker_group_init(&unknown);
    ngx_http_logbroker_group_move(&w->flight, &unknown);

    ngx_http_logbroker_keys_end_group(w, &unknown.keys,
                                      NGX_HTTP_LOGBROKER_KEY_UNKNOWN);

    ngx_http_logbroker_group_init(&refused);
    ngx_http_logbroker_group_move(&w->pending, &refused);

    ngx_http_logbroker_keys_end_group(w, &refused.keys,
                                      NGX_HTTP_LOGBROKER_KEY_NOT_STORED);

    (void) ngx_atomic_fetch_add(&w->counters->access_lost,
                                unknown.access + refused.access);

    slot = lb_writer_slot(w->writer);

    ngx_http_logbroker_close(w, w->writer);
    w->writer = NULL;
    w->want_sync = 0;
    w->failed = 0;
    w->leaving = 0;

    *ngx_snprintf(text, sizeof(text) - 1,
                  "writing ring %ui failed: %s; ring abandoned: %ui requests "
                  "got 502 (stored or not), %ui got 503, %ui access-log "
                  "events lost ring=%ui", slot,
                  lb_strerror(rc, buf, sizeof(buf)), unknown.requests,
                  refused.requests, unknown.access + refused.access, slot)
        = '\0';

    ngx_http_logbroker_problem(w, NGX_LOG_CRIT, rc, (char *) text);

    /* at once, unless this is not the first time in this second */

    again = w->lost_at && ngx_current_msec - w->lost_at < 2000;

    w->lost_at = ngx_current_msec;

    if (w->next) {
        ngx_http_logbroker_left(w);

    } else if (!again) {
        w->grace_until = ngx_current_msec + NGX_HTTP_LOGBROKER_GRACE;
        ngx_http_logbroker_claim(w);

        if (w->writer == NULL) {
            ngx_add_timer(&w->tick, NGX_HTTP_LOGBROKER_CLAIM_RETRY);
        }
    }

    ngx_http_logbroker_answer(&stored, 0);
    ngx_http_logbroker_answer(&unknown.waiters,
                              NGX_HTTP_LOGBROKER_WRITE_UNKNOWN);
    ngx_http_logbroker_answer(&refused.waiters,
                              NGX_HTTP_LOGBROKER_WRITE_FAILED);
    ngx_http_logbroker_unpark(w);
    ngx_http_logbroker_hold(w);
}


/* The file of the ring is no longer the ring: nothing more is written to it, as
 * soon as the thread is done with it. */

void
ngx_http_logbroker_gone(ngx_http_logbroker_worker_t *w)
{
    if (w->io == NGX_HTTP_LOGBROKER_IO_IDLE) {
        ngx_http_logbroker_lost(w, LB_EGONE, 0);

    } else {
        w->failed = LB_EGONE;
    }
}


/* Once a second: what is committed without sync becomes durable. */

void
ngx_http_logbroker_sync(ngx_http_logbroker_worker_t *w)
{
    int  rc;

    w->want_sync = 0;

    if (w->writer == NULL || !lb_writer_dirty(w->writer)) {
        return;
    }

    if (w->io != NGX_HTTP_LOGBROKER_IO_IDLE) {
        /* before the next group */
        w->want_sync = 1;
        return;
    }

    if (!lb_writer_sync_begin(w->writer)) {
        return;
    }

    if (ngx_http_logbroker_io_post(w, NGX_HTTP_LOGBROKER_IO_SYNC) == NGX_OK) {
        return;
    }

    lb_writer_sync_run(w->writer);
    rc = lb_writer_sync_end(w->writer);

    if (rc != 0) {
        ngx_http_logbroker_lost(w, rc, 0);
    }
}


static ngx_int_t
ngx_http_logbroker_io_post(ngx_http_logbroker_worker_t *w, ngx_uint_t io)
{
    w->io = io;

    if (ngx_thread_task_post(w->pool, &w->io_task) != NGX_OK) {
        w->io = NGX_HTTP_LOGBROKER_IO_IDLE;
        return NGX_ERROR;
    }

    w->io_started = ngx_current_msec;

    ngx_http_logbroker_hang_watch(w);
    ngx_http_logbroker_hold(w);

    return NGX_OK;
}


static void
ngx_http_logbroker_io_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_worker_t *w = data;

    uint64_t  started;

    started = ngx_http_logbroker_mono_us();

    if (w->io == NGX_HTTP_LOGBROKER_IO_GROUP) {
        (void) lb_writer_write(w->writer, w->flight.sync);

    } else {
        lb_writer_sync_run(w->writer);
    }

    w->io_us = ngx_http_logbroker_mono_us() - started;
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

    rc = w->io == NGX_HTTP_LOGBROKER_IO_GROUP ? lb_writer_end(w->writer)
                                              : lb_writer_sync_end(w->writer);

    if (rc != 0 || w->failed) {

        /* the promise of its answer holds for the file, wherever it is; with
         * sync lb_writer_write() has looked */

        written = rc == 0 && w->io == NGX_HTTP_LOGBROKER_IO_GROUP
                  && (w->flight.sync || lb_writer_intact(w->writer));

        w->io = NGX_HTTP_LOGBROKER_IO_IDLE;
        ngx_http_logbroker_hang_over(w);
        ngx_http_logbroker_lost(w, w->failed ? w->failed : rc, written);
        return;
    }

    ngx_http_logbroker_count_sync(w->counters, w->io_us);

    if (w->io == NGX_HTTP_LOGBROKER_IO_GROUP) {
        ngx_http_logbroker_group_written(w, &waiters);
    }

    w->io = NGX_HTTP_LOGBROKER_IO_IDLE;

    ngx_http_logbroker_hang_over(w);

    if (w->want_sync) {
        ngx_http_logbroker_sync(w);
    }

    ngx_http_logbroker_answer(&waiters, 0);

    ngx_http_logbroker_share(w);

    /* what is ready to be read by now joins the next group */

    if (!w->commit.posted) {
        ngx_post_event(&w->commit, &ngx_posted_next_events);
    }

    ngx_http_logbroker_hold(w);
}
