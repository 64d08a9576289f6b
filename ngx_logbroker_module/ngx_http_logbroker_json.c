/*
 * The status as JSON.
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
#include "ngx_http_logbroker_json.h"


static u_char *ngx_http_logbroker_status_histogram(u_char *p, u_char *last,
    const uint64_t *bounds, ngx_atomic_t *counts, ngx_uint_t buckets);
static u_char *ngx_http_logbroker_status_rings(ngx_http_request_t *r,
    ngx_http_logbroker_worker_t *w, ngx_http_logbroker_flusher_t *flusher,
    u_char *p, u_char *last, uint32_t *slots, int n);
static u_char *ngx_http_logbroker_status_string(u_char *p, u_char *last,
    const char *text);


static char  *ngx_http_logbroker_ring_counters[LB_COUNTERS] = {
    "records", "events", "bytes", "writes", "syncs", "failures", "full",
    "recovered"
};


u_char *
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
