/*
 * The answer to a request: why it is refused, and how it is told.
 */


#ifndef _NGX_HTTP_LOGBROKER_ANSWER_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_ANSWER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_request.h"


/* of refusals, for the log */

typedef struct {
    ngx_uint_t                       refused;       /* since then */
    ngx_msec_t                       logged;
} ngx_http_logbroker_worker_answer_t;


extern ngx_http_logbroker_reason_t   ngx_http_logbroker_reasons[];


/* Answers and finishes the request: 0, NGX_HTTP_LOGBROKER_REPEATED (success as
 * well), or why it is refused.  The ctx->done of requests. */
void ngx_http_logbroker_finish(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason);

/* Sends a refusal; what a content handler returns. */
ngx_int_t ngx_http_logbroker_send_refusal(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason);


#endif /* _NGX_HTTP_LOGBROKER_ANSWER_H_INCLUDED_ */
