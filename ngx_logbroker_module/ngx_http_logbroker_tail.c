/*
 * logbroker_tail: events live from the rings of the node, as server-sent
 * events (WHATWG HTML, 9.2).
 *
 *     timer ----> job (a thread reads the rings) ----> out of each client
 *                                                          |
 *                     client <---- sending <---------------+
 *
 * A worker with clients looks at all rings of the spool some fifty times a
 * second.  Its job owns the groups and their feeds while it runs; a client that
 * leaves meanwhile is taken out when it has ended.  Ingest has no part in it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_tail.h"
#include "ngx_http_logbroker_tail_read.h"
#include "ngx_http_logbroker_tail_text.h"


typedef struct {
    ngx_http_logbroker_tail_feed_t   feed;          /* first */
    ngx_http_logbroker_tail_group_t *group;
    ngx_http_request_t              *request;       /* NULL: it left */
    ngx_queue_t                      queue;         /* of all */

    ngx_http_logbroker_mem_t         sending;
    ngx_buf_t                        buf;
    ngx_chain_t                      chain;
    ngx_msec_t                       said_at;
    ngx_uint_t                       due;           /* a look at it */
    ngx_uint_t                       ended;         /* what is left is sent */
} ngx_http_logbroker_tail_t;


/* of the worker, from its first client to its last */

typedef struct {
    ngx_http_logbroker_tail_job_t    job;
    ngx_event_t                      timer;
    ngx_queue_t                      clients;
    ngx_uint_t                       n;
    ngx_uint_t                       running;
} ngx_http_logbroker_tail_hub_t;


static ngx_int_t ngx_http_logbroker_tail_handler(ngx_http_request_t *r);
static ngx_http_logbroker_tail_t *ngx_http_logbroker_tail_create(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_logbroker_tail_join(ngx_http_logbroker_tail_t *t,
    ngx_http_request_t *r);
static void ngx_http_logbroker_tail_left(void *data);
static void ngx_http_logbroker_tail_free(ngx_http_logbroker_tail_t *t);
static void ngx_http_logbroker_tail_timer(ngx_event_t *ev);
static void ngx_http_logbroker_tail_done(ngx_event_t *ev);
static void ngx_http_logbroker_tail_all_due(void);
static ngx_http_logbroker_tail_t *ngx_http_logbroker_tail_next(void);
static void ngx_http_logbroker_tail_merge(void);
static ngx_int_t ngx_http_logbroker_tail_send(ngx_http_logbroker_tail_t *t);
static ngx_int_t ngx_http_logbroker_tail_wait(ngx_http_request_t *r);
static void ngx_http_logbroker_tail_write(ngx_http_request_t *r);
static void ngx_http_logbroker_tail_end(ngx_http_logbroker_tail_t *t,
    ngx_int_t rc);


static ngx_http_logbroker_tail_hub_t  *ngx_http_logbroker_tail_hub;


char *
ngx_http_logbroker_tail(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_logbroker_loc_conf_t *llcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == ngx_http_logbroker_tail_handler) {
        return "is duplicate";
    }

    if (clcf->handler) {
        return "cannot share a location with another handler";
    }

    clcf->handler = ngx_http_logbroker_tail_handler;
    llcf->handler = ngx_http_logbroker_tail_handler;

    ngx_http_logbroker_needs_spool(cf, &cmd->name);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_logbroker_tail_handler(ngx_http_request_t *r)
{
    ngx_int_t                   rc;
    ngx_http_cleanup_t         *cln;
    ngx_http_logbroker_tail_t  *t;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) || r != r->main) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_logbroker_worker == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    ngx_str_set(&r->headers_out.content_type, "text/event-stream");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    /* a proxy hands each event on at once */

    if (ngx_http_logbroker_add_header(r, "Cache-Control", "no-store")
        != NGX_OK
        || ngx_http_logbroker_add_header(r, "X-Accel-Buffering", "no")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->method == NGX_HTTP_HEAD) {
        return ngx_http_send_header(r);
    }

    if (ngx_exiting
        || (ngx_http_logbroker_tail_hub
            && ngx_http_logbroker_tail_hub->n >= NGX_HTTP_LOGBROKER_TAILS))
    {
        return ngx_http_logbroker_add_header(r, "Retry-After", "1") == NGX_OK
                   ? NGX_HTTP_SERVICE_UNAVAILABLE
                   : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    t = ngx_http_logbroker_tail_create(r);
    if (t == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_logbroker_tail_left;
    cln->data = t;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_logbroker_tail_write;
    r->main->count++;

    if (ngx_http_logbroker_tail_send(t) != NGX_OK) {
        ngx_http_logbroker_tail_end(t, NGX_ERROR);
    }

    return NGX_DONE;
}


static ngx_http_logbroker_tail_t *
ngx_http_logbroker_tail_create(ngx_http_request_t *r)
{
    ngx_http_logbroker_worker_t    *w;
    ngx_http_logbroker_tail_t      *t;
    ngx_http_logbroker_tail_hub_t  *hub;

    w = ngx_http_logbroker_worker;
    hub = ngx_http_logbroker_tail_hub;

    if (hub == NULL) {

        hub = ngx_calloc(sizeof(ngx_http_logbroker_tail_hub_t),
                         r->connection->log);
        if (hub == NULL) {
            return NULL;
        }

        hub->job.path = (char *) w->ring.path.data;
        hub->job.task.ctx = &hub->job;
        hub->job.task.handler = ngx_http_logbroker_tail_thread;
        hub->job.task.event.handler = ngx_http_logbroker_tail_done;
        hub->job.task.event.data = hub;
        hub->job.task.event.log = ngx_cycle->log;

        hub->timer.handler = ngx_http_logbroker_tail_timer;
        hub->timer.data = hub;
        hub->timer.log = ngx_cycle->log;

        ngx_queue_init(&hub->job.groups);
        ngx_queue_init(&hub->clients);

        ngx_http_logbroker_tail_hub = hub;
    }

    t = ngx_calloc(sizeof(ngx_http_logbroker_tail_t), r->connection->log);
    if (t == NULL) {
        return NULL;
    }

    t->request = r;
    t->said_at = ngx_current_msec;

    ngx_queue_insert_tail(&hub->clients, &t->queue);
    hub->n++;

    if (ngx_http_logbroker_tail_ask(r, &t->feed) != NGX_OK
        || ngx_http_logbroker_mem_grow(&t->sending, 32) != NGX_OK
        || ngx_http_logbroker_tail_join(t, r) != NGX_OK)
    {
        ngx_http_logbroker_tail_left(t);
        return NULL;
    }

    /* so that the client knows at once that it is connected */

    t->sending.len = ngx_sprintf(t->sending.data, "retry: 1000\n\n")
                     - t->sending.data;

    if (!hub->timer.timer_set) {
        ngx_add_timer(&hub->timer, NGX_HTTP_LOGBROKER_TAIL_EVERY);
    }

    return t;
}


/* To those who begin now, or into a group of its own where an older one left. */

static ngx_int_t
ngx_http_logbroker_tail_join(ngx_http_logbroker_tail_t *t,
    ngx_http_request_t *r)
{
    ngx_table_elt_t                  *h;
    ngx_http_logbroker_tail_group_t  *group;

    static ngx_str_t  last = ngx_string("last-event-id");

    group = ngx_calloc(sizeof(ngx_http_logbroker_tail_group_t),
                       r->connection->log);
    if (group == NULL) {
        return NGX_ERROR;
    }

    ngx_queue_init(&group->feeds);

    h = ngx_http_logbroker_header(r, &last, NULL);

    if (h == NULL
        || ngx_http_logbroker_tail_resume(group, &h->value) != NGX_OK)
    {
        group->live = 1;
    }

    /* those at the same place become one when the job has been there */
    t->group = group;

    return NGX_OK;
}


/* The request goes away. */

static void
ngx_http_logbroker_tail_left(void *data)
{
    ngx_http_logbroker_tail_t *t = data;

    t->request = NULL;

    if (!ngx_http_logbroker_tail_hub->running) {
        ngx_http_logbroker_tail_free(t);
    }
}


static void
ngx_http_logbroker_tail_free(ngx_http_logbroker_tail_t *t)
{
    ngx_http_logbroker_tail_group_t  *group;

    group = t->group;

    if (t->feed.queue.next) {
        ngx_queue_remove(&t->feed.queue);
    }

    if (group && ngx_queue_empty(&group->feeds)) {

        if (group->queue.next) {
            ngx_queue_remove(&group->queue);
        }

        ngx_free(group);
    }

    ngx_queue_remove(&t->queue);
    ngx_http_logbroker_tail_hub->n--;

    free(t->feed.stream.data);
    free(t->feed.level.data);
    free(t->feed.service.data);
    free(t->feed.text.data);
    ngx_http_logbroker_mem_free(&t->feed.out);
    ngx_http_logbroker_mem_free(&t->sending);
    ngx_free(t);
}


static void
ngx_http_logbroker_tail_timer(ngx_event_t *ev)
{
    ngx_queue_t                    *q;
    ngx_http_logbroker_tail_t      *t;
    ngx_http_logbroker_tail_hub_t  *hub;

    hub = ev->data;

    if (hub->running) {
        ngx_add_timer(&hub->timer, NGX_HTTP_LOGBROKER_TAIL_KEEP);
        return;
    }

    for (q = ngx_queue_head(&hub->clients);
         q != ngx_queue_sentinel(&hub->clients);
         q = ngx_queue_next(q))
    {
        t = ngx_queue_data(q, ngx_http_logbroker_tail_t, queue);

        if (t->feed.queue.next == NULL) {
            ngx_queue_insert_tail(&t->group->feeds, &t->feed.queue);
            ngx_queue_insert_tail(&hub->job.groups, &t->group->queue);
        }

        t->feed.waiting = t->sending.len;
    }

    if (hub->n == 0) {
        ngx_http_logbroker_tail_close(&hub->job);
        return;
    }

    hub->running = 1;

    if (ngx_thread_task_post(ngx_http_logbroker_worker->pool, &hub->job.task)
        != NGX_OK)
    {
        /* the queue of the thread pool is full: others are more urgent */

        hub->running = 0;
        ngx_add_timer(&hub->timer, NGX_HTTP_LOGBROKER_TAIL_EVERY);
        return;
    }

    ngx_add_timer(&hub->timer, NGX_HTTP_LOGBROKER_TAIL_KEEP);
}


static void
ngx_http_logbroker_tail_done(ngx_event_t *ev)
{
    ngx_connection_t               *c;
    ngx_http_logbroker_tail_t      *t;
    ngx_http_logbroker_tail_hub_t  *hub;

    hub = ev->data;
    hub->running = 0;

    ngx_http_logbroker_tail_merge();
    ngx_http_logbroker_tail_all_due();

    while ((t = ngx_http_logbroker_tail_next())) {

        if (t->request == NULL) {
            ngx_http_logbroker_tail_free(t);
            continue;
        }

        c = t->request->connection;

        ngx_http_set_log_request(c->log, t->request);

        if (ngx_exiting) {
            /* the client comes back, with the id of the last event it saw */
            ngx_http_logbroker_tail_end(t, NGX_OK);

        } else if (ngx_http_logbroker_tail_send(t) != NGX_OK) {
            ngx_http_logbroker_tail_end(t, NGX_ERROR);
        }

        ngx_http_run_posted_requests(c);
    }

    if (hub->timer.timer_set) {
        ngx_del_timer(&hub->timer);
    }

    ngx_add_timer(&hub->timer, hub->job.more ? 1
                                             : NGX_HTTP_LOGBROKER_TAIL_EVERY);
}


/* With the end of one, the others of its connection may go away too. */

static void
ngx_http_logbroker_tail_all_due(void)
{
    ngx_queue_t                *q, *all;
    ngx_http_logbroker_tail_t  *t;

    all = &ngx_http_logbroker_tail_hub->clients;

    for (q = ngx_queue_head(all);
         q != ngx_queue_sentinel(all);
         q = ngx_queue_next(q))
    {
        t = ngx_queue_data(q, ngx_http_logbroker_tail_t, queue);
        t->due = !t->ended || t->request == NULL;
    }
}


static ngx_http_logbroker_tail_t *
ngx_http_logbroker_tail_next(void)
{
    ngx_queue_t                *q, *all;
    ngx_http_logbroker_tail_t  *t;

    all = &ngx_http_logbroker_tail_hub->clients;

    for (q = ngx_queue_head(all);
         q != ngx_queue_sentinel(all);
         q = ngx_queue_next(q))
    {
        t = ngx_queue_data(q, ngx_http_logbroker_tail_t, queue);

        if (t->due) {
            t->due = 0;
            return t;
        }
    }

    return NULL;
}


/* Groups that have come to the same place go on together. */

static void
ngx_http_logbroker_tail_merge(void)
{
    ngx_queue_t                      *q, *next, *f;
    ngx_http_logbroker_tail_t        *t;
    ngx_http_logbroker_tail_hub_t    *hub;
    ngx_http_logbroker_tail_group_t  *group, *first;

    hub = ngx_http_logbroker_tail_hub;

    if (ngx_queue_empty(&hub->job.groups)) {
        return;
    }

    q = ngx_queue_head(&hub->job.groups);
    first = ngx_queue_data(q, ngx_http_logbroker_tail_group_t, queue);

    for (q = ngx_queue_next(q);
         q != ngx_queue_sentinel(&hub->job.groups);
         q = next)
    {
        next = ngx_queue_next(q);
        group = ngx_queue_data(q, ngx_http_logbroker_tail_group_t, queue);

        if (!ngx_http_logbroker_tail_same(first, group)) {
            continue;
        }

        first->live |= group->live;

        while (!ngx_queue_empty(&group->feeds)) {
            f = ngx_queue_head(&group->feeds);
            ngx_queue_remove(f);
            ngx_queue_insert_tail(&first->feeds, f);

            t = (ngx_http_logbroker_tail_t *)
                    ngx_queue_data(f, ngx_http_logbroker_tail_feed_t, queue);
            t->group = first;
        }

        ngx_queue_remove(q);
        ngx_free(group);
    }
}


/* What is there goes out, if the last of it has gone.  The job does not run, or
 * there is nothing of it here. */

static ngx_int_t
ngx_http_logbroker_tail_send(ngx_http_logbroker_tail_t *t)
{
    ngx_http_request_t        *r;
    ngx_http_logbroker_mem_t   mem;

    r = t->request;

    if (t->buf.pos != t->buf.last) {
        /* the last of it is on its way */
        return NGX_OK;
    }

    if (t->buf.pos) {
        t->buf.pos = NULL;
        t->buf.last = NULL;
        t->sending.len = 0;
    }

    if (t->sending.len == 0 && t->feed.out.len
        && !ngx_http_logbroker_tail_hub->running)
    {
        mem = t->sending;
        t->sending = t->feed.out;
        t->feed.out = mem;
    }

    if (t->sending.len == 0) {

        if (ngx_current_msec - t->said_at < NGX_HTTP_LOGBROKER_TAIL_QUIET) {
            return NGX_OK;
        }

        t->sending.len = ngx_sprintf(t->sending.data, ":\n\n")
                         - t->sending.data;
    }

    t->said_at = ngx_current_msec;

    ngx_memzero(&t->buf, sizeof(ngx_buf_t));

    t->buf.start = t->sending.data;
    t->buf.pos = t->sending.data;
    t->buf.last = t->sending.data + t->sending.len;
    t->buf.end = t->buf.last;
    t->buf.memory = 1;
    t->buf.flush = 1;
    t->buf.tag = (ngx_buf_tag_t) &ngx_http_logbroker_module;

    t->chain.buf = &t->buf;
    t->chain.next = NULL;

    if (ngx_http_output_filter(r, &t->chain) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return r->buffered || r->connection->buffered
               ? ngx_http_logbroker_tail_wait(r) : NGX_OK;
}


/* Until the client takes more, within send_timeout. */

static ngx_int_t
ngx_http_logbroker_tail_wait(ngx_http_request_t *r)
{
    ngx_event_t               *wev;
    ngx_http_core_loc_conf_t  *clcf;

    wev = r->connection->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!wev->delayed && !wev->timer_set) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    return ngx_handle_write_event(wev, clcf->send_lowat);
}


static void
ngx_http_logbroker_tail_write(ngx_http_request_t *r)
{
    ngx_event_t                *wev;
    ngx_queue_t                *q;
    ngx_connection_t           *c;
    ngx_http_logbroker_tail_t  *t;

    c = r->connection;
    wev = c->write;
    t = NULL;

    for (q = ngx_queue_head(&ngx_http_logbroker_tail_hub->clients);
         q != ngx_queue_sentinel(&ngx_http_logbroker_tail_hub->clients);
         q = ngx_queue_next(q))
    {
        t = ngx_queue_data(q, ngx_http_logbroker_tail_t, queue);

        if (t->request == r) {
            break;
        }
    }

    if (t == NULL || t->request != r) {
        return;
    }

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client timed out");
        c->timedout = 1;

        ngx_http_logbroker_tail_end(t, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (wev->delayed) {

        if (ngx_http_logbroker_tail_wait(r) != NGX_OK) {
            ngx_http_logbroker_tail_end(t, NGX_ERROR);
        }

        return;
    }

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        ngx_http_logbroker_tail_end(t, NGX_ERROR);
        return;
    }

    if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    if (r->buffered || c->buffered) {

        if (ngx_http_logbroker_tail_wait(r) != NGX_OK) {
            ngx_http_logbroker_tail_end(t, NGX_ERROR);
        }

        return;
    }

    if (ngx_http_logbroker_tail_send(t) != NGX_OK) {
        ngx_http_logbroker_tail_end(t, NGX_ERROR);
    }
}


/* NGX_OK: the end of the stream, as the client is told. */

static void
ngx_http_logbroker_tail_end(ngx_http_logbroker_tail_t *t, ngx_int_t rc)
{
    ngx_http_request_t  *r;

    r = t->request;
    t->ended = 1;

    if (rc == NGX_OK) {
        rc = ngx_http_send_special(r, NGX_HTTP_LAST);
    }

    ngx_http_finalize_request(r, rc);
}


void
ngx_http_logbroker_tail_exit(ngx_http_logbroker_worker_t *w)
{
    if (ngx_http_logbroker_tail_hub) {
        ngx_http_logbroker_tail_close(&ngx_http_logbroker_tail_hub->job);
    }
}
