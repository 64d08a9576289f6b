/*
 * logbroker_gathered: see gathered.h.
 *
 * The body is frames (event/frames.h).  It stays in the memory of the request
 * until all are answered: what is parked is scanned later.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/format.h"
#include "event/frames.h"
#include "event/logplex.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_accept.h"
#include "ngx_http_logbroker_body.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_ring.h"
#include "ngx_http_logbroker_stage.h"
#include "ngx_http_logbroker_gathered.h"


/* milliseconds until those that are not stored yet keep the answer of the
 * others no longer: an edge waits for four seconds, and may then go elsewhere
 * with what is not stored */
#define NGX_HTTP_LOGBROKER_GATHERED_WAIT  2500


typedef struct ngx_http_logbroker_gathered_s  ngx_http_logbroker_gathered_t;


typedef struct {
    ngx_http_logbroker_ctx_t         ctx;
    lb_frame_t                       frame;
    ngx_http_logbroker_gathered_t   *all;
} ngx_http_logbroker_one_t;


struct ngx_http_logbroker_gathered_s {
    ngx_http_request_t              *request;
    ngx_uint_t                       n;
    ngx_uint_t                       left;          /* not answered yet */
    u_char                          *answers;       /* n, and a zero */
    ngx_http_logbroker_one_t        *ones;
    ngx_event_t                      late;
    unsigned                         waited:1;      /* all were begun */
};


static ngx_int_t ngx_http_logbroker_gathered_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_logbroker_gathered_fits(ngx_http_request_t *r);
static void ngx_http_logbroker_gathered_body(ngx_http_request_t *r);
static ngx_uint_t ngx_http_logbroker_gathered_read(
    ngx_http_logbroker_gathered_t *all, ngx_str_t *body);
static ngx_uint_t ngx_http_logbroker_gathered_one(
    ngx_http_logbroker_ctx_t *ctx);
static void ngx_http_logbroker_gathered_done(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason);
static void ngx_http_logbroker_gathered_late(ngx_event_t *ev);
static void ngx_http_logbroker_gathered_answer(
    ngx_http_logbroker_gathered_t *all);
static void ngx_http_logbroker_gathered_cleanup(void *data);


char *
ngx_http_logbroker_gathered(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_logbroker_loc_conf_t *llcf = conf;

    char       *rv;
    ngx_str_t  *value;

    rv = ngx_http_logbroker_take_location(cf,
                                          ngx_http_logbroker_gathered_handler);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    value = cf->args->elts;

    llcf->handler = ngx_http_logbroker_gathered_handler;
    llcf->dialect = &ngx_http_logbroker_log;
    llcf->prefix = value[1];

    ngx_http_logbroker_needs_spool(cf, &cmd->name);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_logbroker_gathered_handler(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    if (ngx_http_logbroker_worker == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!ngx_http_logbroker_gathered_fits(r)) {
        return NGX_HTTP_NOT_FOUND;
    }

    if (r->method != NGX_HTTP_POST) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_logbroker_body_read(r, ngx_http_logbroker_gathered_body);

    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}


/* Not with what would make of a request something else than this here does: its
 * stream is in a variable, it is known by its bytes, its answer is another. */

static ngx_uint_t
ngx_http_logbroker_gathered_fits(ngx_http_request_t *r)
{
    ngx_http_logbroker_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    return llcf->stream == NULL && !llcf->digest
           && llcf->success == NGX_HTTP_NO_CONTENT;
}


static void
ngx_http_logbroker_gathered_body(ngx_http_request_t *r)
{
    ngx_str_t                       body;
    ngx_uint_t                      i, reason;
    ngx_http_cleanup_t             *cln;
    ngx_http_logbroker_gathered_t  *all;

    r->write_event_handler = ngx_http_request_empty_handler;
    r->read_event_handler = ngx_http_block_reading;

    if (!ngx_http_logbroker_body_piece(r, &body)
        || r->request_body == NULL || r->request_body->rest > 0)
    {
        ngx_http_finalize_request(r, NGX_HTTP_BAD_REQUEST);
        return;
    }

    all = ngx_pcalloc(r->pool, sizeof(ngx_http_logbroker_gathered_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (all == NULL || cln == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_SERVICE_UNAVAILABLE);
        return;
    }

    all->request = r;

    reason = ngx_http_logbroker_gathered_read(all, &body);

    if (reason) {
        ngx_http_finalize_request(r, reason);
        return;
    }

    cln->handler = ngx_http_logbroker_gathered_cleanup;
    cln->data = all;

    r->connection->log->action = "storing events";

    for (i = 0; i < all->n; i++) {

        reason = ngx_http_logbroker_gathered_one(&all->ones[i].ctx);

        if (reason) {
            ngx_http_logbroker_gathered_done(&all->ones[i].ctx, reason);
        }
    }

    if (all->left == 0) {
        /* and its memory is gone */
        ngx_http_logbroker_gathered_answer(all);
        return;
    }

    all->waited = 1;

    all->late.handler = ngx_http_logbroker_gathered_late;
    all->late.data = all;
    all->late.log = r->connection->log;

    ngx_add_timer(&all->late, NGX_HTTP_LOGBROKER_GATHERED_WAIT);
}


/* All frames, before anything is stored of the first.  0 or a status. */

static ngx_uint_t
ngx_http_logbroker_gathered_read(ngx_http_logbroker_gathered_t *all,
    ngx_str_t *body)
{
    int                        rc;
    lb_frame_t                 frame;
    const uint8_t             *p;
    ngx_http_logbroker_one_t  *one;

    p = NULL;

    while ((rc = lb_frames_next(&p, body->data, body->len, &frame)) > 0) {
        all->n++;
    }

    if (rc < 0 || all->n == 0 || all->n > NGX_HTTP_LOGBROKER_GATHERED_MAX) {
        return NGX_HTTP_BAD_REQUEST;
    }

    all->left = all->n;
    all->answers = ngx_pcalloc(all->request->pool, all->n + 1);
    all->ones = ngx_pcalloc(all->request->pool,
                            all->n * sizeof(ngx_http_logbroker_one_t));

    if (all->answers == NULL || all->ones == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    p = NULL;

    for (one = all->ones; one < all->ones + all->n; one++) {
        (void) lb_frames_next(&p, body->data, body->len, &one->frame);

        one->all = all;
        one->ctx.request = all->request;
        one->ctx.frame = &one->frame;
        one->ctx.done = ngx_http_logbroker_gathered_done;
        one->ctx.len = one->frame.parts[LB_FRAME_BODY].len;
    }

    return 0;
}


/* As ngx_http_logbroker_handler() does, with what the frame says.  0 or a
 * reason. */

static ngx_uint_t
ngx_http_logbroker_gathered_one(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_uint_t                      reason;
    ngx_http_logbroker_worker_t    *w;
    ngx_http_logbroker_loc_conf_t  *llcf;

    w = ngx_http_logbroker_worker;

    llcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_logbroker_module);

    ctx->dialect = llcf->dialect;

    (void) ctx->dialect->greet(ctx);

    reason = ngx_http_logbroker_frame_type(ctx);

    if (reason) {
        return reason;
    }

    if (ctx->format == &lb_format_logplex) {
        /* has an answer of its own */
        return NGX_HTTP_LOGBROKER_TYPE;
    }

    reason = ngx_http_logbroker_frame_stream(ctx, &llcf->prefix);

    if (reason) {
        return reason;
    }

    if (ctx->len > ngx_http_logbroker_body_limit(ctx->request)
        || ctx->len > NGX_HTTP_LOGBROKER_INLINE)
    {
        return NGX_HTTP_LOGBROKER_BODY_TOO_BIG;
    }

    if (ngx_http_logbroker_no_ring(w)) {
        return NGX_HTTP_LOGBROKER_NO_RING;
    }

    ngx_http_logbroker_stage_enter(ctx);

    return 0;
}


static void
ngx_http_logbroker_gathered_done(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason)
{
    u_char                          answer;
    ngx_http_logbroker_one_t       *one;
    ngx_http_logbroker_gathered_t  *all;

    one = (ngx_http_logbroker_one_t *) ctx;
    all = one->all;

    switch (reason) {

    case 0:
        answer = NGX_HTTP_LOGBROKER_GATHERED_STORED;
        break;

    case NGX_HTTP_LOGBROKER_WRITE_UNKNOWN:
        answer = NGX_HTTP_LOGBROKER_GATHERED_UNKNOWN;
        break;

    default:
        answer = NGX_HTTP_LOGBROKER_GATHERED_REFUSED;
    }

    all->answers[one - all->ones] = answer;
    all->left--;

    if (all->left == 0 && all->waited) {
        ngx_http_logbroker_gathered_answer(all);
    }
}


/* What is being written may be stored, what is parked is not and will not be:
 * nobody waits for either any more. */

static void
ngx_http_logbroker_gathered_late(ngx_event_t *ev)
{
    u_char                          answer;
    ngx_uint_t                      i;
    ngx_http_logbroker_ctx_t       *ctx;
    ngx_http_logbroker_gathered_t  *all;

    all = ev->data;

    for (i = 0; i < all->n; i++) {

        if (all->answers[i]) {
            continue;
        }

        ctx = &all->ones[i].ctx;

        answer = ctx->state == NGX_HTTP_LOGBROKER_STAGED
                     ? NGX_HTTP_LOGBROKER_GATHERED_UNKNOWN
                     : NGX_HTTP_LOGBROKER_GATHERED_REFUSED;

        ngx_http_logbroker_forget(ctx);

        all->answers[i] = answer;
    }

    all->left = 0;

    ngx_http_logbroker_gathered_answer(all);
}


static void
ngx_http_logbroker_gathered_answer(ngx_http_logbroker_gathered_t *all)
{
    ngx_int_t            rc;
    ngx_uint_t           waited;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = all->request;
    c = r->connection;
    waited = all->waited;

    if (all->late.timer_set) {
        ngx_del_timer(&all->late);
    }

    if (waited) {
        ngx_http_set_log_request(c->log, r);
    }

    c->log->action = "sending response to client";

    rc = ngx_http_logbroker_add_header(r, NGX_HTTP_LOGBROKER_GATHERED_HEADER,
                                       (char *) all->answers);

    if (rc == NGX_OK) {
        rc = ngx_http_logbroker_send_nothing(r);
    }

    ngx_http_finalize_request(r, rc);

    /* else the handler that brought us here does so */

    if (waited) {
        ngx_http_run_posted_requests(c);
    }
}


static void
ngx_http_logbroker_gathered_cleanup(void *data)
{
    ngx_http_logbroker_gathered_t *all = data;

    ngx_uint_t  i;

    if (all->late.timer_set) {
        ngx_del_timer(&all->late);
    }

    for (i = 0; i < all->n; i++) {
        ngx_http_logbroker_forget(&all->ones[i].ctx);
    }
}
