/*
 * The request, its body's arrival, and its answer.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_headers.h"


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

    { NGX_HTTP_SERVICE_UNAVAILABLE, 5, ngx_string("full"),
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

    { NGX_HTTP_SERVICE_UNAVAILABLE, 5, ngx_string("keys_full"),
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
      "more than 1000000 events in one request" }
};


static ngx_int_t ngx_http_logbroker_refuse_early(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason);
static void ngx_http_logbroker_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_logbroker_send_refusal(
    ngx_http_logbroker_ctx_t *ctx, ngx_uint_t reason);
static void ngx_http_logbroker_log_refusal(ngx_http_logbroker_ctx_t *ctx,
    ngx_str_t *error);


ngx_int_t
ngx_http_logbroker_handler(ngx_http_request_t *r)
{
    ngx_int_t                            rc;
    ngx_uint_t                           reason;
    ngx_http_cleanup_t                  *cln;
    ngx_http_logbroker_ctx_t            *ctx;
    ngx_http_logbroker_worker_t         *w;
    ngx_http_logbroker_loc_conf_t       *llcf;
    const ngx_http_logbroker_dialect_t  *dialect;

    w = ngx_http_logbroker_worker;

    if (w == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_logbroker_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    dialect = llcf->dialect;

    ctx->request = r;
    ctx->dialect = dialect;
    ctx->formats = dialect->formats;

    /* gone as soon as the body is asked for */
    ctx->streamed = r->request_body_no_buffering;

    /* nothing to warn of at each request */
    r->request_body_file_log_level = NGX_LOG_INFO;

    ngx_http_set_ctx(r, ctx, ngx_http_logbroker_module);

    if (dialect->greet) {
        rc = dialect->greet(ctx);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    if (!(r->method & dialect->methods)) {
        return ngx_http_logbroker_refuse_early(ctx,
                                               NGX_HTTP_LOGBROKER_METHOD);
    }

    reason = ngx_http_logbroker_content_type(ctx);

    if (reason == 0) {
        reason = ngx_http_logbroker_content_encoding(ctx);
    }

    if (reason == 0) {
        reason = dialect->stream(ctx);
    }

    if (reason == 0) {
        reason = ngx_http_logbroker_key(ctx);
    }

    if (reason == 0 && w->hanging) {
        reason = NGX_HTTP_LOGBROKER_DISK_HANGS;
    }

    if (reason == 0
        && r->headers_in.content_length_n > 0
        && r->headers_in.content_length_n
           > (off_t) ngx_http_logbroker_body_limit(r))
    {
        reason = NGX_HTTP_LOGBROKER_BODY_TOO_BIG;
        ngx_http_logbroker_too_big(ctx, reason, 1);
    }

    if (reason == 0 && w->writer == NULL && !ngx_http_logbroker_waits(w)) {
        reason = NGX_HTTP_LOGBROKER_NO_RING;
    }

    if (reason) {
        return ngx_http_logbroker_refuse_early(ctx, reason);
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_logbroker_cleanup;
    cln->data = ctx;

    rc = ngx_http_logbroker_body_request(ctx, ngx_http_logbroker_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_logbroker_refuse_early(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason)
{
    ngx_int_t  rc;

    rc = ngx_http_discard_request_body(ctx->request);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_logbroker_send_refusal(ctx, reason);
}


static void
ngx_http_logbroker_body_handler(ngx_http_request_t *r)
{
    ngx_http_logbroker_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_logbroker_module);

    /* nothing to write before the answer; also when the body came with the
     * header, where nginx leaves the phase handler here */

    r->write_event_handler = ngx_http_request_empty_handler;
    r->read_event_handler = ngx_http_block_reading;

    r->connection->log->action = "storing events";

    ctx->len = ngx_http_logbroker_body_len(r);

    if (!ngx_http_logbroker_body_whole(ctx)) {
        ngx_http_logbroker_refused(ctx, NGX_HTTP_LOGBROKER_BODY_PARTIAL, 0);
        return;
    }

    if (ctx->len > ngx_http_logbroker_body_limit(r)) {
        ngx_http_logbroker_too_big(ctx, NGX_HTTP_LOGBROKER_BODY_TOO_BIG, 1);
        ngx_http_logbroker_refused(ctx, NGX_HTTP_LOGBROKER_BODY_TOO_BIG, 0);
        return;
    }

    ngx_http_logbroker_enter(ctx, 0);
}


void
ngx_http_logbroker_accepted(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    c->log->action = "sending response to client";

    rc = ctx->dialect->success(ctx);

    if (rc == NGX_ERROR || c->error) {
        (void) ngx_atomic_fetch_add(
                             &ngx_http_logbroker_worker->counters->dropped, 1);
    }

    ngx_http_finalize_request(r, rc);

    ngx_http_run_posted_requests(c);
}


void
ngx_http_logbroker_refused(ngx_http_logbroker_ctx_t *ctx, ngx_uint_t reason,
    ngx_uint_t posted)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    if (reason == NGX_HTTP_LOGBROKER_REPEATED) {
        (void) ngx_atomic_fetch_add(
                            &ngx_http_logbroker_worker->counters->repeated, 1);

        ngx_http_finalize_request(r, ctx->dialect->success(ctx));

    } else {
        ngx_http_finalize_request(r,
                                ngx_http_logbroker_send_refusal(ctx, reason));
    }

    if (posted) {
        ngx_http_run_posted_requests(c);
    }
}


static ngx_int_t
ngx_http_logbroker_send_refusal(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason)
{
    u_char                       *value;
    ngx_str_t                     error;
    ngx_http_request_t           *r;
    ngx_http_logbroker_reason_t  *why;

    r = ctx->request;
    why = &ngx_http_logbroker_reasons[reason];

    ctx->reason = reason;

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

    w->refused++;

    if (w->refused_logged
        && ngx_current_msec - w->refused_logged
           < NGX_HTTP_LOGBROKER_REFUSED_EVERY)
    {
        return;
    }

    seconds = w->refused_logged
                  ? (ngx_current_msec - w->refused_logged) / 1000 : 0;

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "logbroker refused a request of client %V to \"%V\": %V "
                  "(%ui refused within %ui seconds, this one is an example)",
                  &r->connection->addr_text, &r->unparsed_uri, error,
                  w->refused, seconds);

    w->refused = 0;
    w->refused_logged = ngx_current_msec | 1;
}
