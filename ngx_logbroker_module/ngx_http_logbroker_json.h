/*
 * The status as JSON.
 */


#ifndef _NGX_HTTP_LOGBROKER_JSON_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_snapshot.h"


u_char *ngx_http_logbroker_status_json(ngx_http_request_t *r,
    ngx_http_logbroker_worker_t *w, u_char *p, u_char *last, uint32_t *slots,
    ngx_int_t n, ngx_http_logbroker_flusher_t *flusher);


#endif /* _NGX_HTTP_LOGBROKER_JSON_H_INCLUDED_ */
