/*
 * What the status shows: the rings, and the flusher.
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
#include "spool/lb_reader.h"
#include "spool/lb_spool.h"
#include "spool/lb_uuid.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_hang.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_snapshot.h"


/* more than this the flusher never writes */
#define NGX_HTTP_LOGBROKER_FLUSHER_MAX   (64 * 1024)

/* after this time without a sign of life, milliseconds, a flusher is frozen */
#define NGX_HTTP_LOGBROKER_FLUSHER_FRESH (30 * 1000)

ngx_uint_t
ngx_http_logbroker_status_ring(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_flusher_t *flusher, uint32_t slot, lb_ring_info_t *info,
    lb_error_t *err)
{
    int              rc;
    char             buf[128];
    uint64_t         received;
    lb_reader_t     *reader;
    lb_ckpt_ring_t  *entry;

    if (lb_reader_open(w->ring.spool, slot, 0, &reader, err) != 0) {
        return 0;
    }

    rc = lb_reader_info(reader, info);

    if (rc == 0 && flusher->acked) {
        entry = lb_ckpt_find(flusher->acked, info->uuid);

        if (entry && entry->acked > info->acked
            && entry->acked <= info->committed)
        {
            info->acked = entry->acked;
            info->acked_seq = entry->acked_seq;
        }
    }

    if (rc == 0
        && lb_reader_received(reader, info->acked, info->committed, &received)
           == 0
        && (flusher->oldest_us == 0 || received < flusher->oldest_us))
    {
        flusher->oldest_us = received;
    }

    lb_reader_close(reader);

    if (rc != 0) {
        (void) lb_fail(err, rc, "%s", lb_strerror(rc, buf, sizeof(buf)));
        return 0;
    }

    return 1;
}


/* Who is late does not say so: the age of the oldest event is computed here. */

uint64_t
ngx_http_logbroker_lag_us(ngx_http_logbroker_flusher_t *flusher)
{
    uint64_t  now;

    now = lb_now_us();

    return flusher->oldest_us && now > flusher->oldest_us
               ? now - flusher->oldest_us : 0;
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

    now = ngx_http_logbroker_mono_us() / 1000;

    if (st.st_mtim.tv_sec != w->flusher_mtime.tv_sec
        || st.st_mtim.tv_nsec != w->flusher_mtime.tv_nsec)
    {
        age = 0;

        if (w->flusher_seen == 0) {
            wall = lb_now_us() / 1000000;

            if (wall > (uint64_t) st.st_mtim.tv_sec) {
                age = (wall - st.st_mtim.tv_sec) * 1000;
            }
        }

        w->flusher_mtime = st.st_mtim;
        w->flusher_seen = now > age ? now - age : 1;
    }

    return now - w->flusher_seen;
}


/* The flusher holds a lock on the checkpoint as long as it lives, and touches
 * its file as long as it does something. */

ngx_uint_t
ngx_http_logbroker_flusher_runs(ngx_http_logbroker_worker_t *w)
{
    u_char          *name;
    ngx_fd_t         fd;
    ngx_uint_t       runs;
    ngx_msec_int_t   age;

    if (w->ring.spool == NULL) {
        return 0;
    }

    age = ngx_http_logbroker_flusher_age(w);

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


/* flusher.json is replaced as a whole; what is not one JSON object is not
 * shown, so that the status always is one. */

ngx_int_t
ngx_http_logbroker_status_flusher(ngx_http_request_t *r,
    ngx_http_logbroker_worker_t *w, ngx_str_t *json)
{
    u_char            *name, *raw, *out;
    size_t             max;
    ssize_t            n;
    ngx_fd_t           fd;
    lb_scan_result_t   res;

    name = ngx_pnalloc(r->pool, w->ring.path.len + sizeof("/flusher.json"));
    if (name == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(name, "%V/flusher.json%Z", &w->ring.path);

    fd = ngx_open_file(name, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        return NGX_DECLINED;
    }

    max = lb_scan_json_out_max(NGX_HTTP_LOGBROKER_FLUSHER_MAX);

    raw = ngx_pnalloc(r->pool, NGX_HTTP_LOGBROKER_FLUSHER_MAX + max);

    n = raw ? pread(fd, raw, NGX_HTTP_LOGBROKER_FLUSHER_MAX, 0) : -1;

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, ngx_errno,
                      ngx_close_file_n " \"%s\" failed", name);
    }

    if (raw == NULL) {
        return NGX_ERROR;
    }

    if (n <= 0 || n == NGX_HTTP_LOGBROKER_FLUSHER_MAX) {
        return NGX_DECLINED;
    }

    out = raw + NGX_HTTP_LOGBROKER_FLUSHER_MAX;

    if (lb_scan_json(raw, n, out, max, max, &res) != LB_SCAN_OK
        || res.events != 1)
    {
        return NGX_DECLINED;
    }

    json->data = out;
    json->len = res.out_len - 1;

    return NGX_OK;
}
