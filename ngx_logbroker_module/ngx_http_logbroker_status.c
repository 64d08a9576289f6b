/*
 * Counters, variables and the status.
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
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_answer.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_hang.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_metrics.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_status.h"
#include "ngx_http_logbroker_page.h"


/* more than this the flusher never writes */
#define NGX_HTTP_LOGBROKER_FLUSHER_MAX   (64 * 1024)

/* after this time without a sign of life, milliseconds, a flusher is frozen */
#define NGX_HTTP_LOGBROKER_FLUSHER_FRESH (30 * 1000)

/* the longest text of one ring, and of everything before and after them */
#define NGX_HTTP_LOGBROKER_RING_TEXT     1536
#define NGX_HTTP_LOGBROKER_STATUS_TEXT   8192


#define NGX_HTTP_LOGBROKER_VAR_STREAM    0
#define NGX_HTTP_LOGBROKER_VAR_EVENTS    1
#define NGX_HTTP_LOGBROKER_VAR_BYTES     2
#define NGX_HTTP_LOGBROKER_VAR_RING      3
#define NGX_HTTP_LOGBROKER_VAR_ERROR     4


static ngx_int_t ngx_http_logbroker_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_uint_t ngx_http_logbroker_status_format(ngx_http_request_t *r);
static u_char *ngx_http_logbroker_status_json(ngx_http_request_t *r,
    ngx_http_logbroker_worker_t *w, u_char *p, u_char *last, uint32_t *slots,
    ngx_int_t n, ngx_http_logbroker_flusher_t *flusher);
static u_char *ngx_http_logbroker_status_histogram(u_char *p, u_char *last,
    const uint64_t *bounds, ngx_atomic_t *counts, ngx_uint_t buckets);
static ngx_int_t ngx_http_logbroker_status_send(ngx_http_request_t *r,
    ngx_uint_t format, ngx_buf_t *b);
static u_char *ngx_http_logbroker_status_rings(ngx_http_request_t *r,
    ngx_http_logbroker_worker_t *w, ngx_http_logbroker_flusher_t *flusher,
    u_char *p, u_char *last, uint32_t *slots, int n);
static u_char *ngx_http_logbroker_status_string(u_char *p, u_char *last,
    const char *text);
static ngx_int_t ngx_http_logbroker_status_flusher(ngx_http_request_t *r,
    ngx_http_logbroker_worker_t *w, ngx_str_t *json);


static ngx_http_variable_t  ngx_http_logbroker_vars[] = {

    { ngx_string("logbroker_stream"), NULL, ngx_http_logbroker_variable,
      NGX_HTTP_LOGBROKER_VAR_STREAM, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("logbroker_events"), NULL, ngx_http_logbroker_variable,
      NGX_HTTP_LOGBROKER_VAR_EVENTS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("logbroker_bytes"), NULL, ngx_http_logbroker_variable,
      NGX_HTTP_LOGBROKER_VAR_BYTES, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("logbroker_ring"), NULL, ngx_http_logbroker_variable,
      NGX_HTTP_LOGBROKER_VAR_RING, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("logbroker_error"), NULL, ngx_http_logbroker_variable,
      NGX_HTTP_LOGBROKER_VAR_ERROR, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static char  *ngx_http_logbroker_ring_counters[LB_COUNTERS] = {
    "records", "events", "bytes", "writes", "syncs", "failures", "full",
    "recovered"
};


ngx_int_t
ngx_http_logbroker_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_logbroker_vars; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                    *p;
    ngx_uint_t                 n;
    ngx_str_t                  s;
    ngx_http_logbroker_ctx_t  *ctx;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    ctx = ngx_http_get_module_ctx(r, ngx_http_logbroker_module);

    if (ctx == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    switch (data) {

    case NGX_HTTP_LOGBROKER_VAR_STREAM:
        s = ctx->stream;
        goto string;

    case NGX_HTTP_LOGBROKER_VAR_ERROR:
        s = ngx_http_logbroker_reasons[ctx->reason].name;
        goto string;

    case NGX_HTTP_LOGBROKER_VAR_EVENTS:
        n = ctx->has_slot ? ctx->events : 0;
        break;

    case NGX_HTTP_LOGBROKER_VAR_BYTES:
        n = ctx->has_slot ? ctx->bytes : 0;
        break;

    default: /* NGX_HTTP_LOGBROKER_VAR_RING */

        if (!ctx->has_slot) {
            v->not_found = 1;
            return NGX_OK;
        }

        n = ctx->slot;
        break;
    }

    p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(p, "%ui", n) - p;
    v->data = p;

    return NGX_OK;

string:

    if (s.len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->len = s.len;
    v->data = s.data;

    return NGX_OK;
}


ngx_int_t
ngx_http_logbroker_status_handler(ngx_http_request_t *r)
{
    size_t                        size;
    uint32_t                      slots[LB_SLOTS_MAX];
    ngx_buf_t                    *b;
    ngx_int_t                     rc, n;
    ngx_uint_t                    format;
    lb_error_t                    err;
    ngx_http_logbroker_worker_t  *w;
    ngx_http_logbroker_flusher_t  flusher;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    w = ngx_http_logbroker_worker;

    if (w == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    format = ngx_http_logbroker_status_format(r);

    if (format == NGX_HTTP_LOGBROKER_STATUS_PAGE) {

        b = ngx_calloc_buf(r->pool);
        if (b == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        b->pos = (u_char *) ngx_http_logbroker_page;
        b->last = b->pos + sizeof(ngx_http_logbroker_page);
        b->memory = 1;

        return ngx_http_logbroker_status_send(r, format, b);
    }

    n = 0;
    ngx_memzero(&flusher, sizeof(ngx_http_logbroker_flusher_t));
    ngx_str_set(&flusher.json, "null");

    if (w->ring.spool) {
        n = ngx_max(lb_spool_slots(w->ring.spool, slots, &err), 0);

        if (ngx_http_logbroker_status_flusher(r, w, &flusher.json)
            == NGX_ERROR)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        flusher.acked = ngx_palloc(r->pool, sizeof(lb_ckpt_state_t));
        if (flusher.acked == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (lb_ckpt_peek(w->ring.spool, flusher.acked, &err) != 0) {
            /* what the rings say of it will do */
            flusher.acked = NULL;
        }
    }

    if (format == NGX_HTTP_LOGBROKER_STATUS_METRICS) {
        size = ngx_http_logbroker_metrics_size(n);

    } else {
        size = NGX_HTTP_LOGBROKER_STATUS_TEXT + 2 * w->ring.path.len * 6
               + n * NGX_HTTP_LOGBROKER_RING_TEXT + flusher.json.len;
    }

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (format == NGX_HTTP_LOGBROKER_STATUS_METRICS) {
        b->last = ngx_http_logbroker_metrics(w, b->last, b->end, slots, n,
                                             &flusher);

    } else {
        b->last = ngx_http_logbroker_status_json(r, w, b->last, b->end, slots,
                                                 n, &flusher);
    }

    if (b->last == b->end) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "logbroker: the status is longer than %uz bytes", size);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_logbroker_status_send(r, format, b);
}


/* Browsers ask for text/html, Prometheus for openmetrics or text/plain; who
 * takes anything gets JSON. */

static ngx_uint_t
ngx_http_logbroker_status_format(ngx_http_request_t *r)
{
    u_char                         *p, *last;
    ngx_table_elt_t                *h;
    ngx_http_logbroker_loc_conf_t  *llcf;

    static ngx_str_t  accept = ngx_string("accept");

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    if (llcf->status != NGX_HTTP_LOGBROKER_STATUS_ACCEPT) {
        return llcf->status;
    }

    h = NULL;

    while ((h = ngx_http_logbroker_header(r, &accept, h))) {

        p = h->value.data;
        last = p + h->value.len;

        if (ngx_strlcasestrn(p, last, (u_char *) "application/json", 16 - 1)) {
            return NGX_HTTP_LOGBROKER_STATUS_JSON;
        }

        if (ngx_strlcasestrn(p, last, (u_char *) "text/html", 9 - 1)) {
            return NGX_HTTP_LOGBROKER_STATUS_PAGE;
        }

        if (ngx_strlcasestrn(p, last, (u_char *) "text/plain", 10 - 1)
            || ngx_strlcasestrn(p, last,
                                (u_char *) "application/openmetrics-text",
                                28 - 1))
        {
            return NGX_HTTP_LOGBROKER_STATUS_METRICS;
        }
    }

    return NGX_HTTP_LOGBROKER_STATUS_JSON;
}


static u_char *
ngx_http_logbroker_status_json(ngx_http_request_t *r,
    ngx_http_logbroker_worker_t *w, u_char *p, u_char *last, uint32_t *slots,
    ngx_int_t n, ngx_http_logbroker_flusher_t *flusher)
{
    uint64_t                        lag;
    ngx_msec_int_t                  age;
    ngx_uint_t                      i;
    ngx_http_logbroker_waits_t      waits;
    ngx_http_logbroker_counters_t  *counters;
    char                            uuid[LB_UUID_TEXT];

    p = ngx_slprintf(p, last,
                     "{\n\"version\": \"" LB_VERSION "\",\n"
                     "\"nginx\": \"" NGINX_VERSION "\",\n"
                     "\"time_us\": %uL,\n\"pid\": %P,\n", lb_now_us(),
                     ngx_pid);

    p = ngx_slprintf(p, last, "\"spool\": {\"path\": ");
    p = ngx_http_logbroker_status_string(p, last, (char *) w->ring.path.data);

    if (w->ring.spool) {
        lb_uuid_format(lb_spool_uuid(w->ring.spool), uuid);
        p = ngx_slprintf(p, last, ", \"uuid\": \"%s\"", uuid);
    }

    p = ngx_slprintf(p, last, "},\n\"worker\": {\"slot\": ");

    if (w->ring.writer) {
        p = ngx_slprintf(p, last, "%uD, \"problem\": null},\n",
                         lb_writer_slot(w->ring.writer));

    } else if (w->room.yielded) {
        p = ngx_slprintf(p, last, "null, \"problem\": null},\n");

    } else {
        p = ngx_slprintf(p, last, "null, \"problem\": ");
        p = ngx_http_logbroker_status_string(p, last, (char *) w->ring.problem);
        p = ngx_slprintf(p, last, "},\n");
    }

    ngx_http_logbroker_hang_status(w, &waits);

    p = ngx_slprintf(p, last,
                     "\"workers\": {\"running\": %ui, "
                     "\"without_ring\": %ui},\n"
                     "\"parked\": %ui,\n\"waiting\": %ui,\n"
                     "\"disk_hangs_seconds\": %uL.%03uL,\n",
                     waits.workers, waits.no_ring, waits.parked,
                     waits.waiting, waits.hangs_ms / 1000,
                     waits.hangs_ms % 1000);

    counters = w->counters;

    p = ngx_slprintf(p, last,
                     "\"accepted\": {\"requests\": %uA, \"events\": %uA, "
                     "\"bytes\": %uA},\n\"answers_dropped\": %uA,\n"
                     "\"repeated\": %uA,\n\"access_log\": {\"events\": %uA, "
                     "\"lost\": %uA},\n\"largest_group\": %uA,\n"
                     "\"refused\": {",
                     counters->requests, counters->events, counters->bytes,
                     counters->dropped, counters->repeated, counters->access,
                     counters->access_lost, counters->largest);

    for (i = 1; i < NGX_HTTP_LOGBROKER_REASONS; i++) {
        p = ngx_slprintf(p, last, "%s\"%V\": %uA", i > 1 ? ", " : "",
                         &ngx_http_logbroker_reasons[i].name,
                         counters->refused[i]);
    }

    p = ngx_slprintf(p, last, "},\n\"sync_us\": {\"sum\": %uA, ",
                     counters->sync_us);
    p = ngx_http_logbroker_status_histogram(p, last,
                                            ngx_http_logbroker_sync_bounds,
                                            counters->sync,
                                            NGX_HTTP_LOGBROKER_SYNC_BUCKETS);
    p = ngx_slprintf(p, last, "},\n\"group_requests\": {\"sum\": %uA, ",
                     counters->requests);
    p = ngx_http_logbroker_status_histogram(p, last,
                                            ngx_http_logbroker_group_bounds,
                                            counters->group,
                                            NGX_HTTP_LOGBROKER_GROUP_BUCKETS);
    p = ngx_slprintf(p, last, "},\n");

    p = ngx_http_logbroker_status_rings(r, w, flusher, p, last, slots, n);

    lag = ngx_http_logbroker_lag_us(flusher) / 1000;

    p = ngx_slprintf(p, last, "\"lag_seconds\": %uL.%03uL,\n"
                     "\"flusher_runs\": %s,\n\"flusher_state_age_seconds\": ",
                     lag / 1000, lag % 1000,
                     ngx_http_logbroker_flusher_runs(w) ? "true" : "false");

    age = ngx_http_logbroker_flusher_age(w);

    if (age == NGX_ERROR) {
        p = ngx_slprintf(p, last, "null");

    } else {
        p = ngx_slprintf(p, last, "%M.%03M", (ngx_msec_t) age / 1000,
                         (ngx_msec_t) age % 1000);
    }

    return ngx_slprintf(p, last, ",\n\"flusher\": %V\n}\n", &flusher->json);
}


static u_char *
ngx_http_logbroker_status_histogram(u_char *p, u_char *last,
    const uint64_t *bounds, ngx_atomic_t *counts, ngx_uint_t buckets)
{
    ngx_uint_t  i;

    p = ngx_slprintf(p, last, "\"le\": [");

    for (i = 0; i < buckets - 1; i++) {
        p = ngx_slprintf(p, last, "%s%uL", i ? ", " : "", bounds[i]);
    }

    p = ngx_slprintf(p, last, "], \"count\": [");

    for (i = 0; i < buckets; i++) {
        p = ngx_slprintf(p, last, "%s%uA", i ? ", " : "", counts[i]);
    }

    return ngx_slprintf(p, last, "]");
}


static ngx_int_t
ngx_http_logbroker_status_send(ngx_http_request_t *r, ngx_uint_t format,
    ngx_buf_t *b)
{
    char  *type;

    if (ngx_http_logbroker_add_header(r, "Cache-Control", "no-store")
        != NGX_OK
        || ngx_http_logbroker_add_header(r, "Vary", "Accept") != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    switch (format) {

    case NGX_HTTP_LOGBROKER_STATUS_PAGE:

        if (ngx_http_logbroker_add_header(r, "Content-Security-Policy",
                "default-src 'none'; style-src 'unsafe-inline'; "
                "script-src 'unsafe-inline'; connect-src 'self'; "
                "frame-ancestors 'none'; base-uri 'none'")
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        type = "text/html; charset=utf-8";
        break;

    case NGX_HTTP_LOGBROKER_STATUS_METRICS:
        type = "text/plain; version=0.0.4; charset=utf-8";
        break;

    default:
        type = "application/json";
        break;
    }

    return ngx_http_logbroker_send(r, NGX_HTTP_OK, type, b);
}


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


static u_char *
ngx_http_logbroker_status_rings(ngx_http_request_t *r,
    ngx_http_logbroker_worker_t *w, ngx_http_logbroker_flusher_t *flusher,
    u_char *p, u_char *last, uint32_t *slots, int n)
{
    int              i;
    char             uuid[LB_UUID_TEXT];
    uint64_t         capacity, backlog_bytes, backlog_events;
    uint64_t         total[LB_COUNTERS];
    ngx_uint_t       k, locked;
    lb_error_t       err;
    lb_ring_info_t   info;

    capacity = 0;
    backlog_bytes = 0;
    backlog_events = 0;
    locked = 0;

    ngx_memzero(total, sizeof(total));

    p = ngx_slprintf(p, last, "\"rings\": [");

    for (i = 0; i < n; i++) {

        p = ngx_slprintf(p, last, "%s\n  {\"slot\": %uD", i ? "," : "",
                         slots[i]);

        if (!ngx_http_logbroker_status_ring(w, flusher, slots[i], &info,
                                            &err)) {
            p = ngx_slprintf(p, last, ", \"error\": ");
            p = ngx_http_logbroker_status_string(p, last, err.text);
            p = ngx_slprintf(p, last, "}");
            continue;
        }

        lb_uuid_format(info.uuid, uuid);

        p = ngx_slprintf(p, last,
                         ", \"uuid\": \"%s\", \"locked\": %s, "
                         "\"poisoned\": %s, \"epoch\": %uD, "
                         "\"capacity\": %uL, \"committed\": %uL, "
                         "\"durable\": %uL, \"acked\": %uL, "
                         "\"backlog_bytes\": %uL, \"next_seq\": %uL, "
                         "\"acked_seq\": %uL, \"backlog_events\": %uL, "
                         "\"committed_us\": %uL, \"created_us\": %uL",
                         uuid, info.locked ? "true" : "false",
                         info.flags & LB_CELL_POISONED ? "true" : "false",
                         info.epoch, info.capacity, info.committed,
                         info.durable, info.acked,
                         info.committed - info.acked, info.next_seq,
                         info.acked_seq, info.next_seq - info.acked_seq,
                         info.committed_us, info.created_us);

        for (k = 0; k < LB_COUNTERS; k++) {
            p = ngx_slprintf(p, last, ", \"%s\": %uL",
                             ngx_http_logbroker_ring_counters[k],
                             info.counters[k]);
            total[k] += info.counters[k];
        }

        p = ngx_slprintf(p, last, "}");

        capacity += info.capacity;
        backlog_bytes += info.committed - info.acked;
        backlog_events += info.next_seq - info.acked_seq;
        locked += info.locked ? 1 : 0;
    }

    p = ngx_slprintf(p, last,
                     "\n],\n\"total\": {\"rings\": %i, \"locked\": %ui, "
                     "\"max_rings\": %ui, \"capacity\": %uL, "
                     "\"backlog_bytes\": %uL, \"backlog_events\": %uL",
                     (ngx_int_t) n, locked, w->ring.max_rings, capacity,
                     backlog_bytes, backlog_events);

    for (k = 0; k < LB_COUNTERS; k++) {
        p = ngx_slprintf(p, last, ", \"%s\": %uL",
                         ngx_http_logbroker_ring_counters[k], total[k]);
    }

    return ngx_slprintf(p, last, "},\n");
}


static u_char *
ngx_http_logbroker_status_string(u_char *p, u_char *last, const char *text)
{
    size_t  len;

    len = ngx_strlen(text);

    if ((size_t) (last - p)
        < len + ngx_escape_json(NULL, (u_char *) text, len) + 2)
    {
        return ngx_slprintf(p, last, "\"\"");
    }

    *p++ = '"';
    p = (u_char *) ngx_escape_json(p, (u_char *) text, len);
    *p++ = '"';

    return p;
}


/* flusher.json is replaced as a whole; what is not one JSON object is not
 * shown, so that the status always is one. */

static ngx_int_t
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
