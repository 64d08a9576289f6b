/*
 * A second ring of the worker, for large records that are to be durable.
 *
 *             claimed             appended               written
 *     (none) ---------> held ring ---------> in flight ----------> held ring
 *        ^                  |                    | failed              |
 *        +------------------+--------------------+---------------------+
 *            idle, called for, gone, worker leaves
 *
 * A record of 30 MB takes as long to write as many groups of small ones, and a
 * ring has one group in flight: in the worker's own ring they would wait behind
 * it.  So the worker borrows a ring that nobody holds, and gives it back soon.
 * If none is free, or the one there is is slow to claim, the record goes into
 * the worker's group as any other.  One record is in flight at a time, and a
 * group of its own: order and promise are those of any ring.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_clock.h"
#include "spool/lb_error.h"
#include "spool/lb_slot.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_group.h"
#include "ngx_http_logbroker_hang.h"
#include "ngx_http_logbroker_hold.h"
#include "ngx_http_logbroker_keys.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_ring.h"
#include "ngx_http_logbroker_room.h"
#include "ngx_http_logbroker_aside.h"


/* milliseconds between two looks at whether the ring is still needed */
#define NGX_HTTP_LOGBROKER_ASIDE_WATCH   50

/* ... for which it is kept without being used */
#define NGX_HTTP_LOGBROKER_ASIDE_IDLE    1000

/* ... for which it is kept at all, and those in between: workers of another
 * master, which cannot call for it, look that often for a ring */
#define NGX_HTTP_LOGBROKER_ASIDE_KEEP    500
#define NGX_HTTP_LOGBROKER_ASIDE_PAUSE   (2 * NGX_HTTP_LOGBROKER_CLAIM_RETRY + 10)

/* ... for which a record waits for a ring to be claimed */
#define NGX_HTTP_LOGBROKER_ASIDE_WAIT    250

/* ... without another attempt, after one in vain, and after a failure */
#define NGX_HTTP_LOGBROKER_ASIDE_NONE    1000
#define NGX_HTTP_LOGBROKER_ASIDE_FAILED  10000


static void ngx_http_logbroker_aside_claim(ngx_http_logbroker_worker_t *w,
    uint64_t need);
static void ngx_http_logbroker_aside_claim_thread(void *data, ngx_log_t *log);
static void ngx_http_logbroker_aside_claim_done(ngx_event_t *ev);
static void ngx_http_logbroker_aside_write_thread(void *data, ngx_log_t *log);
static void ngx_http_logbroker_aside_write_done(ngx_event_t *ev);
static void ngx_http_logbroker_aside_lost(ngx_http_logbroker_worker_t *w,
    int rc);
static ngx_uint_t ngx_http_logbroker_aside_unwanted(
    ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_aside_give_back(
    ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_aside_close(ngx_http_logbroker_worker_t *w,
    ngx_msec_t off);
static void ngx_http_logbroker_aside_watch(ngx_event_t *ev);


void
ngx_http_logbroker_aside_init(ngx_http_logbroker_worker_t *w)
{
    ngx_http_logbroker_worker_aside_t  *aside;

    aside = &w->aside;

    ngx_http_logbroker_group_clear(&aside->flight);

    aside->off_until = ngx_current_msec;

    aside->claim.ctx = aside;
    aside->claim.handler = ngx_http_logbroker_aside_claim_thread;
    aside->claim.event.handler = ngx_http_logbroker_aside_claim_done;
    aside->claim.event.data = w;
    aside->claim.event.log = ngx_cycle->log;

    aside->write.ctx = aside;
    aside->write.handler = ngx_http_logbroker_aside_write_thread;
    aside->write.event.handler = ngx_http_logbroker_aside_write_done;
    aside->write.event.data = w;
    aside->write.event.log = ngx_cycle->log;

    aside->watch.handler = ngx_http_logbroker_aside_watch;
    aside->watch.data = w;
    aside->watch.log = ngx_cycle->log;
    aside->watch.cancelable = 1;

    w->room.sought = ngx_http_logbroker_aside_give_back;
}


void
ngx_http_logbroker_aside_exit(ngx_http_logbroker_worker_t *w)
{
    int                                 rc;
    char                                buf[128];
    ngx_http_logbroker_worker_aside_t  *aside;

    aside = &w->aside;

    if (aside->claiming) {
        lb_writer_close(aside->claimed);
        aside->claimed = NULL;
    }

    if (aside->writer == NULL) {
        return;
    }

    /* 0 if there is nothing in flight */

    rc = lb_writer_end(aside->writer);

    if (rc != 0) {
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                      "logbroker: the last write to ring %uD failed: %s "
                      "ring=%uD", lb_writer_slot(aside->writer),
                      lb_strerror(rc, buf, sizeof(buf)),
                      lb_writer_slot(aside->writer));
    }

    lb_writer_close(aside->writer);
    aside->writer = NULL;
}


ngx_int_t
ngx_http_logbroker_aside_ready(ngx_http_logbroker_worker_t *w, uint64_t need)
{
    ngx_http_logbroker_worker_aside_t  *aside;

    aside = &w->aside;

    if (aside->writing) {
        return NGX_AGAIN;
    }

    if (aside->claiming) {
        return ngx_current_msec - aside->started < NGX_HTTP_LOGBROKER_ASIDE_WAIT
                   ? NGX_AGAIN : NGX_DECLINED;
    }

    if (ngx_http_logbroker_aside_unwanted(w)) {
        ngx_http_logbroker_aside_give_back(w);
        return NGX_DECLINED;
    }

    if (aside->paused) {
        return NGX_AGAIN;
    }

    if (aside->writer
        && ngx_current_msec - aside->kept_since
           >= NGX_HTTP_LOGBROKER_ASIDE_KEEP)
    {
        ngx_http_logbroker_aside_close(w, 0);

        aside->paused = 1;

        if (aside->watch.timer_set) {
            ngx_del_timer(&aside->watch);
        }

        ngx_add_timer(&aside->watch, NGX_HTTP_LOGBROKER_ASIDE_PAUSE);

        return NGX_AGAIN;
    }

    if (aside->writer) {

        if (lb_writer_room(aside->writer) >= need) {
            return NGX_OK;
        }

        ngx_http_logbroker_aside_close(w, 0);
    }

    if ((ngx_msec_int_t) (aside->off_until - ngx_current_msec) > 0
        || w->ring.spool == NULL)
    {
        return NGX_DECLINED;
    }

    ngx_http_logbroker_aside_claim(w, need);

    return aside->claiming ? NGX_AGAIN : NGX_DECLINED;
}


static void
ngx_http_logbroker_aside_claim(ngx_http_logbroker_worker_t *w, uint64_t need)
{
    ngx_http_logbroker_worker_aside_t  *aside;

    aside = &w->aside;

    aside->spool = w->ring.spool;
    aside->capacity = w->ring.capacity;
    aside->need = need;
    aside->claimed = NULL;

    if (ngx_thread_task_post(w->pool, &aside->claim) != NGX_OK) {
        return;
    }

    aside->claiming = 1;
    aside->started = ngx_current_msec;

    if (!aside->watch.timer_set) {
        ngx_add_timer(&aside->watch, NGX_HTTP_LOGBROKER_ASIDE_WATCH);
    }
}


static void
ngx_http_logbroker_aside_claim_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_worker_aside_t *aside = data;

    if (lb_writer_claim_room(aside->spool, aside->capacity, aside->need,
                             &aside->claimed, &aside->error)
        != 0)
    {
        aside->claimed = NULL;
    }
}


static void
ngx_http_logbroker_aside_claim_done(ngx_event_t *ev)
{
    ngx_http_logbroker_worker_t        *w;
    ngx_http_logbroker_worker_aside_t  *aside;

    w = ev->data;
    aside = &w->aside;

    aside->claiming = 0;
    aside->writer = aside->claimed;
    aside->claimed = NULL;
    aside->used_at = ngx_current_msec;
    aside->kept_since = ngx_current_msec;

    if (aside->writer == NULL) {
        aside->off_until = ngx_current_msec + NGX_HTTP_LOGBROKER_ASIDE_NONE;

    } else if (lb_writer_check(aside->writer) != 0
               || lb_writer_room(aside->writer) < aside->need
               || ngx_http_logbroker_aside_unwanted(w))
    {
        ngx_http_logbroker_aside_close(w, NGX_HTTP_LOGBROKER_ASIDE_NONE);

    } else {
        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "logbroker: claimed ring %uD of \"%V\" for large records",
                      lb_writer_slot(aside->writer), &w->ring.path);
    }

    w->ready(w);
    ngx_http_logbroker_hold_update(w);
}


void
ngx_http_logbroker_aside_write(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx)
{
    ngx_http_logbroker_worker_aside_t  *aside;

    aside = &w->aside;

    ctx->slot = lb_writer_slot(aside->writer);
    ctx->has_slot = 1;

    ngx_http_logbroker_group_add(&aside->flight, ctx, 1);

    (void) lb_writer_begin(aside->writer);

    aside->writing = 1;
    aside->started = ngx_current_msec;

    if (ngx_thread_task_post(w->pool, &aside->write) == NGX_OK) {
        ngx_http_logbroker_hang_watch(w);

    } else {
        /* the queue of the thread pool is full: slow, but still right */
        ngx_http_logbroker_aside_write_thread(aside, NULL);
        ngx_post_event(&aside->write.event, &ngx_posted_events);
    }

    ngx_http_logbroker_hold_update(w);
}


static void
ngx_http_logbroker_aside_write_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_worker_aside_t *aside = data;

    uint64_t  started;

    started = lb_mono_us();

    (void) lb_writer_write(aside->writer, 1);

    aside->us = lb_mono_us() - started;
}


static void
ngx_http_logbroker_aside_write_done(ngx_event_t *ev)
{
    int                                 rc;
    ngx_queue_t                         waiters;
    ngx_http_logbroker_worker_t        *w;
    ngx_http_logbroker_worker_aside_t  *aside;

    w = ev->data;
    aside = &w->aside;

    rc = lb_writer_end(aside->writer);

    aside->writing = 0;
    aside->used_at = ngx_current_msec;

    ngx_http_logbroker_hang_over(w);

    if (rc != 0) {
        ngx_http_logbroker_aside_lost(w, rc);

    } else {
        ngx_http_logbroker_count_sync(w->counters, aside->us);
        ngx_http_logbroker_group_stored(w, &aside->flight, &waiters);

        /* the file was the ring when it was written */

        if (aside->gone) {
            ngx_http_logbroker_aside_close(w, NGX_HTTP_LOGBROKER_ASIDE_NONE);

        } else if (ngx_http_logbroker_aside_unwanted(w)) {
            ngx_http_logbroker_aside_give_back(w);
        }

        ngx_http_logbroker_group_answer(&waiters, 0);
    }

    w->ready(w);
    ngx_http_logbroker_hold_update(w);
}


/* As with the worker's own ring: nobody knows what is on the disk, and the ring
 * is not tried again. */

static void
ngx_http_logbroker_aside_lost(ngx_http_logbroker_worker_t *w, int rc)
{
    char                        buf[128];
    uint32_t                    slot;
    ngx_http_logbroker_group_t  unknown;

    ngx_http_logbroker_group_clear(&unknown);
    ngx_http_logbroker_group_move(&w->aside.flight, &unknown);

    ngx_http_logbroker_keys_end_group(w, &unknown.keys,
                                      NGX_HTTP_LOGBROKER_KEY_UNKNOWN);

    slot = lb_writer_slot(w->aside.writer);

    ngx_http_logbroker_aside_close(w, NGX_HTTP_LOGBROKER_ASIDE_FAILED);

    (void) ngx_atomic_fetch_add(&w->counters->failures, 1);

    ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                  "logbroker: writing ring %uD failed: %s; ring abandoned: "
                  "%ui requests got 502 (stored or not) ring=%uD", slot,
                  lb_strerror(rc, buf, sizeof(buf)), unknown.requests, slot);

    ngx_http_logbroker_group_answer(&unknown.waiters,
                                    NGX_HTTP_LOGBROKER_WRITE_UNKNOWN);
}


void
ngx_http_logbroker_aside_refused(ngx_http_logbroker_worker_t *w)
{
    ngx_http_logbroker_aside_close(w, NGX_HTTP_LOGBROKER_ASIDE_NONE);
}


/* Does somebody need the ring more, this worker or another one, or a worker
 * that follows this one? */

static ngx_uint_t
ngx_http_logbroker_aside_unwanted(ngx_http_logbroker_worker_t *w)
{
    return ngx_exiting || w->ring.writer == NULL || w->room.seeking
           || ngx_http_logbroker_room_called(w);
}


/* Now, or when what is in flight is written. */

static void
ngx_http_logbroker_aside_give_back(ngx_http_logbroker_worker_t *w)
{
    if (w->aside.writer && !w->aside.writing) {
        ngx_http_logbroker_aside_close(w, NGX_HTTP_LOGBROKER_ASIDE_NONE);
    }
}


static void
ngx_http_logbroker_aside_close(ngx_http_logbroker_worker_t *w, ngx_msec_t off)
{
    lb_writer_close(w->aside.writer);

    w->aside.writer = NULL;
    w->aside.gone = 0;
    w->aside.off_until = ngx_current_msec + off;
}


static void
ngx_http_logbroker_aside_watch(ngx_event_t *ev)
{
    ngx_http_logbroker_worker_t        *w;
    ngx_http_logbroker_worker_aside_t  *aside;

    w = ev->data;
    aside = &w->aside;

    if (aside->paused) {
        aside->paused = 0;
        w->ready(w);

    } else if (aside->claiming) {

        if (ngx_current_msec - aside->started >= NGX_HTTP_LOGBROKER_ASIDE_WAIT)
        {
            w->ready(w);
        }

    } else if (ngx_http_logbroker_aside_unwanted(w)) {
        ngx_http_logbroker_aside_give_back(w);

    } else if (aside->writer && !aside->writing
               && ngx_current_msec - aside->used_at
                  >= NGX_HTTP_LOGBROKER_ASIDE_IDLE)
    {
        ngx_http_logbroker_aside_close(w, 0);
    }

    if ((aside->claiming || aside->writer) && !aside->watch.timer_set) {
        ngx_add_timer(&aside->watch, NGX_HTTP_LOGBROKER_ASIDE_WATCH);
    }
}


void
ngx_http_logbroker_aside_tick(ngx_http_logbroker_worker_t *w)
{
    if (w->aside.writer == NULL || lb_writer_check(w->aside.writer) == 0) {
        return;
    }

    if (w->aside.writing) {
        w->aside.gone = 1;
        return;
    }

    ngx_http_logbroker_aside_close(w, NGX_HTTP_LOGBROKER_ASIDE_NONE);
}
