/*
 * logbroker_access_log: each request that nginx has dealt with becomes an
 * event.
 *
 * Nobody waits for these events: they join the pending group in the log phase
 * and are written with it.  While the worker waits for a ring, some are held in
 * memory.  An event that finds no room is dropped and counted: its request was
 * already answered.  Nothing else is ever dropped.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/format.h"
#include "spool/lb_clock.h"
#include "spool/lb_error.h"
#include "spool/lb_format.h"
#include "spool/lb_record.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_access_event.h"
#include "ngx_http_logbroker_access_conf.h"
#include "ngx_http_logbroker_append.h"
#include "ngx_http_logbroker_group.h"
#include "ngx_http_logbroker_hold.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_record.h"
#include "ngx_http_logbroker_ring.h"
#include "ngx_http_logbroker_room.h"
#include "ngx_http_logbroker_access.h"


/* beyond what requests may stage: their answers end in this log */
#define NGX_HTTP_LOGBROKER_ACCESS_STAGED                                      \
    (NGX_HTTP_LOGBROKER_STAGED_MAX + 1024 * 1024)


/* bytes of events held until there is a ring */
#define NGX_HTTP_LOGBROKER_ACCESS_HELD   (1024 * 1024)


typedef struct {
    ngx_queue_t                      queue;
    uint64_t                         received_us;
    ngx_str_t                        stream;        /* of the configuration */
    u_char                           client[16];
    size_t                           client_len;
    size_t                           len;
    u_char                           data[1];
} ngx_http_logbroker_access_held_t;


static ngx_int_t ngx_http_logbroker_access_handler(ngx_http_request_t *r);
static const char *ngx_http_logbroker_access_store(
    ngx_http_logbroker_worker_t *w, lb_meta_t *meta, ngx_str_t *event,
    ngx_uint_t *wait);
static const char *ngx_http_logbroker_access_hold(
    ngx_http_logbroker_worker_t *w, lb_meta_t *meta, ngx_str_t *event);
static void ngx_http_logbroker_access_lost(ngx_http_logbroker_worker_t *w,
    const char *why);


ngx_int_t
ngx_http_logbroker_access_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_logbroker_access_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_access_handler(ngx_http_request_t *r)
{
    lb_meta_t                       meta;
    ngx_str_t                       filter, event;
    ngx_uint_t                      wait;
    const char                     *why;
    ngx_http_logbroker_worker_t    *w;
    ngx_http_logbroker_access_t    *access;
    ngx_http_logbroker_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    access = llcf->access;
    w = ngx_http_logbroker_worker;

    if (access == NULL || w == NULL) {
        return NGX_OK;
    }

    if (access->filter) {

        if (ngx_http_complex_value(r, access->filter, &filter) != NGX_OK) {
            ngx_http_logbroker_access_lost(w, "no memory");
            return NGX_OK;
        }

        if (filter.len == 0 || (filter.len == 1 && filter.data[0] == '0')) {
            return NGX_OK;
        }
    }

    if (ngx_http_logbroker_no_ring(w)) {
        ngx_http_logbroker_access_lost(w, "this worker has no ring");
        return NGX_OK;
    }

    if (ngx_http_logbroker_access_event(r, access->fields, &event) != NGX_OK) {
        ngx_http_logbroker_access_lost(w, "no memory");
        return NGX_OK;
    }

    meta.received_us = lb_now_us();
    meta.stream = access->stream.data;
    meta.stream_len = access->stream.len;
    meta.key = NULL;
    meta.contexts = 0;

    ngx_http_logbroker_client(r->connection, &meta);

    wait = ngx_http_logbroker_waits(w);
    why = NULL;

    if (!wait) {
        why = ngx_http_logbroker_access_store(w, &meta, &event, &wait);
    }

    if (wait) {
        why = ngx_http_logbroker_access_hold(w, &meta, &event);
    }

    if (why) {
        ngx_http_logbroker_access_lost(w, why);
    }

    return NGX_OK;
}


/* NULL, or why it cannot be stored; wait: not yet. */

static const char *
ngx_http_logbroker_access_store(ngx_http_logbroker_worker_t *w,
    lb_meta_t *meta, ngx_str_t *event, ngx_uint_t *wait)
{
    int                           rc;
    lb_reply_t                    reply;
    ngx_uint_t                    reason;
    ngx_http_logbroker_record_t   record;

    if (lb_writer_staged(w->ring.writer) > NGX_HTTP_LOGBROKER_ACCESS_STAGED) {
        return "the disk is too slow";
    }

    /* Scanned like a client's event: what we built is not trusted either.  The
     * limits for a client's events do not apply: its size is not a client's
     * choice. */

    ngx_memzero(&reply, sizeof(lb_reply_t));
    ngx_memzero(&record, sizeof(ngx_http_logbroker_record_t));

    record.format = &lb_format_event;
    record.options.max_event = NGX_MAX_SIZE_T_VALUE;
    record.options.reply = &reply;
    record.max = NGX_MAX_SIZE_T_VALUE;

    reason = ngx_http_logbroker_record_stage(w->ring.writer, meta, &record,
                                             event);

    if (reason == NGX_HTTP_LOGBROKER_NO_MEMORY) {
        return "no memory";
    }

    if (reason) {
        return record.res.error ? record.res.error : "no event in it";
    }

    rc = lb_writer_append(w->ring.writer, meta, record.res.out_len,
                          record.res.events);

    if (rc == LB_EFULL) {
        *wait = ngx_http_logbroker_no_room(w, record.res.out_len
                                              + LB_RECORD_HEADER_MAX + 8);
        return *wait ? NULL : "the spool is full";
    }

    if (rc != 0) {
        return "it cannot be written";
    }

    ngx_http_logbroker_group_join_silent(w);

    return NULL;
}


static const char *
ngx_http_logbroker_access_hold(ngx_http_logbroker_worker_t *w,
    lb_meta_t *meta, ngx_str_t *event)
{
    size_t                             size;
    ngx_http_logbroker_access_held_t  *held;

    size = sizeof(ngx_http_logbroker_access_held_t) + event->len;

    if (w->access.bytes + size > NGX_HTTP_LOGBROKER_ACCESS_HELD) {
        return "too many wait for a ring";
    }

    held = ngx_alloc(size, ngx_cycle->log);
    if (held == NULL) {
        return "no memory";
    }

    held->received_us = meta->received_us;
    held->stream.data = (u_char *) meta->stream;
    held->stream.len = meta->stream_len;
    held->client_len = meta->client_len;
    ngx_memcpy(held->client, meta->client, meta->client_len);
    held->len = event->len;
    ngx_memcpy(held->data, event->data, event->len);

    ngx_queue_insert_tail(&w->access.held, &held->queue);
    w->access.bytes += size;

    ngx_http_logbroker_room_wanted(w);
    ngx_http_logbroker_hold_update(w);

    return NULL;
}


void
ngx_http_logbroker_access_held(ngx_http_logbroker_worker_t *w)
{
    lb_meta_t                          meta;
    ngx_str_t                          event;
    ngx_uint_t                         wait;
    ngx_queue_t                       *q;
    const char                        *why;
    ngx_http_logbroker_access_held_t  *held;

    while (!ngx_queue_empty(&w->access.held) && !ngx_http_logbroker_waits(w)) {

        q = ngx_queue_head(&w->access.held);
        held = ngx_queue_data(q, ngx_http_logbroker_access_held_t, queue);

        meta.received_us = held->received_us;
        meta.stream = held->stream.data;
        meta.stream_len = held->stream.len;
        meta.client = held->client;
        meta.client_len = held->client_len;
        meta.key = NULL;
        meta.contexts = 0;

        event.data = held->data;
        event.len = held->len;

        wait = 0;
        why = w->ring.writer ? ngx_http_logbroker_access_store(w, &meta, &event,
                                                          &wait)
                        : "this worker has no ring";

        if (wait) {
            return;
        }

        if (why) {
            ngx_http_logbroker_access_lost(w, why);
        }

        w->access.bytes -= sizeof(ngx_http_logbroker_access_held_t) + held->len;

        ngx_queue_remove(q);
        ngx_free(held);
    }
}


static void
ngx_http_logbroker_access_lost(ngx_http_logbroker_worker_t *w,
    const char *why)
{
    (void) ngx_atomic_fetch_add(&w->counters->access_lost, 1);

    /* another reason at once, unless they take turns */

    if (ngx_time() - w->access.logged < (why == w->access.why ? 60 : 5)) {
        return;
    }

    w->access.why = why;
    w->access.logged = ngx_time();

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "logbroker: a request is missing in the access log: %s; "
                  "%uA are missing since nginx was started", why,
                  w->counters->access_lost);
}
