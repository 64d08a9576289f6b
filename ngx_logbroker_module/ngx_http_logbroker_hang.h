/*
 * A disk that does not answer, and the worker's seat, where it says so.
 */


#ifndef _NGX_HTTP_LOGBROKER_HANG_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_HANG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_counters.h"


/* of all workers */

typedef struct {
    ngx_uint_t                       parked;
    ngx_uint_t                       waiting;
    uint64_t                         hangs_ms;
    ngx_uint_t                       workers;
    ngx_uint_t                       no_ring;
    ngx_uint_t                       starting;
} ngx_http_logbroker_waits_t;


typedef struct {
    ngx_msec_t                       timeout;
    ngx_event_t                      timer;
    ngx_http_logbroker_seat_t       *seat;
    ngx_http_logbroker_seat_t        no_seat;

    /* set by who has something staged */
    void                           (*hangs)(ngx_http_logbroker_worker_t *w);

    unsigned                         hanging:1;
} ngx_http_logbroker_worker_hang_t;


void ngx_http_logbroker_hang_init(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_hang_exit(ngx_http_logbroker_worker_t *w);

/* A thread begins something that requests wait for; it has come back. */
void ngx_http_logbroker_hang_watch(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_hang_over(ngx_http_logbroker_worker_t *w);

/* Of all workers: how many there are, have no ring or not yet one, requests in
 * no group, requests in one, and for how long the longest write has been running
 * that takes too long; 0: none does. */
void ngx_http_logbroker_hang_status(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_waits_t *waits);


#endif /* _NGX_HTTP_LOGBROKER_HANG_H_INCLUDED_ */
