/*
 * The state of this node: read once, then printed by json.c or metrics.c.
 *
 * To add a figure: a member here, filled in snapshot.c (or, if workers count it
 * as they go, in counters.h); a line in json.c and in metrics.c; its name in
 * docs/status.md and docs/metrics.md.
 */


#ifndef _NGX_HTTP_LOGBROKER_SNAPSHOT_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_SNAPSHOT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_format.h"
#include "spool/lb_lasting.h"
#include "spool/lb_reader.h"
#include "spool/lb_uuid.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_hang.h"


typedef struct {
    uint32_t                         slot;
    char                            *problem;       /* NULL: it is readable */
    lb_ring_info_t                   info;
} ngx_http_logbroker_snapshot_ring_t;


typedef struct {
    ngx_str_t                        path;          /* zero-terminated */
    char                             uuid[LB_UUID_TEXT];  /* "": unknown */

    /* of the worker that answers */
    ngx_int_t                        slot;          /* NGX_ERROR: no ring */
    char                            *problem;       /* why, if on no purpose */

    /* of all workers */
    ngx_http_logbroker_counters_t   *counters;
    ngx_http_logbroker_waits_t       waits;

    /* the rings, and sums over those that are readable */
    ngx_http_logbroker_snapshot_ring_t
                                    *rings;
    ngx_uint_t                       nrings;
    ngx_uint_t                       max_rings;
    ngx_uint_t                       unreadable;
    ngx_uint_t                       locked;
    uint64_t                         capacity;
    uint64_t                         backlog_bytes;
    uint64_t                         backlog_events;
    uint64_t                         total[LB_COUNTERS];
    uint64_t                         lag_us;        /* of the oldest event */
    lb_lasting_t                     lasting;

    /* what the flusher has published, or "null"; what is true in any case */
    ngx_str_t                        flusher;
    ngx_uint_t                       flusher_runs;
    ngx_msec_int_t                   flusher_age;   /* NGX_ERROR: no file */
} ngx_http_logbroker_snapshot_t;


/* of flusher.json: its time, and when that was first seen, monotonic ms */

typedef struct {
    struct timespec                  mtime;
    uint64_t                         seen;
} ngx_http_logbroker_worker_snapshot_t;


/* All in memory of the pool; NGX_ERROR without any. */
ngx_int_t ngx_http_logbroker_snapshot(ngx_http_logbroker_worker_t *w,
    ngx_pool_t *pool, ngx_http_logbroker_snapshot_t *s);

/* What the flusher has kept of the last day, a JSON object; NGX_DECLINED
 * without any. */
ngx_int_t ngx_http_logbroker_history(ngx_http_logbroker_worker_t *w,
    ngx_pool_t *pool, ngx_str_t *json);

/* Looks whether flusher.json was touched; how long ago in milliseconds, or
 * NGX_ERROR without one. */
ngx_msec_int_t ngx_http_logbroker_flusher_age(ngx_http_logbroker_worker_t *w);


#endif /* _NGX_HTTP_LOGBROKER_SNAPSHOT_H_INCLUDED_ */
