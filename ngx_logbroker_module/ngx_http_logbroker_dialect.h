/*
 * Dialects: the protocols in which events are sent, a row each.
 *
 * A dialect is a directive for a location, the formats of its bodies, and its
 * answers.  All else (codings, limits, idempotency, rings, group commit) is the
 * same for all of them and knows none by name.
 *
 * To add a dialect
 *
 *  1. Its formats (event/format.h tells how), if there are none that fit.
 *  2. ngx_http_logbroker_NAME.c with the functions below and the row,
 *     ngx_http_logbroker_NAME, declared at the end of this file.
 *  3. The row goes into the table in ngx_http_logbroker_dialect.c, its
 *     directive into ngx_http_logbroker_commands, as that of "logbroker".
 *  4. docs/directives.md gets the directive, tests/e2e a file that speaks the
 *     protocol.
 *
 * What a dialect has to work with, in the order of a request:
 *
 *  greet    before anything is decided and before the body is read: answers
 *           handshakes (GET, HEAD, OPTIONS) by ngx_http_logbroker_send(), and
 *           tells by the path what is what, where a location has several: it
 *           may set ctx->formats.  A dialect that shares its directive with
 *           another one sets ctx->dialect.  Where the body is wrapped, it sets
 *           ctx->open, which takes the wrapping off (in a thread, if the body
 *           is large), and ctx->coding, the name of the header that names the
 *           coding inside (lower case; NULL: Content-Encoding).
 *  stream   sets ctx->stream, and ctx->params, what the scan is told of path,
 *           query and headers (lb_param() in event/format.h); both in memory of
 *           the request.
 *  success  the events are durable, or there already by their key.  The scan's
 *           reply is ctx->reply; ctx->events are stored, ctx->rejected were
 *           left out, the first one for ctx->error at ctx->row, ctx->column.
 *  error    nothing is stored, for ctx->reason.  Counters, log, Allow and
 *           Retry-After are seen to; words and ctx->row say why.  If nothing in
 *           the body was an event (NGX_HTTP_LOGBROKER_EMPTY, which may be no
 *           error to a protocol), ctx->rejected and ctx->reply are as above.
 *
 * Trailers go into r->headers_out.trailers before ngx_http_logbroker_send().
 */


#ifndef _NGX_HTTP_LOGBROKER_DIALECT_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_DIALECT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/format.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_reason.h"


/* Finds what is inside of the body, of at most limit bytes, and clears *coding
 * if it is not coded.  0 or a reason, with the words in *error.  Nothing of
 * nginx but its types. */
typedef ngx_uint_t (*ngx_http_logbroker_open_pt)(ngx_str_t *body,
    size_t limit, ngx_uint_t *coding, char **error);


typedef struct {
    ngx_str_t                        name;          /* directive, if any */

    /* methods of requests that bring events, as a mask and as Allow has it */
    ngx_uint_t                       methods;
    char                            *allow;

    /* by media type; NULL behind the last */
    const lb_format_t *const        *formats;

    /* name of the protocol's own header that is the same in all attempts at a
     * request and in no other request, lower case, or empty: see key.h */
    ngx_str_t                        key;

    /* a client of this protocol never sends the same bytes twice but to repeat
     * a request: the default of logbroker_deduplicate */
    unsigned                         deduplicate;

    /* NGX_DECLINED: goes on; anything else is what the content handler
     * returns; NULL: goes on */
    ngx_int_t                      (*greet)(ngx_http_logbroker_ctx_t *ctx);

    /* 0 or a reason */
    ngx_uint_t                     (*stream)(ngx_http_logbroker_ctx_t *ctx);

    /* both send the answer and return what ngx_http_send_header() or the
     * output filters did, or NGX_HTTP_INTERNAL_SERVER_ERROR */
    ngx_int_t                      (*success)(ngx_http_logbroker_ctx_t *ctx);
    ngx_int_t                      (*error)(ngx_http_logbroker_ctx_t *ctx,
                                            ngx_http_logbroker_reason_t *why,
                                            ngx_str_t *words);
} ngx_http_logbroker_dialect_t;


/* The row of a directive. */
const ngx_http_logbroker_dialect_t *ngx_http_logbroker_dialect(
    ngx_str_t *directive);


extern const ngx_http_logbroker_dialect_t  ngx_http_logbroker_log;
extern const ngx_http_logbroker_dialect_t  ngx_http_logbroker_elasticsearch;
extern const ngx_http_logbroker_dialect_t  ngx_http_logbroker_otlp;
extern const ngx_http_logbroker_dialect_t  ngx_http_logbroker_grpc;
extern const ngx_http_logbroker_dialect_t  ngx_http_logbroker_splunk;
extern const ngx_http_logbroker_dialect_t  ngx_http_logbroker_loki;
extern const ngx_http_logbroker_dialect_t  ngx_http_logbroker_gelf;
extern const ngx_http_logbroker_dialect_t  ngx_http_logbroker_datadog;
extern const ngx_http_logbroker_dialect_t  ngx_http_logbroker_firehose;


#endif /* _NGX_HTTP_LOGBROKER_DIALECT_H_INCLUDED_ */
