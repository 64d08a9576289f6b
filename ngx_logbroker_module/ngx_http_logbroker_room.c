/*
 * Room: a worker whose ring is full goes on in another one.
 *
 *            full                   claimed                 drained
 *     ring --------> seeking ring' ---------> leaving ring ---------> ring'
 *
 * The new ring is claimed before the old one is given up, in a thread;
 * meanwhile requests are parked.  Where all rings with room are held by other
 * workers, these are told, through shared memory: they yield, so that what
 * room there is belongs to whoever needs it, in turns.  A worker that has
 * yielded has no ring and seeks one when a request comes.
 *
 * When no ring has room, or none is yielded for a while, the request is
 * refused, and so are those after it, without another look, for a second.
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
#include "ngx_http_logbroker_fill.h"
#include "ngx_http_logbroker_group.h"
#include "ngx_http_logbroker_hang.h"
#include "ngx_http_logbroker_hold.h"
#include "ngx_http_logbroker_ring.h"
#include "ngx_http_logbroker_room.h"


/* milliseconds for which requests wait for room that another worker has */
#define NGX_HTTP_LOGBROKER_ROOM_WAIT     1500

/* ... and between two attempts */
#define NGX_HTTP_LOGBROKER_ROOM_RETRY    20

/* a worker that yields lets the others go first */
#define NGX_HTTP_LOGBROKER_ROOM_AFTER    40

/* how long a ring is kept at least, and how old a call for room may be */
#define NGX_HTTP_LOGBROKER_ROOM_KEEP     50
#define NGX_HTTP_LOGBROKER_ROOM_CALL     100

/* an early call, made once a second, makes idle workers yield */
#define NGX_HTTP_LOGBROKER_ROOM_EARLY    2500
#define NGX_HTTP_LOGBROKER_ROOM_IDLE     1000

/* milliseconds without another look, after one in vain */
#define NGX_HTTP_LOGBROKER_ROOM_NONE     1000
#define NGX_HTTP_LOGBROKER_ROOM_HELD     5000


static void ngx_http_logbroker_seek(ngx_http_logbroker_worker_t *w,
    uint64_t need);
static void ngx_http_logbroker_seek_post(ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_seek_thread(void *data, ngx_log_t *log);
static void ngx_http_logbroker_seek_done(ngx_event_t *ev);
static void ngx_http_logbroker_seek_end(ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_retry_handler(ngx_event_t *ev);
static void ngx_http_logbroker_ended(ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_lost(ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_left(ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_share(ngx_http_logbroker_worker_t *w);
static uint64_t ngx_http_logbroker_worth(ngx_http_logbroker_worker_t *w,
    uint64_t need);
static ngx_msec_t ngx_http_logbroker_mono_ms(void);


void
ngx_http_logbroker_room_init(ngx_http_logbroker_worker_t *w)
{
    w->room.seek.task.ctx = &w->room.seek;
    w->room.seek.task.handler = ngx_http_logbroker_seek_thread;
    w->room.seek.task.event.handler = ngx_http_logbroker_seek_done;
    w->room.seek.task.event.data = w;
    w->room.seek.task.event.log = ngx_cycle->log;

    w->room.retry.handler = ngx_http_logbroker_retry_handler;
    w->room.retry.data = w;
    w->room.retry.log = ngx_cycle->log;
    w->room.retry.cancelable = 1;

    w->group.ended = ngx_http_logbroker_ended;
    w->group.lost = ngx_http_logbroker_lost;
}


/* The ring there is, is the last one; what is held goes there. */

void
ngx_http_logbroker_room_exit(ngx_http_logbroker_worker_t *w)
{
    if (w->ring.writer == NULL) {
        w->ring.writer = w->room.next;

    } else {
        lb_writer_close(w->room.next);
    }

    w->room.next = NULL;
    w->room.seeking = 0;
    w->room.leaving = 0;
    w->room.yielded = 0;
    w->ring.grace_until = ngx_current_msec;
    w->room.full_until = ngx_current_msec + NGX_HTTP_LOGBROKER_ROOM_HELD;
}


/* The ring has no room for a record of need bytes: shall it wait? */

ngx_uint_t
ngx_http_logbroker_no_room(ngx_http_logbroker_worker_t *w, uint64_t need)
{
    if (w->room.seeking) {
        return 1;
    }

    if ((ngx_msec_int_t) (w->room.full_until - ngx_current_msec) > 0) {
        return 0;
    }

    ngx_http_logbroker_seek(w, need);

    return w->room.seeking;
}


/* A worker that has yielded its ring needs one again. */

void
ngx_http_logbroker_room_wanted(ngx_http_logbroker_worker_t *w)
{
    if (w->room.yielded && !w->room.seeking && !w->room.retry.timer_set) {
        ngx_http_logbroker_seek(w, 0);
    }
}


static void
ngx_http_logbroker_seek(ngx_http_logbroker_worker_t *w, uint64_t need)
{
    w->room.seeking = 1;
    w->room.need = need;
    w->room.seek_until = ngx_current_msec + NGX_HTTP_LOGBROKER_ROOM_WAIT;

    w->room.sought(w);

    ngx_http_logbroker_seek_post(w);
}


static void
ngx_http_logbroker_seek_post(ngx_http_logbroker_worker_t *w)
{
    w->room.seek.spool = w->ring.spool;
    w->room.seek.capacity = w->ring.capacity;
    w->room.seek.need = w->room.need;
    w->room.seek.writer = NULL;

    if (ngx_thread_task_post(w->pool, &w->room.seek.task) != NGX_OK) {
        ngx_add_timer(&w->room.retry, NGX_HTTP_LOGBROKER_ROOM_RETRY);
        return;
    }

    w->room.seek.running = 1;
    w->room.seek.started = ngx_current_msec;

    ngx_http_logbroker_hang_watch(w);
}


static void
ngx_http_logbroker_seek_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_seek_t *seek = data;

    seek->rc = lb_writer_claim_room(seek->spool, seek->capacity, seek->need,
                                    &seek->writer, &seek->error);

    if (seek->rc != 0) {
        seek->writer = NULL;
    }
}


static void
ngx_http_logbroker_seek_done(ngx_event_t *ev)
{
    ngx_msec_t                      now;
    ngx_http_logbroker_worker_t    *w;
    ngx_http_logbroker_counters_t  *counters;

    w = ev->data;

    w->room.seek.running = 0;

    ngx_http_logbroker_hang_over(w);

    if (w->room.seek.rc == 0 && lb_writer_check(w->room.seek.writer) != 0) {
        /* the spool was replaced: claimed from anew */
        lb_writer_close(w->room.seek.writer);
        w->room.seek.writer = NULL;
        w->room.seek.rc = LB_EGONE;
    }

    if (w->room.seek.rc == 0) {
        w->room.next = w->room.seek.writer;
        w->room.seek.writer = NULL;
        w->room.leaving = 1;

        ngx_http_logbroker_leave(w);
        return;
    }

    /* the own one may have been drained meanwhile */

    if (w->ring.writer
        && lb_writer_room(w->ring.writer)
           >= ngx_http_logbroker_worth(w, w->room.need))
    {
        ngx_http_logbroker_seek_end(w);
        return;
    }

    if (w->room.seek.rc == LB_ELOCKED
        && (ngx_msec_int_t) (w->room.seek_until - ngx_current_msec) > 0)
    {
        now = ngx_http_logbroker_mono_ms();
        counters = w->counters;

        counters->room_need = ngx_max(w->room.need, 1);
        counters->room_call = now;

        ngx_add_timer(&w->room.retry, NGX_HTTP_LOGBROKER_ROOM_RETRY);
        return;
    }

    w->room.full_until = ngx_current_msec + (w->room.seek.rc == LB_ELOCKED
                                        ? NGX_HTTP_LOGBROKER_ROOM_HELD
                                        : NGX_HTTP_LOGBROKER_ROOM_NONE);

    /* without a ring any is better than none */

    if (w->ring.writer == NULL) {
        w->room.yielded = 0;
        w->ring.grace_until = ngx_current_msec + NGX_HTTP_LOGBROKER_GRACE;
        ngx_http_logbroker_claim(w);
    }

    ngx_http_logbroker_seek_end(w);
}


static void
ngx_http_logbroker_seek_end(ngx_http_logbroker_worker_t *w)
{
    w->room.seeking = 0;

    w->ready(w);
    ngx_http_logbroker_hold_update(w);
}


static void
ngx_http_logbroker_retry_handler(ngx_event_t *ev)
{
    ngx_http_logbroker_worker_t  *w;

    w = ev->data;

    if (w->room.seeking) {
        ngx_http_logbroker_seek_post(w);

    } else if (ngx_http_logbroker_wants_room(w)) {
        ngx_http_logbroker_room_wanted(w);
    }
}


/*
 * Gives the ring up, for w->room.next if there is one, as soon as what was
 * staged in it is written and durable: called again whenever a group or sync
 * ends.
 */

void
ngx_http_logbroker_leave(ngx_http_logbroker_worker_t *w)
{
    if (!w->room.leaving) {
        return;
    }

    if (w->ring.writer) {

        if (w->group.io != NGX_HTTP_LOGBROKER_IO_IDLE
            || lb_writer_staged(w->ring.writer))
        {
            return;
        }

        if (lb_writer_dirty(w->ring.writer)) {

            ngx_http_logbroker_group_sync(w);

            /* it runs, or it has failed, which ends this as well */

            if (w->group.io != NGX_HTTP_LOGBROKER_IO_IDLE || !w->room.leaving) {
                return;
            }
        }

        ngx_http_logbroker_fill_close(w, w->ring.writer);
        w->ring.writer = NULL;
    }

    ngx_http_logbroker_left(w);
}


/* A group or a sync has ended. */

static void
ngx_http_logbroker_ended(ngx_http_logbroker_worker_t *w)
{
    ngx_http_logbroker_share(w);
    ngx_http_logbroker_leave(w);
}


/* The ring was given up after a failure. */

static void
ngx_http_logbroker_lost(ngx_http_logbroker_worker_t *w)
{
    if (w->room.next) {
        ngx_http_logbroker_left(w);
        return;
    }

    w->room.leaving = 0;

    ngx_http_logbroker_ring_lost(w);
}


/* There is no ring any more: the next one takes its place. */

static void
ngx_http_logbroker_left(ngx_http_logbroker_worker_t *w)
{
    w->room.leaving = 0;
    w->ring.writer = w->room.next;
    w->hang.seat->starting = 0;
    w->room.next = NULL;

    if (w->ring.writer == NULL) {
        w->room.yielded = 1;

        if (ngx_http_logbroker_wants_room(w)) {
            ngx_add_timer(&w->room.retry, NGX_HTTP_LOGBROKER_ROOM_AFTER);
        }

        return;
    }

    w->room.yielded = 0;
    w->room.kept_since = ngx_current_msec;
    w->room.full_until = ngx_current_msec;

    ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                  "logbroker: goes on in ring %uD of \"%V\"",
                  lb_writer_slot(w->ring.writer), &w->ring.path);

    ngx_http_logbroker_fill(w);
    ngx_http_logbroker_seek_end(w);
}


ngx_uint_t
ngx_http_logbroker_room_called(ngx_http_logbroker_worker_t *w)
{
    return w->counters->room_call
           && ngx_http_logbroker_mono_ms() - w->counters->room_call
              < NGX_HTTP_LOGBROKER_ROOM_CALL;
}


/* Does another worker need the room of this one's ring? */

static void
ngx_http_logbroker_share(ngx_http_logbroker_worker_t *w)
{
    ngx_msec_t                      now;
    ngx_http_logbroker_counters_t  *counters;

    counters = w->counters;

    if (counters->room_call == 0 && counters->room_early == 0) {
        return;
    }

    if (w->ring.writer == NULL || w->room.seeking || w->room.leaving) {
        return;
    }

    now = ngx_http_logbroker_mono_ms();

    if (now - counters->room_call < NGX_HTTP_LOGBROKER_ROOM_CALL) {

        if (ngx_current_msec - w->room.kept_since < NGX_HTTP_LOGBROKER_ROOM_KEEP
            || lb_writer_room(w->ring.writer)
               < ngx_http_logbroker_worth(w, counters->room_need))
        {
            return;
        }

    } else if (now - counters->room_early >= NGX_HTTP_LOGBROKER_ROOM_EARLY
               || ngx_http_logbroker_wants_room(w)
               || ngx_current_msec - w->room.staged_at
                  < NGX_HTTP_LOGBROKER_ROOM_IDLE
               || lb_writer_room(w->ring.writer)
                  < ngx_http_logbroker_worth(w, 0))
    {
        return;
    }

    w->room.leaving = 1;

    ngx_http_logbroker_leave(w);
}


/* Once a second. */

void
ngx_http_logbroker_room_tick(ngx_http_logbroker_worker_t *w)
{
    ngx_msec_t                      now;
    ngx_http_logbroker_counters_t  *counters;

    counters = w->counters;
    now = ngx_http_logbroker_mono_ms();

    if (w->ring.writer) {

        /* what idle workers hold is wanted soon */

        if (lb_writer_room(w->ring.writer)
            < lb_writer_capacity(w->ring.writer) / 4)
        {
            counters->room_early = now;
            return;
        }

        ngx_http_logbroker_share(w);
        return;
    }

    if (w->room.yielded && !ngx_exiting
        && now - counters->room_call >= NGX_HTTP_LOGBROKER_ROOM_EARLY
        && now - counters->room_early >= NGX_HTTP_LOGBROKER_ROOM_EARLY)
    {
        ngx_http_logbroker_room_wanted(w);
    }
}


/* So much room that a ring is worth having. */

static uint64_t
ngx_http_logbroker_worth(ngx_http_logbroker_worker_t *w, uint64_t need)
{
    return ngx_max(need, lb_writer_capacity(w->ring.writer) / LB_RING_WORTH);
}


/* The same in all processes, so that it can be shared. */

static ngx_msec_t
ngx_http_logbroker_mono_ms(void)
{
    return (ngx_msec_t) (lb_mono_us() / 1000);
}
