/*
 * logbroker_tail: events live from the rings, as server-sent events.
 */


#ifndef _NGX_HTTP_LOGBROKER_TAIL_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_TAIL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"


/* milliseconds between two looks at the rings */
#define NGX_HTTP_LOGBROKER_TAIL_EVERY    20

/* ... for which a worker that leaves stays for the thread, at least */
#define NGX_HTTP_LOGBROKER_TAIL_KEEP     1000


char *ngx_http_logbroker_tail(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* The threads are gone, and with them the clients. */
void ngx_http_logbroker_tail_exit(ngx_http_logbroker_worker_t *w);


#endif /* _NGX_HTTP_LOGBROKER_TAIL_H_INCLUDED_ */
