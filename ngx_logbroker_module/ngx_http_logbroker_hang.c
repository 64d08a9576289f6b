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

#include "spool/lb_clock.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_group.h"
#include "ngx_http_logbroker_hold.h"
#include "ngx_http_logbroker_hang.h"


/* milliseconds between two log lines about the same write */
#define NGX_HTTP_LOGBROKER_HANG_AGAIN    60000


static ngx_uint_t ngx_http_logbroker_running(ngx_http_logbroker_worker_t *w,
    ngx_msec_t *age);
static void ngx_http_logbroker_hang_handler(ngx_event_t *ev);


void
ngx_http_logbroker_hang_init(ngx_http_logbroker_worker_t *w)
{
    ngx_uint_t                   i;
    ngx_pid_t                    pid;
    ngx_http_logbroker_seat_t   *seat;

    w->hang.timer.handler = ngx_http_logbroker_hang_handler;
    w->hang.timer.data = w;
    w->hang.timer.log = ngx_cycle->log;
    w->hang.timer.cancelable = 1;

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
            seat->starting = 1;
            w->hang.seat = seat;
            return;
        }
    }

    /* not seen in the status, otherwise as good */

    w->hang.seat = &w->hang.no_seat;
}


void
ngx_http_logbroker_hang_exit(ngx_http_logbroker_worker_t *w)
{
    w->hang.seat->parked = 0;
    w->hang.seat->waiting = 0;
    w->hang.seat->hangs_since = 0;
    w->hang.seat->no_ring = 0;
    w->hang.seat->pid = 0;
}


/* A thread begins something that requests wait for. */

void
ngx_http_logbroker_hang_watch(ngx_http_logbroker_worker_t *w)
{
    /* one timer for many writes: it looks at the one that runs then */

    if (!w->hang.timer.timer_set) {
        ngx_add_timer(&w->hang.timer, w->hang.timeout);
    }
}


/* For how long has a thread been at it? */

static ngx_uint_t
ngx_http_logbroker_running(ngx_http_logbroker_worker_t *w, ngx_msec_t *age)
{
    *age = 0;

    if (w->group.io != NGX_HTTP_LOGBROKER_IO_IDLE) {
        *age = ngx_current_msec - w->group.started;
    }

    if (w->room.seek.running) {
        *age = ngx_max(*age, ngx_current_msec - w->room.seek.started);
    }

    if (w->aside.writing) {
        *age = ngx_max(*age, ngx_current_msec - w->aside.started);
    }

    return w->group.io != NGX_HTTP_LOGBROKER_IO_IDLE || w->room.seek.running
           || w->aside.writing;
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

    if (age < w->hang.timeout) {
        ngx_add_timer(&w->hang.timer, w->hang.timeout - age);
        return;
    }

    ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                  "logbroker: the disk hangs: a write to \"%V\" has been "
                  "running for %M ms, %ui requests wait for it, others get 503",
                  &w->ring.path, age,
                  w->group.flight.requests + w->aside.flight.requests);

    ngx_add_timer(&w->hang.timer, NGX_HTTP_LOGBROKER_HANG_AGAIN);

    if (w->hang.hanging) {
        return;
    }

    w->hang.hanging = 1;
    w->hang.seat->hangs_since = lb_mono_us() / 1000 - age;

    w->hang.hangs(w);
    w->ready(w);
    ngx_http_logbroker_hold_update(w);
}


/* A thread has come back. */

void
ngx_http_logbroker_hang_over(ngx_http_logbroker_worker_t *w)
{
    ngx_msec_t  age;

    if (!w->hang.hanging
        || (ngx_http_logbroker_running(w, &age) && age >= w->hang.timeout))
    {
        return;
    }

    w->hang.hanging = 0;
    w->hang.seat->hangs_since = 0;

    ngx_del_timer(&w->hang.timer);

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "logbroker: the write to \"%V\" has come back, requests "
                  "are taken again", &w->ring.path);

    /* a commit that came meanwhile was put off */

    if (!w->group.commit.posted) {
        ngx_post_event(&w->group.commit, &ngx_posted_next_events);
    }

    if (ngx_http_logbroker_running(w, &age)) {
        ngx_http_logbroker_hang_watch(w);
    }
}


/* Of all workers: how many there are, have no ring or not yet one, requests in
 * no group, requests in one, and for how long the longest write has been running
 * that takes too long; 0: none does. */

void
ngx_http_logbroker_hang_status(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_waits_t *waits)
{
    uint64_t                    now, since;
    ngx_uint_t                  i;
    ngx_pid_t                   pid;
    ngx_http_logbroker_seat_t  *seat;

    ngx_memzero(waits, sizeof(ngx_http_logbroker_waits_t));

    now = lb_mono_us() / 1000;

    for (i = 0; i < NGX_HTTP_LOGBROKER_SEATS; i++) {

        seat = &w->counters->seats[i];
        pid = seat->pid;

        if (pid == 0 || (kill(pid, 0) == -1 && ngx_errno == ESRCH)) {
            continue;
        }

        waits->workers++;
        waits->no_ring += seat->no_ring;
        waits->starting += seat->starting && !seat->no_ring;
        waits->parked += seat->parked;
        waits->waiting += seat->waiting;

        since = seat->hangs_since;

        if (since && now - since > waits->hangs_ms) {
            waits->hangs_ms = now - since;
        }
    }
}
