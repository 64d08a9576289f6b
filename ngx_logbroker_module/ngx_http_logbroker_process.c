/*
 * The life of a worker process: its beginning, each second, its end.
 *
 * Nothing here stops a worker.  Without a ring it answers 503, says why in
 * the log and in its status, and tries again every second.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif


/* free memory at the end of the heap that the worker keeps; what is larger
 * than _MAP goes back to the system as soon as it is free */
#define NGX_HTTP_LOGBROKER_MALLOC_KEEP   (8 * 1024 * 1024)
#define NGX_HTTP_LOGBROKER_MALLOC_MAP    (1024 * 1024)


static void ngx_http_logbroker_tick(ngx_event_t *ev);
static void ngx_http_logbroker_release(ngx_http_logbroker_worker_t *w);


ngx_http_logbroker_worker_t  *ngx_http_logbroker_worker;


ngx_int_t
ngx_http_logbroker_init_process(ngx_cycle_t *cycle)
{
    ngx_core_conf_t                 *ccf;
    ngx_http_logbroker_worker_t     *w;
    ngx_http_logbroker_main_conf_t  *lmcf;

    /* the cache manager and loader come here as well */

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    lmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_logbroker_module);

    if (lmcf == NULL || lmcf->path.data == NULL) {
        return NGX_OK;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    w = ngx_pcalloc(cycle->pool, sizeof(ngx_http_logbroker_worker_t));
    if (w == NULL) {
        return NGX_ERROR;
    }

    w->path = lmcf->path;
    w->capacity = lmcf->size;
    w->spares = ccf->worker_processes;
    w->pool = lmcf->pool;
    w->counters = lmcf->zone->data;
    w->write_timeout = lmcf->write_timeout;

    if (lmcf->keys) {
        w->keys = lmcf->keys_zone->data;
        w->keys_window = lmcf->keys_window;
    }

    w->max_rings = lmcf->rings;

    if (w->max_rings == 0) {
        w->max_rings = ngx_max(8, 4 * ccf->worker_processes);
        w->max_rings = ngx_min(w->max_rings, LB_SLOTS_MAX);
    }

    ngx_http_logbroker_append_init(w);
    ngx_http_logbroker_room_init(w);
    ngx_http_logbroker_hang_init(w);

#ifdef __GLIBC__

    /* bodies come and go: their memory is not to be returned to the system
     * and fetched again, page by page, each time */

    (void) mallopt(M_MMAP_THRESHOLD, NGX_HTTP_LOGBROKER_MALLOC_MAP);
    (void) mallopt(M_TRIM_THRESHOLD, NGX_HTTP_LOGBROKER_MALLOC_KEEP);

#endif

    w->tick.handler = ngx_http_logbroker_tick;
    w->tick.data = w;
    w->tick.log = cycle->log;
    w->tick.cancelable = 1;

    w->create.task.ctx = &w->create;
    w->create.task.handler = ngx_http_logbroker_create_thread;
    w->create.task.event.handler = ngx_http_logbroker_create_done;
    w->create.task.event.data = w;
    w->create.task.event.log = cycle->log;

    w->fill.task.ctx = &w->fill;
    w->fill.task.handler = ngx_http_logbroker_fill_thread;
    w->fill.task.event.handler = ngx_http_logbroker_fill_done;
    w->fill.task.event.data = w;
    w->fill.task.event.log = cycle->log;

    w->fill.next.handler = ngx_http_logbroker_fill_next;
    w->fill.next.data = w;
    w->fill.next.log = cycle->log;
    w->fill.next.cancelable = 1;

    w->create_after = ngx_current_msec;
    w->spare_after = ngx_current_msec;

    if (lb_spool_open((char *) w->path.data, LB_SPOOL_CREATE, &w->spool, NULL)
        == 0)
    {
        ngx_http_logbroker_opened(w);

    } else {
        /* the thread tries again and says why not */
        w->spool = NULL;
    }

    ngx_http_logbroker_worker = w;

    w->grace_until = ngx_current_msec + NGX_HTTP_LOGBROKER_GRACE;

    ngx_http_logbroker_claim(w);
    ngx_http_logbroker_keys_look(w);

    ngx_add_timer(&w->tick, NGX_HTTP_LOGBROKER_CLAIM_RETRY);

    return NGX_OK;
}


/*
 * The thread pool is gone here, and with it whatever it was doing: a group in
 * flight is written.  Its waiters, and those of records that are only staged,
 * can be left at this point by a fast shutdown alone, and get no answer.
 */

void
ngx_http_logbroker_exit_process(ngx_cycle_t *cycle)
{
    int                           rc;
    char                          buf[128];
    ngx_http_logbroker_worker_t  *w;

    w = ngx_http_logbroker_worker;

    if (w == NULL) {
        return;
    }

    ngx_http_logbroker_hang_exit(w);

    /* what the threads have ended with, unseen */

    lb_writer_close(w->seek.writer);
    w->seek.writer = NULL;

    if (w->creating) {
        w->spool = w->create.spool;

        if (w->writer == NULL) {
            w->writer = w->create.writer;

        } else {
            lb_writer_close(w->create.writer);
        }
    }

    ngx_http_logbroker_room_exit(w);

    if (w->writer) {

        rc = 0;

        if (w->io == NGX_HTTP_LOGBROKER_IO_GROUP) {
            rc = lb_writer_end(w->writer);

        } else if (w->io == NGX_HTTP_LOGBROKER_IO_SYNC) {
            rc = lb_writer_sync_end(w->writer);
        }

        /* requests that were not answered need not be kept */

        if (rc == 0 && w->pending.access
            && lb_writer_begin(w->writer) > 0)
        {
            (void) lb_writer_write(w->writer, 0);
            rc = lb_writer_end(w->writer);
        }

        if (rc == 0 && lb_writer_dirty(w->writer)) {
            rc = lb_writer_sync(w->writer);
        }

        if (rc != 0) {
            ngx_log_error(NGX_LOG_CRIT, cycle->log, 0,
                          "logbroker: the last sync of ring %uD failed: %s",
                          lb_writer_slot(w->writer),
                          lb_strerror(rc, buf, sizeof(buf)));
        }

        lb_writer_close(w->writer);
        w->writer = NULL;
    }

    lb_writer_close(w->fill.close);
    w->fill.close = NULL;

    if (w->spool) {
        lb_spool_close(w->spool);
        w->spool = NULL;
    }

    ngx_http_logbroker_codec_free(&w->codec);
    ngx_http_logbroker_mem_free(&w->joined);
    ngx_http_logbroker_mem_free(&w->decoded);
}


static void
ngx_http_logbroker_tick(ngx_event_t *ev)
{
    ngx_http_logbroker_worker_t  *w;

    w = ev->data;

    if (w->writer && !w->failed && lb_writer_check(w->writer) != 0) {
        ngx_http_logbroker_gone(w);
    }

    ngx_http_logbroker_sync(w);
    ngx_http_logbroker_keys_look(w);
    (void) ngx_http_logbroker_flusher_age(w);
    w->seat->no_ring = w->writer == NULL && !ngx_exiting
                       && !ngx_http_logbroker_waits(w);

    ngx_http_logbroker_room_tick(w);

    if (w->writer == NULL) {

        if (!w->yielded) {
            ngx_http_logbroker_claim(w);
        }

    } else if (ngx_exiting) {
        ngx_http_logbroker_release(w);

    } else if (!w->creating
               && (ngx_msec_int_t) (ngx_current_msec - w->spare_after) >= 0)
    {
        ngx_http_logbroker_create(w, w->spares);
    }

    ngx_http_logbroker_fill(w);
    ngx_http_logbroker_unpark(w);
    ngx_http_logbroker_hold(w);

    if (w->trim && w->job == NULL && ngx_queue_empty(&w->large)) {
        w->trim = 0;
#ifdef __GLIBC__
        (void) malloc_trim(NGX_HTTP_LOGBROKER_MALLOC_KEEP);
#endif
    }

    ngx_add_timer(&w->tick, w->writer == NULL && !w->yielded
                            && ngx_http_logbroker_waits(w)
                                ? NGX_HTTP_LOGBROKER_CLAIM_RETRY : 1000);
}


/*
 * A worker that leaves gives its ring up when everything it has taken is
 * durable, for the workers that follow it.  Clients that are still sending may
 * keep it for long: it seeks another one if an event comes after all.
 */

static void
ngx_http_logbroker_release(ngx_http_logbroker_worker_t *w)
{
    if (w->seeking || w->leaving || w->nlarge || w->held_bytes
        || !ngx_queue_empty(&w->parked) || w->pending.requests
        || w->pending.access)
    {
        return;
    }

    w->leaving = 1;

    ngx_http_logbroker_leave(w);
}
