/*
 * What waits, and keeps a worker that leaves alive.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"


/* a timer that means nothing but that there is something to wait for */
#define NGX_HTTP_LOGBROKER_HOLD          60000


/*
 * Nginx lets an exiting worker go as soon as it has no timers that count: one
 * timer stands for everything that is not written and answered yet.
 */

void
ngx_http_logbroker_hold(ngx_http_logbroker_worker_t *w)
{
    ngx_uint_t  busy;

    busy = w->pending.requests || w->pending.access
           || w->io != NGX_HTTP_LOGBROKER_IO_IDLE
           || w->job || !ngx_queue_empty(&w->large)
           || !ngx_queue_empty(&w->parked) || w->held_bytes;

    w->hold.cancelable = !busy;

    if (busy && !w->hold.timer_set) {
        ngx_add_timer(&w->hold, NGX_HTTP_LOGBROKER_HOLD);
    }

    w->seat->parked = w->nparked + w->nlarge;
    w->seat->waiting = w->pending.requests + w->flight.requests;
}


void
ngx_http_logbroker_hold_handler(ngx_event_t *ev)
{
    ngx_http_logbroker_hold(ev->data);
}


/* Does a request wait for a ring? */

ngx_uint_t
ngx_http_logbroker_wants_room(ngx_http_logbroker_worker_t *w)
{
    return !ngx_queue_empty(&w->parked) || (w->job && !w->job->running)
           || w->held_bytes;
}
