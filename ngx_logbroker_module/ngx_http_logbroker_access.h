/*
 * logbroker_access_log: nginx's own requests as events.
 */


#ifndef _NGX_HTTP_LOGBROKER_ACCESS_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_ACCESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"


typedef struct {
    ngx_queue_t                      held;          /* events, for a ring */
    size_t                           bytes;
    time_t                           logged;
    const char                      *why;           /* then */
} ngx_http_logbroker_worker_access_t;


/* Adds the handler of the log phase. */
ngx_int_t ngx_http_logbroker_access_init(ngx_conf_t *cf);

/* There is a ring, or there will be none: takes in what was held. */
void ngx_http_logbroker_access_held(ngx_http_logbroker_worker_t *w);


#endif /* _NGX_HTTP_LOGBROKER_ACCESS_H_INCLUDED_ */
