/*
 * Bodies that are too large for the event loop: one at a time becomes a record
 * in a thread.
 */


#ifndef _NGX_HTTP_LOGBROKER_LARGE_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_LARGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_job.h"
#include "ngx_http_logbroker_request.h"


typedef struct {
    ngx_queue_t                      queue;         /* waiting for a job */
    ngx_uint_t                       n;             /* and the one that has */
    ngx_http_logbroker_job_t        *job;           /* NULL: none */
    ngx_event_t                      next;          /* posted */
    unsigned                         trim:1;        /* much was freed */
} ngx_http_logbroker_worker_large_t;


void ngx_http_logbroker_large_init(ngx_http_logbroker_worker_t *w);

/* Queues the request. */
void ngx_http_logbroker_large(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx);

/* Puts the record that is ready, if one is, into the pending group, as soon as
 * there is room. */
void ngx_http_logbroker_large_stage(ngx_http_logbroker_worker_t *w);

/* The request goes away: its job, if one runs, finishes alone. */
void ngx_http_logbroker_large_forget(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx);


#endif /* _NGX_HTTP_LOGBROKER_LARGE_H_INCLUDED_ */
