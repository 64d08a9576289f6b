/*
 * The answer to a request: why it is refused, and how it is told.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_answer.h"


/* milliseconds between two examples of refused requests in the log */
#define NGX_HTTP_LOGBROKER_REFUSED_EVERY  60000


/* in the order of ngx_http_logbroker_reason_e */

ngx_http_logbroker_reason_t  ngx_http_logbroker_reasons[] = {

    { NGX_HTTP_INTERNAL_SERVER_ERROR, 0, ngx_null_string, "" },

    { NGX_HTTP_NOT_ALLOWED, 0, ngx_string("method"),
      "events are sent with POST" },

    { NGX_HTTP_UNSUPPORTED_MEDIA_TYPE, 0, ngx_string("content_type"),
      "unsupported Content-Type: send JSON (an object, an array of objects or "
      "NDJSON) or text/plain, in UTF-8" },

    { NGX_HTTP_UNSUPPORTED_MEDIA_TYPE, 0, ngx_string("content_encoding"),
      "unsupported Content-Encoding" },

    { NGX_HTTP_BAD_REQUEST, 0, ngx_string("stream"),
      "invalid stream name: it is one path segment of 1 to 64 letters, "
      "digits, \"_\", \".\" and \"-\"" },

    { NGX_HTTP_BAD_REQUEST, 0, ngx_string("empty"),
      "no event in the body" },

    { NGX_HTTP_BAD_REQUEST, 0, ngx_string("malformed"),
      "malformed event" },

    { NGX_HTTP_BAD_REQUEST, 0, ngx_string("corrupt"),
      "the body cannot be decompressed" },

    { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, 0, ngx_string("event_too_big"),
      "an event is too large" },

    { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, 0, ngx_string("body_too_big"),
      "the body is too large" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("full"),
      "the spool is full: nothing was stored, try again later" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("no_ring"),
      "no ring to write to: nothing was stored, try again" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("write_failed"),
      "writing to disk failed: nothing was stored, try again" },

    { NGX_HTTP_BAD_GATEWAY, 1, ngx_string("write_unknown"),
      "writing to disk failed: the events may be stored or not; send the "
      "request again, with an Idempotency-Key if they must not be stored "
      "twice" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("body_failed"),
      "the body could not be read back from its temporary file: nothing was "
      "stored, try again" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("no_memory"),
      "no memory for the body: nothing was stored, try again" },

    { NGX_HTTP_BAD_REQUEST, 0, ngx_string("key_invalid"),
      "invalid Idempotency-Key: send one, of 1 to 255 printable characters" },

    { 422, 0, ngx_string("key_reused"),
      "this Idempotency-Key came with other events before: nothing was "
      "stored, use a new key for new events" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("key_busy"),
      "the first request with this Idempotency-Key is still being stored: "
      "try again" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("keys_full"),
      "no room for another Idempotency-Key: nothing was stored, try again "
      "later" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("keys_loading"),
      "the Idempotency-Keys are still being read back: nothing was stored, "
      "try again" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("body_partial"),
      "only a part of the body has come as far as here: nothing was stored, "
      "try again" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("disk_hangs"),
      "the disk does not answer: nothing was stored, try again" },

    { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, 0, ngx_string("too_many_events"),
      "more than 1000000 events in one request" },

    { NGX_HTTP_FORBIDDEN, 0, ngx_string("stream_denied"),
      "this sender may not write to this stream: nothing was stored" }
};


static void ngx_http_logbroker_log_refusal(ngx_http_logbroker_ctx_t *ctx,
    ngx_str_t *error);


void
ngx_http_logbroker_finish(ngx_http_logbroker_ctx_t *ctx, ngx_uint_t reason)
{
    ngx_int_t                       rc;
    ngx_uint_t                      waited;
    ngx_connection_t               *c;
    ngx_http_request_t             *r;
    ngx_http_logbroker_counters_t  *counters;

    r = ctx->request;
    c = r->connection;
    waited = ctx->waited;
    counters = ngx_http_logbroker_worker->counters;

    if (waited) {
        ngx_http_set_log_request(c->log, r);
    }

    if (ctx->rejected
        && (reason == 0 || reason == NGX_HTTP_LOGBROKER_REPEATED
            || reason == NGX_HTTP_LOGBROKER_EMPTY))
    {
        ctx->error = ctx->first;
        ctx->row = ctx->first_row;
        ctx->column = ctx->first_column;
    }

    switch (reason) {

    case 0:
        c->log->action = "sending response to client";

        rc = ctx->dialect->success(ctx);

        if (rc == NGX_ERROR || c->error) {
            (void) ngx_atomic_fetch_add(&counters->dropped, 1);
        }

        break;

    case NGX_HTTP_LOGBROKER_REPEATED:
        (void) ngx_atomic_fetch_add(ctx->digest ? &counters->recognised
                                                : &counters->repeated, 1);

        rc = ctx->dialect->success(ctx);
        break;

    default:
        rc = ngx_http_logbroker_send_refusal(ctx, reason);
    }

    ngx_http_finalize_request(r, rc);

    /* else the handler that brought us here does so */

    if (waited) {
        ngx_http_run_posted_requests(c);
    }
}


ngx_int_t
ngx_http_logbroker_send_refusal(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason)
{
    u_char                       *value;
    ngx_str_t                     error;
    ngx_http_request_t           *r;
    ngx_http_logbroker_reason_t  *why, unknown;

    r = ctx->request;
    why = &ngx_http_logbroker_reasons[reason];

    ctx->reason = reason;

    /* Of this attempt nothing is stored, of another one there may be, here: no
     * other broker may have it.  A client knows no difference. */

    if (ctx->digest
        && (reason == NGX_HTTP_LOGBROKER_KEY_BUSY
            || reason == NGX_HTTP_LOGBROKER_KEYS_LOADING)
        && ngx_http_logbroker_through_edge(r))
    {
        unknown = *why;
        unknown.status = NGX_HTTP_BAD_GATEWAY;
        why = &unknown;
    }

    (void) ngx_atomic_fetch_add(
                 &ngx_http_logbroker_worker->counters->refused[reason], 1);

    error = ctx->error;

    if (error.len == 0) {
        error.data = (u_char *) why->text;
        error.len = ngx_strlen(why->text);
    }

    if (why->status < NGX_HTTP_INTERNAL_SERVER_ERROR
        || reason == NGX_HTTP_LOGBROKER_BODY_PARTIAL)
    {
        ngx_http_logbroker_log_refusal(ctx, &error);
    }

    r->connection->log->action = "sending response to client";

    if (reason == NGX_HTTP_LOGBROKER_METHOD
        && ngx_http_logbroker_add_header(r, "Allow", ctx->dialect->allow)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (why->retry_after) {

        value = ngx_pnalloc(r->pool, NGX_INT_T_LEN + 1);
        if (value == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_sprintf(value, "%ui%Z", why->retry_after);

        if (ngx_http_logbroker_add_header(r, "Retry-After", (char *) value)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ctx->dialect->error(ctx, why, &error);
}


/*
 * What is wrong with a request is the business of its client, who is told.  One
 * that does not listen must not fill the disk with it, nor be overlooked: once
 * a minute one such line is an example of them all.
 */

static void
ngx_http_logbroker_log_refusal(ngx_http_logbroker_ctx_t *ctx, ngx_str_t *error)
{
    ngx_uint_t                    seconds;
    ngx_http_request_t           *r;
    ngx_http_logbroker_worker_t  *w;

    r = ctx->request;
    w = ngx_http_logbroker_worker;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "logbroker refused a request: %V", error);

    w->answer.refused++;

    if (w->answer.logged
        && ngx_current_msec - w->answer.logged
           < NGX_HTTP_LOGBROKER_REFUSED_EVERY)
    {
        return;
    }

    seconds = w->answer.logged
                  ? (ngx_current_msec - w->answer.logged) / 1000 : 0;

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "logbroker refused a request of client %V to \"%V\": %V "
                  "(%ui refused within %ui seconds, this one is an example)",
                  &r->connection->addr_text, &r->unparsed_uri, error,
                  w->answer.refused, seconds);

    w->answer.refused = 0;
    w->answer.logged = ngx_current_msec | 1;
}
