/*
 * An answer within a time: see deadline.h.
 *
 * The time begins when the first server is asked, that is when the body is
 * there as a whole, and goes on through others and through named locations.  At
 * its end the server that is asked at that moment has timed out, as if
 * proxy_read_timeout had passed; who has begun to answer is let finish.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_mem.h"
#include "ngx_http_logbroker_deadline.h"


/* milliseconds between two looks: nothing tells when a server is asked */
#define NGX_HTTP_LOGBROKER_DEADLINE_LOOK  200


typedef struct {
    ngx_event_t           event;
    ngx_http_request_t   *request;
    ngx_msec_t            within;
    ngx_msec_t            begin;
    unsigned              asked:1;      /* begin is set */
} ngx_http_logbroker_deadline_t;


static ngx_int_t ngx_http_logbroker_deadline_handler(ngx_http_request_t *r);
static ngx_http_logbroker_deadline_t *ngx_http_logbroker_deadline_find(
    ngx_http_request_t *r);
static void ngx_http_logbroker_deadline_look(ngx_event_t *ev);
static void ngx_http_logbroker_deadline_cleanup(void *data);


ngx_int_t
ngx_http_logbroker_deadline_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_logbroker_deadline_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_deadline_handler(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t             *cln;
    ngx_http_logbroker_deadline_t  *dl;
    ngx_http_logbroker_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    if (llcf->answer_within == 0 || r != r->main) {
        return NGX_DECLINED;
    }

    /* a named location: the contexts of modules are gone, the time runs on */

    if (ngx_http_logbroker_deadline_find(r)) {
        return NGX_DECLINED;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_logbroker_deadline_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    dl = cln->data;

    ngx_memzero(dl, sizeof(ngx_http_logbroker_deadline_t));

    dl->request = r;
    dl->within = llcf->answer_within;
    dl->event.handler = ngx_http_logbroker_deadline_look;
    dl->event.data = dl;
    dl->event.log = r->connection->log;

    cln->handler = ngx_http_logbroker_deadline_cleanup;

    ngx_add_timer(&dl->event, NGX_HTTP_LOGBROKER_DEADLINE_LOOK);

    return NGX_DECLINED;
}


static ngx_http_logbroker_deadline_t *
ngx_http_logbroker_deadline_find(ngx_http_request_t *r)
{
    return ngx_http_logbroker_mem_of(r->pool,
                                     ngx_http_logbroker_deadline_cleanup);
}


void
ngx_http_logbroker_deadline_begin(ngx_http_request_t *r)
{
    ngx_http_logbroker_deadline_t  *dl;

    dl = ngx_http_logbroker_deadline_find(r);

    if (dl) {
        dl->asked = 1;
        dl->begin = ngx_current_msec;
    }
}


static void
ngx_http_logbroker_deadline_look(ngx_event_t *ev)
{
    ngx_http_request_t             *r;
    ngx_http_upstream_t            *u;
    ngx_http_logbroker_deadline_t  *dl;

    dl = ev->data;
    r = dl->request;
    u = r->upstream;

    ngx_add_timer(ev, NGX_HTTP_LOGBROKER_DEADLINE_LOOK);

    if (u == NULL || u->peer.connection == NULL) {
        return;
    }

    if (!dl->asked) {
        dl->asked = 1;
        dl->begin = u->start_time;
    }

    if (ngx_current_msec - dl->begin < dl->within || u->header_sent
        || r->header_sent)
    {
        return;
    }

    /* and the timer with it */

    ngx_http_logbroker_deadline_end(u);
}


void
ngx_http_logbroker_deadline_end(ngx_http_upstream_t *u)
{
    ngx_event_t  *rev;

    rev = u->peer.connection->read;

    rev->timedout = 1;
    rev->handler(rev);
}


static void
ngx_http_logbroker_deadline_cleanup(void *data)
{
    ngx_http_logbroker_deadline_t *dl = data;

    if (dl->event.timer_set) {
        ngx_del_timer(&dl->event);
    }
}
