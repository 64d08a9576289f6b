/*
 * The ring of a worker: the spool is opened, a ring claimed, rings are created
 * where they are missing, and given back.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_acquire.h"
#include "spool/lb_error.h"
#include "spool/lb_format.h"
#include "spool/lb_open.h"
#include "spool/lb_reader.h"
#include "spool/lb_spool.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_fill.h"
#include "ngx_http_logbroker_hang.h"
#include "ngx_http_logbroker_hold.h"
#include "ngx_http_logbroker_keys_load.h"
#include "ngx_http_logbroker_ring.h"


/* milliseconds between two attempts at creating a ring, after a failure */
#define NGX_HTTP_LOGBROKER_CREATE_RETRY  10000

/* milliseconds between two counts of the free rings */
#define NGX_HTTP_LOGBROKER_SPARE_CHECK   10000


static void ngx_http_logbroker_opened(ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_create(ngx_http_logbroker_worker_t *w,
    ngx_uint_t spares);
static void ngx_http_logbroker_create_thread(void *data, ngx_log_t *log);
static void ngx_http_logbroker_create_done(ngx_event_t *ev);
static void ngx_http_logbroker_let_go(ngx_http_logbroker_worker_t *w);
static void ngx_http_logbroker_claimed(ngx_http_logbroker_worker_t *w);
static ngx_uint_t ngx_http_logbroker_enough(
    ngx_http_logbroker_create_t *create);
static void ngx_http_logbroker_spare_done(ngx_http_logbroker_worker_t *w);


void
ngx_http_logbroker_ring_init(ngx_http_logbroker_worker_t *w)
{
    w->ring.create.task.ctx = &w->ring.create;
    w->ring.create.task.handler = ngx_http_logbroker_create_thread;
    w->ring.create.task.event.handler = ngx_http_logbroker_create_done;
    w->ring.create.task.event.data = w;
    w->ring.create.task.event.log = ngx_cycle->log;

    w->ring.create_after = ngx_current_msec;
    w->ring.spare_after = ngx_current_msec;

    if (lb_spool_open((char *) w->ring.path.data, LB_SPOOL_CREATE,
                      &w->ring.spool, NULL)
        == 0)
    {
        ngx_http_logbroker_opened(w);

    } else {
        /* the thread tries again and says why not */
        w->ring.spool = NULL;
    }

    w->ring.grace_until = ngx_current_msec + NGX_HTTP_LOGBROKER_GRACE;

    ngx_http_logbroker_claim(w);
}


/* The threads are gone. */

void
ngx_http_logbroker_ring_exit(ngx_http_logbroker_worker_t *w)
{
    if (!w->ring.creating) {
        return;
    }

    w->ring.spool = w->ring.create.spool;

    if (w->ring.writer == NULL) {
        w->ring.writer = w->ring.create.writer;

    } else {
        lb_writer_close(w->ring.create.writer);
    }
}


void
ngx_http_logbroker_ring_lost(ngx_http_logbroker_worker_t *w)
{
    ngx_uint_t  again;

    again = w->ring.lost_at && ngx_current_msec - w->ring.lost_at < 2000;

    w->ring.lost_at = ngx_current_msec;

    if (again) {
        return;
    }

    w->ring.grace_until = ngx_current_msec + NGX_HTTP_LOGBROKER_GRACE;

    ngx_http_logbroker_claim(w);

    ngx_add_timer(&w->tick, NGX_HTTP_LOGBROKER_CLAIM_RETRY);
}


void
ngx_http_logbroker_ring_spare(ngx_http_logbroker_worker_t *w)
{
    if (!w->ring.creating
        && (ngx_msec_int_t) (ngx_current_msec - w->ring.spare_after) >= 0)
    {
        ngx_http_logbroker_create(w, w->ring.spares);
    }
}


/* To be opened anew.  One that has gone is not made anew, it may only not be
 * mounted. */

static void
ngx_http_logbroker_let_go(ngx_http_logbroker_worker_t *w)
{
    if (w->ring.spool == NULL || w->room.seeking || w->keys.job
        || w->aside.claiming)
    {
        return;
    }

    lb_spool_close(w->ring.spool);
    w->ring.spool = NULL;
    w->ring.vanished = 1;
}


static void
ngx_http_logbroker_opened(ngx_http_logbroker_worker_t *w)
{
    if (lb_spool_note(w->ring.spool)) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0, "logbroker: %s",
                      lb_spool_note(w->ring.spool));
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
    if (w->ring.creating) {
        return;
    }

    if (w->ring.spool && lb_spool_stale(w->ring.spool)) {

        /* what is there now is another spool, or will be */

        ngx_http_logbroker_let_go(w);

        if (w->ring.spool) {
            return;
        }
    }

    if (w->ring.problem_code == 0) {
        (void) ngx_cpystrn(w->ring.problem,
                           (u_char *) "no ring is free, one is being created",
                           sizeof(w->ring.problem));
    }

    ngx_http_logbroker_create(w, 0);
}


static void
ngx_http_logbroker_claimed(ngx_http_logbroker_worker_t *w)
{
    const char                   *space;
    ngx_http_logbroker_create_t  *create;

    create = &w->ring.create;

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "logbroker: claimed ring %uD of \"%V\"%s",
                  lb_writer_slot(w->ring.writer), &w->ring.path,
                  create->got.created ? ", a new one"
                  : create->got.resized ? ", whose size has changed" : "");

    if (create->got.kept.code) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "logbroker: ring %uD keeps its size of %uL bytes instead "
                      "of %uL for now: %s", lb_writer_slot(w->ring.writer),
                      lb_writer_capacity(w->ring.writer), w->ring.capacity,
                      create->got.kept.text);
    }

    space = lb_writer_space(w->ring.writer);

    if (space && !w->ring.space_logged) {
        w->ring.space_logged = 1;
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "logbroker: ring %uD of \"%V\" may find the disk full "
                      "although it was preallocated: %s",
                      lb_writer_slot(w->ring.writer), &w->ring.path, space);
    }

    w->hang.seat->starting = 0;
    w->ring.problem_code = 0;
    w->ring.problem[0] = '\0';
    w->ring.spare_after = ngx_current_msec;
    w->room.yielded = 0;
    w->room.kept_since = ngx_current_msec;

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
    if (w->room.seeking || w->room.leaving || w->room.yielded) {
        return 1;
    }

    return w->ring.writer == NULL
           && (ngx_msec_int_t) (w->ring.grace_until - ngx_current_msec) > 0;
}


ngx_uint_t
ngx_http_logbroker_no_ring(ngx_http_logbroker_worker_t *w)
{
    return w->ring.writer == NULL && !ngx_http_logbroker_waits(w);
}


/* Why there is no ring: for the log, at most once a minute, and status. */

void
ngx_http_logbroker_problem(ngx_http_logbroker_worker_t *w, ngx_uint_t level,
    int code, const char *text)
{
    (void) ngx_cpystrn(w->ring.problem, (u_char *) text,
                       sizeof(w->ring.problem));

    if (w->ring.problem_code == code
        && ngx_current_msec - w->ring.problem_logged < 60000)
    {
        return;
    }

    w->ring.problem_code = code;
    w->ring.problem_logged = ngx_current_msec;

    ngx_log_error(level, ngx_cycle->log, 0, "logbroker: %s", text);
}


static void
ngx_http_logbroker_create(ngx_http_logbroker_worker_t *w, ngx_uint_t spares)
{
    ngx_http_logbroker_create_t  *create;

    create = &w->ring.create;

    create->path = (char *) w->ring.path.data;
    create->spool = w->ring.spool;
    create->flags = w->ring.vanished ? 0 : LB_SPOOL_CREATE;
    create->writer = NULL;
    create->wanted.capacity = w->ring.capacity;
    create->wanted.max_rings = w->ring.max_rings;
    create->wanted.keep_us = w->keys.table
                                 ? (uint64_t) w->keys.window * 1000000 : 0;
    create->spares = spares;
    create->slot = w->ring.writer ? lb_writer_slot(w->ring.writer) : 0;
    create->aside = w->aside.writer
                        ? (ngx_int_t) lb_writer_slot(w->aside.writer) : -1;
    create->rc = 0;
    create->enough = 0;

    /* not again at once where it has just failed */

    if (ngx_exiting
        || (ngx_msec_int_t) (w->ring.create_after - ngx_current_msec) > 0)
    {
        create->wanted.max_rings = 0;
    }

    if (ngx_thread_task_post(w->pool, &create->task) == NGX_OK) {
        w->ring.creating = 1;
    }
}


static void
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

        if (create->aside == (ngx_int_t) slots[i]) {
            /* given back as soon as a reload needs it */
            spares += info.capacity == create->wanted.capacity;

        } else if (first && slots[i] != create->slot) {
            return 1;
        }

        first = 0;
    }

    return n < 0 || spares >= create->spares
           || (others == 0 && (uint32_t) n >= create->wanted.max_rings);
}


static void
ngx_http_logbroker_create_done(ngx_event_t *ev)
{
    u_char                        text[600];
    ngx_uint_t                    spool;
    ngx_http_logbroker_worker_t  *w;
    ngx_http_logbroker_create_t  *create;

    w = ev->data;
    create = &w->ring.create;

    w->ring.creating = 0;

    if (w->ring.spool == NULL && create->spool) {
        w->ring.spool = create->spool;
        ngx_http_logbroker_opened(w);
        ngx_http_logbroker_keys_look(w);
    }

    if (create->spares) {
        ngx_http_logbroker_spare_done(w);
        return;
    }

    if (create->rc == 0) {

        if (lb_writer_check(create->writer) != 0
            || w->ring.writer || w->room.leaving)
        {

            /* replaced meanwhile: the next tick looks again; or room.c was
             * faster */

            lb_writer_close(create->writer);
            create->writer = NULL;
            return;
        }

        w->ring.writer = create->writer;
        create->writer = NULL;

        if (create->got.created || create->got.resized) {
            w->ring.create_after = ngx_current_msec;
        }

        w->ring.vanished = 0;

        ngx_http_logbroker_claimed(w);

    } else if (w->ring.writer == NULL && !w->room.yielded) {

        spool = create->spool != NULL;

        if (create->rc != LB_ENOSLOT && spool) {
            w->ring.create_after = ngx_current_msec
                              + NGX_HTTP_LOGBROKER_CREATE_RETRY;

            /* a file system that is dead is to be let go of, so that it can
             * be unmounted; by its path another one may be found */

            ngx_http_logbroker_let_go(w);
        }

        if (!spool && w->ring.vanished) {
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

    w->ready(w);
    ngx_http_logbroker_hold_update(w);
}


static void
ngx_http_logbroker_spare_done(ngx_http_logbroker_worker_t *w)
{
    ngx_http_logbroker_create_t  *create;

    create = &w->ring.create;

    if (create->enough) {
        w->ring.spare_after = ngx_current_msec + NGX_HTTP_LOGBROKER_SPARE_CHECK;

    } else if (create->rc >= 0) {

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "logbroker: ring %d of \"%V\" is ready as a spare one",
                      create->rc, &w->ring.path);

        w->ring.spare_after = ngx_current_msec;

    } else {
        w->ring.spare_after = ngx_current_msec
                         + 6 * NGX_HTTP_LOGBROKER_CREATE_RETRY;

        if (create->rc != LB_ENOSLOT) {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "logbroker: cannot create a spare ring, a reload may "
                          "have to wait for old workers: %s",
                          create->error.text);
        }
    }
}
