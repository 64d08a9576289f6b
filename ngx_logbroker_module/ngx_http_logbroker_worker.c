/*
 * The life of a worker: it opens the spool, claims a ring, has rings created
 * where they are missing, and gives its ring back at the end.
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

/* seconds between two attempts at creating a ring, after a failure */
#define NGX_HTTP_LOGBROKER_CREATE_RETRY  10

/* seconds between two counts of the free rings */
#define NGX_HTTP_LOGBROKER_SPARE_CHECK   10


static void ngx_http_logbroker_open(ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_create(ngx_http_logbroker_worker_t *w,
    ngx_uint_t spares);
static void ngx_http_logbroker_create_thread(void *data, ngx_log_t *log);
static ngx_uint_t ngx_http_logbroker_enough(
    ngx_http_logbroker_create_t *create);
static void ngx_http_logbroker_create_done(ngx_event_t *ev);
static void ngx_http_logbroker_tick(ngx_event_t *ev);


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

    ngx_http_logbroker_worker = w;

    w->grace_until = ngx_current_msec + NGX_HTTP_LOGBROKER_GRACE;

    ngx_http_logbroker_claim(w);
    ngx_http_logbroker_keys_look(w);

    ngx_add_timer(&w->tick, w->writer ? 1000 : NGX_HTTP_LOGBROKER_CLAIM_RETRY);

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

    if (w->spool) {
        lb_spool_close(w->spool);
        w->spool = NULL;
    }

    ngx_http_logbroker_codec_free(&w->codec);
    ngx_http_logbroker_mem_free(&w->joined);
    ngx_http_logbroker_mem_free(&w->decoded);
}


static void
ngx_http_logbroker_open(ngx_http_logbroker_worker_t *w)
{
    int         rc;
    lb_error_t  err;

    rc = lb_spool_open((char *) w->path.data, LB_SPOOL_CREATE, &w->spool,
                       &err);

    if (rc != 0) {
        w->spool = NULL;
        ngx_http_logbroker_problem(w, NGX_LOG_CRIT, rc, err.text);

    } else if (lb_spool_note(w->spool)) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0, "logbroker: %s",
                      lb_spool_note(w->spool));
    }
}


void
ngx_http_logbroker_claim(ngx_http_logbroker_worker_t *w)
{
    int         rc;
    lb_error_t  err;

    if (w->spool == NULL) {
        ngx_http_logbroker_open(w);

        if (w->spool == NULL) {
            return;
        }
    }

    rc = lb_writer_claim(w->spool, w->capacity, &w->writer, &err);

    if (rc == 0) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "logbroker: claimed ring %uD of \"%V\"",
                      lb_writer_slot(w->writer), &w->path);

        w->problem_code = 0;
        w->problem[0] = '\0';
        w->spare_after = 0;
        w->yielded = 0;
        w->kept_since = ngx_current_msec;
        return;
    }

    w->writer = NULL;

    if (rc != LB_ENOSLOT) {
        /* whatever is wrong with the rings there are, a new one may do */
        ngx_http_logbroker_problem(w, NGX_LOG_CRIT, rc, err.text);

    } else if (w->problem_code == 0) {
        (void) ngx_cpystrn(w->problem, (u_char *) "no ring is free, one is "
                           "being created", sizeof(w->problem));
    }

    if (!w->creating && !ngx_exiting && ngx_time() >= w->create_after) {
        ngx_http_logbroker_create(w, 0);
    }
}


/*
 * Are requests parked until there is a ring to write to?  Room is sought, or
 * a reload came before there are free rings for the new workers: old ones give
 * theirs back any moment, or one is being created.
 */

ngx_uint_t
ngx_http_logbroker_waits(ngx_http_logbroker_worker_t *w)
{
    if (w->seeking || w->leaving || w->yielded) {
        return 1;
    }

    return w->writer == NULL
           && (ngx_msec_int_t) (w->grace_until - ngx_current_msec) > 0;
}


/* Why there is no ring: for the log, at most once a minute, and status. */

void
ngx_http_logbroker_problem(ngx_http_logbroker_worker_t *w, ngx_uint_t level,
    int code, const char *text)
{
    time_t  now;

    now = ngx_time();

    (void) ngx_cpystrn(w->problem, (u_char *) text, sizeof(w->problem));

    if (w->problem_code == code && now - w->problem_logged < 60) {
        return;
    }

    w->problem_code = code;
    w->problem_logged = now;

    ngx_log_error(level, ngx_cycle->log, 0, "logbroker: %s", text);
}


/* A ring is zero-filled when it is created, which takes its time. */

static void
ngx_http_logbroker_create(ngx_http_logbroker_worker_t *w, ngx_uint_t spares)
{
    ngx_http_logbroker_create_t  *create;

    create = &w->create;

    create->spool = w->spool;
    create->capacity = w->capacity;
    create->max_rings = w->max_rings;
    create->spares = spares;
    create->slot = w->writer ? lb_writer_slot(w->writer) : 0;
    create->rc = 0;
    create->enough = 0;

    if (ngx_thread_task_post(w->pool, &create->task) == NGX_OK) {
        w->creating = 1;
    }
}


static void
ngx_http_logbroker_create_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_create_t *create = data;

    if (create->spares && ngx_http_logbroker_enough(create)) {
        create->enough = 1;
        return;
    }

    create->rc = lb_ring_create(create->spool, create->capacity,
                                create->max_rings, &create->error);
}


/*
 * A reload, and a binary upgrade, starts new workers while the old ones still
 * hold their rings: there should be a free ring for each.  The worker with
 * the lowest slot sees to that, so that not all of them do.
 */

static ngx_uint_t
ngx_http_logbroker_enough(ngx_http_logbroker_create_t *create)
{
    int             i, n, rc;
    uint32_t        slots[LB_SLOTS_MAX], spares;
    ngx_uint_t      first;
    lb_error_t      err;
    lb_reader_t    *reader;
    lb_ring_info_t  info;

    n = lb_spool_slots(create->spool, slots, &err);

    spares = 0;
    first = 1;

    for (i = 0; i < n; i++) {

        if (lb_reader_open(create->spool, slots[i], 0, &reader, &err) != 0) {
            continue;
        }

        rc = lb_reader_info(reader, &info);

        lb_reader_close(reader);

        if (rc != 0) {
            continue;
        }

        if (!info.locked) {

            if (info.capacity == create->capacity) {
                spares++;
            }

            continue;
        }

        if (first && slots[i] != create->slot) {
            return 1;
        }

        first = 0;
    }

    return n < 0 || spares >= create->spares
           || (uint32_t) n >= create->max_rings;
}


static void
ngx_http_logbroker_create_done(ngx_event_t *ev)
{
    ngx_http_logbroker_worker_t  *w;
    ngx_http_logbroker_create_t  *create;

    w = ev->data;
    create = &w->create;

    w->creating = 0;

    if (create->enough) {
        w->spare_after = ngx_time() + NGX_HTTP_LOGBROKER_SPARE_CHECK;

    } else if (create->rc >= 0) {

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "logbroker: created ring %d of \"%V\"", create->rc,
                      &w->path);

        w->create_after = 0;
        w->spare_after = 0;

    } else {
        w->create_after = ngx_time() + NGX_HTTP_LOGBROKER_CREATE_RETRY;
        w->spare_after = ngx_time() + 6 * NGX_HTTP_LOGBROKER_CREATE_RETRY;

        if (create->rc == LB_ENOSLOT) {
            w->create_after = 0;
        }
    }

    if (w->writer == NULL && !w->yielded) {

        if (create->rc < 0) {
            ngx_http_logbroker_problem(w, create->rc == LB_ENOSLOT
                                              ? NGX_LOG_WARN : NGX_LOG_CRIT,
                                       create->rc, create->error.text);

            /* somebody may have let go of a ring meanwhile: next tick */

        } else {
            ngx_http_logbroker_claim(w);
            ngx_http_logbroker_unpark(w);
        }

    } else if (create->rc < 0 && create->rc != LB_ENOSLOT) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "logbroker: cannot create a spare ring, a reload may "
                      "have to wait for old workers: %s", create->error.text);
    }
}


static void
ngx_http_logbroker_tick(ngx_event_t *ev)
{
    ngx_http_logbroker_worker_t  *w;

    w = ev->data;

    ngx_http_logbroker_sync(w);
    ngx_http_logbroker_keys_look(w);
    (void) ngx_http_logbroker_flusher_age(w);

    ngx_http_logbroker_room_tick(w);

    if (w->writer == NULL) {

        if (!w->yielded) {
            ngx_http_logbroker_claim(w);
        }

    } else if (!w->creating && !ngx_exiting && ngx_time() >= w->spare_after) {
        ngx_http_logbroker_create(w, w->spares);
    }

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
