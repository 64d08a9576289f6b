/*
 * A client that is sent server-sent events (WHATWG HTML, 9.2), as long as it
 * likes.  Knows nothing of where they come from.
 */


#ifndef _NGX_HTTP_LOGBROKER_SSE_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_SSE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_mem.h"


/* clients at a time, of a worker and a source: each may need a megabyte */
#define NGX_HTTP_LOGBROKER_SSE_CLIENTS   64

/* milliseconds after which a client is told that there is nothing to tell */
#define NGX_HTTP_LOGBROKER_SSE_QUIET     15000


typedef struct ngx_http_logbroker_sse_s  ngx_http_logbroker_sse_t;

struct ngx_http_logbroker_sse_s {
    ngx_http_request_t              *request;       /* NULL: it left */

    /* all is sent: puts what there is into sending, which is empty; maybe
     * nothing */
    void                           (*more)(ngx_http_logbroker_sse_t *s);

    /* the request goes away; s is the owner's to free */
    void                           (*left)(ngx_http_logbroker_sse_t *s);

    ngx_http_logbroker_mem_t         sending;
    ngx_buf_t                        buf;
    ngx_chain_t                      chain;
    ngx_msec_t                       said_at;
    ngx_uint_t                       ended;         /* what is left is sent */
};


/* The first half of a content handler, whose source has n clients: methods, the
 * request's body, the answer's header fields.  NGX_DECLINED: go on with
 * ngx_http_logbroker_sse_begin(); else what the handler returns. */
ngx_int_t ngx_http_logbroker_sse_accept(ngx_http_request_t *r, ngx_uint_t n);

/* The second half: s is zeros but for more and left.  From here on left() is
 * called when the request goes away, whatever is returned: what the handler
 * returns. */
ngx_int_t ngx_http_logbroker_sse_begin(ngx_http_request_t *r,
    ngx_http_logbroker_sse_t *s);

/* Sends what more() has, unless the client has not taken the last of it yet.  It
 * may end the request. */
void ngx_http_logbroker_sse_send(ngx_http_logbroker_sse_t *s);

/* Has nothing been said for a while? */
ngx_uint_t ngx_http_logbroker_sse_quiet(ngx_http_logbroker_sse_t *s);

/* NGX_OK: the end of the stream, as the client is told; NGX_ERROR: its
 * connection is closed. */
void ngx_http_logbroker_sse_end(ngx_http_logbroker_sse_t *s, ngx_int_t rc);


#endif /* _NGX_HTTP_LOGBROKER_SSE_H_INCLUDED_ */
