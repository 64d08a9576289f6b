/*
 * What many requests that are carried as one mean to the brokers' turns, which
 * are those of nginx's round robin: it knows of one request.
 */


#ifndef _NGX_HTTP_LOGBROKER_PEERS_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_PEERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* The peer of this name (or NULL) has got n requests as one: as if each had had
 * a turn of its own. */
void ngx_http_logbroker_peers_took(ngx_http_upstream_srv_conf_t *upstream,
    ngx_str_t *name, ngx_uint_t n);

/* It has not answered them: as if each had failed by itself. */
void ngx_http_logbroker_peers_failed(ngx_http_upstream_srv_conf_t *upstream,
    ngx_str_t *name, ngx_uint_t n);

/* Has one failed that is to be tried once more?  That is for one request to find
 * out, as long as it is not known who of the others gets it.  NULL: no. */
ngx_uint_t ngx_http_logbroker_peers_doubt(
    ngx_http_upstream_srv_conf_t *upstream);


#endif /* _NGX_HTTP_LOGBROKER_PEERS_H_INCLUDED_ */
