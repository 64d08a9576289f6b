/*
 * The state of this node, read once.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/json.h"
#include "event/scan.h"
#include "spool/lb_checkpoint.h"
#include "spool/lb_clock.h"
#include "spool/lb_error.h"
#include "spool/lb_format.h"
#include "spool/lb_io.h"
#include "spool/lb_open.h"
#include "spool/lb_reader.h"
#include "spool/lb_spool.h"
#include "spool/lb_uuid.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_hang.h"
#include "ngx_http_logbroker_snapshot.h"


/* more than this the flusher never writes */
#define NGX_HTTP_LOGBROKER_FLUSHER_MAX   (64 * 1024)
#define NGX_HTTP_LOGBROKER_HISTORY_MAX   (256 * 1024)

/* after this time without a sign of life, milliseconds, a flusher is frozen */
#define NGX_HTTP_LOGBROKER_FLUSHER_FRESH (30 * 1000)


static ngx_int_t ngx_http_logbroker_snapshot_rings(lb_spool_t *spool,
    ngx_pool_t *pool, ngx_http_logbroker_snapshot_t *s);
static ngx_int_t ngx_http_logbroker_snapshot_ring(lb_spool_t *spool,
    ngx_pool_t *pool, lb_ckpt_state_t *acked,
    ngx_http_logbroker_snapshot_ring_t *ring, uint64_t *oldest,
    lb_lasting_t *lasting);
static ngx_uint_t ngx_http_logbroker_flusher_runs(
    ngx_http_logbroker_worker_t *w, ngx_msec_int_t age);
static ngx_int_t ngx_http_logbroker_flusher_json(
    ngx_http_logbroker_worker_t *w, ngx_pool_t *pool, char *file, size_t most,
    ngx_str_t *json);


ngx_int_t
ngx_http_logbroker_snapshot(ngx_http_logbroker_worker_t *w, ngx_pool_t *pool,
    ngx_http_logbroker_snapshot_t *s)
{
    ngx_int_t    rc;
    lb_spool_t  *spool;

    ngx_memzero(s, sizeof(ngx_http_logbroker_snapshot_t));

    s->path = w->ring.path;
    s->counters = w->counters;
    s->max_rings = w->ring.max_rings;

    if (w->ring.writer) {
        s->slot = lb_writer_slot(w->ring.writer);

    } else {
        s->slot = NGX_ERROR;
        s->problem = w->room.yielded ? NULL : (char *) w->ring.problem;
    }

    ngx_http_logbroker_hang_status(w, &s->waits);

    ngx_str_set(&s->flusher, "null");
    s->flusher_age = ngx_http_logbroker_flusher_age(w);

    /* what lies there does not depend on whether this worker can write to it */

    spool = w->ring.spool;

    if (spool == NULL
        && lb_spool_open((char *) s->path.data, 0, &spool, NULL) != 0)
    {
        return NGX_OK;
    }

    lb_uuid_format(lb_spool_uuid(spool), s->uuid);

    s->flusher_runs = ngx_http_logbroker_flusher_runs(w, s->flusher_age);

    rc = ngx_http_logbroker_flusher_json(w, pool, "flusher.json",
                                         NGX_HTTP_LOGBROKER_FLUSHER_MAX,
                                         &s->flusher);

    if (rc != NGX_ERROR) {
        rc = ngx_http_logbroker_snapshot_rings(spool, pool, s);
    }

    if (spool != w->ring.spool) {
        lb_spool_close(spool);
    }

    return rc;
}


ngx_int_t
ngx_http_logbroker_history(ngx_http_logbroker_worker_t *w, ngx_pool_t *pool,
    ngx_str_t *json)
{
    return ngx_http_logbroker_flusher_json(w, pool, "history.json",
                                           NGX_HTTP_LOGBROKER_HISTORY_MAX,
                                           json);
}


static ngx_int_t
ngx_http_logbroker_snapshot_rings(lb_spool_t *spool, ngx_pool_t *pool,
    ngx_http_logbroker_snapshot_t *s)
{
    uint32_t                             slots[LB_SLOTS_MAX];
    uint64_t                             now, oldest;
    lb_error_t                           err;
    ngx_uint_t                           i, k;
    lb_ring_info_t                      *info;
    lb_ckpt_state_t                     *acked;
    ngx_http_logbroker_snapshot_ring_t  *ring;

    acked = ngx_palloc(pool, sizeof(lb_ckpt_state_t));
    if (acked == NULL) {
        return NGX_ERROR;
    }

    if (lb_ckpt_peek(spool, acked, &err) != 0) {
        /* what the rings say of it will do */
        acked = NULL;
    }

    s->nrings = ngx_max(lb_spool_slots(spool, slots, &err), 0);

    s->rings = ngx_pcalloc(pool, ngx_max(s->nrings, 1)
                                 * sizeof(ngx_http_logbroker_snapshot_ring_t));
    if (s->rings == NULL) {
        return NGX_ERROR;
    }

    oldest = 0;

    for (i = 0; i < s->nrings; i++) {
        ring = &s->rings[i];
        info = &ring->info;

        ring->slot = slots[i];

        if (ngx_http_logbroker_snapshot_ring(spool, pool, acked, ring,
                                             &oldest, &s->lasting)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ring->problem) {
            s->unreadable++;
            continue;
        }

        s->locked += info->locked ? 1 : 0;
        s->capacity += info->capacity;
        s->backlog_bytes += info->committed - info->acked;
        s->backlog_events += info->next_seq - info->acked_seq;

        for (k = 0; k < LB_COUNTERS; k++) {
            s->total[k] += info->counters[k];
        }
    }

    /* a flusher that is late does not say so: the age of the oldest event is
     * computed here */

    now = lb_now_us();
    s->lag_us = oldest && now > oldest ? now - oldest : 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_snapshot_ring(lb_spool_t *spool, ngx_pool_t *pool,
    lb_ckpt_state_t *acked,
    ngx_http_logbroker_snapshot_ring_t *ring, uint64_t *oldest,
    lb_lasting_t *lasting)
{
    int              rc;
    char             buf[128];
    size_t           len;
    uint64_t         received;
    lb_error_t       err;
    lb_reader_t     *reader;
    lb_ring_info_t  *info;
    lb_ckpt_ring_t  *entry;

    info = &ring->info;

    rc = lb_reader_open(spool, ring->slot, 0, &reader, &err);

    if (rc == 0) {
        rc = lb_reader_info(reader, info);

        if (rc != 0) {
            lb_reader_close(reader);
            (void) lb_fail(&err, rc, "%s", lb_strerror(rc, buf, sizeof(buf)));
        }
    }

    if (rc != 0) {
        len = ngx_strlen(err.text) + 1;

        ring->problem = ngx_pnalloc(pool, len);
        if (ring->problem == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(ring->problem, err.text, len);

        return NGX_OK;
    }

    entry = acked ? lb_ckpt_find(acked, info->uuid) : NULL;

    if (entry && entry->acked > info->acked
        && entry->acked <= info->committed)
    {
        info->acked = entry->acked;
        info->acked_seq = entry->acked_seq;
    }

    if (lb_reader_received(reader, info->acked, info->committed, &received)
        == 0
        && (*oldest == 0 || received < *oldest))
    {
        *oldest = received;
    }

    lb_lasting_ring(lasting, reader, info, info->acked);

    lb_reader_close(reader);

    return NGX_OK;
}


/* Its own clock is not asked, and a clock that is set changes nothing but the
 * first look. */

ngx_msec_int_t
ngx_http_logbroker_flusher_age(ngx_http_logbroker_worker_t *w)
{
    u_char           *name;
    uint64_t          now, age, wall;
    struct stat       st;

    name = ngx_alloc(w->ring.path.len + sizeof("/flusher.json"),
                     ngx_cycle->log);
    if (name == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(name, "%V/flusher.json%Z", &w->ring.path);

    if (stat((char *) name, &st) == -1) {
        ngx_free(name);
        return NGX_ERROR;
    }

    ngx_free(name);

    now = lb_mono_us() / 1000;

    if (st.st_mtim.tv_sec != w->snapshot.mtime.tv_sec
        || st.st_mtim.tv_nsec != w->snapshot.mtime.tv_nsec)
    {
        age = 0;

        if (w->snapshot.seen == 0) {
            wall = lb_now_us() / 1000000;

            if (wall > (uint64_t) st.st_mtim.tv_sec) {
                age = (wall - st.st_mtim.tv_sec) * 1000;
            }
        }

        w->snapshot.mtime = st.st_mtim;
        w->snapshot.seen = now > age ? now - age : 1;
    }

    return now - w->snapshot.seen;
}


/* The flusher holds a lock on the checkpoint as long as it lives, and touches
 * its file as long as it does something. */

static ngx_uint_t
ngx_http_logbroker_flusher_runs(ngx_http_logbroker_worker_t *w,
    ngx_msec_int_t age)
{
    u_char      *name;
    ngx_fd_t     fd;
    ngx_uint_t   runs;

    if (age == NGX_ERROR || age > NGX_HTTP_LOGBROKER_FLUSHER_FRESH) {
        return 0;
    }

    name = ngx_alloc(w->ring.path.len + sizeof("/checkpoint"), ngx_cycle->log);
    if (name == NULL) {
        return 0;
    }

    ngx_sprintf(name, "%V/checkpoint%Z", &w->ring.path);

    fd = ngx_open_file(name, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);
    runs = 0;

    if (fd != NGX_INVALID_FILE) {
        runs = lb_io_locked(fd) == 1;

        if (ngx_close_file(fd) == NGX_FILE_ERROR) {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                          ngx_close_file_n " \"%s\" failed", name);
        }
    }

    ngx_free(name);

    return runs;
}


/* The flusher replaces its files as a whole; what is not one JSON object is not
 * shown, so that the status always is one. */

static ngx_int_t
ngx_http_logbroker_flusher_json(ngx_http_logbroker_worker_t *w, ngx_pool_t *pool, char *file, size_t most,
    ngx_str_t *json)
{
    u_char            *name, *raw, *out;
    size_t             max;
    ssize_t            n;
    ngx_fd_t           fd;
    lb_scan_result_t   res;

    name = ngx_pnalloc(pool, w->ring.path.len + ngx_strlen(file) + 2);
    if (name == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(name, "%V/%s%Z", &w->ring.path, file);

    fd = ngx_open_file(name, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        return NGX_DECLINED;
    }

    max = lb_scan_json_out_max(most);

    raw = ngx_pnalloc(pool, most + max);

    n = raw ? pread(fd, raw, most, 0) : -1;

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, pool->log, ngx_errno,
                      ngx_close_file_n " \"%s\" failed", name);
    }

    if (raw == NULL) {
        return NGX_ERROR;
    }

    if (n <= 0 || n == (ssize_t) most) {
        return NGX_DECLINED;
    }

    out = raw + most;

    if (lb_scan_json(raw, n, out, max, max, &res) != LB_SCAN_OK
        || res.events != 1)
    {
        return NGX_DECLINED;
    }

    json->data = out;
    json->len = res.out_len - 1;

    return NGX_OK;
}
