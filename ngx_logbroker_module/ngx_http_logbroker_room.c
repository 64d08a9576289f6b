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

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_access.h"


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
static uint64_t ngx_http_logbroker_worth(ngx_http_logbroker_worker_t *w,
    uint64_t need);
static ngx_msec_t ngx_http_logbroker_mono_ms(void);


void
ngx_http_logbroker_room_init(ngx_http_logbroker_worker_t *w)
{
    w->seek.task.ctx = &w->seek;
    w->seek.task.handler = ngx_http_logbroker_seek_thread;
    w->seek.task.event.handler = ngx_http_logbroker_seek_done;
    w->seek.task.event.data = w;
    w->seek.task.event.log = ngx_cycle->log;

    w->retry.handler = ngx_http_logbroker_retry_handler;
    w->retry.data = w;
    w->retry.log = ngx_cycle->log;
    w->retry.cancelable = 1;
}


/* The ring there is, is the last one; what is held goes there. */

void
ngx_http_logbroker_room_exit(ngx_http_logbroker_worker_t *w)
{
    if (w->writer == NULL) {
        w->writer = w->next;

    } else {
        lb_writer_close(w->next);
    }

    w->next = NULL;
    w->seeking = 0;
    w->leaving = 0;
    w->yielded = 0;
    w->grace_until = ngx_current_msec;
    w->full_until = ngx_current_msec + NGX_HTTP_LOGBROKER_ROOM_HELD;

    ngx_http_logbroker_access_held(w);
}


/* The ring has no room for a record of need bytes: shall it wait? */

ngx_uint_t
ngx_http_logbroker_no_room(ngx_http_logbroker_worker_t *w, uint64_t need)
{
    if (w->seeking) {
        return 1;
    }

    if ((ngx_msec_int_t) (w->full_until - ngx_current_msec) > 0) {
        return 0;
    }

    ngx_http_logbroker_seek(w, need);

    return w->seeking;
}


/* A worker that has yielded its ring needs one again. */

void
ngx_http_logbroker_room_wanted(ngx_http_logbroker_worker_t *w)
{
    if (w->yielded && !w->seeking && !w->retry.timer_set) {
        ngx_http_logbroker_seek(w, 0);
    }
}


static void
ngx_http_logbroker_seek(ngx_http_logbroker_worker_t *w, uint64_t need)
{
    w->seeking = 1;
    w->need = need;
    w->seek_until = ngx_current_msec + NGX_HTTP_LOGBROKER_ROOM_WAIT;

    ngx_http_logbroker_seek_post(w);
}


static void
ngx_http_logbroker_seek_post(ngx_http_logbroker_worker_t *w)
{
    w->seek.spool = w->spool;
    w->seek.capacity = w->capacity;
    w->seek.need = w->need;
    w->seek.writer = NULL;

    if (ngx_thread_task_post(w->pool, &w->seek.task) != NGX_OK) {
        ngx_add_timer(&w->retry, NGX_HTTP_LOGBROKER_ROOM_RETRY);
        return;
    }

    w->seek.running = 1;
    w->seek.started = ngx_current_msec;

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

    w->seek.running = 0;

    ngx_http_logbroker_hang_over(w);

    if (w->seek.rc == 0 && lb_writer_check(w->seek.writer) != 0) {
        /* the spool was replaced: claimed from anew */
        lb_writer_close(w->seek.writer);
        w->seek.writer = NULL;
        w->seek.rc = LB_EGONE;
    }

    if (w->seek.rc == 0) {
        w->next = w->seek.writer;
        w->seek.writer = NULL;
        w->leaving = 1;

        ngx_http_logbroker_leave(w);
        return;
    }

    /* the own one may have been drained meanwhile */

    if (w->writer
        && lb_writer_room(w->writer) >= ngx_http_logbroker_worth(w, w->need))
    {
        ngx_http_logbroker_seek_end(w);
        return;
    }

    if (w->seek.rc == LB_ELOCKED
        && (ngx_msec_int_t) (w->seek_until - ngx_current_msec) > 0)
    {
        now = ngx_http_logbroker_mono_ms();
        counters = w->counters;

        counters->room_need = ngx_max(w->need, 1);
        counters->room_call = now;

        ngx_add_timer(&w->retry, NGX_HTTP_LOGBROKER_ROOM_RETRY);
        return;
    }

    w->full_until = ngx_current_msec + (w->seek.rc == LB_ELOCKED
                                        ? NGX_HTTP_LOGBROKER_ROOM_HELD
                                        : NGX_HTTP_LOGBROKER_ROOM_NONE);

    /* without a ring any is better than none */

    if (w->writer == NULL) {
        w->yielded = 0;
        w->grace_until = ngx_current_msec + NGX_HTTP_LOGBROKER_GRACE;
        ngx_http_logbroker_claim(w);
    }

    ngx_http_logbroker_seek_end(w);
}


static void
ngx_http_logbroker_seek_end(ngx_http_logbroker_worker_t *w)
{
    w->seeking = 0;

    ngx_http_logbroker_unpark(w);
    ngx_http_logbroker_hold(w);
}


static void
ngx_http_logbroker_retry_handler(ngx_event_t *ev)
{
    ngx_http_logbroker_worker_t  *w;

    w = ev->data;

    if (w->seeking) {
        ngx_http_logbroker_seek_post(w);

    } else if (ngx_http_logbroker_wants_room(w)) {
        ngx_http_logbroker_room_wanted(w);
    }
}


/*
 * Gives the ring up, for w->next if there is one, as soon as what was staged
 * in it is written and durable: called again whenever a group or sync ends.
 */

void
ngx_http_logbroker_leave(ngx_http_logbroker_worker_t *w)
{
    if (!w->leaving) {
        return;
    }

    if (w->writer) {

        if (w->io != NGX_HTTP_LOGBROKER_IO_IDLE
            || lb_writer_staged(w->writer))
        {
            return;
        }

        if (lb_writer_dirty(w->writer)) {

            ngx_http_logbroker_sync(w);

            /* it runs, or it has failed, which ends this as well */

            if (w->io != NGX_HTTP_LOGBROKER_IO_IDLE || !w->leaving) {
                return;
            }
        }

        ngx_http_logbroker_close(w, w->writer);
        w->writer = NULL;
    }

    ngx_http_logbroker_left(w);
}


/* There is no ring any more: the next one takes its place. */

void
ngx_http_logbroker_left(ngx_http_logbroker_worker_t *w)
{
    w->leaving = 0;
    w->writer = w->next;
    w->next = NULL;

    if (w->writer == NULL) {
        w->yielded = 1;

        if (ngx_http_logbroker_wants_room(w)) {
            ngx_add_timer(&w->retry, NGX_HTTP_LOGBROKER_ROOM_AFTER);
        }

        return;
    }

    w->yielded = 0;
    w->kept_since = ngx_current_msec;
    w->full_until = ngx_current_msec;

    ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                  "logbroker: goes on in ring %uD of \"%V\"",
                  lb_writer_slot(w->writer), &w->path);

    ngx_http_logbroker_fill(w);
    ngx_http_logbroker_seek_end(w);
}


/* Does another worker need the room of this one's ring? */

void
ngx_http_logbroker_share(ngx_http_logbroker_worker_t *w)
{
    ngx_msec_t                      now;
    ngx_http_logbroker_counters_t  *counters;

    counters = w->counters;

    if (counters->room_call == 0 && counters->room_early == 0) {
        return;
    }

    if (w->writer == NULL || w->seeking || w->leaving) {
        return;
    }

    now = ngx_http_logbroker_mono_ms();

    if (now - counters->room_call < NGX_HTTP_LOGBROKER_ROOM_CALL) {

        if (ngx_current_msec - w->kept_since < NGX_HTTP_LOGBROKER_ROOM_KEEP
            || lb_writer_room(w->writer)
               < ngx_http_logbroker_worth(w, counters->room_need))
        {
            return;
        }

    } else if (now - counters->room_early >= NGX_HTTP_LOGBROKER_ROOM_EARLY
               || ngx_http_logbroker_wants_room(w)
               || ngx_current_msec - w->staged_at
                  < NGX_HTTP_LOGBROKER_ROOM_IDLE
               || lb_writer_room(w->writer) < ngx_http_logbroker_worth(w, 0))
    {
        return;
    }

    w->leaving = 1;

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

    if (w->writer) {

        /* what idle workers hold is wanted soon */

        if (lb_writer_room(w->writer) < lb_writer_capacity(w->writer) / 4) {
            counters->room_early = now;
            return;
        }

        ngx_http_logbroker_share(w);
        return;
    }

    if (w->yielded && !ngx_exiting
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
    return ngx_max(need, lb_writer_capacity(w->writer) / LB_RING_WORTH);
}


/* The same in all processes, so that it can be shared. */

static ngx_msec_t
ngx_http_logbroker_mono_ms(void)
{
    return (ngx_msec_t) (ngx_http_logbroker_mono_us() / 1000);
}
