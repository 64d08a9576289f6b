/*
 * What waits, and keeps a worker that leaves alive.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_group.h"
#include "ngx_http_logbroker_hold.h"


/* a timer that means nothing but that there is something to wait for */
#define NGX_HTTP_LOGBROKER_HOLD          60000


static void ngx_http_logbroker_hold_handler(ngx_event_t *ev);


void
ngx_http_logbroker_hold_init(ngx_http_logbroker_worker_t *w)
{
    w->hold.handler = ngx_http_logbroker_hold_handler;
    w->hold.data = w;
    w->hold.log = ngx_cycle->log;
}


/*
 * A worker exits once it has no timer that is not cancelable: this one is not
 * while anything is unwritten or unanswered.
 */

void
ngx_http_logbroker_hold_update(ngx_http_logbroker_worker_t *w)
{
    ngx_uint_t  busy;

    busy = w->group.pending.requests || w->group.pending.access
           || w->group.io != NGX_HTTP_LOGBROKER_IO_IDLE
           || w->aside.writing || w->large.job
           || !ngx_queue_empty(&w->large.queue)
           || !ngx_queue_empty(&w->stage.parked) || w->access.bytes;

    w->hold.cancelable = !busy;

    if (busy && !w->hold.timer_set) {
        ngx_add_timer(&w->hold, NGX_HTTP_LOGBROKER_HOLD);
    }

    w->hang.seat->parked = w->stage.nparked + w->large.n;
    w->hang.seat->waiting = w->group.pending.requests
                            + w->group.flight.requests
                            + w->aside.flight.requests;
}


static void
ngx_http_logbroker_hold_handler(ngx_event_t *ev)
{
    ngx_http_logbroker_hold_update(ev->data);
}


/* Does a request wait for a ring? */

ngx_uint_t
ngx_http_logbroker_wants_room(ngx_http_logbroker_worker_t *w)
{
    return !ngx_queue_empty(&w->stage.parked)
           || (w->large.job && !w->large.job->running)
           || w->access.bytes;
}
