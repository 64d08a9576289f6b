/*
 * What waits, and keeps a worker that leaves alive.
 */


#ifndef _NGX_HTTP_LOGBROKER_HOLD_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_HOLD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"


void ngx_http_logbroker_hold_init(ngx_http_logbroker_worker_t *w);

/* To be called whenever something waits, or has waited: a worker that is to
 * leave stays as long as there is anything; the counts of the seat follow. */
void ngx_http_logbroker_hold_update(ngx_http_logbroker_worker_t *w);

/* Does a request wait for a ring? */
ngx_uint_t ngx_http_logbroker_wants_room(ngx_http_logbroker_worker_t *w);


#endif /* _NGX_HTTP_LOGBROKER_HOLD_H_INCLUDED_ */
