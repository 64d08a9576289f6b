/*
 * The snapshot as text for Prometheus.
 */


#ifndef _NGX_HTTP_LOGBROKER_METRICS_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_METRICS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_snapshot.h"


/* Room that suffices for ngx_http_logbroker_metrics(), which returns where it
 * has ended, or last. */
size_t ngx_http_logbroker_metrics_size(ngx_http_logbroker_snapshot_t *s);
u_char *ngx_http_logbroker_metrics(ngx_http_logbroker_snapshot_t *s, u_char *p,
    u_char *last);


#endif /* _NGX_HTTP_LOGBROKER_METRICS_H_INCLUDED_ */
