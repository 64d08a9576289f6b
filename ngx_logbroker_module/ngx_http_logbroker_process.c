/*
 * The life of a worker process: its beginning, each second, its end.
 *
 * Nothing here stops a worker.  Without a ring it answers 503, says why in
 * the log and in its status, and tries again every second.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_error.h"
#include "spool/lb_format.h"
#include "spool/lb_spool.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_access.h"
#include "ngx_http_logbroker_aside.h"
#include "ngx_http_logbroker_decode.h"
#include "ngx_http_logbroker_fill.h"
#include "ngx_http_logbroker_group.h"
#include "ngx_http_logbroker_hang.h"
#include "ngx_http_logbroker_hold.h"
#include "ngx_http_logbroker_keys_load.h"
#include "ngx_http_logbroker_large.h"
#include "ngx_http_logbroker_mem.h"
#include "ngx_http_logbroker_ring.h"
#include "ngx_http_logbroker_room.h"
#include "ngx_http_logbroker_snapshot.h"
#include "ngx_http_logbroker_spool.h"
#include "ngx_http_logbroker_stage.h"
#include "ngx_http_logbroker_tail.h"
#include "ngx_http_logbroker_process.h"


#ifdef __GLIBC__
#include <malloc.h>
#endif


/* free memory at the end of the heap that the worker keeps; what is larger
 * than _MAP goes back to the system as soon as it is free */
#define NGX_HTTP_LOGBROKER_MALLOC_KEEP   (8 * 1024 * 1024)
#define NGX_HTTP_LOGBROKER_MALLOC_MAP    (4 * 1024 * 1024)


static void ngx_http_logbroker_tick(ngx_event_t *ev);
static void ngx_http_logbroker_release(ngx_http_logbroker_worker_t *w);


ngx_http_logbroker_worker_t  *ngx_http_logbroker_worker;


ngx_int_t
ngx_http_logbroker_init_process(ngx_cycle_t *cycle)
{
    ngx_core_conf_t                 *ccf;
    ngx_http_logbroker_plan_t        plan;
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

    ngx_http_logbroker_spool_plan(lmcf, ccf->worker_processes, &plan);

    w->ring.path = lmcf->path;
    w->ring.capacity = plan.size;
    w->ring.max_rings = plan.most;
    w->ring.spares = ccf->worker_processes;
    w->pool = lmcf->pool;
    w->counters = lmcf->zone->data;
    w->hang.timeout = lmcf->write_timeout;

    if (lmcf->keys) {
        w->keys.table = lmcf->keys_zone->data;
        w->keys.window = lmcf->keys_window;
    }

    ngx_queue_init(&w->access.held);

    ngx_http_logbroker_hang_init(w);
    ngx_http_logbroker_hold_init(w);
    ngx_http_logbroker_group_init(w);
    ngx_http_logbroker_large_init(w);
    ngx_http_logbroker_stage_init(w);
    ngx_http_logbroker_room_init(w);
    ngx_http_logbroker_aside_init(w);
    ngx_http_logbroker_fill_init(w);

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

    ngx_http_logbroker_worker = w;

    ngx_http_logbroker_ring_init(w);
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
    ngx_http_logbroker_tail_exit(w);

    /* what the threads have ended with, unseen */

    lb_writer_close(w->room.seek.writer);
    w->room.seek.writer = NULL;

    ngx_http_logbroker_ring_exit(w);
    ngx_http_logbroker_room_exit(w);
    ngx_http_logbroker_aside_exit(w);
    ngx_http_logbroker_access_held(w);

    if (w->ring.writer) {

        rc = 0;

        if (w->group.io == NGX_HTTP_LOGBROKER_IO_GROUP) {
            rc = lb_writer_end(w->ring.writer);

        } else if (w->group.io == NGX_HTTP_LOGBROKER_IO_SYNC) {
            rc = lb_writer_sync_end(w->ring.writer);
        }

        /* requests that were not answered need not be kept */

        if (rc == 0 && w->group.pending.access
            && lb_writer_begin(w->ring.writer) > 0)
        {
            (void) lb_writer_write(w->ring.writer, 0);
            rc = lb_writer_end(w->ring.writer);
        }

        if (rc == 0 && lb_writer_dirty(w->ring.writer)) {
            rc = lb_writer_sync(w->ring.writer);
        }

        if (rc != 0) {
            ngx_log_error(NGX_LOG_CRIT, cycle->log, 0,
                          "logbroker: the last sync of ring %uD failed: %s "
                          "ring=%uD", lb_writer_slot(w->ring.writer),
                          lb_strerror(rc, buf, sizeof(buf)),
                          lb_writer_slot(w->ring.writer));
        }

        lb_writer_close(w->ring.writer);
        w->ring.writer = NULL;
    }

    lb_writer_close(w->fill.close);
    w->fill.close = NULL;

    if (w->ring.spool) {
        lb_spool_close(w->ring.spool);
        w->ring.spool = NULL;
    }

    ngx_http_logbroker_codec_free(&w->body.codec);
    ngx_http_logbroker_mem_free(&w->body.joined);
    ngx_http_logbroker_mem_free(&w->body.decoded);
}


static void
ngx_http_logbroker_tick(ngx_event_t *ev)
{
    ngx_http_logbroker_worker_t  *w;

    w = ev->data;

    if (w->ring.writer && !w->group.failed
        && lb_writer_check(w->ring.writer) != 0)
    {
        ngx_http_logbroker_group_gone(w);
    }

    ngx_http_logbroker_aside_tick(w);
    ngx_http_logbroker_group_sync(w);
    ngx_http_logbroker_keys_look(w);
    (void) ngx_http_logbroker_flusher_age(w);
    w->hang.seat->no_ring = !ngx_exiting && ngx_http_logbroker_no_ring(w);
    w->hang.seat->starting &= !ngx_exiting;

    ngx_http_logbroker_room_tick(w);

    if (w->ring.writer == NULL) {

        if (!w->room.yielded) {
            ngx_http_logbroker_claim(w);
        }

    } else if (ngx_exiting) {
        ngx_http_logbroker_release(w);

    } else {
        ngx_http_logbroker_ring_spare(w);
    }

    ngx_http_logbroker_fill(w);
    w->ready(w);
    ngx_http_logbroker_hold_update(w);

    if (w->large.trim && w->large.job == NULL
        && ngx_queue_empty(&w->large.queue))
    {
        w->large.trim = 0;
#ifdef __GLIBC__
        (void) malloc_trim(NGX_HTTP_LOGBROKER_MALLOC_KEEP);
#endif
    }

    ngx_add_timer(&w->tick, w->ring.writer == NULL && !w->room.yielded
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
    if (w->room.seeking || w->room.leaving || w->large.n || w->access.bytes
        || !ngx_queue_empty(&w->stage.parked) || w->group.pending.requests
        || w->group.pending.access)
    {
        return;
    }

    w->room.leaving = 1;

    ngx_http_logbroker_leave(w);
}
