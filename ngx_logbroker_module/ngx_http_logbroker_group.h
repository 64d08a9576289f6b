/*
 * Group commit: records that are written together, and the requests that wait
 * for it.
 */


#ifndef _NGX_HTTP_LOGBROKER_GROUP_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_GROUP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_request.h"


/* records staged while a group is in flight; beyond it, requests are parked */
#define NGX_HTTP_LOGBROKER_STAGED_MAX    (4 * 1024 * 1024)


/* records that are written together, and the requests that wait for it */

typedef struct {
    ngx_queue_t                      waiters;
    ngx_queue_t                      keys;
    ngx_uint_t                       requests;
    ngx_uint_t                       events;
    uint64_t                         replaced;      /* characters in them */
    uint64_t                         bytes;
    ngx_uint_t                       access;        /* events nobody awaits */
    ngx_uint_t                       sync;
} ngx_http_logbroker_group_t;


typedef enum {
    NGX_HTTP_LOGBROKER_IO_IDLE = 0,
    NGX_HTTP_LOGBROKER_IO_GROUP,                    /* lb_writer_write() */
    NGX_HTTP_LOGBROKER_IO_SYNC                      /* lb_writer_sync_run() */
} ngx_http_logbroker_io_e;


typedef struct {
    ngx_http_logbroker_group_t       pending;       /* being staged */
    ngx_http_logbroker_group_t       flight;        /* being written */
    ngx_event_t                      commit;        /* posted */

    /* what the thread does; the ring stays open as long as it does */
    ngx_uint_t                       io;
    ngx_msec_t                       started;
    ngx_thread_task_t                task;
    uint64_t                         us;            /* how long it took */
    int                              failed;        /* a write, meanwhile */

    /* set by who follows the ring: a group or a sync has ended; and the ring
     * is given up, w->ring.writer is NULL */
    void                           (*ended)(ngx_http_logbroker_worker_t *w);
    void                           (*lost)(ngx_http_logbroker_worker_t *w);

    ngx_uint_t                       want_sync;
} ngx_http_logbroker_worker_group_t;


void ngx_http_logbroker_group_init(ngx_http_logbroker_worker_t *w);

/* A group without anything; one becomes part of another and is without anything
 * then. */
void ngx_http_logbroker_group_clear(ngx_http_logbroker_group_t *group);
void ngx_http_logbroker_group_move(ngx_http_logbroker_group_t *from,
    ngx_http_logbroker_group_t *to);

/* The record of the request, which waits from now on, belongs to the group. */
void ngx_http_logbroker_group_add(ngx_http_logbroker_group_t *group,
    ngx_http_logbroker_ctx_t *ctx, ngx_uint_t sync);

/* The group is on disk: counts it, ends its keys, hands over its waiters. */
void ngx_http_logbroker_group_stored(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_group_t *group, ngx_queue_t *waiters);

/* Tells the waiters what became of their records: 0 or a reason. */
void ngx_http_logbroker_group_answer(ngx_queue_t *waiters, ngx_uint_t reason);

/* The record of the request is staged: the request waits for its group, and is
 * told by ctx->done what became of it.  sync: the group is to be durable. */
void ngx_http_logbroker_group_join(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, ngx_uint_t sync);

/* The request goes away: its record stays. */
void ngx_http_logbroker_group_forget(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx);

/* A record nobody waits for is staged: it is written in its group's turn. */
void ngx_http_logbroker_group_join_silent(ngx_http_logbroker_worker_t *w);

/* What is committed without sync becomes durable: now, or before the next
 * group. */
void ngx_http_logbroker_group_sync(ngx_http_logbroker_worker_t *w);

/* The file of the ring is no longer the ring: nothing more is written to it. */
void ngx_http_logbroker_group_gone(ngx_http_logbroker_worker_t *w);


#endif /* _NGX_HTTP_LOGBROKER_GROUP_H_INCLUDED_ */
