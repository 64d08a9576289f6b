/*
 * From a record to the pending group: what it is told of its request, and what
 * came of it.
 */


#ifndef _NGX_HTTP_LOGBROKER_APPEND_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_APPEND_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_record.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_request.h"


void ngx_http_logbroker_meta(ngx_http_logbroker_ctx_t *ctx, lb_meta_t *meta);

/* The address of the client; the memory is that of the connection. */
void ngx_http_logbroker_client(ngx_connection_t *c, lb_meta_t *meta);

/*
 * The append of a record with len bytes of payload has returned rc.  0: the
 * request waits for its group; NGX_HTTP_LOGBROKER_SEEK: it is to be appended
 * again in the ring that is sought; or why it is refused.
 */
ngx_uint_t ngx_http_logbroker_appended(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, int rc, size_t len);


#endif /* _NGX_HTTP_LOGBROKER_APPEND_H_INCLUDED_ */
