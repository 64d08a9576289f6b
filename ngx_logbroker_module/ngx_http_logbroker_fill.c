/*
 * Zero-fills a new ring ahead of its writer.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_clock.h"
#include "spool/lb_error.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_fill.h"


static void ngx_http_logbroker_fill_thread(void *data, ngx_log_t *log);
static void ngx_http_logbroker_fill_done(ngx_event_t *ev);
static void ngx_http_logbroker_fill_next(ngx_event_t *ev);


void
ngx_http_logbroker_fill_init(ngx_http_logbroker_worker_t *w)
{
    w->fill.task.ctx = &w->fill;
    w->fill.task.handler = ngx_http_logbroker_fill_thread;
    w->fill.task.event.handler = ngx_http_logbroker_fill_done;
    w->fill.task.event.data = w;
    w->fill.task.event.log = ngx_cycle->log;

    w->fill.next.handler = ngx_http_logbroker_fill_next;
    w->fill.next.data = w;
    w->fill.next.log = ngx_cycle->log;
    w->fill.next.cancelable = 1;
}


/*
 * What lies ahead in a new ring is filled with zeros, a slice at a time, and
 * then as long not as that took: groups are written in between, also where the
 * pool has one thread alone.  Nobody waits for it, a worker that leaves least.
 */

void
ngx_http_logbroker_fill(ngx_http_logbroker_worker_t *w)
{
    ngx_http_logbroker_worker_fill_t  *fill;

    fill = &w->fill;

    if (fill->writer || fill->next.timer_set || w->ring.writer == NULL
        || ngx_exiting || !lb_writer_fill_begin(w->ring.writer))
    {
        return;
    }

    fill->writer = w->ring.writer;

    if (ngx_thread_task_post(w->pool, &fill->task) != NGX_OK) {
        (void) lb_writer_fill_end(w->ring.writer);
        fill->writer = NULL;
    }
}


static void
ngx_http_logbroker_fill_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_worker_fill_t *fill = data;

    uint64_t  started;

    started = lb_mono_us();

    lb_writer_fill_run(fill->writer);

    fill->took = (ngx_msec_t) (lb_mono_us() - started) / 1000;
}


static void
ngx_http_logbroker_fill_done(ngx_event_t *ev)
{
    int                           rc;
    char                          buf[128];
    ngx_http_logbroker_worker_fill_t    *fill;
    ngx_http_logbroker_worker_t  *w;

    w = ev->data;
    fill = &w->fill;

    rc = lb_writer_fill_end(fill->writer);

    if (rc != 0) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "logbroker: filling ring %uD ahead failed: %s; writes to "
                      "it will be slower, or fail ring=%uD",
                      lb_writer_slot(fill->writer),
                      lb_strerror(rc, buf, sizeof(buf)),
                      lb_writer_slot(fill->writer));
    }

    fill->writer = NULL;

    lb_writer_close(fill->close);
    fill->close = NULL;

    ngx_add_timer(&fill->next, ngx_max(fill->took, 1));
}


static void
ngx_http_logbroker_fill_next(ngx_event_t *ev)
{
    ngx_http_logbroker_fill(ev->data);
}


/* The lock goes with it: at once, unless the thread is just filling. */

void
ngx_http_logbroker_fill_close(ngx_http_logbroker_worker_t *w,
    lb_writer_t *writer)
{
    if (w->fill.writer == writer) {
        w->fill.close = writer;
        return;
    }

    lb_writer_close(writer);
}
