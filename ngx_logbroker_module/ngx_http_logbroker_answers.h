/*
 * What a server answers, counted by status: for the edge, which stores nothing
 * and whose errors nobody behind it sees.
 */


#ifndef _NGX_HTTP_LOGBROKER_ANSWERS_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_ANSWERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* logbroker_answers: the location tells them, and all servers count. */
char *ngx_http_logbroker_answers(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* After all directives: the handler of the phase, if anything is to count. */
ngx_int_t ngx_http_logbroker_answers_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LOGBROKER_ANSWERS_H_INCLUDED_ */
