/*
 * A second ring of the worker, for large records that are to be durable: small
 * ones do not wait behind them.
 */


#ifndef _NGX_HTTP_LOGBROKER_ASIDE_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_ASIDE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_error.h"
#include "spool/lb_spool.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_group.h"
#include "ngx_http_logbroker_request.h"


/* bytes of payload from which on a record goes there: what takes several times
 * as long to write as a group of small ones */
#define NGX_HTTP_LOGBROKER_ASIDE_MIN     (1024 * 1024)


typedef struct {
    lb_writer_t                     *writer;        /* NULL: none is held */
    ngx_msec_t                       used_at;
    ngx_msec_t                       kept_since;
    ngx_msec_t                       off_until;     /* none is sought before */
    ngx_event_t                      watch;         /* while one is held */

    /* the claim: a thread has these while it runs */
    ngx_thread_task_t                claim;
    lb_spool_t                      *spool;
    uint64_t                         capacity;
    uint64_t                         need;
    lb_writer_t                     *claimed;
    lb_error_t                       error;

    /* one record at a time */
    ngx_http_logbroker_group_t       flight;
    ngx_thread_task_t                write;
    uint64_t                         us;            /* how long it took */

    ngx_msec_t                       started;       /* claim or write */

    ngx_uint_t                       claiming;
    ngx_uint_t                       writing;
    ngx_uint_t                       paused;        /* others may claim it */
    ngx_uint_t                       gone;          /* meanwhile, the file */
} ngx_http_logbroker_worker_aside_t;


void ngx_http_logbroker_aside_init(ngx_http_logbroker_worker_t *w);

/* The threads are gone: ends what they did unseen, gives the ring back. */
void ngx_http_logbroker_aside_exit(ngx_http_logbroker_worker_t *w);

/* Is there a second ring for a record of need bytes, header included?  NGX_OK:
 * w->aside.writer is free to write it; NGX_AGAIN: w->ready is called when it is
 * worth asking again; NGX_DECLINED: there is none, the record goes into the
 * worker's group. */
ngx_int_t ngx_http_logbroker_aside_ready(ngx_http_logbroker_worker_t *w,
    uint64_t need);

/* The record just appended to w->aside.writer is that of the request, which is
 * told by ctx->done what became of it: a thread writes it. */
void ngx_http_logbroker_aside_write(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx);

/* The ring does not take what it had room for: it is given back. */
void ngx_http_logbroker_aside_refused(ngx_http_logbroker_worker_t *w);

/* Once a second: is the file still the ring? */
void ngx_http_logbroker_aside_tick(ngx_http_logbroker_worker_t *w);


#endif /* _NGX_HTTP_LOGBROKER_ASIDE_H_INCLUDED_ */
