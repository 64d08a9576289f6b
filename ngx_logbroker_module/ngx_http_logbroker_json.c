/*
 * The snapshot as JSON, as docs/status.md has it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_clock.h"
#include "spool/lb_format.h"
#include "spool/lb_reader.h"
#include "spool/lb_uuid.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_snapshot.h"
#include "ngx_http_logbroker_json.h"


/* the longest text of one ring, and of everything before and after them */
#define NGX_HTTP_LOGBROKER_JSON_RING     1536
#define NGX_HTTP_LOGBROKER_JSON_TEXT     8192


static u_char *ngx_http_logbroker_json_histogram(u_char *p, u_char *last,
    const uint64_t *bounds, ngx_atomic_t *counts, ngx_uint_t buckets);
static u_char *ngx_http_logbroker_json_rings(ngx_http_logbroker_snapshot_t *s,
    u_char *p, u_char *last);
static u_char *ngx_http_logbroker_json_string(u_char *p, u_char *last,
    const char *text);


static char  *ngx_http_logbroker_ring_counters[LB_COUNTERS] = {
    "records", "events", "bytes", "writes", "syncs", "failures", "full",
    "recovered"
};


size_t
ngx_http_logbroker_json_size(ngx_http_logbroker_snapshot_t *s)
{
    return NGX_HTTP_LOGBROKER_JSON_TEXT + 2 * s->path.len * 6
           + s->nrings * NGX_HTTP_LOGBROKER_JSON_RING + s->flusher.len;
}


u_char *
ngx_http_logbroker_json(ngx_http_logbroker_snapshot_t *s, u_char *p,
    u_char *last)
{
    uint64_t                        lag, lasts;
    ngx_uint_t                      i;
    ngx_http_logbroker_counters_t  *counters;

    p = ngx_slprintf(p, last,
                     "{\n\"version\": \"" LB_VERSION "\",\n"
                     "\"nginx\": \"" NGINX_VERSION "\",\n"
                     "\"time_us\": %uL,\n\"pid\": %P,\n", lb_now_us(),
                     ngx_pid);

    p = ngx_slprintf(p, last, "\"spool\": {\"path\": ");
    p = ngx_http_logbroker_json_string(p, last, (char *) s->path.data);

    if (s->uuid[0]) {
        p = ngx_slprintf(p, last, ", \"uuid\": \"%s\"", s->uuid);
    }

    p = ngx_slprintf(p, last, "},\n\"worker\": {\"slot\": ");

    if (s->slot != NGX_ERROR) {
        p = ngx_slprintf(p, last, "%i, \"problem\": null},\n", s->slot);

    } else if (s->problem == NULL) {
        p = ngx_slprintf(p, last, "null, \"problem\": null},\n");

    } else {
        p = ngx_slprintf(p, last, "null, \"problem\": ");
        p = ngx_http_logbroker_json_string(p, last, s->problem);
        p = ngx_slprintf(p, last, "},\n");
    }

    p = ngx_slprintf(p, last,
                     "\"workers\": {\"running\": %ui, "
                     "\"starting\": %ui, \"without_ring\": %ui},\n"
                     "\"parked\": %ui,\n\"waiting\": %ui,\n"
                     "\"disk_hangs_seconds\": %uL.%03uL,\n",
                     s->waits.workers, s->waits.starting, s->waits.no_ring,
                     s->waits.parked, s->waits.waiting,
                     s->waits.hangs_ms / 1000, s->waits.hangs_ms % 1000);

    counters = s->counters;

    p = ngx_slprintf(p, last,
                     "\"accepted\": {\"requests\": %uA, \"events\": %uA, "
                     "\"bytes\": %uA},\n\"answers_dropped\": %uA,\n"
                     "\"repeated\": %uA,\n\"recognised\": %uA,\n"
                     "\"replaced\": %uA,\n"
                     "\"access_log\": {\"events\": %uA, \"lost\": %uA},\n"
                     "\"largest_group\": %uA,\n"
                     "\"refused\": {",
                     counters->requests, counters->events, counters->bytes,
                     counters->dropped, counters->repeated,
                     counters->recognised, counters->replaced,
                     counters->access, counters->access_lost,
                     counters->largest);

    for (i = 1; i < NGX_HTTP_LOGBROKER_REASONS; i++) {
        p = ngx_slprintf(p, last, "%s\"%V\": %uA", i > 1 ? ", " : "",
                         &ngx_http_logbroker_reasons[i].name,
                         counters->refused[i]);
    }

    p = ngx_slprintf(p, last, "},\n\"sync_us\": {\"sum\": %uA, ",
                     counters->sync_us);
    p = ngx_http_logbroker_json_histogram(p, last,
                                            ngx_http_logbroker_sync_bounds,
                                            counters->sync,
                                            NGX_HTTP_LOGBROKER_SYNC_BUCKETS);
    p = ngx_slprintf(p, last, "},\n\"group_requests\": {\"sum\": %uA, ",
                     counters->requests);
    p = ngx_http_logbroker_json_histogram(p, last,
                                            ngx_http_logbroker_group_bounds,
                                            counters->group,
                                            NGX_HTTP_LOGBROKER_GROUP_BUCKETS);
    p = ngx_slprintf(p, last, "},\n");

    p = ngx_http_logbroker_json_rings(s, p, last);

    lag = s->lag_us / 1000;
    lasts = lb_lasting_seconds(&s->lasting, 0);

    if (lasts == UINT64_MAX) {
        p = ngx_slprintf(p, last, "\"lasts_seconds\": null,\n");

    } else {
        p = ngx_slprintf(p, last, "\"lasts_seconds\": %uL,\n", lasts);
    }

    p = ngx_slprintf(p, last, "\"lag_seconds\": %uL.%03uL,\n"
                     "\"flusher_runs\": %s,\n\"flusher_state_age_seconds\": ",
                     lag / 1000, lag % 1000,
                     s->flusher_runs ? "true" : "false");

    if (s->flusher_age == NGX_ERROR) {
        p = ngx_slprintf(p, last, "null");

    } else {
        p = ngx_slprintf(p, last, "%M.%03M", (ngx_msec_t) s->flusher_age / 1000,
                         (ngx_msec_t) s->flusher_age % 1000);
    }

    return ngx_slprintf(p, last, ",\n\"flusher\": %V\n}\n", &s->flusher);
}


static u_char *
ngx_http_logbroker_json_histogram(u_char *p, u_char *last,
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
ngx_http_logbroker_json_rings(ngx_http_logbroker_snapshot_t *s, u_char *p,
    u_char *last)
{
    char             uuid[LB_UUID_TEXT];
    ngx_uint_t       i, k;
    lb_ring_info_t  *info;

    p = ngx_slprintf(p, last, "\"rings\": [");

    for (i = 0; i < s->nrings; i++) {
        info = &s->rings[i].info;

        p = ngx_slprintf(p, last, "%s\n  {\"slot\": %uD", i ? "," : "",
                         s->rings[i].slot);

        if (s->rings[i].problem) {
            p = ngx_slprintf(p, last, ", \"error\": ");
            p = ngx_http_logbroker_json_string(p, last, s->rings[i].problem);
            p = ngx_slprintf(p, last, "}");
            continue;
        }

        lb_uuid_format(info->uuid, uuid);

        p = ngx_slprintf(p, last,
                         ", \"uuid\": \"%s\", \"locked\": %s, "
                         "\"poisoned\": %s, \"epoch\": %uD, "
                         "\"capacity\": %uL, \"committed\": %uL, "
                         "\"durable\": %uL, \"acked\": %uL, "
                         "\"backlog_bytes\": %uL, \"next_seq\": %uL, "
                         "\"acked_seq\": %uL, \"backlog_events\": %uL, "
                         "\"committed_us\": %uL, \"created_us\": %uL",
                         uuid, info->locked ? "true" : "false",
                         info->flags & LB_CELL_POISONED ? "true" : "false",
                         info->epoch, info->capacity, info->committed,
                         info->durable, info->acked,
                         info->committed - info->acked, info->next_seq,
                         info->acked_seq, info->next_seq - info->acked_seq,
                         info->committed_us, info->created_us);

        for (k = 0; k < LB_COUNTERS; k++) {
            p = ngx_slprintf(p, last, ", \"%s\": %uL",
                             ngx_http_logbroker_ring_counters[k],
                             info->counters[k]);
        }

        p = ngx_slprintf(p, last, "}");
    }

    p = ngx_slprintf(p, last,
                     "\n],\n\"total\": {\"rings\": %ui, \"locked\": %ui, "
                     "\"max_rings\": %ui, \"capacity\": %uL, "
                     "\"backlog_bytes\": %uL, \"backlog_events\": %uL",
                     s->nrings, s->locked, s->max_rings, s->capacity,
                     s->backlog_bytes, s->backlog_events);

    for (k = 0; k < LB_COUNTERS; k++) {
        p = ngx_slprintf(p, last, ", \"%s\": %uL",
                         ngx_http_logbroker_ring_counters[k], s->total[k]);
    }

    return ngx_slprintf(p, last, "},\n");
}


static u_char *
ngx_http_logbroker_json_string(u_char *p, u_char *last, const char *text)
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
