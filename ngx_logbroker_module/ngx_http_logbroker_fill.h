/*
 * Zero-fills a new ring ahead of its writer, slice by slice.
 */


#ifndef _NGX_HTTP_LOGBROKER_FILL_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_FILL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"


typedef struct {
    ngx_thread_task_t                task;
    ngx_event_t                      next;          /* timer */
    lb_writer_t                     *writer;        /* running */
    lb_writer_t                     *close;         /* when it has ended */
    ngx_msec_t                       took;
} ngx_http_logbroker_worker_fill_t;


void ngx_http_logbroker_fill_init(ngx_http_logbroker_worker_t *w);

/* The next slice of the worker's ring, if there is one and none is running. */
void ngx_http_logbroker_fill(ngx_http_logbroker_worker_t *w);

/* Closes a writer: at once, unless it is just being filled. */
void ngx_http_logbroker_fill_close(ngx_http_logbroker_worker_t *w,
    lb_writer_t *writer);


#endif /* _NGX_HTTP_LOGBROKER_FILL_H_INCLUDED_ */
