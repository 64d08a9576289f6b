/*
 * The groups of logbroker_gather: see gather_group.h.
 *
 *     waiting --- group ---> its subrequest ends ---> each is told
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/frames.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_deadline.h"
#include "ngx_http_logbroker_gathered.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_peers.h"
#include "ngx_http_logbroker_gather_group.h"


/* milliseconds without, once a broker has refused a group as such: it is an
 * older one, or has not got the directive */
#define NGX_HTTP_LOGBROKER_GATHER_OFF    10000

/* seconds between two words about that in the log */
#define NGX_HTTP_LOGBROKER_GATHER_SAY    600

/* beside those of gathered.h: the connection is closed without an answer */
#define NGX_HTTP_LOGBROKER_GATHERED_SILENCE  0

/* milliseconds between two looks whether a broker is asked */
#define NGX_HTTP_LOGBROKER_GATHER_LOOK   100


struct ngx_http_logbroker_gather_group_s {
    ngx_queue_t                      ones;          /* the first one is last */
    ngx_uint_t                       n;
    ngx_http_logbroker_gather_t     *gather;
    ngx_http_logbroker_gather_one_t *first;         /* NULL: gone */
    ngx_http_request_t              *subrequest;
    ngx_http_post_subrequest_t       post;
    ngx_event_t                      end;           /* posted, or the timer of
                                                     * the deadline */
    ngx_http_upstream_state_t        state;
    ngx_str_t                        peer;
    u_char                           name[NGX_SOCKADDR_STRLEN];
    u_char                           answers[NGX_HTTP_LOGBROKER_GATHERED_MAX];
    unsigned                         asked:1;       /* state is set */
    unsigned                         ended:1;
};


static ngx_int_t ngx_http_logbroker_gather_ask(
    ngx_http_logbroker_gather_group_t *group, size_t size);
static ngx_http_request_body_t *ngx_http_logbroker_gather_join(
    ngx_http_logbroker_gather_group_t *group, size_t size);
static void ngx_http_logbroker_gather_late(ngx_event_t *ev);
static ngx_int_t ngx_http_logbroker_gather_answered(ngx_http_request_t *r,
    void *data, ngx_int_t rc);
static void ngx_http_logbroker_gather_off(
    ngx_http_logbroker_gather_group_t *group, ngx_uint_t status);
static u_char *ngx_http_logbroker_gather_said(ngx_http_upstream_t *u,
    ngx_uint_t n);
static void ngx_http_logbroker_gather_end(ngx_event_t *ev);
static void ngx_http_logbroker_gather_tell(
    ngx_http_logbroker_gather_one_t *one, u_char answer);
static ngx_int_t ngx_http_logbroker_gather_upstream(ngx_http_request_t *r,
    ngx_http_logbroker_gather_group_t *group);


ngx_http_logbroker_gather_one_t *
ngx_http_logbroker_gather_next(ngx_http_logbroker_gather_t *gather)
{
    ngx_queue_t                      *q;
    ngx_http_logbroker_gather_one_t  *one;

    q = ngx_queue_head(&gather->waiting);
    ngx_queue_remove(q);

    one = ngx_queue_data(q, ngx_http_logbroker_gather_one_t, queue);
    one->waits = 0;

    gather->n--;
    gather->bytes -= one->size;

    return one;
}


void
ngx_http_logbroker_gather_pass(ngx_http_logbroker_gather_one_t *one)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = one->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);

    ngx_http_run_posted_requests(c);
}


void
ngx_http_logbroker_gather_group(ngx_http_logbroker_gather_t *gather)
{
    size_t                              size;
    ngx_http_logbroker_gather_one_t    *one;
    ngx_http_logbroker_gather_group_t  *group;

    group = ngx_calloc(sizeof(ngx_http_logbroker_gather_group_t),
                       ngx_cycle->log);

    if (group == NULL) {
        ngx_http_logbroker_gather_pass(ngx_http_logbroker_gather_next(gather));
        return;
    }

    ngx_queue_init(&group->ones);

    group->gather = gather;
    size = LB_FRAMES_MAGIC_LEN;

    do {
        one = ngx_http_logbroker_gather_next(gather);

        one->group = group;
        one->place = group->n++;
        size += one->size;

        ngx_queue_insert_tail(&group->ones, &one->queue);

        if (group->first == NULL) {
            group->first = one;
        }

    } while (gather->n && group->n < NGX_HTTP_LOGBROKER_GATHERED_MAX
             && size < NGX_HTTP_LOGBROKER_GATHER_BYTES);

    gather->away++;

    ngx_memset(group->answers, NGX_HTTP_LOGBROKER_GATHERED_UNKNOWN, group->n);

    group->end.data = group;
    group->end.log = ngx_cycle->log;
    group->end.handler = ngx_http_logbroker_gather_end;

    if (ngx_http_logbroker_gather_ask(group, size) != NGX_OK) {

        ngx_memset(group->answers, NGX_HTTP_LOGBROKER_GATHERED_REFUSED,
                   group->n);

        ngx_http_logbroker_gather_end(&group->end);
    }
}


/* NGX_OK: the subrequest runs, or has ended already; NGX_ERROR: nothing was
 * sent. */

static ngx_int_t
ngx_http_logbroker_gather_ask(ngx_http_logbroker_gather_group_t *group,
    size_t size)
{
    ngx_connection_t               *c;
    ngx_http_request_t             *r, *sr;
    ngx_http_request_body_t        *body;
    ngx_http_logbroker_loc_conf_t  *llcf;

    r = group->first->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    group->post.handler = ngx_http_logbroker_gather_answered;
    group->post.data = group;

    body = ngx_http_logbroker_gather_join(group, size);

    if (body == NULL
        || ngx_http_subrequest(r, &group->gather->uri, NULL, &sr, &group->post,
                               NGX_HTTP_SUBREQUEST_BACKGROUND)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    sr->header_only = 1;
    sr->method = NGX_HTTP_POST;
    sr->method_name = r->method_name;
    sr->headers_in.content_length_n = size;
    sr->headers_in.chunked = 0;
    sr->request_body = body;

    group->subrequest = sr;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    if (llcf->answer_within) {
        group->end.handler = ngx_http_logbroker_gather_late;
        ngx_add_timer(&group->end, llcf->answer_within);
    }

    ngx_http_run_posted_requests(c);

    if (group->first && !group->ended && sr->upstream) {
        group->gather->upstream = sr->upstream->upstream;

        ngx_http_logbroker_peers_took(sr->upstream->upstream,
                                      sr->upstream->peer.name, group->n);
    }

    return NGX_OK;
}


/* The body of the subrequest, in memory of the first request. */

static ngx_http_request_body_t *
ngx_http_logbroker_gather_join(ngx_http_logbroker_gather_group_t *group,
    size_t size)
{
    ngx_buf_t                        *b;
    ngx_pool_t                       *pool;
    ngx_chain_t                      *cl;
    ngx_queue_t                      *q;
    ngx_http_request_body_t          *body;
    ngx_http_logbroker_gather_one_t  *one;

    pool = group->first->request->pool;

    body = ngx_pcalloc(pool, sizeof(ngx_http_request_body_t));
    b = ngx_create_temp_buf(pool, size);
    cl = ngx_alloc_chain_link(pool);

    if (body == NULL || b == NULL || cl == NULL) {
        return NULL;
    }

    b->last = ngx_cpymem(b->last, LB_FRAMES_MAGIC, LB_FRAMES_MAGIC_LEN);

    for (q = ngx_queue_head(&group->ones);
         q != ngx_queue_sentinel(&group->ones);
         q = ngx_queue_next(q))
    {
        one = ngx_queue_data(q, ngx_http_logbroker_gather_one_t, queue);

        b->last = lb_frame_put(b->last, &one->frame);
    }

    b->last_buf = 1;

    cl->buf = b;
    cl->next = NULL;

    body->bufs = cl;

    return body;
}


/* A broker that is slow and not silent has had its time: see deadline.c. */

static void
ngx_http_logbroker_gather_late(ngx_event_t *ev)
{
    ngx_http_upstream_t                *u;
    ngx_http_logbroker_gather_group_t  *group;

    group = ev->data;
    u = group->subrequest->upstream;

    if (u == NULL || u->peer.connection == NULL) {
        ngx_add_timer(ev, NGX_HTTP_LOGBROKER_GATHER_LOOK);
        return;
    }

    /* for the next one, if another is asked */
    ngx_add_timer(ev, NGX_HTTP_LOGBROKER_GATHER_LOOK);

    ngx_http_logbroker_deadline_end(u);
}


/* The subrequest has ended.  Its request is not to be touched in here. */

static ngx_int_t
ngx_http_logbroker_gather_answered(ngx_http_request_t *r, void *data,
    ngx_int_t rc)
{
    ngx_http_logbroker_gather_group_t *group = data;

    u_char                     *said;
    ngx_uint_t                  i;
    ngx_http_upstream_t        *u;
    ngx_http_upstream_state_t  *state;

    if (group->ended) {
        return NGX_OK;
    }

    group->ended = 1;

    u = r->upstream;
    state = NULL;

    if (r->upstream_states && r->upstream_states->nelts) {
        state = r->upstream_states->elts;
        state += r->upstream_states->nelts - 1;
    }

    if (state && state->peer) {
        group->asked = 1;
        group->state = *state;
        group->peer.data = group->name;
        group->peer.len = ngx_min(state->peer->len, sizeof(group->name));

        ngx_memcpy(group->name, state->peer->data, group->peer.len);
    }

    if (u == NULL || state == NULL || state->bytes_sent == 0) {
        ngx_memset(group->answers, NGX_HTTP_LOGBROKER_GATHERED_REFUSED,
                   group->n);

        if (u == NULL) {
            /* a location that asks nobody */
            ngx_http_logbroker_gather_off(group, 0);
        }

    } else if (rc == NGX_OK && u->headers_in.status_n == NGX_HTTP_NO_CONTENT) {

        said = ngx_http_logbroker_gather_said(u, group->n);

        for (i = 0; said && i < group->n; i++) {

            if (said[i] == NGX_HTTP_LOGBROKER_GATHERED_STORED
                || said[i] == NGX_HTTP_LOGBROKER_GATHERED_REFUSED)
            {
                group->answers[i] = said[i];
            }
        }

    } else if (rc == NGX_OK
               && (u->headers_in.status_n == NGX_HTTP_SERVICE_UNAVAILABLE
                   || u->headers_in.status_n / 100 == 4))
    {
        ngx_memset(group->answers, NGX_HTTP_LOGBROKER_GATHERED_REFUSED,
                   group->n);

        if (u->headers_in.status_n != NGX_HTTP_SERVICE_UNAVAILABLE) {
            ngx_http_logbroker_gather_off(group, u->headers_in.status_n);
        }
    }

    if (group->asked && state->bytes_sent
        && (rc == NGX_HTTP_BAD_GATEWAY || rc == NGX_HTTP_GATEWAY_TIME_OUT))
    {
        ngx_http_logbroker_peers_failed(u->upstream, &group->peer, group->n);
    }

    if (group->end.timer_set) {
        ngx_del_timer(&group->end);
    }

    group->end.handler = ngx_http_logbroker_gather_end;
    ngx_post_event(&group->end, &ngx_posted_events);

    return NGX_OK;
}


/* For a while all go by themselves. */

static void
ngx_http_logbroker_gather_off(ngx_http_logbroker_gather_group_t *group,
    ngx_uint_t status)
{
    ngx_http_logbroker_gather_t  *gather;

    gather = group->gather;

    gather->off_until = ngx_current_msec + NGX_HTTP_LOGBROKER_GATHER_OFF;

    if (gather->off_logged
        && ngx_time() - gather->off_logged < NGX_HTTP_LOGBROKER_GATHER_SAY)
    {
        return;
    }

    gather->off_logged = ngx_time();

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "logbroker: many requests as one are not taken by broker "
                  "\"%V\" (status %ui): requests go one by one. An older "
                  "release has no logbroker_gathered; 403 is for edges that a "
                  "broker does not trust", &group->peer, status);
}


/* What the broker says of each, or NULL. */

static u_char *
ngx_http_logbroker_gather_said(ngx_http_upstream_t *u, ngx_uint_t n)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static ngx_str_t  name = ngx_string(NGX_HTTP_LOGBROKER_GATHERED_HEADER);

    for (part = &u->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len == name.len
                && ngx_strncasecmp(h[i].key.data, name.data, name.len) == 0)
            {
                return h[i].value.len == n ? h[i].value.data : NULL;
            }
        }
    }

    return NULL;
}


/* Each is told.  The first one comes last: the memory of the subrequest is of
 * its pool. */

static void
ngx_http_logbroker_gather_end(ngx_event_t *ev)
{
    u_char                              answer;
    ngx_uint_t                          known;
    ngx_queue_t                        *q;
    ngx_http_logbroker_gather_t        *gather;
    ngx_http_logbroker_gather_one_t    *one;
    ngx_http_logbroker_gather_group_t  *group;

    group = ev->data;
    gather = group->gather;

    if (group->first) {
        ngx_queue_remove(&group->first->queue);
        ngx_queue_insert_tail(&group->ones, &group->first->queue);
        group->first = NULL;
    }

    /* whoever goes away in here has taken itself out */

    while (!ngx_queue_empty(&group->ones)) {

        q = ngx_queue_head(&group->ones);
        ngx_queue_remove(q);

        one = ngx_queue_data(q, ngx_http_logbroker_gather_one_t, queue);
        one->group = NULL;

        answer = group->answers[one->place];

        known = group->asked
                && ngx_http_logbroker_gather_upstream(one->request, group)
                   == NGX_OK;

        if (!known && answer == NGX_HTTP_LOGBROKER_GATHERED_UNKNOWN) {
            /* error_page would take it for one that was not sent */
            answer = NGX_HTTP_LOGBROKER_GATHERED_SILENCE;
        }

        ngx_http_logbroker_gather_tell(one, answer);
    }

    ngx_free(group);

    gather->away--;

    gather->back(gather);
}


static void
ngx_http_logbroker_gather_tell(ngx_http_logbroker_gather_one_t *one,
    u_char answer)
{
    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = one->request;
    c = r->connection;

    if (answer == NGX_HTTP_LOGBROKER_GATHERED_REFUSED) {
        ngx_http_logbroker_gather_pass(one);
        return;
    }

    ngx_http_set_log_request(c->log, r);

    if (answer == NGX_HTTP_LOGBROKER_GATHERED_STORED) {
        c->log->action = "sending response to client";

        rc = ngx_http_logbroker_send_nothing(r);

    } else {
        rc = answer == NGX_HTTP_LOGBROKER_GATHERED_SILENCE
                 ? NGX_ERROR : NGX_HTTP_BAD_GATEWAY;
    }

    ngx_http_finalize_request(r, rc);

    ngx_http_run_posted_requests(c);
}


/* What $upstream_... say: error_page goes by it. */

static ngx_int_t
ngx_http_logbroker_gather_upstream(ngx_http_request_t *r,
    ngx_http_logbroker_gather_group_t *group)
{
    ngx_str_t                  *peer;
    ngx_http_upstream_state_t  *state;

    if (r->upstream_states == NULL) {
        r->upstream_states = ngx_array_create(r->pool, 1,
                                            sizeof(ngx_http_upstream_state_t));
    }

    if (r->upstream_states == NULL) {
        return NGX_ERROR;
    }

    peer = ngx_palloc(r->pool, sizeof(ngx_str_t) + group->peer.len);
    state = peer ? ngx_array_push(r->upstream_states) : NULL;

    if (state == NULL) {
        return NGX_ERROR;
    }

    peer->data = (u_char *) peer + sizeof(ngx_str_t);
    peer->len = group->peer.len;

    ngx_memcpy(peer->data, group->peer.data, group->peer.len);

    *state = group->state;
    state->peer = peer;

    return NGX_OK;
}


void
ngx_http_logbroker_gather_leave(ngx_http_logbroker_gather_one_t *one)
{
    ngx_http_logbroker_gather_group_t  *group;

    group = one->group;

    ngx_queue_remove(&one->queue);

    if (group->first != one) {
        return;
    }

    /* and the subrequest with it: as far as anybody knows it was sent */

    group->first = NULL;

    if (!group->ended) {
        group->asked = 1;
        group->state.status = NGX_HTTP_BAD_GATEWAY;
        group->state.bytes_sent = 1;
    }

    if (group->end.timer_set) {
        ngx_del_timer(&group->end);
    }

    group->end.handler = ngx_http_logbroker_gather_end;

    if (!group->end.posted) {
        ngx_post_event(&group->end, &ngx_posted_events);
    }
}
