/*
 * The body of a request as one piece of memory, decoded.
 *
 * A body in a single buffer, the usual case, is not copied, and its memory is
 * given back as soon as its record is staged.  One in several buffers is
 * joined in memory that the worker keeps.  What is large, or in a file, is
 * left to large.c.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_decode.h"
#include "ngx_http_logbroker_mem.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_body.h"


static ngx_buf_t *ngx_http_logbroker_body_buffer(ngx_http_request_t *r);
static ngx_uint_t ngx_http_logbroker_body_join(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, ngx_str_t *body);


/*
 * Has nginx read the body.  What came with the header stays in the header's
 * buffer, and nginx reads the rest into another one, unless there is room for
 * it behind the header.  Where that would make two pieces, nginx is given a
 * buffer of the right size in place of the header's, as long as it takes to
 * start reading: then the body is one piece from the beginning.
 */

ngx_int_t
ngx_http_logbroker_body_read(ngx_http_request_t *r,
    ngx_http_client_body_handler_pt handler)
{
    ngx_int_t   rc;
    ngx_buf_t  *b, *header_in;

    r->request_body_in_single_buf = 1;

    header_in = r->header_in;

    b = ngx_http_logbroker_body_buffer(r);

    if (b) {
        b->last = ngx_cpymem(b->last, header_in->pos,
                             header_in->last - header_in->pos);
        header_in->pos = header_in->last;

        r->header_in = b;
    }

    rc = ngx_http_read_client_request_body(r, handler);

    r->header_in = header_in;

    return rc;
}


ngx_int_t
ngx_http_logbroker_body_request(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_client_body_handler_pt handler)
{
    ngx_int_t  rc;

    ctx->requesting = 1;

    rc = ngx_http_logbroker_body_read(ctx->request, handler);

    ctx->requesting = 0;

    return rc;
}


/* The buffer for a body of which a part came with the header, or NULL. */

static ngx_buf_t *
ngx_http_logbroker_body_buffer(ngx_http_request_t *r)
{
    off_t                      len, rest;
    ngx_buf_t                 *b;
    ngx_http_core_loc_conf_t  *clcf;

    if (r != r->main || r->request_body || r->discard_body
        || r->http_version > NGX_HTTP_VERSION_11
        || r->headers_in.chunked)
    {
        return NULL;
    }

    b = r->header_in;
    len = r->headers_in.content_length_n;
    rest = len - (b->last - b->pos);

    if (rest == len || rest <= b->end - b->last) {
        return NULL;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (len > (off_t) clcf->client_body_buffer_size) {
        return NULL;
    }

    /* without memory nginx goes its own way, or fails */
    return ngx_create_temp_buf(r->pool, len);
}


/* Is the body nothing for the event loop?  One that must be decoded may still
 * turn out to be. */

ngx_uint_t
ngx_http_logbroker_body_large(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_chain_t  *cl;

    if (ctx->frame) {
        return 0;
    }

    if (ctx->len > (ctx->encoding ? NGX_HTTP_LOGBROKER_INLINE_PACKED
                                  : NGX_HTTP_LOGBROKER_INLINE))
    {
        return 1;
    }

    for (cl = ctx->request->request_body->bufs; cl; cl = cl->next) {
        if (!ngx_buf_in_memory(cl->buf) && cl->buf->in_file) {
            return 1;
        }
    }

    return 0;
}


size_t
ngx_http_logbroker_body_len(ngx_http_request_t *r)
{
    size_t        len;
    ngx_chain_t  *cl;

    len = 0;

    if (r->request_body) {
        for (cl = r->request_body->bufs; cl; cl = cl->next) {
            len += ngx_buf_size(cl->buf);
        }
    }

    return len;
}


/*
 * Is what nginx calls the body all of what the client has sent?  Not if the
 * request was streamed to somebody (proxy_request_buffering off) who failed:
 * what was passed on is gone, the rest may still be on its way.  Nor if the
 * body was thrown away, or is not asked for by the request that this one is
 * a copy of.
 */

ngx_uint_t
ngx_http_logbroker_body_whole(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_http_request_t       *r;
    ngx_http_request_body_t  *rb;

    r = ctx->request;
    rb = r->request_body;

    return rb
           && !ctx->streamed
           && !r->main->reading_body
           && !r->main->discard_body
           && rb->rest <= 0
           && (r->headers_in.content_length_n <= 0
               || (off_t) ctx->len >= r->headers_in.content_length_n);
}


ngx_uint_t
ngx_http_logbroker_body_piece(ngx_http_request_t *r, ngx_str_t *body)
{
    u_char       *last;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    body->data = NULL;
    body->len = 0;

    if (r->request_body == NULL) {
        return 1;
    }

    /* buffers often are neighbours in the same memory */

    last = NULL;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (!ngx_buf_in_memory(b) && b->in_file) {
            return 0;
        }

        if (b->pos == b->last) {
            continue;
        }

        if (body->data == NULL) {
            body->data = b->pos;

        } else if (b->pos != last) {
            return 0;
        }

        last = b->last;
    }

    body->len = last - body->data;

    return 1;
}


/* 0 or a reason */

static ngx_uint_t
ngx_http_logbroker_body_join(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, ngx_str_t *body)
{
    u_char              *p;
    ngx_chain_t         *cl;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ctx->frame) {
        body->data = (u_char *) ctx->frame->parts[LB_FRAME_BODY].data;
        body->len = ctx->len;
        return 0;
    }

    if (ngx_http_logbroker_body_piece(r, body)) {
        return 0;
    }

    if (ngx_http_logbroker_mem_grow(&w->body.joined, ctx->len) != NGX_OK) {
        return NGX_HTTP_LOGBROKER_NO_MEMORY;
    }

    p = w->body.joined.data;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    body->data = w->body.joined.data;
    body->len = p - w->body.joined.data;

    return 0;
}


/*
 * The body stays valid until ngx_http_logbroker_body_done().  0 or a reason;
 * the words are in ctx->error then.  NGX_HTTP_LOGBROKER_LARGE: decoded it is
 * nothing for the event loop.
 */

ngx_uint_t
ngx_http_logbroker_body(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, ngx_str_t *body)
{
    char        *error;
    size_t       limit;
    ngx_uint_t   reason, coding;

    reason = ngx_http_logbroker_body_join(w, ctx, body);

    if (reason) {
        return reason;
    }

    coding = ctx->encoding;

    if (coding == NGX_HTTP_LOGBROKER_IDENTITY && ctx->open == NULL) {
        return 0;
    }

    limit = ngx_http_logbroker_body_limit(ctx->request);

    if (ctx->open) {
        reason = ctx->open(body, limit, &coding, &error);

        if (reason == NGX_HTTP_LOGBROKER_BODY_TOO_BIG) {
            ngx_http_logbroker_too_big(ctx, reason, 1);
            return reason;
        }

        if (reason) {
            ngx_http_logbroker_error(ctx, error);
            return reason;
        }
    }

    if (coding == NGX_HTTP_LOGBROKER_IDENTITY || body->len == 0) {
        return 0;
    }

    if (limit > NGX_HTTP_LOGBROKER_INLINE
        && ngx_http_logbroker_decode_above(coding, body->data, body->len,
                                           NGX_HTTP_LOGBROKER_INLINE))
    {
        return NGX_HTTP_LOGBROKER_LARGE;
    }

    reason = ngx_http_logbroker_decode(&w->body.codec, coding, body->data,
                                       body->len,
                                       ngx_min(limit,
                                               NGX_HTTP_LOGBROKER_INLINE),
                                       &w->body.decoded, &error);

    if (reason == NGX_HTTP_LOGBROKER_BODY_TOO_BIG) {

        if (limit > NGX_HTTP_LOGBROKER_INLINE) {
            return NGX_HTTP_LOGBROKER_LARGE;
        }

        ngx_http_logbroker_too_big(ctx, reason, 1);
        return reason;
    }

    if (reason) {
        ngx_http_logbroker_error(ctx, error);
        return reason;
    }

    body->data = w->body.decoded.data;
    body->len = w->body.decoded.len;

    return 0;
}


/* What a body may be when it is decoded. */

size_t
ngx_http_logbroker_body_limit(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_logbroker_loc_conf_t  *llcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    if (clcf->client_max_body_size
        && clcf->client_max_body_size < (off_t) llcf->max_body)
    {
        return clcf->client_max_body_size;
    }

    return llcf->max_body;
}


/* The words for a request that is too large in one way or another: decoded,
 * by the number of its events, or as it would be stored. */

void
ngx_http_logbroker_too_big(ngx_http_logbroker_ctx_t *ctx, ngx_uint_t reason,
    ngx_uint_t decoded)
{
    u_char                         *p;
    size_t                          limit;
    ngx_http_logbroker_loc_conf_t  *llcf;

    if (reason == NGX_HTTP_LOGBROKER_TOO_MANY) {
        return;
    }

    p = ngx_pnalloc(ctx->request->pool, 160);
    if (p == NULL) {
        return;
    }

    llcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_logbroker_module);

    limit = decoded ? ngx_http_logbroker_body_limit(ctx->request)
                    : llcf->max_body;

    ctx->error.data = p;
    ctx->error.len = ngx_sprintf(p, "the %s too large: \"%s\" allows %uz bytes",
                                 decoded ? ctx->encoding
                                           ? "decompressed body is" : "body is"
                                         : "events, as they are stored, are",
                                 limit < llcf->max_body
                                     ? "client_max_body_size"
                                     : "logbroker_max_body", limit)
                     - p;
}


void
ngx_http_logbroker_error(ngx_http_logbroker_ctx_t *ctx, const char *words)
{
    ctx->error.len = ngx_strlen(words);
    ctx->error.data = ngx_pnalloc(ctx->request->pool, ctx->error.len);

    if (ctx->error.data == NULL) {
        ctx->error.len = 0;
        return;
    }

    ngx_memcpy(ctx->error.data, words, ctx->error.len);
}


void
ngx_http_logbroker_rejected(ngx_http_logbroker_ctx_t *ctx)
{
    ctx->first = ctx->error;
    ctx->first_row = ctx->row;
    ctx->first_column = ctx->column;

    ngx_str_null(&ctx->error);
    ctx->row = 0;
    ctx->column = 0;
}


/*
 * A body of some size is memory of its own.  Nobody needs it while the request
 * waits for its group, and the next body finds it still in the processor's
 * caches.
 */

void
ngx_http_logbroker_body_done(ngx_http_logbroker_ctx_t *ctx)
{
    u_char  *block, *end;

    block = ngx_http_logbroker_body_block(ctx, &end);

    if (block) {
        ngx_http_logbroker_body_detach(ctx);
        ngx_free(block);
    }
}


/*
 * The memory of the body, if it has one that is its own: a large allocation of
 * the request's pool, that nobody else needs.  Subrequests, as of the mirror
 * module, may share it, and a post_action may still want to send it.
 */

u_char *
ngx_http_logbroker_body_block(ngx_http_logbroker_ctx_t *ctx, u_char **end)
{
    u_char                    *block;
    ngx_pool_large_t          *l;
    ngx_http_request_t        *r;
    ngx_http_request_body_t   *rb;
    ngx_http_core_loc_conf_t  *clcf;

    r = ctx->request;
    rb = r->request_body;

    *end = NULL;

    if (ctx->frame || rb == NULL || rb->buf == NULL || rb->bufs == NULL || rb->temp_file
        || r != r->main || r->http_version > NGX_HTTP_VERSION_11
        || r->count != (ctx->requesting ? 2 : 1))
    {
        return NULL;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->post_action.data) {
        return NULL;
    }

    block = rb->bufs->buf->start;

    for (l = r->pool->large; l; l = l->next) {
        if (l->alloc == block && block) {
            *end = rb->bufs->buf->end;
            return block;
        }
    }

    return NULL;
}


/* The block belongs to the caller from now on. */

void
ngx_http_logbroker_body_detach(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_pool_large_t         *l;
    ngx_http_request_t       *r;
    ngx_http_request_body_t  *rb;

    r = ctx->request;
    rb = r->request_body;

    for (l = r->pool->large; l; l = l->next) {
        if (l->alloc == rb->bufs->buf->start) {
            l->alloc = NULL;
            break;
        }
    }

    rb->bufs = NULL;
    rb->buf = NULL;
}
