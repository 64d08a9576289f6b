/*
 * The ring of a worker: the spool is opened, a ring claimed, rings are created
 * where they are missing.
 */


#ifndef _NGX_HTTP_LOGBROKER_RING_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_RING_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_acquire.h"
#include "spool/lb_error.h"
#include "spool/lb_spool.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"


/* milliseconds for which requests are parked after a worker has started, or
 * has lost its ring, without a new one; afterwards they are refused */
#define NGX_HTTP_LOGBROKER_GRACE         1000

/* milliseconds between two attempts at a ring while requests are parked */
#define NGX_HTTP_LOGBROKER_CLAIM_RETRY   20


/* gets the worker a ring, or sees to spare ones */

typedef struct {
    ngx_thread_task_t                task;
    char                            *path;
    lb_spool_t                      *spool;         /* NULL: to be opened */
    unsigned                         flags;         /* ... with these */
    lb_writer_t                     *writer;        /* what came of it */
    lb_acquired_t                    got;
    lb_wanted_t                      wanted;
    uint32_t                         spares;        /* 0: for the worker */
    uint32_t                         slot;          /* of the worker's ring */
    ngx_int_t                        aside;         /* ... second one, or -1 */
    int                              rc;
    ngx_uint_t                       enough;
    lb_error_t                       error;
} ngx_http_logbroker_create_t;


typedef struct {
    ngx_str_t                        path;          /* of the spool */
    uint64_t                         capacity;
    ngx_uint_t                       max_rings;
    ngx_uint_t                       spares;

    lb_spool_t                      *spool;
    lb_writer_t                     *writer;        /* NULL: no ring */

    ngx_http_logbroker_create_t      create;
    ngx_msec_t                       create_after;
    ngx_msec_t                       spare_after;
    ngx_msec_t                       lost_at;
    ngx_msec_t                       grace_until;

    u_char                           problem[600];  /* why there is no ring */
    int                              problem_code;
    ngx_msec_t                       problem_logged;

    unsigned                         creating:1;
    unsigned                         space_logged:1;
    unsigned                         vanished:1;    /* spool was there */
} ngx_http_logbroker_worker_ring_t;


/* Opens the spool and begins to claim a ring. */
void ngx_http_logbroker_ring_init(ngx_http_logbroker_worker_t *w);

/* Has a thread claim a ring, or make one. */
void ngx_http_logbroker_claim(ngx_http_logbroker_worker_t *w);

/* The ring was given up after a failure: claims another one, at once, unless
 * that has happened just before. */
void ngx_http_logbroker_ring_lost(ngx_http_logbroker_worker_t *w);

/* Has a thread make a spare ring, if there are too few and it is time. */
void ngx_http_logbroker_ring_spare(ngx_http_logbroker_worker_t *w);

/* Takes over what the thread ended with, unseen; it is gone. */
void ngx_http_logbroker_ring_exit(ngx_http_logbroker_worker_t *w);

/* Are requests parked until there is a ring to write to? */
ngx_uint_t ngx_http_logbroker_waits(ngx_http_logbroker_worker_t *w);

/* Is there no ring to write to, and none that requests are parked for? */
ngx_uint_t ngx_http_logbroker_no_ring(ngx_http_logbroker_worker_t *w);

/* Why there is no ring: for the log, at most once a minute, and status. */
void ngx_http_logbroker_problem(ngx_http_logbroker_worker_t *w,
    ngx_uint_t level, int code, const char *text);


#endif /* _NGX_HTTP_LOGBROKER_RING_H_INCLUDED_ */
