/*
 * From a body to a record in the pending group; requests that are parked until
 * there is room.
 */


#ifndef _NGX_HTTP_LOGBROKER_STAGE_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_STAGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_request.h"


typedef struct {
    ngx_queue_t                      parked;        /* waiting for room */
    ngx_uint_t                       nparked;
} ngx_http_logbroker_worker_stage_t;


/* Sets w->ready: takes in what waits, in order, as far as there is room. */
void ngx_http_logbroker_stage_init(ngx_http_logbroker_worker_t *w);

/* Takes a request whose body was read: stages, parks or refuses it. */
void ngx_http_logbroker_stage_enter(ngx_http_logbroker_ctx_t *ctx);

/* The request goes away, or is taken in after all. */
void ngx_http_logbroker_stage_forget(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx);


#endif /* _NGX_HTTP_LOGBROKER_STAGE_H_INCLUDED_ */
