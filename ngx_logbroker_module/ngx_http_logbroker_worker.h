/*
 * What a worker process has: each file has its part.
 */


#ifndef _NGX_HTTP_LOGBROKER_WORKER_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_WORKER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_ring.h"
#include "ngx_http_logbroker_fill.h"
#include "ngx_http_logbroker_room.h"
#include "ngx_http_logbroker_hang.h"
#include "ngx_http_logbroker_group.h"
#include "ngx_http_logbroker_keys.h"
#include "ngx_http_logbroker_stage.h"
#include "ngx_http_logbroker_body.h"
#include "ngx_http_logbroker_large.h"
#include "ngx_http_logbroker_aside.h"
#include "ngx_http_logbroker_access.h"
#include "ngx_http_logbroker_answer.h"
#include "ngx_http_logbroker_snapshot.h"


/* One per worker process, from init_process to exit_process. */

struct ngx_http_logbroker_worker_s {
    ngx_thread_pool_t                   *pool;
    ngx_http_logbroker_counters_t       *counters;

    /* there may be room, or none to wait for: what waits is taken in, or
     * refused; called by all files below stage.c, which sets it */
    void                               (*ready)(
                                           ngx_http_logbroker_worker_t *w);

    ngx_http_logbroker_worker_ring_t     ring;
    ngx_http_logbroker_worker_fill_t     fill;
    ngx_http_logbroker_worker_room_t     room;
    ngx_http_logbroker_worker_hang_t     hang;
    ngx_http_logbroker_worker_group_t    group;
    ngx_http_logbroker_worker_keys_t     keys;
    ngx_http_logbroker_worker_stage_t    stage;
    ngx_http_logbroker_worker_body_t     body;
    ngx_http_logbroker_worker_large_t    large;
    ngx_http_logbroker_worker_aside_t    aside;
    ngx_http_logbroker_worker_access_t   access;
    ngx_http_logbroker_worker_answer_t   answer;
    ngx_http_logbroker_worker_snapshot_t snapshot;

    ngx_event_t                          hold;      /* keeps us alive */
    ngx_event_t                          tick;      /* every second */
};


#endif /* _NGX_HTTP_LOGBROKER_WORKER_H_INCLUDED_ */
