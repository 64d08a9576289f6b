/*
 * logbroker_tail: events live from the rings of the node, as server-sent
 * events.
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
#include "ngx_http_logbroker_sse.h"
#include "ngx_http_logbroker_tail.h"
#include "ngx_http_logbroker_tail_read.h"
#include "ngx_http_logbroker_tail_text.h"


typedef struct {
    ngx_http_logbroker_sse_t         sse;           /* first */
    ngx_http_logbroker_tail_feed_t   feed;
    ngx_http_logbroker_tail_group_t *group;
    ngx_queue_t                      queue;         /* of all */
    ngx_uint_t                       due;           /* a look at it */
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
static void ngx_http_logbroker_tail_left(ngx_http_logbroker_sse_t *s);
static void ngx_http_logbroker_tail_more(ngx_http_logbroker_sse_t *s);
static void ngx_http_logbroker_tail_free(ngx_http_logbroker_tail_t *t);
static void ngx_http_logbroker_tail_timer(ngx_event_t *ev);
static void ngx_http_logbroker_tail_done(ngx_event_t *ev);
static void ngx_http_logbroker_tail_all_due(void);
static ngx_http_logbroker_tail_t *ngx_http_logbroker_tail_next(void);
static void ngx_http_logbroker_tail_merge(void);


static ngx_http_logbroker_tail_hub_t  *ngx_http_logbroker_tail_hub;


char *
ngx_http_logbroker_tail(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_logbroker_loc_conf_t *llcf = conf;

    char  *rv;

    rv = ngx_http_logbroker_take_location(cf, ngx_http_logbroker_tail_handler);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    llcf->handler = ngx_http_logbroker_tail_handler;

    ngx_http_logbroker_needs_spool(cf, &cmd->name);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_logbroker_tail_handler(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_http_logbroker_tail_t      *t;
    ngx_http_logbroker_tail_hub_t  *hub;

    hub = ngx_http_logbroker_tail_hub;

    rc = ngx_http_logbroker_sse_accept(r, hub ? hub->n : 0);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (ngx_http_logbroker_worker == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    t = ngx_http_logbroker_tail_create(r);
    if (t == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_logbroker_sse_begin(r, &t->sse);
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

    t->sse.more = ngx_http_logbroker_tail_more;
    t->sse.left = ngx_http_logbroker_tail_left;

    ngx_queue_insert_tail(&hub->clients, &t->queue);
    hub->n++;

    if (ngx_http_logbroker_tail_ask(r, &t->feed) != NGX_OK
        || ngx_http_logbroker_tail_join(t, r) != NGX_OK)
    {
        ngx_http_logbroker_tail_left(&t->sse);
        return NULL;
    }

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
ngx_http_logbroker_tail_left(ngx_http_logbroker_sse_t *s)
{
    if (!ngx_http_logbroker_tail_hub->running) {
        ngx_http_logbroker_tail_free((ngx_http_logbroker_tail_t *) s);
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
    ngx_http_logbroker_mem_free(&t->sse.sending);
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

        t->feed.waiting = t->sse.sending.len;
        t->feed.quiet = t->sse.sending.len == 0 && t->feed.out.len == 0
                        && ngx_http_logbroker_sse_quiet(&t->sse);
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

        if (t->sse.request == NULL) {
            ngx_http_logbroker_tail_free(t);
            continue;
        }

        c = t->sse.request->connection;

        ngx_http_set_log_request(c->log, t->sse.request);

        if (ngx_exiting) {
            /* the client comes back, with the id of the last event it saw */
            ngx_http_logbroker_sse_end(&t->sse, NGX_OK);

        } else {
            ngx_http_logbroker_sse_send(&t->sse);
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
        t->due = !t->sse.ended || t->sse.request == NULL;
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

            t = ngx_queue_data(f, ngx_http_logbroker_tail_t, feed.queue);
            t->group = first;
        }

        ngx_queue_remove(q);
        ngx_free(group);
    }
}


/* The job does not run, or there is nothing of it here. */

static void
ngx_http_logbroker_tail_more(ngx_http_logbroker_sse_t *s)
{
    ngx_http_logbroker_tail_t  *t;

    t = (ngx_http_logbroker_tail_t *) s;

    if (t->feed.out.len && !ngx_http_logbroker_tail_hub->running) {
        ngx_http_logbroker_mem_swap(&s->sending, &t->feed.out);
    }
}


void
ngx_http_logbroker_tail_exit(ngx_http_logbroker_worker_t *w)
{
    if (ngx_http_logbroker_tail_hub) {
        ngx_http_logbroker_tail_close(&ngx_http_logbroker_tail_hub->job);
    }
}
