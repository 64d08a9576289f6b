/*
 * The status as text for Prometheus.
 */


#ifndef _NGX_HTTP_LOGBROKER_METRICS_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_METRICS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_snapshot.h"


size_t ngx_http_logbroker_metrics_size(ngx_uint_t rings);
u_char *ngx_http_logbroker_metrics(ngx_http_logbroker_worker_t *w, u_char *p,
    u_char *last, uint32_t *slots, ngx_int_t n,
    ngx_http_logbroker_flusher_t *flusher);


#endif /* _NGX_HTTP_LOGBROKER_METRICS_H_INCLUDED_ */
