/*
 * The life of a worker process.
 */


#ifndef _NGX_HTTP_LOGBROKER_PROCESS_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_PROCESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"


ngx_int_t ngx_http_logbroker_init_process(ngx_cycle_t *cycle);
void ngx_http_logbroker_exit_process(ngx_cycle_t *cycle);


#endif /* _NGX_HTTP_LOGBROKER_PROCESS_H_INCLUDED_ */
