/*
 * logbroker_status.
 */


#ifndef _NGX_HTTP_LOGBROKER_STATUS_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_STATUS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* what logbroker_status serves; _ACCEPT: what the client prefers */

typedef enum {
    NGX_HTTP_LOGBROKER_STATUS_ACCEPT = 0,
    NGX_HTTP_LOGBROKER_STATUS_JSON,
    NGX_HTTP_LOGBROKER_STATUS_METRICS,
    NGX_HTTP_LOGBROKER_STATUS_PAGE,
    NGX_HTTP_LOGBROKER_STATUS_EXPLORE,
    NGX_HTTP_LOGBROKER_STATUS_HEALTH,
    NGX_HTTP_LOGBROKER_STATUS_HISTORY
} ngx_http_logbroker_status_e;


char *ngx_http_logbroker_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_LOGBROKER_STATUS_H_INCLUDED_ */
