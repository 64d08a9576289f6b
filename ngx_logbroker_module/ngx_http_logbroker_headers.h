/*
 * HTTP on both sides: the headers of a request, those of its answer, and the
 * answer itself.  Knows nothing of events.
 */


#ifndef _NGX_HTTP_LOGBROKER_HEADERS_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_HEADERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * The first header of the request whose name is name, in lower case, behind
 * prev, or the first one of all if prev is NULL:
 *
 *     h = NULL;
 *
 *     while ((h = ngx_http_logbroker_header(r, &name, h))) {
 */
ngx_table_elt_t *ngx_http_logbroker_header(ngx_http_request_t *r,
    const ngx_str_t *name, ngx_table_elt_t *prev);

/* Does the request come from the shipped edge, which asks another broker where
 * the answer is 503? */
ngx_uint_t ngx_http_logbroker_through_edge(ngx_http_request_t *r);

/* The status of an answer, in the log phase; of one by gRPC, which is always 200,
 * what its own means in HTTP. */
ngx_uint_t ngx_http_logbroker_answered(ngx_http_request_t *r);

/* Adds a header to the answer.  Name and value, zero-terminated, are not
 * copied. */
ngx_int_t ngx_http_logbroker_add_header(ngx_http_request_t *r, char *name,
    char *value);

/* Sends 204; what a content handler returns. */
ngx_int_t ngx_http_logbroker_send_nothing(ngx_http_request_t *r);

/* Sends a whole answer; type is its media type, zero-terminated and static;
 * b lies in memory of the request or is static.  What a content handler
 * returns. */
ngx_int_t ngx_http_logbroker_send(ngx_http_request_t *r, ngx_uint_t status,
    char *type, ngx_buf_t *b);


#endif /* _NGX_HTTP_LOGBROKER_HEADERS_H_INCLUDED_ */
