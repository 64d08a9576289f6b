/*
 * A disk that does not answer: a write or sync has been running for longer
 * than logbroker_write_timeout.
 *
 * What becomes of the group it belongs to is not known: the requests in it
 * wait on.  All others are refused, those staged behind it too, of which not a
 * byte has been written.  When the write comes back everything goes on as if
 * nothing had been.
 *
 * Each worker has a seat in shared memory to say so, and how many requests
 * wait in it, because any worker is asked for the status of all.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"


/* milliseconds between two log lines about the same write */
#define NGX_HTTP_LOGBROKER_HANG_AGAIN    60000


static ngx_uint_t ngx_http_logbroker_running(ngx_http_logbroker_worker_t *w,
    ngx_msec_t *age);
static void ngx_http_logbroker_hang_handler(ngx_event_t *ev);
static void ngx_http_logbroker_hang_drop(ngx_http_logbroker_worker_t *w);


void
ngx_http_logbroker_hang_init(ngx_http_logbroker_worker_t *w)
{
    ngx_uint_t                   i;
    ngx_pid_t                    pid;
    ngx_http_logbroker_seat_t   *seat;

    w->hang.handler = ngx_http_logbroker_hang_handler;
    w->hang.data = w;
    w->hang.log = ngx_cycle->log;
    w->hang.cancelable = 1;

    for (i = 0; i < NGX_HTTP_LOGBROKER_SEATS; i++) {

        seat = &w->counters->seats[i];
        pid = seat->pid;

        if ((pid == 0 || (kill(pid, 0) == -1 && ngx_errno == ESRCH))
            && ngx_atomic_cmp_set(&seat->pid, pid, ngx_pid))
        {
            seat->parked = 0;
            seat->waiting = 0;
            seat->hangs_since = 0;
            seat->no_ring = 0;
            w->seat = seat;
            return;
        }
    }

    /* not seen in the status, otherwise as good */

    w->seat = &w->no_seat;
}


void
ngx_http_logbroker_hang_exit(ngx_http_logbroker_worker_t *w)
{
    w->seat->parked = 0;
    w->seat->waiting = 0;
    w->seat->hangs_since = 0;
    w->seat->no_ring = 0;
    w->seat->pid = 0;
}


/* A thread begins something that requests wait for. */

void
ngx_http_logbroker_hang_watch(ngx_http_logbroker_worker_t *w)
{
    /* one timer for many writes: it looks at the one that runs then */

    if (!w->hang.timer_set) {
        ngx_add_timer(&w->hang, w->write_timeout);
    }
}


/* For how long has a thread been at it? */

static ngx_uint_t
ngx_http_logbroker_running(ngx_http_logbroker_worker_t *w, ngx_msec_t *age)
{
    *age = 0;

    if (w->io != NGX_HTTP_LOGBROKER_IO_IDLE) {
        *age = ngx_current_msec - w->io_started;
    }

    if (w->seek.running) {
        *age = ngx_max(*age, ngx_current_msec - w->seek.started);
    }

    return w->io != NGX_HTTP_LOGBROKER_IO_IDLE || w->seek.running;
}


static void
ngx_http_logbroker_hang_handler(ngx_event_t *ev)
{
    ngx_msec_t                    age;
    ngx_http_logbroker_worker_t  *w;

    w = ev->data;

    if (!ngx_http_logbroker_running(w, &age)) {
        return;
    }

    if (age < w->write_timeout) {
        ngx_add_timer(&w->hang, w->write_timeout - age);
        return;
    }

    ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                  "logbroker: a write to \"%V\" has been running for %M ms, "
                  "%ui requests wait for it, others are answered with 503: "
                  "does the disk hang?", &w->path, age, w->flight.requests);

    ngx_add_timer(&w->hang, NGX_HTTP_LOGBROKER_HANG_AGAIN);

    if (w->hanging) {
        return;
    }

    w->hanging = 1;
    w->seat->hangs_since = ngx_http_logbroker_mono_us() / 1000 - age;

    ngx_http_logbroker_hang_drop(w);
    ngx_http_logbroker_unpark(w);
    ngx_http_logbroker_hold(w);
}


/* What is staged behind the group in flight is not written. */

static void
ngx_http_logbroker_hang_drop(ngx_http_logbroker_worker_t *w)
{
    ngx_http_logbroker_group_t  dropped;

    /* records that nobody waits for may stay */

    if (w->pending.requests == 0) {
        return;
    }

    ngx_http_logbroker_group_init(&dropped);
    ngx_http_logbroker_group_move(&w->pending, &dropped);

    lb_writer_discard(w->writer);

    ngx_http_logbroker_keys_end_group(w, &dropped.keys,
                                      NGX_HTTP_LOGBROKER_KEY_NOT_STORED);

    (void) ngx_atomic_fetch_add(&w->counters->access_lost, dropped.access);

    ngx_http_logbroker_answer(&dropped.waiters,
                              NGX_HTTP_LOGBROKER_DISK_HANGS);
}


/* A thread has come back. */

void
ngx_http_logbroker_hang_over(ngx_http_logbroker_worker_t *w)
{
    ngx_msec_t  age;

    if (!w->hanging
        || (ngx_http_logbroker_running(w, &age) && age >= w->write_timeout))
    {
        return;
    }

    w->hanging = 0;
    w->seat->hangs_since = 0;

    ngx_del_timer(&w->hang);

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "logbroker: the write to \"%V\" has come back, requests "
                  "are taken again", &w->path);

    /* a commit that came meanwhile was put off */

    if (!w->commit.posted) {
        ngx_post_event(&w->commit, &ngx_posted_next_events);
    }

    if (ngx_http_logbroker_running(w, &age)) {
        ngx_http_logbroker_hang_watch(w);
    }
}


/* Of all workers: how many there are and have no ring, requests in no group,
 * requests in one, and for how long the longest write has been running that
 * takes too long; 0: none does. */

void
ngx_http_logbroker_hang_status(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_waits_t *waits)
{
    uint64_t                    now, since;
    ngx_uint_t                  i;
    ngx_pid_t                   pid;
    ngx_http_logbroker_seat_t  *seat;

    ngx_memzero(waits, sizeof(ngx_http_logbroker_waits_t));

    now = ngx_http_logbroker_mono_us() / 1000;

    for (i = 0; i < NGX_HTTP_LOGBROKER_SEATS; i++) {

        seat = &w->counters->seats[i];
        pid = seat->pid;

        if (pid == 0 || (kill(pid, 0) == -1 && ngx_errno == ESRCH)) {
            continue;
        }

        waits->workers++;
        waits->no_ring += seat->no_ring;
        waits->parked += seat->parked;
        waits->waiting += seat->waiting;

        since = seat->hangs_since;

        if (since && now - since > waits->hangs_ms) {
            waits->hangs_ms = now - since;
        }
    }
}
