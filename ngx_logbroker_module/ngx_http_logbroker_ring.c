/*
 * The ring of a worker: the spool is opened, a ring claimed, rings are created
 * where they are missing, and given back.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"


/* milliseconds between two attempts at creating a ring, after a failure */
#define NGX_HTTP_LOGBROKER_CREATE_RETRY  10000

/* milliseconds between two counts of the free rings */
#define NGX_HTTP_LOGBROKER_SPARE_CHECK   10000


static void ngx_http_logbroker_let_go(ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_claimed(ngx_http_logbroker_worker_t *w);
static ngx_uint_t ngx_http_logbroker_enough(
    ngx_http_logbroker_create_t *create);
static void ngx_http_logbroker_spare_done(ngx_http_logbroker_worker_t *w);


/* To be opened anew.  One that has gone is not made anew, it may only not be
 * mounted. */

static void
ngx_http_logbroker_let_go(ngx_http_logbroker_worker_t *w)
{
    if (w->spool == NULL || w->seeking || w->keys_job) {
        return;
    }

    lb_spool_close(w->spool);
    w->spool = NULL;
    w->vanished = 1;
}


void
ngx_http_logbroker_opened(ngx_http_logbroker_worker_t *w)
{
    if (lb_spool_note(w->spool)) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0, "logbroker: %s",
                      lb_spool_note(w->spool));
    }
}


/*
 * Has a thread claim a ring, or make one: recovery reads what was written last,
 * syncs, and takes as long as the disk wants.  Comes to an end in
 * ngx_http_logbroker_create_done().
 */

void
ngx_http_logbroker_claim(ngx_http_logbroker_worker_t *w)
{
    if (w->creating) {
        return;
    }

    if (w->spool && lb_spool_stale(w->spool)) {

        /* what is there now is another spool, or will be */

        ngx_http_logbroker_let_go(w);

        if (w->spool) {
            return;
        }
    }

    if (w->problem_code == 0) {
        (void) ngx_cpystrn(w->problem, (u_char *) "no ring is free, one is "
                           "being created", sizeof(w->problem));
    }

    ngx_http_logbroker_create(w, 0);
}


static void
ngx_http_logbroker_claimed(ngx_http_logbroker_worker_t *w)
{
    const char                   *space;
    ngx_http_logbroker_create_t  *create;

    create = &w->create;

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "logbroker: claimed ring %uD of \"%V\"%s",
                  lb_writer_slot(w->writer), &w->path,
                  create->got.created ? ", a new one"
                  : create->got.resized ? ", whose size has changed" : "");

    if (create->got.kept.code) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "logbroker: ring %uD keeps its size of %uL bytes instead "
                      "of %uL for now: %s", lb_writer_slot(w->writer),
                      lb_writer_capacity(w->writer), w->capacity,
                      create->got.kept.text);
    }

    space = lb_writer_space(w->writer);

    if (space && !w->space_logged) {
        w->space_logged = 1;
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "logbroker: ring %uD of \"%V\" may find the disk full "
                      "although it was preallocated: %s",
                      lb_writer_slot(w->writer), &w->path, space);
    }

    w->problem_code = 0;
    w->problem[0] = '\0';
    w->spare_after = ngx_current_msec;
    w->yielded = 0;
    w->kept_since = ngx_current_msec;

    ngx_http_logbroker_fill(w);
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
    (void) ngx_cpystrn(w->problem, (u_char *) text, sizeof(w->problem));

    if (w->problem_code == code
        && ngx_current_msec - w->problem_logged < 60000)
    {
        return;
    }

    w->problem_code = code;
    w->problem_logged = ngx_current_msec;

    ngx_log_error(level, ngx_cycle->log, 0, "logbroker: %s", text);
}


void
ngx_http_logbroker_create(ngx_http_logbroker_worker_t *w, ngx_uint_t spares)
{
    ngx_http_logbroker_create_t  *create;

    create = &w->create;

    create->path = (char *) w->path.data;
    create->spool = w->spool;
    create->flags = w->vanished ? 0 : LB_SPOOL_CREATE;
    create->writer = NULL;
    create->wanted.capacity = w->capacity;
    create->wanted.max_rings = w->max_rings;
    create->wanted.keep_us = w->keys ? (uint64_t) w->keys_window * 1000000 : 0;
    create->spares = spares;
    create->slot = w->writer ? lb_writer_slot(w->writer) : 0;
    create->rc = 0;
    create->enough = 0;

    /* not again at once where it has just failed */

    if (ngx_exiting || (ngx_msec_int_t) (w->create_after - ngx_current_msec) > 0)
    {
        create->wanted.max_rings = 0;
    }

    if (ngx_thread_task_post(w->pool, &create->task) == NGX_OK) {
        w->creating = 1;
    }
}


void
ngx_http_logbroker_create_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_create_t *create = data;

    if (create->spool == NULL) {
        create->rc = lb_spool_open(create->path, create->flags, &create->spool,
                                   &create->error);
        if (create->rc != 0) {
            create->spool = NULL;
            return;
        }
    }

    if (create->spares == 0) {
        create->rc = lb_writer_acquire(create->spool, &create->wanted,
                                       &create->writer, &create->got,
                                       &create->error);
        if (create->rc != 0) {
            create->writer = NULL;
        }

        return;
    }

    if (ngx_http_logbroker_enough(create)) {
        create->enough = 1;
        return;
    }

    create->rc = lb_ring_spare(create->spool, &create->wanted, &create->error);
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
    uint32_t        slots[LB_SLOTS_MAX], spares, others;
    ngx_uint_t      first;
    lb_error_t      err;
    lb_reader_t    *reader;
    lb_ring_info_t  info;

    n = lb_spool_slots(create->spool, slots, &err);

    spares = 0;
    others = 0;
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

            if (info.capacity == create->wanted.capacity) {
                spares++;

            } else {
                others++;
            }

            continue;
        }

        if (first && slots[i] != create->slot) {
            return 1;
        }

        first = 0;
    }

    return n < 0 || spares >= create->spares
           || (others == 0 && (uint32_t) n >= create->wanted.max_rings);
}


void
ngx_http_logbroker_create_done(ngx_event_t *ev)
{
    u_char                        text[600];
    ngx_uint_t                    spool;
    ngx_http_logbroker_worker_t  *w;
    ngx_http_logbroker_create_t  *create;

    w = ev->data;
    create = &w->create;

    w->creating = 0;

    if (w->spool == NULL && create->spool) {
        w->spool = create->spool;
        ngx_http_logbroker_opened(w);
        ngx_http_logbroker_keys_look(w);
    }

    if (create->spares) {
        ngx_http_logbroker_spare_done(w);
        return;
    }

    if (create->rc == 0) {

        if (lb_writer_check(create->writer) != 0 || w->writer || w->leaving) {

            /* replaced meanwhile: the next tick looks again; or room.c was
             * faster */

            lb_writer_close(create->writer);
            create->writer = NULL;
            return;
        }

        w->writer = create->writer;
        create->writer = NULL;

        if (create->got.created || create->got.resized) {
            w->create_after = ngx_current_msec;
        }

        w->vanished = 0;

        ngx_http_logbroker_claimed(w);

    } else if (w->writer == NULL && !w->yielded) {

        spool = create->spool != NULL;

        if (create->rc != LB_ENOSLOT && spool) {
            w->create_after = ngx_current_msec
                              + NGX_HTTP_LOGBROKER_CREATE_RETRY;

            /* a file system that is dead is to be let go of, so that it can
             * be unmounted; by its path another one may be found */

            ngx_http_logbroker_let_go(w);
        }

        if (!spool && w->vanished) {
            *ngx_snprintf(text, sizeof(text) - 1,
                          "the spool has gone: %s; mount it again, or reload "
                          "nginx to have a new one made", create->error.text)
                = '\0';

            ngx_http_logbroker_problem(w, NGX_LOG_CRIT, create->rc,
                                       (char *) text);

        } else if (create->rc != LB_ENOSLOT || create->wanted.max_rings) {
            ngx_http_logbroker_problem(w, create->rc == LB_ENOSLOT
                                              ? NGX_LOG_WARN : NGX_LOG_CRIT,
                                       create->rc, create->error.text);
        }

        /* somebody may let go of a ring meanwhile: next tick */
    }

    ngx_http_logbroker_unpark(w);
    ngx_http_logbroker_hold(w);
}


static void
ngx_http_logbroker_spare_done(ngx_http_logbroker_worker_t *w)
{
    ngx_http_logbroker_create_t  *create;

    create = &w->create;

    if (create->enough) {
        w->spare_after = ngx_current_msec + NGX_HTTP_LOGBROKER_SPARE_CHECK;

    } else if (create->rc >= 0) {

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "logbroker: ring %d of \"%V\" is ready as a spare one",
                      create->rc, &w->path);

        w->spare_after = ngx_current_msec;

    } else {
        w->spare_after = ngx_current_msec
                         + 6 * NGX_HTTP_LOGBROKER_CREATE_RETRY;

        if (create->rc != LB_ENOSLOT) {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "logbroker: cannot create a spare ring, a reload may "
                          "have to wait for old workers: %s",
                          create->error.text);
        }
    }
}


/* The lock goes with it: at once, unless the thread is just filling. */

void
ngx_http_logbroker_close(ngx_http_logbroker_worker_t *w, lb_writer_t *writer)
{
    if (w->fill.writer == writer) {
        w->fill.close = writer;
        return;
    }

    lb_writer_close(writer);
}
