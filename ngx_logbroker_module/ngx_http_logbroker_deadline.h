/*
 * Where requests are passed on: an answer within a time, whoever is asked.
 *
 * proxy_read_timeout and proxy_send_timeout begin anew with each byte, so a
 * server that is slow, and not silent, holds a client for as long as it likes.
 */


#ifndef _NGX_HTTP_LOGBROKER_DEADLINE_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_DEADLINE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* The time begins now: the request waits, and asks a server later. */
void ngx_http_logbroker_deadline_begin(ngx_http_request_t *r);

/* The server that is asked has timed out, as if proxy_read_timeout had passed: it
 * has a connection.  The request may end in here. */
void ngx_http_logbroker_deadline_end(ngx_http_upstream_t *u);

/* After all directives: the handler of the phase. */
ngx_int_t ngx_http_logbroker_deadline_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LOGBROKER_DEADLINE_H_INCLUDED_ */
