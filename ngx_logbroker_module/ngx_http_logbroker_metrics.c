/*
 * The snapshot as text for Prometheus.  The names are listed in
 * docs/metrics.md.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <jansson.h>

#include "spool/lb_format.h"
#include "spool/lb_reader.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_snapshot.h"
#include "ngx_http_logbroker_metrics.h"


/* the longest text of one ring, and of all else */
#define NGX_HTTP_LOGBROKER_METRICS_RING  2048
#define NGX_HTTP_LOGBROKER_METRICS_TEXT  (48 * 1024)


typedef struct {
    u_char                        *p;
    u_char                        *last;
} ngx_http_logbroker_text_t;


typedef struct {
    char                          *name;
    char                          *help;
} ngx_http_logbroker_metric_t;


typedef struct {
    char                          *name;
    char                          *help;
    size_t                         offset;
} ngx_http_logbroker_counter_t;


static void ngx_http_logbroker_metrics_counters(ngx_http_logbroker_text_t *t,
    ngx_http_logbroker_counters_t *counters);
static void ngx_http_logbroker_metrics_workers(ngx_http_logbroker_text_t *t,
    ngx_http_logbroker_snapshot_t *s);
static void ngx_http_logbroker_metric(ngx_http_logbroker_text_t *t,
    char *name, char *type, char *help);
static void ngx_http_logbroker_metric_value(ngx_http_logbroker_text_t *t,
    char *name, char *type, char *help, uint64_t value);
static void ngx_http_logbroker_metrics_histogram(ngx_http_logbroker_text_t *t,
    char *name, const uint64_t *bounds, ngx_uint_t micro,
    ngx_atomic_t *counts, ngx_uint_t buckets, uint64_t sum);
static void ngx_http_logbroker_metrics_number(ngx_http_logbroker_text_t *t,
    const char *name, char *labels, uint64_t value, ngx_uint_t micro);
static void ngx_http_logbroker_metrics_rings(ngx_http_logbroker_text_t *t,
    ngx_http_logbroker_snapshot_t *s);
static void ngx_http_logbroker_metrics_ring(ngx_http_logbroker_text_t *t,
    char *name, ngx_http_logbroker_snapshot_ring_t *ring, uint64_t value);
static void ngx_http_logbroker_metrics_flusher(ngx_http_logbroker_text_t *t,
    json_t *flusher);
static void ngx_http_logbroker_metrics_json(ngx_http_logbroker_text_t *t,
    json_t *object, char *key, char *name, char *type, char *help);


static ngx_http_logbroker_counter_t  ngx_http_logbroker_counters[] = {

    { "accepted_requests_total",
      "Requests whose events were stored.",
      offsetof(ngx_http_logbroker_counters_t, requests) },

    { "accepted_events_total",
      "Events of these requests.",
      offsetof(ngx_http_logbroker_counters_t, events) },

    { "accepted_bytes_total",
      "Bytes of these events as stored.",
      offsetof(ngx_http_logbroker_counters_t, bytes) },

    { "repeated_requests_total",
      "Requests answered like the one they repeat: their Idempotency-Key was "
      "known.",
      offsetof(ngx_http_logbroker_counters_t, repeated) },

    { "recognised_requests_total",
      "Requests answered like the one they repeat: their bytes were known "
      "(logbroker_deduplicate).",
      offsetof(ngx_http_logbroker_counters_t, recognised) },

    { "replaced_characters_total",
      "Characters of these events that were not UTF-8 and are U+FFFD now.",
      offsetof(ngx_http_logbroker_counters_t, replaced) },

    { "answers_dropped_total",
      "Requests that were stored and whose client had left.",
      offsetof(ngx_http_logbroker_counters_t, dropped) },

    { "access_log_events_total",
      "Requests that became events by logbroker_access_log.",
      offsetof(ngx_http_logbroker_counters_t, access) },

    { "access_log_lost_total",
      "Requests that did not, for want of room or of a ring.",
      offsetof(ngx_http_logbroker_counters_t, access_lost) },

    { "write_failures_total",
      "Writes and syncs that failed, whatever became of their ring.",
      offsetof(ngx_http_logbroker_counters_t, failures) },

    { NULL, NULL, 0 }
};


static ngx_http_logbroker_metric_t  ngx_http_logbroker_ring_metrics[] = {
    { "ring_records_total", "Records committed to the ring." },
    { "ring_events_total", "Events committed to the ring." },
    { "ring_payload_bytes_total", "Bytes of events committed to the ring." },
    { "ring_writes_total", "Group commits." },
    { "ring_syncs_total", "Syncs that succeeded." },
    { "ring_failures_total", "Writes and syncs that failed." },
    { "ring_full_total", "Records refused because the ring was full." },
    { "ring_recovered_events_total",
      "Events found behind the last commit when the ring was claimed." }
};


size_t
ngx_http_logbroker_metrics_size(ngx_http_logbroker_snapshot_t *s)
{
    return NGX_HTTP_LOGBROKER_METRICS_TEXT
           + s->nrings * NGX_HTTP_LOGBROKER_METRICS_RING;
}


u_char *
ngx_http_logbroker_metrics(ngx_http_logbroker_snapshot_t *s, u_char *p,
    u_char *last)
{
    json_t                     *root;
    uint64_t                    lasts;
    ngx_http_logbroker_text_t   t;

    t.p = p;
    t.last = last;

    ngx_http_logbroker_metric(&t, "build_info", "gauge",
                              "Versions of the module and of nginx.");
    t.p = ngx_slprintf(t.p, t.last, "logbroker_build_info{version=\""
                       LB_VERSION "\",nginx=\"" NGINX_VERSION "\"} 1\n");

    ngx_http_logbroker_metrics_counters(&t, s->counters);
    ngx_http_logbroker_metrics_workers(&t, s);

    if (s->uuid[0]) {
        ngx_http_logbroker_metrics_rings(&t, s);

        ngx_http_logbroker_metric(&t, "lag_seconds", "gauge",
                                  "Age of the oldest event not yet delivered.");
        ngx_http_logbroker_metrics_number(&t, "lag_seconds", "",
                                          s->lag_us, 1);
    }

    lasts = lb_lasting_seconds(&s->lasting, 0);

    if (lasts != UINT64_MAX) {
        ngx_http_logbroker_metric_value(&t, "lasts_seconds", "gauge",
            "For how long the spool takes events if nothing is delivered from "
            "now on and as much comes as on the last day.", lasts);
    }

    ngx_http_logbroker_metric_value(&t, "flusher_running", "gauge",
        "1 if a flusher holds the checkpoint and has shown signs of life in "
        "the last 30 seconds.", s->flusher_runs);

    if (s->flusher_age != NGX_ERROR) {
        ngx_http_logbroker_metric(&t, "flusher_state_age_seconds", "gauge",
            "Time since the last sign of life of the flusher.");
        ngx_http_logbroker_metrics_number(&t, "flusher_state_age_seconds", "",
                                          (uint64_t) s->flusher_age * 1000, 1);
    }

    root = json_loadb((char *) s->flusher.data, s->flusher.len,
                      JSON_DECODE_ANY, NULL);

    if (json_is_object(root)) {
        ngx_http_logbroker_metrics_flusher(&t, root);
    }

    json_decref(root);

    return t.p;
}


static void
ngx_http_logbroker_metrics_counters(ngx_http_logbroker_text_t *t,
    ngx_http_logbroker_counters_t *counters)
{
    ngx_uint_t                     i;
    ngx_http_logbroker_counter_t  *c;

    for (c = ngx_http_logbroker_counters; c->name; c++) {
        ngx_http_logbroker_metric_value(t, c->name, "counter", c->help,
                       *(ngx_atomic_t *) ((char *) counters + c->offset));
    }

    ngx_http_logbroker_metric(t, "refused_requests_total", "counter",
                              "Requests answered with an error; nothing of "
                              "them was stored, but for write_unknown.");

    for (i = 1; i < NGX_HTTP_LOGBROKER_REASONS; i++) {
        t->p = ngx_slprintf(t->p, t->last,
                           "logbroker_refused_requests_total{reason=\"%V\"} "
                           "%uA\n", &ngx_http_logbroker_reasons[i].name,
                           counters->refused[i]);
    }
}


static void
ngx_http_logbroker_metrics_workers(ngx_http_logbroker_text_t *t,
    ngx_http_logbroker_snapshot_t *s)
{
    ngx_http_logbroker_counters_t  *counters;

    counters = s->counters;

    ngx_http_logbroker_metric_value(t, "workers", "gauge",
        "Workers of nginx.", s->waits.workers);
    ngx_http_logbroker_metric_value(t, "workers_without_ring", "gauge",
        "Workers that have no ring and answer 503.", s->waits.no_ring);
    ngx_http_logbroker_metric_value(t, "parked_requests", "gauge",
        "Requests that wait for room, a ring or the disk, nothing stored.",
        s->waits.parked);
    ngx_http_logbroker_metric_value(t, "waiting_requests", "gauge",
        "Requests whose group is being written.", s->waits.waiting);
    ngx_http_logbroker_metric(t, "disk_hangs_seconds", "gauge",
        "For how long a write has been running that takes longer than "
        "logbroker_write_timeout.");
    ngx_http_logbroker_metrics_number(t, "disk_hangs_seconds", "",
                                      s->waits.hangs_ms * 1000, 1);

    ngx_http_logbroker_metric(t, "sync_seconds", "histogram",
                              "How long writing and syncing a group took.");
    ngx_http_logbroker_metrics_histogram(t, "sync_seconds",
        ngx_http_logbroker_sync_bounds, 1, counters->sync,
        NGX_HTTP_LOGBROKER_SYNC_BUCKETS, counters->sync_us);

    ngx_http_logbroker_metric(t, "group_requests", "histogram",
                              "Requests per group commit.");
    ngx_http_logbroker_metrics_histogram(t, "group_requests",
        ngx_http_logbroker_group_bounds, 0, counters->group,
        NGX_HTTP_LOGBROKER_GROUP_BUCKETS, counters->requests);
}


static void
ngx_http_logbroker_metric(ngx_http_logbroker_text_t *t, char *name,
    char *type, char *help)
{
    t->p = ngx_slprintf(t->p, t->last,
                        "# HELP logbroker_%s %s\n# TYPE logbroker_%s %s\n",
                        name, help, name, type);
}


static void
ngx_http_logbroker_metric_value(ngx_http_logbroker_text_t *t, char *name,
    char *type, char *help, uint64_t value)
{
    ngx_http_logbroker_metric(t, name, type, help);
    ngx_http_logbroker_metrics_number(t, name, "", value, 0);
}


/* micro: the value is in millionths */

static void
ngx_http_logbroker_metrics_number(ngx_http_logbroker_text_t *t,
    const char *name, char *labels, uint64_t value, ngx_uint_t micro)
{
    t->p = ngx_slprintf(t->p, t->last, "logbroker_%s%s ", name, labels);

    if (micro) {
        t->p = ngx_slprintf(t->p, t->last, "%uL.%06uL\n", value / 1000000,
                            value % 1000000);

    } else {
        t->p = ngx_slprintf(t->p, t->last, "%uL\n", value);
    }
}


static void
ngx_http_logbroker_metrics_histogram(ngx_http_logbroker_text_t *t, char *name,
    const uint64_t *bounds, ngx_uint_t micro, ngx_atomic_t *counts,
    ngx_uint_t buckets, uint64_t sum)
{
    uint64_t    total;
    ngx_uint_t  i;

    total = 0;

    for (i = 0; i < buckets; i++) {

        total += counts[i];

        t->p = ngx_slprintf(t->p, t->last, "logbroker_%s_bucket{le=\"", name);

        if (i == buckets - 1) {
            t->p = ngx_slprintf(t->p, t->last, "+Inf");

        } else if (micro) {
            t->p = ngx_slprintf(t->p, t->last, "%uL.%06uL",
                                bounds[i] / 1000000, bounds[i] % 1000000);

        } else {
            t->p = ngx_slprintf(t->p, t->last, "%uL", bounds[i]);
        }

        t->p = ngx_slprintf(t->p, t->last, "\"} %uL\n", total);
    }

    t->p = ngx_slprintf(t->p, t->last, "logbroker_%s_sum ", name);

    if (micro) {
        t->p = ngx_slprintf(t->p, t->last, "%uL.%06uL\n", sum / 1000000,
                            sum % 1000000);

    } else {
        t->p = ngx_slprintf(t->p, t->last, "%uL\n", sum);
    }

    t->p = ngx_slprintf(t->p, t->last, "logbroker_%s_count %uL\n", name,
                        total);
}


static void
ngx_http_logbroker_metrics_rings(ngx_http_logbroker_text_t *t,
    ngx_http_logbroker_snapshot_t *s)
{
    ngx_uint_t                           k;
    ngx_http_logbroker_metric_t         *m;
    ngx_http_logbroker_snapshot_ring_t  *ring, *end;

    end = s->rings + s->nrings;

    ngx_http_logbroker_metric_value(t, "rings", "gauge",
        "Rings in the spool.", s->nrings);
    ngx_http_logbroker_metric_value(t, "rings_unreadable", "gauge",
        "Rings that cannot be read.", s->unreadable);
    ngx_http_logbroker_metric_value(t, "rings_locked", "gauge",
        "Rings held by a worker.", s->locked);
    ngx_http_logbroker_metric_value(t, "rings_max", "gauge",
        "Rings the spool may have.", s->max_rings);
    ngx_http_logbroker_metric_value(t, "capacity_bytes", "gauge",
        "Size of all rings.", s->capacity);
    ngx_http_logbroker_metric_value(t, "backlog_bytes", "gauge",
        "Bytes committed and not yet delivered.", s->backlog_bytes);
    ngx_http_logbroker_metric_value(t, "backlog_events", "gauge",
        "Events committed and not yet delivered.", s->backlog_events);

    ngx_http_logbroker_metric(t, "ring_capacity_bytes", "gauge",
                              "Size of the ring.");

    for (ring = s->rings; ring < end; ring++) {
        ngx_http_logbroker_metrics_ring(t, "ring_capacity_bytes", ring,
                                        ring->info.capacity);
    }

    ngx_http_logbroker_metric(t, "ring_backlog_bytes", "gauge",
                              "Bytes of the ring not yet delivered.");

    for (ring = s->rings; ring < end; ring++) {
        ngx_http_logbroker_metrics_ring(t, "ring_backlog_bytes", ring,
                                    ring->info.committed - ring->info.acked);
    }

    ngx_http_logbroker_metric(t, "ring_poisoned", "gauge",
                              "1 if a write to the ring failed.");

    for (ring = s->rings; ring < end; ring++) {
        ngx_http_logbroker_metrics_ring(t, "ring_poisoned", ring,
                              ring->info.flags & LB_CELL_POISONED ? 1 : 0);
    }

    for (k = 0; k < LB_COUNTERS; k++) {
        m = &ngx_http_logbroker_ring_metrics[k];

        ngx_http_logbroker_metric(t, m->name, "counter", m->help);

        for (ring = s->rings; ring < end; ring++) {
            ngx_http_logbroker_metrics_ring(t, m->name, ring,
                                            ring->info.counters[k]);
        }
    }
}


static void
ngx_http_logbroker_metrics_ring(ngx_http_logbroker_text_t *t, char *name,
    ngx_http_logbroker_snapshot_ring_t *ring, uint64_t value)
{
    u_char  labels[32];

    if (ring->problem) {
        return;
    }

    ngx_sprintf(labels, "{slot=\"%uD\"}%Z", ring->slot);
    ngx_http_logbroker_metrics_number(t, name, (char *) labels, value, 0);
}


static void
ngx_http_logbroker_metrics_flusher(ngx_http_logbroker_text_t *t,
    json_t *flusher)
{
    json_t      *exactly, *error, *flight, *node;
    const char  *verdict;

    static ngx_http_logbroker_metric_t  counters[] = {
        { "delivered_events", "Events ClickHouse has confirmed." },
        { "dead_events", "Events set aside as dead letters." },
        { "lost_bytes", "Bytes of rings that could not be read." },
        { "batches", "Batches ClickHouse has confirmed." },
        { "requests", "Requests to ClickHouse, of any kind." },
        { "checks", "Requests that asked for the outcome of a batch." },
        { "not_sent", "Requests that did not reach ClickHouse." },
        { "refused", "Requests ClickHouse refused." },
        { "unknown", "Requests whose outcome was not known." }
    };

    static char  *names[] = {
        "delivered_events_total", "dead_events_total", "lost_bytes_total",
        "batches_total", "clickhouse_requests_total",
        "clickhouse_checks_total", "clickhouse_not_sent_total",
        "clickhouse_refused_total", "clickhouse_unknown_total"
    };

    ngx_uint_t  i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ngx_http_logbroker_metrics_json(t, flusher, counters[i].name,
                                        names[i], "counter",
                                        counters[i].help);
    }

    ngx_http_logbroker_metrics_json(t, flusher, "dead_letters",
        "dead_letters", "gauge",
        "Dead letters in the spool, neither replayed nor dropped.");
    ngx_http_logbroker_metrics_json(t, flusher, "unaccounted_events",
        "unaccounted_events", "gauge",
        "Events acked that are neither delivered nor dead letters; not 0 is "
        "a defect.");
    ngx_http_logbroker_metrics_json(t, flusher, "requests_last_minute",
        "clickhouse_requests_last_minute", "gauge",
        "Requests to ClickHouse in the last minute.");
    ngx_http_logbroker_metrics_json(t, flusher, "started",
        "flusher_start_time_seconds", "gauge",
        "When the flusher started, seconds since 1970.");
    ngx_http_logbroker_metrics_json(t, flusher, "last_success",
        "last_success_timestamp_seconds", "gauge",
        "When a batch was last confirmed, seconds since 1970.");

    ngx_http_logbroker_metrics_json(t, flusher, "clock_offset_seconds",
        "clock_offset_seconds", "gauge",
        "This machine's clock less ClickHouse's; 0: they agree.");

    node = json_object_get(flusher, "node");
    ngx_http_logbroker_metrics_json(t, node, "index", "node_index", "gauge",
        "Which of the seconds are this flusher's: node.index.");
    ngx_http_logbroker_metrics_json(t, node, "count", "nodes", "gauge",
        "How many flushers share them: node.count.");

    error = json_object_get(flusher, "last_error");
    ngx_http_logbroker_metrics_json(t, error, "time",
        "last_error_timestamp_seconds", "gauge",
        "When something last failed, seconds since 1970.");

    flight = json_object_get(flusher, "in_flight");
    ngx_http_logbroker_metrics_json(t, flight, "since",
        "in_flight_since_timestamp_seconds", "gauge",
        "Since when there is a batch in flight, seconds since 1970.");

    exactly = json_object_get(flusher, "exactly_once");
    ngx_http_logbroker_metrics_json(t, exactly, "looked",
        "exactly_once_looked_timestamp_seconds", "gauge",
        "When the table was last looked at, seconds since 1970.");

    verdict = json_string_value(json_object_get(exactly, "verdict"));

    /* unknown until the flusher has seen the table */

    if (verdict && ngx_strcmp(verdict, "unknown") != 0) {
        ngx_http_logbroker_metric_value(t, "exactly_once", "gauge",
            "1 if the table keeps the promise of exactly once.",
            ngx_strcmp(verdict, "yes") == 0);
    }
}


/* Nothing for what is not a number. */

static void
ngx_http_logbroker_metrics_json(ngx_http_logbroker_text_t *t, json_t *object,
    char *key, char *name, char *type, char *help)
{
    json_t  *value;

    value = json_object_get(object, key);

    if (!json_is_number(value)) {
        return;
    }

    ngx_http_logbroker_metric(t, name, type, help);

    t->p = json_is_integer(value)
           ? ngx_slprintf(t->p, t->last, "logbroker_%s %L\n", name,
                          (int64_t) json_integer_value(value))
           : ngx_slprintf(t->p, t->last, "logbroker_%s %.3f\n", name,
                          json_real_value(value));
}
