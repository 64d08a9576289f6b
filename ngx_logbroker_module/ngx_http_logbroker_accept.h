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


/* something for the scan to know, see lb_param() */

typedef struct {
    ngx_str_t                        name;
    ngx_str_t                        value;
    ngx_uint_t                       escaped;       /* as in a URI */
} ngx_http_logbroker_param_t;


/* Each sets what it finds in ctx; 0 or a reason. */
ngx_uint_t ngx_http_logbroker_content_type(ngx_http_logbroker_ctx_t *ctx);
ngx_uint_t ngx_http_logbroker_content_encoding(ngx_http_logbroker_ctx_t *ctx);
ngx_uint_t ngx_http_logbroker_stream(ngx_http_logbroker_ctx_t *ctx);

/* The same of what one of many says, see gathered.h: its path begins with
 * prefix. */
ngx_uint_t ngx_http_logbroker_frame_type(ngx_http_logbroker_ctx_t *ctx);
ngx_uint_t ngx_http_logbroker_frame_stream(ngx_http_logbroker_ctx_t *ctx,
    ngx_str_t *prefix);

/* ctx->stream is what logbroker_stream says, or what it is already, or
 * "default"; 0 or a reason. */
ngx_uint_t ngx_http_logbroker_stream_set(ngx_http_logbroker_ctx_t *ctx);

/* What follows the location's name in the URI, without slashes around it. */
void ngx_http_logbroker_path(ngx_http_request_t *r, ngx_str_t *path);

/* Is this the end of the path, but for slashes? */
ngx_uint_t ngx_http_logbroker_ends(ngx_str_t *path, char *end);

/* Sets ctx->params to those that have a value.  0 or a reason. */
ngx_uint_t ngx_http_logbroker_params(ngx_http_logbroker_ctx_t *ctx,
    const ngx_http_logbroker_param_t *params, ngx_uint_t n);

/* Is it the name of a stream? */
ngx_uint_t ngx_http_logbroker_stream_valid(ngx_str_t *stream);


#endif /* _NGX_HTTP_LOGBROKER_ACCEPT_H_INCLUDED_ */
