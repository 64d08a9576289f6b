/*
 * The directives of the access log.
 */


#ifndef _NGX_HTTP_LOGBROKER_ACCESS_CONF_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_ACCESS_CONF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"


struct ngx_http_logbroker_access_s {
    ngx_str_t                        stream;
    ngx_http_complex_value_t        *filter;
    ngx_array_t                     *fields;        /* when merged */
};


char *ngx_http_logbroker_access_log(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_logbroker_access_field(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_logbroker_access_merge(ngx_conf_t *cf,
    ngx_http_logbroker_loc_conf_t *prev, ngx_http_logbroker_loc_conf_t *conf);


#endif /* _NGX_HTTP_LOGBROKER_ACCESS_CONF_H_INCLUDED_ */
