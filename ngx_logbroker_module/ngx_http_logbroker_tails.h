/*
 * logbroker_tails: the events of several logbroker_tail in one stream.
 */


#ifndef _NGX_HTTP_LOGBROKER_TAILS_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_TAILS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* bytes of events that wait for a client, beside one event of each broker; what
 * is more stays with the brokers, who count what they drop */
#define NGX_HTTP_LOGBROKER_TAILS_ROOM    (256 * 1024)

/* bytes that are taken of one broker before it is the next one's turn */
#define NGX_HTTP_LOGBROKER_TAILS_TURN    (64 * 1024)

/* milliseconds between two looks at which brokers are away */
#define NGX_HTTP_LOGBROKER_TAILS_EVERY   1000


char *ngx_http_logbroker_tails(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* _NGX_HTTP_LOGBROKER_TAILS_H_INCLUDED_ */
