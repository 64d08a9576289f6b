/*
 * Idempotency keys read back from the rings.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_claim.h"
#include "spool/lb_clock.h"
#include "spool/lb_error.h"
#include "spool/lb_format.h"
#include "spool/lb_reader.h"
#include "spool/lb_record.h"
#include "spool/lb_spool.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_keys_table.h"
#include "ngx_http_logbroker_keys_load.h"


/* milliseconds after which reading back lets others have the thread */
#define NGX_HTTP_LOGBROKER_KEYS_SLICE    20

/* attempts at a ring that somebody holds, who may just be recovering it, and
 * milliseconds between two */
#define NGX_HTTP_LOGBROKER_KEYS_TRIES    3
#define NGX_HTTP_LOGBROKER_KEYS_WAIT     50

/* milliseconds after which what was put off is looked at again */
#define NGX_HTTP_LOGBROKER_KEYS_AGAIN    200


static ngx_int_t ngx_http_logbroker_keys_post(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_keys_job_t *job);
static void ngx_http_logbroker_keys_thread(void *data, ngx_log_t *log);
static ngx_uint_t ngx_http_logbroker_keys_seek(
    ngx_http_logbroker_keys_job_t *job);
static void ngx_http_logbroker_keys_unsought(
    ngx_http_logbroker_keys_job_t *job);
static ngx_uint_t ngx_http_logbroker_keys_load(
    ngx_http_logbroker_keys_job_t *job);
static ngx_int_t ngx_http_logbroker_keys_open_ring(
    ngx_http_logbroker_keys_job_t *job, uint32_t slot);
static ngx_int_t ngx_http_logbroker_keys_open_settled(
    ngx_http_logbroker_keys_job_t *job, uint32_t slot);
static int ngx_http_logbroker_keys_unsettled(
    ngx_http_logbroker_keys_job_t *job);
static ngx_int_t ngx_http_logbroker_keys_load_ring(
    ngx_http_logbroker_keys_job_t *job, uint64_t until);
static ngx_int_t ngx_http_logbroker_keys_failed(
    ngx_http_logbroker_keys_job_t *job, int rc);
static int32_t ngx_http_logbroker_keys_time(
    ngx_http_logbroker_keys_job_t *job, lb_record_t *rec);
static void ngx_http_logbroker_keys_done(ngx_event_t *ev);


/* Has a thread read keys back, if there is something to read. */

void
ngx_http_logbroker_keys_look(ngx_http_logbroker_worker_t *w)
{
    ngx_http_logbroker_keys_t      *keys;
    ngx_http_logbroker_keys_job_t  *job;

    keys = w->keys.table;

    if (keys == NULL || w->ring.spool == NULL || w->keys.job
        || (ngx_msec_int_t) (w->keys.after - ngx_current_msec) > 0)
    {
        return;
    }

    if (keys->state == NGX_HTTP_LOGBROKER_TABLE_READY) {

        if (!w->keys.look) {
            return;
        }

    } else if (keys->state == NGX_HTTP_LOGBROKER_TABLE_LOADING
               && !ngx_http_logbroker_dead(keys->loader))
    {
        return;
    }

    job = ngx_calloc(sizeof(ngx_http_logbroker_keys_job_t), ngx_cycle->log);
    if (job == NULL) {
        return;
    }

    job->spool = w->ring.spool;
    job->keys = keys;
    job->window = w->keys.window;
    job->task.ctx = job;
    job->task.handler = ngx_http_logbroker_keys_thread;
    job->task.event.handler = ngx_http_logbroker_keys_done;
    job->task.event.data = w;
    job->task.event.log = ngx_cycle->log;

    if (ngx_http_logbroker_keys_post(w, job) == NGX_OK) {
        w->keys.look = 0;
    }
}


static ngx_int_t
ngx_http_logbroker_keys_post(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_keys_job_t *job)
{
    if (ngx_thread_task_post(w->pool, &job->task) == NGX_OK) {
        w->keys.job = job;
        return NGX_OK;
    }

    /* as if the worker had died at it: somebody begins anew */

    if (job->state == NGX_HTTP_LOGBROKER_KEYS_ALL) {
        job->keys->state = NGX_HTTP_LOGBROKER_TABLE_NEW;

    } else if (job->state == NGX_HTTP_LOGBROKER_KEYS_SOUGHT) {
        ngx_memzero(job->slots, sizeof(job->slots));
        ngx_http_logbroker_keys_unsought(job);
    }

    lb_reader_close(job->reader);
    ngx_free(job);

    w->keys.job = NULL;

    return NGX_ERROR;
}


/* A slice of the work. */

static void
ngx_http_logbroker_keys_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_keys_job_t *job = data;

    ngx_uint_t                  i, first;
    ngx_http_logbroker_keys_t  *keys;

    keys = job->keys;

    if (job->state == NGX_HTTP_LOGBROKER_KEYS_BEGIN) {

        ngx_shmtx_lock(&keys->shpool->mutex);

        first = keys->state == NGX_HTTP_LOGBROKER_TABLE_NEW
                || (keys->state == NGX_HTTP_LOGBROKER_TABLE_LOADING
                    && ngx_http_logbroker_dead(keys->loader));

        if (first) {
            keys->state = NGX_HTTP_LOGBROKER_TABLE_LOADING;
            keys->loader = ngx_pid;
            keys->window = job->window;

            if (keys->since == 0) {
                keys->since = ngx_http_logbroker_keys_now() | 1;
            }
        }

        ngx_shmtx_unlock(&keys->shpool->mutex);

        if (first) {
            job->state = NGX_HTTP_LOGBROKER_KEYS_ALL;

            for (i = 0; i < LB_SLOTS_MAX; i++) {
                job->slots[i] = !keys->loaded[i];
            }

        } else {
            /* what nobody stores any more: is it there? */

            job->state = NGX_HTTP_LOGBROKER_KEYS_SOUGHT;

            if (!ngx_http_logbroker_keys_seek(job)) {
                job->state = NGX_HTTP_LOGBROKER_KEYS_DONE;
                return;
            }
        }

        job->n = lb_spool_slots(job->spool, job->there, &job->error);

        if (job->n < 0) {
            ngx_memzero(job->slots, sizeof(job->slots));
            job->put_off++;
        }
    }

    if (ngx_http_logbroker_keys_load(job)) {
        return;
    }

    if (job->state == NGX_HTTP_LOGBROKER_KEYS_ALL) {
        keys->state = job->put_off ? NGX_HTTP_LOGBROKER_TABLE_NEW
                                   : NGX_HTTP_LOGBROKER_TABLE_READY;

    } else {
        ngx_http_logbroker_keys_unsought(job);
    }

    job->state = NGX_HTTP_LOGBROKER_KEYS_DONE;
}


static ngx_uint_t
ngx_http_logbroker_keys_seek(ngx_http_logbroker_keys_job_t *job)
{
    uint32_t                     i;
    ngx_uint_t                   found;
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e;

    keys = job->keys;
    found = 0;

    ngx_shmtx_lock(&keys->shpool->mutex);

    for (i = 0; i < keys->top; i++) {

        if (i % NGX_HTTP_LOGBROKER_KEYS_STEP == 0) {
            ngx_shmtx_unlock(&keys->shpool->mutex);
            ngx_shmtx_lock(&keys->shpool->mutex);
        }

        e = &keys->entries[i];

        if ((e->state == NGX_HTTP_LOGBROKER_KEY_PENDING
             || e->state == NGX_HTTP_LOGBROKER_KEY_SOUGHT)
            && ngx_http_logbroker_dead(e->pid))
        {
            e->pid = ngx_pid;
            e->state = NGX_HTTP_LOGBROKER_KEY_SOUGHT;
            job->slots[e->slot] = 1;
            found = 1;
        }
    }

    ngx_shmtx_unlock(&keys->shpool->mutex);

    return found;
}


/* What was sought and not found was not stored, unless not all of its ring
 * could be read: that is left to the next who looks. */

static void
ngx_http_logbroker_keys_unsought(ngx_http_logbroker_keys_job_t *job)
{
    uint32_t                     i;
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e;

    keys = job->keys;

    ngx_shmtx_lock(&keys->shpool->mutex);

    for (i = 0; i < keys->top; i++) {

        if (i % NGX_HTTP_LOGBROKER_KEYS_STEP == 0) {
            ngx_shmtx_unlock(&keys->shpool->mutex);
            ngx_shmtx_lock(&keys->shpool->mutex);
        }

        e = &keys->entries[i];

        if (e->state != NGX_HTTP_LOGBROKER_KEY_SOUGHT || e->pid != ngx_pid) {
            continue;
        }

        if (job->slots[e->slot]) {
            ngx_http_logbroker_keys_unlink(keys, e);

        } else {
            e->pid = 0;
        }
    }

    ngx_shmtx_unlock(&keys->shpool->mutex);
}


/* 1: there is more to do */

static ngx_uint_t
ngx_http_logbroker_keys_load(ngx_http_logbroker_keys_job_t *job)
{
    uint32_t   slot;
    uint64_t   until;
    ngx_int_t  rc;

    until = lb_mono_us()
            + NGX_HTTP_LOGBROKER_KEYS_SLICE * 1000;

    while (job->ring < job->n) {

        slot = job->there[job->ring];
        rc = NGX_OK;

        if (job->reader) {
            rc = ngx_http_logbroker_keys_load_ring(job, until);

        } else if (job->slots[slot]) {
            rc = ngx_http_logbroker_keys_open_ring(job, slot);
        }

        if (rc != NGX_AGAIN) {

            lb_reader_close(job->reader);
            job->reader = NULL;
            job->ring++;

            if (rc != NGX_OK) {
                job->slots[slot] = 0;
                job->put_off++;

            } else if (job->state == NGX_HTTP_LOGBROKER_KEYS_ALL) {
                job->keys->loaded[slot] = 1;
            }
        }

        if (lb_mono_us() >= until) {
            return job->ring < job->n;
        }
    }

    return 0;
}


/* NGX_AGAIN: there is something to read in it, NGX_OK: there is not,
 * NGX_ERROR: nobody knows yet. */

static ngx_int_t
ngx_http_logbroker_keys_open_ring(ngx_http_logbroker_keys_job_t *job,
    uint32_t slot)
{
    int              i;
    int64_t          since;
    ngx_int_t        rc;
    lb_ring_info_t  *info;

    rc = ngx_http_logbroker_keys_open_settled(job, slot);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    info = &job->info;

    /* all of the ring, delivered or not, as far as it has not been reused,
     * but for what a mark knows to be too old */

    job->mark = 0;
    job->now = lb_boot_us();
    since = (int64_t) job->now - (int64_t) job->window * 1000000;

    job->position = info->committed > info->capacity
                        ? info->committed - info->capacity : 0;

    for (i = 0; i < job->nmarks && job->marks[i].boot_us < since; i++) {
        job->position = ngx_max(job->position, job->marks[i].position);
    }

    return job->position < info->committed ? NGX_AGAIN : NGX_OK;
}


/*
 * Opens a ring of which everything that will ever be in it of the past is
 * committed.  What a worker that died has left behind the commit cell is
 * recovered first: here, or by whoever holds the ring by now.  The latter is
 * waited for: it has not got so far as long as there is something behind the
 * cell and the cell does not change.
 */

static ngx_int_t
ngx_http_logbroker_keys_open_settled(ngx_http_logbroker_keys_job_t *job,
    uint32_t slot)
{
    int              rc;
    uint32_t         epoch;
    uint64_t         committed, last;
    ngx_uint_t       tries, recovered;
    lb_error_t       err;
    lb_writer_t     *writer;
    lb_ring_info_t  *info;

    info = &job->info;

    epoch = 0;
    committed = 0;
    recovered = 0;

    for (tries = 0; tries < NGX_HTTP_LOGBROKER_KEYS_TRIES; tries++) {

        rc = lb_reader_open(job->spool, slot, 0, &job->reader, &err);

        if (rc != 0) {
            job->reader = NULL;
            return ngx_http_logbroker_keys_failed(job, rc);
        }

        rc = lb_reader_info(job->reader, info);

        if (rc != 0) {
            return ngx_http_logbroker_keys_failed(job, rc);
        }

        job->nmarks = ngx_max(lb_reader_marks(job->reader, info->committed,
                                              job->marks), 0);

        /* of a poisoned one nothing behind the cell is believed */

        if (recovered || (info->flags & LB_CELL_POISONED)
            || (tries && (info->epoch != epoch
                          || info->committed != committed)))
        {
            return NGX_AGAIN;
        }

        epoch = info->epoch;
        committed = info->committed;

        rc = ngx_http_logbroker_keys_unsettled(job);

        if (rc < 0) {
            return ngx_http_logbroker_keys_failed(job, rc);
        }

        last = job->nmarks ? job->marks[job->nmarks - 1].position : 0;

        if (rc == 0 && (info->locked || last == committed)) {
            return NGX_AGAIN;
        }

        lb_reader_close(job->reader);
        job->reader = NULL;

        rc = lb_writer_claim_slot(job->spool, slot, &writer, &err);

        switch (rc) {

        case 0:
            lb_writer_close(writer);
            recovered = 1;
            break;

        case LB_ELOCKED:
            ngx_msleep(NGX_HTTP_LOGBROKER_KEYS_WAIT);
            break;

        case LB_EPOISONED:
            break;

        default:
            return ngx_http_logbroker_keys_failed(job, rc);
        }
    }

    return ngx_http_logbroker_keys_failed(job, -EAGAIN);
}


/* 1: there is a record behind the commit cell, or more was delivered than it
 * says; leftovers of an earlier writer do not count.  0, -errno. */

static int
ngx_http_logbroker_keys_unsettled(ngx_http_logbroker_keys_job_t *job)
{
    int              rc;
    uint64_t         received;
    lb_record_t      rec;
    lb_ring_info_t  *info;

    info = &job->info;

    if (info->acked > info->committed) {
        return 1;
    }

    /* a small read, and mostly enough */

    rc = lb_reader_received(job->reader, info->committed,
                            info->committed + LB_RECORD_HEADER_MAX,
                            &received);

    if (rc == 0) {
        rc = lb_reader_record(job->reader, info->committed,
                              info->committed + info->capacity, 0, &rec);
    }

    if (rc == 0) {
        return rec.epoch >= info->epoch;
    }

    return rc == LB_ECORRUPT || rc == LB_EEND ? 0 : rc;
}


/* NGX_AGAIN: there is more in it, NGX_OK: that was all, NGX_ERROR: some of it
 * could not be read. */

static ngx_int_t
ngx_http_logbroker_keys_load_ring(ngx_http_logbroker_keys_job_t *job,
    uint64_t until)
{
    int                          rc;
    int32_t                      now, time;
    uint32_t                     n;
    lb_record_t                  rec;
    ngx_uint_t                   full;
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e, new;

    keys = job->keys;
    now = ngx_http_logbroker_keys_now();

    for (n = 1; job->position < job->info.committed; n++) {

        if (n % 64 == 0 && lb_mono_us() >= until) {
            return NGX_AGAIN;
        }

        rc = lb_reader_record(job->reader, job->position, job->info.committed,
                              0, &rec);

        if (rc == LB_ECORRUPT) {
            rc = lb_reader_resync(job->reader, job->position,
                                  job->info.committed, &job->position);
            if (rc == 0) {
                continue;
            }
        }

        if (rc != 0) {
            return ngx_http_logbroker_keys_failed(job, rc);
        }

        job->position = rec.next;

        if (rec.key_len == 0) {
            continue;
        }

        time = ngx_http_logbroker_keys_time(job, &rec);

        if (now - time > job->window) {
            continue;
        }

        full = 0;

        ngx_shmtx_lock(&keys->shpool->mutex);

        e = ngx_http_logbroker_keys_find(keys, rec.key, now);

        if (e == NULL) {
            ngx_memcpy(new.hash, rec.key, LB_KEY_LEN);
            new.crc = rec.payload_crc;
            new.len = rec.payload_len;
            new.slot = job->info.slot;
            new.state = NGX_HTTP_LOGBROKER_KEY_STORED;
            new.kind = rec.key_kind;
            new.time = time;

            full = ngx_http_logbroker_keys_insert(keys, &new, now) == NULL
                   && new.kind != LB_KEY_DIGEST;

        } else if (e->state == NGX_HTTP_LOGBROKER_KEY_SOUGHT
                   && e->slot == job->info.slot)
        {
            e->crc = rec.payload_crc;
            e->len = rec.payload_len;
            e->state = NGX_HTTP_LOGBROKER_KEY_STORED;
        }

        ngx_shmtx_unlock(&keys->shpool->mutex);

        if (full && job->state == NGX_HTTP_LOGBROKER_KEYS_ALL) {
            return ngx_http_logbroker_keys_failed(job, -ENOSPC);
        }
    }

    return NGX_OK;
}


/*
 * Something could not be read: is that an answer?  It is if nothing can ever be
 * read there (a file that is no ring, or gone), and it is if what is there has
 * become too old meanwhile.
 */

static ngx_int_t
ngx_http_logbroker_keys_failed(ngx_http_logbroker_keys_job_t *job, int rc)
{
    char  buf[128];

    if (rc == LB_ECORRUPT || rc == LB_EFOREIGN || rc == LB_EEND
        || rc == LB_EGONE || rc == -ENOENT)
    {
        return NGX_OK;
    }

    if (job->state == NGX_HTTP_LOGBROKER_KEYS_ALL
        && ngx_http_logbroker_keys_now() - job->keys->since > job->window)
    {
        return NGX_OK;
    }

    job->error.code = rc;
    (void) ngx_cpystrn((u_char *) job->error.text,
                       (u_char *) lb_strerror(rc, buf, sizeof(buf)),
                       sizeof(job->error.text));

    return NGX_ERROR;
}


/*
 * When a record was received, or later: seconds since boot.  The next mark
 * behind it says so; only what is older than all marks, written by a release
 * without, goes by the wall clock.
 */

static int32_t
ngx_http_logbroker_keys_time(ngx_http_logbroker_keys_job_t *job,
    lb_record_t *rec)
{
    int64_t   us;
    uint64_t  now;

    while (job->mark < job->nmarks
           && job->marks[job->mark].position < rec->next)
    {
        job->mark++;
    }

    us = job->mark < job->nmarks ? job->marks[job->mark].boot_us
                                 : (int64_t) job->now;

    if (job->mark == 0) {
        /* the first mark of all is put when the ring is first claimed */

        now = lb_now_us();

        if (now > rec->received_us) {
            us = ngx_min(us, (int64_t) job->now
                             - (int64_t) (now - rec->received_us));
        }
    }

    return (int32_t) (us / 1000000);
}


static void
ngx_http_logbroker_keys_done(ngx_event_t *ev)
{
    ngx_http_logbroker_worker_t    *w;
    ngx_http_logbroker_keys_job_t  *job;

    w = ev->data;
    job = w->keys.job;

    if (job->state != NGX_HTTP_LOGBROKER_KEYS_DONE) {
        (void) ngx_http_logbroker_keys_post(w, job);
        return;
    }

    if (job->put_off) {
        w->keys.look = 1;
        w->keys.after = ngx_current_msec + NGX_HTTP_LOGBROKER_KEYS_AGAIN;

        if (job->error.code != -EAGAIN && ngx_time() - w->keys.unread >= 60) {
            w->keys.unread = ngx_time();
            ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                          "logbroker: idempotency keys cannot be read back "
                          "from the spool \"%V\": %s; requests with such a key "
                          "are answered with 503 until they can", &w->ring.path,
                          job->error.text);
        }
    }

    ngx_free(job);
    w->keys.job = NULL;
}
