/*
 * logbroker_gather: see gather.h.
 *
 * Which requests wait for others, and until when.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/frames.h"
#include "spool/lb_record.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_append.h"
#include "ngx_http_logbroker_body.h"
#include "ngx_http_logbroker_deadline.h"
#include "ngx_http_logbroker_gathered.h"
#include "ngx_http_logbroker_gather_group.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_peers.h"
#include "ngx_http_logbroker_senders.h"
#include "ngx_http_logbroker_mem.h"
#include "ngx_http_logbroker_gather.h"


/* the largest body that waits for others */
#define NGX_HTTP_LOGBROKER_GATHER_BODY   (16 * 1024)

/* milliseconds that one waits for an answer to others: about a sync */
#define NGX_HTTP_LOGBROKER_GATHER_WAIT   3


static ngx_int_t ngx_http_logbroker_gather_handler(ngx_http_request_t *r);
static ngx_http_logbroker_gather_one_t *ngx_http_logbroker_gather_find(
    ngx_http_request_t *r);
static ngx_uint_t ngx_http_logbroker_gather_fits(ngx_http_request_t *r,
    ngx_http_logbroker_gather_t *gather);
static void ngx_http_logbroker_gather_body(ngx_http_request_t *r);
static ngx_uint_t ngx_http_logbroker_gather_frame(
    ngx_http_logbroker_gather_one_t *one);
static void ngx_http_logbroker_gather_wait(
    ngx_http_logbroker_gather_one_t *one);
static void ngx_http_logbroker_gather_when(
    ngx_http_logbroker_gather_t *gather);
static void ngx_http_logbroker_gather_send(ngx_event_t *ev);
static void ngx_http_logbroker_gather_cleanup(void *data);


char *
ngx_http_logbroker_gather(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_logbroker_loc_conf_t *llcf = conf;

    ngx_str_t                         *value;
    ngx_http_logbroker_gather_t       *gather;
    ngx_http_compile_complex_value_t   ccv;

    if (llcf->gather) {
        return "is duplicate";
    }

    value = cf->args->elts;

    gather = ngx_pcalloc(cf->pool, sizeof(ngx_http_logbroker_gather_t));
    if (gather == NULL) {
        return NGX_CONF_ERROR;
    }

    gather->uri = value[1];

    ngx_queue_init(&gather->waiting);

    gather->send.handler = ngx_http_logbroker_gather_send;
    gather->send.data = gather;

    gather->back = ngx_http_logbroker_gather_when;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[2];
    ccv.complex_value = &gather->condition;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    llcf->gather = gather;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_logbroker_gather_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_logbroker_gather_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_gather_handler(ngx_http_request_t *r)
{
    ngx_int_t                         rc;
    ngx_pool_cleanup_t               *cln;
    ngx_http_logbroker_gather_t      *gather;
    ngx_http_logbroker_loc_conf_t    *llcf;
    ngx_http_logbroker_gather_one_t  *one;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    gather = llcf->gather;

    /* one that was found has waited already, and goes on by itself */

    if (gather == NULL || ngx_http_logbroker_gather_find(r)
        || !ngx_http_logbroker_gather_fits(r, gather))
    {
        return NGX_DECLINED;
    }

    cln = ngx_pool_cleanup_add(r->pool,
                               sizeof(ngx_http_logbroker_gather_one_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    one = cln->data;

    ngx_memzero(one, sizeof(ngx_http_logbroker_gather_one_t));

    one->request = r;
    one->gather = gather;

    cln->handler = ngx_http_logbroker_gather_cleanup;

    rc = ngx_http_logbroker_body_read(r, ngx_http_logbroker_gather_body);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    ngx_http_finalize_request(r, NGX_DONE);

    return NGX_DONE;
}


/* In the pool's memory, where a redirect to another location leaves it. */

static ngx_http_logbroker_gather_one_t *
ngx_http_logbroker_gather_find(ngx_http_request_t *r)
{
    return ngx_http_logbroker_mem_of(r->pool,
                                     ngx_http_logbroker_gather_cleanup);
}


/* A header that gives a request another meaning, or its answer another header,
 * keeps it by itself, also without a value: that may be an error. */

static ngx_uint_t
ngx_http_logbroker_gather_fits(ngx_http_request_t *r,
    ngx_http_logbroker_gather_t *gather)
{
    ngx_str_t   value;
    ngx_uint_t  i;

    static const ngx_str_t  headers[] = {
        ngx_string("idempotency-key"),
        ngx_string("logplex-frame-id"),
        ngx_string("content-encoding"),
        ngx_string("origin")
    };

    if (r != r->main || r->method != NGX_HTTP_POST
        || r->http_version > NGX_HTTP_VERSION_11
        || r->headers_in.chunked
        || r->headers_in.content_length_n <= 0
        || r->headers_in.content_length_n > NGX_HTTP_LOGBROKER_GATHER_BODY)
    {
        return 0;
    }

    if (gather->off_until
        && (ngx_msec_int_t) (gather->off_until - ngx_current_msec) > 0)
    {
        return 0;
    }

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        if (ngx_http_logbroker_header(r, &headers[i], NULL)) {
            return 0;
        }
    }

    return ngx_http_complex_value(r, &gather->condition, &value) == NGX_OK
           && value.len;
}


static void
ngx_http_logbroker_gather_body(ngx_http_request_t *r)
{
    ngx_http_logbroker_gather_one_t  *one;

    one = ngx_http_logbroker_gather_find(r);

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_logbroker_deadline_begin(r);

    if (ngx_http_logbroker_gather_frame(one)) {
        ngx_http_logbroker_gather_wait(one);

    } else {
        r->write_event_handler = ngx_http_core_run_phases;
        ngx_http_core_run_phases(r);
    }
}


static ngx_uint_t
ngx_http_logbroker_gather_frame(ngx_http_logbroker_gather_one_t *one)
{
    lb_meta_t             meta;
    ngx_str_t             body, streams;
    lb_frame_part_t      *parts;
    ngx_table_elt_t      *type;
    ngx_http_request_t   *r;

    r = one->request;

    if (!ngx_http_logbroker_body_piece(r, &body)
        || (off_t) body.len != r->headers_in.content_length_n)
    {
        return 0;
    }

    parts = one->frame.parts;

    ngx_http_logbroker_client(r->connection, &meta);

    parts[LB_FRAME_CLIENT].data = meta.client;
    parts[LB_FRAME_CLIENT].len = meta.client_len;

    parts[LB_FRAME_PATH].data = r->uri.data;
    parts[LB_FRAME_PATH].len = r->uri.len;

    type = r->headers_in.content_type;

    if (type) {
        parts[LB_FRAME_TYPE].data = type->value.data;
        parts[LB_FRAME_TYPE].len = type->value.len;
    }

    ngx_http_logbroker_senders_streams(r, &streams);

    parts[LB_FRAME_STREAMS].data = streams.data;
    parts[LB_FRAME_STREAMS].len = streams.len;

    parts[LB_FRAME_BODY].data = body.data;
    parts[LB_FRAME_BODY].len = body.len;

    one->size = lb_frame_size(&one->frame);

    return one->size != 0;
}


static void
ngx_http_logbroker_gather_wait(ngx_http_logbroker_gather_one_t *one)
{
    ngx_http_logbroker_gather_t  *gather;

    gather = one->gather;

    ngx_queue_insert_tail(&gather->waiting, &one->queue);
    one->waits = 1;

    gather->n++;
    gather->bytes += one->size;

    one->request->connection->log->action = "waiting for others";

    ngx_http_logbroker_gather_when(gather);
}


/* Behind all that this turn of the event loop brings, so that they go together,
 * or when there is an answer to what is away, or has been none for long. */

static void
ngx_http_logbroker_gather_when(ngx_http_logbroker_gather_t *gather)
{
    ngx_event_t     *ev;
    ngx_msec_int_t   passed;

    ev = &gather->send;
    ev->log = ngx_cycle->log;

    if (gather->n == 0 || ev->posted) {
        return;
    }

    passed = (ngx_msec_int_t) (ngx_current_msec - gather->sent_at);

    if (gather->away == 0
        || passed < 0 || passed >= NGX_HTTP_LOGBROKER_GATHER_WAIT
        || gather->n >= NGX_HTTP_LOGBROKER_GATHERED_MAX
        || gather->bytes >= NGX_HTTP_LOGBROKER_GATHER_BYTES)
    {
        if (ev->timer_set) {
            ngx_del_timer(ev);
        }

        ngx_post_event(ev, &ngx_posted_events);
        return;
    }

    if (!ev->timer_set) {
        ngx_add_timer(ev, NGX_HTTP_LOGBROKER_GATHER_WAIT - passed);
    }
}


static void
ngx_http_logbroker_gather_send(ngx_event_t *ev)
{
    ngx_uint_t                        n;
    ngx_http_logbroker_gather_t      *gather;
    ngx_http_logbroker_gather_one_t  *one;

    gather = ev->data;

    if (gather->n == 0) {
        return;
    }

    gather->sent_at = ngx_current_msec;

    if (gather->n > 1 && !ngx_http_logbroker_peers_doubt(gather->upstream)) {
        ngx_http_logbroker_gather_group(gather);
        ngx_http_logbroker_gather_when(gather);
        return;
    }

    /* those that come meanwhile are not meant */

    for (n = gather->n; n && gather->n; n--) {
        one = ngx_http_logbroker_gather_next(gather);

        one->alone = 1;
        gather->away++;

        ngx_http_logbroker_gather_pass(one);
    }

    ngx_http_logbroker_gather_when(gather);
}


/* Of a request, with its pool. */

static void
ngx_http_logbroker_gather_cleanup(void *data)
{
    ngx_http_logbroker_gather_one_t *one = data;

    ngx_http_logbroker_gather_t  *gather;

    gather = one->gather;

    if (one->waits) {
        ngx_queue_remove(&one->queue);
        gather->n--;
        gather->bytes -= one->size;
    }

    if (one->alone) {
        gather->away--;
        ngx_http_logbroker_gather_when(gather);
    }

    if (one->group) {
        ngx_http_logbroker_gather_leave(one);
    }
}
