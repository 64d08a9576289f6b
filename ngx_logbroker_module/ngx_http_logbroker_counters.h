/*
 * What all workers count, in shared memory.
 */


#ifndef _NGX_HTTP_LOGBROKER_COUNTERS_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_COUNTERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_reason.h"


/* the last bucket of a histogram has no bound */
#define NGX_HTTP_LOGBROKER_SYNC_BUCKETS  16
#define NGX_HTTP_LOGBROKER_GROUP_BUCKETS 12


/* what a worker says of itself; outlives it until another one sits down */

#define NGX_HTTP_LOGBROKER_SEATS         256

typedef struct {
    ngx_atomic_t                     pid;
    ngx_atomic_t                     parked;
    ngx_atomic_t                     waiting;       /* in a group */
    ngx_atomic_t                     hangs_since;   /* monotonic ms, or 0 */
    ngx_atomic_t                     no_ring;       /* and none in sight */
    ngx_atomic_t                     starting;      /* its first is coming */
} ngx_http_logbroker_seat_t;


/* in shared memory, since the zone was created */

typedef struct {
    ngx_atomic_t                     requests;
    ngx_atomic_t                     events;
    ngx_atomic_t                     bytes;
    ngx_atomic_t                     dropped;
    ngx_atomic_t                     repeated;
    ngx_atomic_t                     recognised;    /* by their bytes */
    ngx_atomic_t                     replaced;      /* not UTF-8 */
    ngx_atomic_t                     access;        /* events logged */
    ngx_atomic_t                     access_lost;
    ngx_atomic_t                     failures;      /* writes that failed */
    ngx_atomic_t                     largest;       /* group, in requests */
    ngx_atomic_t                     refused[NGX_HTTP_LOGBROKER_REASONS];

    /* room.c: when a worker last called for room, monotonic milliseconds, how
     * much, and when one last said that it soon will */
    ngx_atomic_t                     room_call;
    ngx_atomic_t                     room_need;
    ngx_atomic_t                     room_early;

    ngx_http_logbroker_seat_t        seats[NGX_HTTP_LOGBROKER_SEATS];

    /* how long syncs took, requests per group */
    ngx_atomic_t                     sync_us;
    ngx_atomic_t                     sync[NGX_HTTP_LOGBROKER_SYNC_BUCKETS];
    ngx_atomic_t                     group[NGX_HTTP_LOGBROKER_GROUP_BUCKETS];
} ngx_http_logbroker_counters_t;


/* Sets the zone up, or takes over the counters of the cycle before. */
ngx_int_t ngx_http_logbroker_counters_init(ngx_shm_zone_t *zone, void *data);

void ngx_http_logbroker_count_sync(ngx_http_logbroker_counters_t *counters,
    uint64_t us);
void ngx_http_logbroker_count_group(ngx_http_logbroker_counters_t *counters,
    ngx_uint_t requests);


/* upper bounds of the buckets, microseconds and requests */
extern const uint64_t  ngx_http_logbroker_sync_bounds[];
extern const uint64_t  ngx_http_logbroker_group_bounds[];


#endif /* _NGX_HTTP_LOGBROKER_COUNTERS_H_INCLUDED_ */
