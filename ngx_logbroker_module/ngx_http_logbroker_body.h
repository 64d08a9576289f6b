/*
 * The body of a request as one piece of memory, decoded.
 */


#ifndef _NGX_HTTP_LOGBROKER_BODY_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_BODY_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_decode.h"
#include "ngx_http_logbroker_mem.h"
#include "ngx_http_logbroker_request.h"


/* the largest body that the event loop itself deals with, decoded; and one
 * that it tries to decode; it takes a fraction of a millisecond */
#define NGX_HTTP_LOGBROKER_INLINE        (128 * 1024)
#define NGX_HTTP_LOGBROKER_INLINE_PACKED (32 * 1024)


/* memory for one body after the other */

typedef struct {
    ngx_http_logbroker_mem_t         joined;
    ngx_http_logbroker_mem_t         decoded;
    ngx_http_logbroker_codec_t       codec;
} ngx_http_logbroker_worker_body_t;


/* Has nginx read the body, in one piece where it can be; what a content handler
 * returns.  _request: of a request that has a ctx. */
ngx_int_t ngx_http_logbroker_body_read(ngx_http_request_t *r,
    ngx_http_client_body_handler_pt handler);
ngx_int_t ngx_http_logbroker_body_request(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_client_body_handler_pt handler);

/* Is all of the body, as it was sent, in one piece of memory?  Then it is in
 * *body. */
ngx_uint_t ngx_http_logbroker_body_piece(ngx_http_request_t *r,
    ngx_str_t *body);

/* Is the body nothing for the event loop? */
ngx_uint_t ngx_http_logbroker_body_large(ngx_http_logbroker_ctx_t *ctx);

/* As it was sent. */
size_t ngx_http_logbroker_body_len(ngx_http_request_t *r);

/* Is what there is all of what the client has sent? */
ngx_uint_t ngx_http_logbroker_body_whole(ngx_http_logbroker_ctx_t *ctx);

/*
 * The body in one piece, decoded: valid until ngx_http_logbroker_body_done(),
 * or the next body.  0 or a reason, with the words in ctx->error;
 * NGX_HTTP_LOGBROKER_LARGE: decoded it is nothing for the event loop.
 */
ngx_uint_t ngx_http_logbroker_body(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, ngx_str_t *body);

/* Gives its memory back, where nobody else needs it. */
void ngx_http_logbroker_body_done(ngx_http_logbroker_ctx_t *ctx);

/* The memory of the body and its end, if it has one that is its own, else NULL;
 * detach: it belongs to the caller from now on. */
u_char *ngx_http_logbroker_body_block(ngx_http_logbroker_ctx_t *ctx,
    u_char **end);
void ngx_http_logbroker_body_detach(ngx_http_logbroker_ctx_t *ctx);

/* Bytes that a body may have when it is decoded. */
size_t ngx_http_logbroker_body_limit(ngx_http_request_t *r);

/* Words for a refusal, in memory of the request: that something is too large
 * (the body, decoded or not, or what would be stored), and any. */
void ngx_http_logbroker_too_big(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason, ngx_uint_t decoded);
void ngx_http_logbroker_error(ngx_http_logbroker_ctx_t *ctx,
    const char *words);

/* The error is the one of the first event that was rejected, if it comes to no
 * refusal. */
void ngx_http_logbroker_rejected(ngx_http_logbroker_ctx_t *ctx);


#endif /* _NGX_HTTP_LOGBROKER_BODY_H_INCLUDED_ */
