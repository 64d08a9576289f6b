/*
 * Pages of other origins that may send events, and read the answers (CORS, of
 * the Fetch standard).
 *
 * Works in the rewrite phase: a preflight, which brings no credentials, is
 * answered before access is checked, and the answers of nginx's own limits
 * have the headers too.
 */


#ifndef _NGX_HTTP_LOGBROKER_CORS_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_CORS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* The directive: logbroker_cors off | * | origin ...; */
char *ngx_http_logbroker_cors(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* After all directives: the handler of the phase. */
ngx_int_t ngx_http_logbroker_cors_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LOGBROKER_CORS_H_INCLUDED_ */
