/*
 * What the header of a request says: media type, encoding, stream.
 */


#ifndef _NGX_HTTP_LOGBROKER_ACCEPT_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_ACCEPT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_request.h"


/* Each sets what it finds in ctx; 0 or a reason. */
ngx_uint_t ngx_http_logbroker_content_type(ngx_http_logbroker_ctx_t *ctx);
ngx_uint_t ngx_http_logbroker_content_encoding(ngx_http_logbroker_ctx_t *ctx);
ngx_uint_t ngx_http_logbroker_stream(ngx_http_logbroker_ctx_t *ctx);

/* Is it the name of a stream? */
ngx_uint_t ngx_http_logbroker_stream_valid(ngx_str_t *stream);


#endif /* _NGX_HTTP_LOGBROKER_ACCEPT_H_INCLUDED_ */
