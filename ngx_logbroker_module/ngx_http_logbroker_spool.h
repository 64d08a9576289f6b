/*
 * The spool: logbroker_spool, and its directory.
 */


#ifndef _NGX_HTTP_LOGBROKER_SPOOL_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_SPOOL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_conf.h"


/* the rings of the spool */

typedef struct {
    off_t                            size;          /* of each */
    ngx_uint_t                       begin;         /* made at the start */
    ngx_uint_t                       most;          /* never more */
} ngx_http_logbroker_plan_t;


/* logbroker_spool */
char *ngx_http_logbroker_spool(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* What logbroker_spool comes to with so many workers. */
void ngx_http_logbroker_spool_plan(ngx_http_logbroker_main_conf_t *lmcf,
    ngx_uint_t workers, ngx_http_logbroker_plan_t *plan);

/* In the master, at start and at each reload: says what the rings come to,
 * creates the directory, and warns of what the configuration leaves behind. */
ngx_int_t ngx_http_logbroker_init_module(ngx_cycle_t *cycle);


#endif /* _NGX_HTTP_LOGBROKER_SPOOL_H_INCLUDED_ */
