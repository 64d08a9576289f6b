/*
 * The spool: logbroker_spool, and its directory.
 */


#ifndef _NGX_HTTP_LOGBROKER_SPOOL_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_SPOOL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* logbroker_spool */
char *ngx_http_logbroker_spool(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* In the master, at start and at each reload: creates the directory, and warns
 * of what the configuration leaves behind. */
ngx_int_t ngx_http_logbroker_init_module(ngx_cycle_t *cycle);


#endif /* _NGX_HTTP_LOGBROKER_SPOOL_H_INCLUDED_ */
