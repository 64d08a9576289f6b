/*
 * logbroker_tails: the events of several logbroker_tail in one stream.
 *
 *     leg of each broker ----> out ----> client
 *
 * Frames of events go through whole, in the order in which they come.  Their
 * ids are made anew: the last one of each broker, by its name, so that a client
 * comes back to where it was in all of them.
 *
 *     BROKER=ID[;BROKER=ID...]
 *
 * Where the client takes nothing, nothing is read: the brokers count what they
 * drop for it.  A broker that goes away is asked again, from where it was.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_leg.h"
#include "ngx_http_logbroker_sse.h"
#include "ngx_http_logbroker_tails.h"


typedef struct {
    ngx_http_logbroker_sse_t         sse;           /* first */
    ngx_http_logbroker_leg_t        *legs;
    ngx_uint_t                       n;
    ngx_uint_t                       first;         /* whose turn it is */
    ngx_http_logbroker_mem_t         out;
    ngx_uint_t                       full;          /* a leg waits for room */
    ngx_event_t                      wake;
    ngx_event_t                      timer;
} ngx_http_logbroker_tails_t;


static char *ngx_http_logbroker_tails_leg(ngx_conf_t *cf, ngx_array_t *legs,
    ngx_str_t *value);
static ngx_int_t ngx_http_logbroker_tails_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_logbroker_tails_create(
    ngx_http_logbroker_tails_t *m, ngx_http_request_t *r, ngx_array_t *conf);
static ngx_int_t ngx_http_logbroker_tails_resume(
    ngx_http_logbroker_tails_t *m, ngx_str_t *id);
static void ngx_http_logbroker_tails_left(ngx_http_logbroker_sse_t *s);
static void ngx_http_logbroker_tails_stop(ngx_http_logbroker_tails_t *m);
static void ngx_http_logbroker_tails_more(ngx_http_logbroker_sse_t *s);
static void ngx_http_logbroker_tails_wake(ngx_event_t *ev);
static void ngx_http_logbroker_tails_timer(ngx_event_t *ev);
static void ngx_http_logbroker_tails_look(ngx_http_logbroker_tails_t *m);
static void ngx_http_logbroker_tails_lost(ngx_http_logbroker_tails_t *m,
    ngx_http_logbroker_leg_t *leg);
static ngx_int_t ngx_http_logbroker_tails_take(ngx_http_logbroker_tails_t *m,
    ngx_http_logbroker_leg_t *leg);
static ngx_int_t ngx_http_logbroker_tails_put(ngx_http_logbroker_tails_t *m,
    ngx_http_logbroker_leg_t *leg, ngx_str_t *frame);
static ngx_int_t ngx_http_logbroker_tails_room(ngx_http_logbroker_tails_t *m,
    size_t need);
static ngx_int_t ngx_http_logbroker_tails_say(ngx_http_logbroker_tails_t *m,
    ngx_http_logbroker_leg_t *leg, char *event);


/* of this worker */
static ngx_uint_t  ngx_http_logbroker_tails_n;


char *
ngx_http_logbroker_tails(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_logbroker_loc_conf_t *llcf = conf;

    char        *rv;
    ngx_str_t   *value;
    ngx_uint_t   i;

    rv = ngx_http_logbroker_take_location(cf, ngx_http_logbroker_tails_handler);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    llcf->legs = ngx_array_create(cf->pool, cf->args->nelts,
                                  sizeof(ngx_http_logbroker_leg_conf_t));
    if (llcf->legs == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_http_logbroker_tails_leg(cf, llcf->legs, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    llcf->handler = ngx_http_logbroker_tails_handler;

    return NGX_CONF_OK;
}


/* BROKER=/URI; the name stands in ids and in JSON. */

static char *
ngx_http_logbroker_tails_leg(ngx_conf_t *cf, ngx_array_t *legs,
    ngx_str_t *value)
{
    size_t                          len;
    u_char                         *p;
    ngx_uint_t                      i;
    ngx_http_logbroker_leg_conf_t  *leg;

    p = ngx_strlchr(value->data, value->data + value->len, '=');
    len = p ? (size_t) (p - value->data) : 0;

    if (len == 0 || p[1] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is not BROKER=/PATH, such as "
                           "10.0.0.5:8080=/cluster/1/tail", value);
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < value->len; i++) {

        if (value->data[i] <= ' ' || value->data[i] >= 0x7f
            || value->data[i] == '"' || value->data[i] == '\\'
            || value->data[i] == ';' || value->data[i] == '?')
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" has a character that neither a name "
                               "nor a path may have here", value);
            return NGX_CONF_ERROR;
        }
    }

    leg = legs->elts;

    for (i = 0; i < legs->nelts; i++) {

        if (leg[i].name.len == len
            && ngx_memcmp(leg[i].name.data, value->data, len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "broker \"%V\" is there twice", &leg[i].name);
            return NGX_CONF_ERROR;
        }
    }

    leg = ngx_array_push(legs);
    if (leg == NULL) {
        return NGX_CONF_ERROR;
    }

    leg->name.data = value->data;
    leg->name.len = len;
    leg->uri.data = p + 1;
    leg->uri.len = value->len - len - 1;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_logbroker_tails_handler(ngx_http_request_t *r)
{
    size_t                          i;
    ngx_int_t                       rc;
    ngx_http_logbroker_tails_t     *m;
    ngx_http_logbroker_loc_conf_t  *llcf;

    rc = ngx_http_logbroker_sse_accept(r, ngx_http_logbroker_tails_n);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    for (i = 0; i < r->args.len; i++) {

        if (r->args.data[i] <= ' ' || r->args.data[i] == 0x7f) {
            return NGX_HTTP_BAD_REQUEST;
        }
    }

    m = ngx_pcalloc(r->pool, sizeof(ngx_http_logbroker_tails_t));
    if (m == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    m->sse.request = r;
    m->sse.more = ngx_http_logbroker_tails_more;
    m->sse.left = ngx_http_logbroker_tails_left;

    ngx_http_logbroker_tails_n++;

    if (ngx_http_logbroker_tails_create(m, r, llcf->legs) != NGX_OK) {
        ngx_http_logbroker_tails_left(&m->sse);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_logbroker_sse_begin(r, &m->sse);
}


static ngx_int_t
ngx_http_logbroker_tails_create(ngx_http_logbroker_tails_t *m,
    ngx_http_request_t *r, ngx_array_t *conf)
{
    ngx_uint_t                      i;
    ngx_table_elt_t                *h;
    ngx_http_logbroker_leg_conf_t  *leg;

    static ngx_str_t  last = ngx_string("last-event-id");

    m->wake.handler = ngx_http_logbroker_tails_wake;
    m->wake.data = m;
    m->wake.log = r->connection->log;

    m->timer.handler = ngx_http_logbroker_tails_timer;
    m->timer.data = m;
    m->timer.log = r->connection->log;

    m->legs = ngx_pcalloc(r->pool,
                          conf->nelts * sizeof(ngx_http_logbroker_leg_t));
    if (m->legs == NULL) {
        return NGX_ERROR;
    }

    m->n = conf->nelts;
    leg = conf->elts;

    for (i = 0; i < m->n; i++) {
        m->legs[i].conf = &leg[i];
        m->legs[i].wake = &m->wake;
    }

    h = ngx_http_logbroker_header(r, &last, NULL);

    if (h && ngx_http_logbroker_tails_resume(m, &h->value) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_logbroker_tails_look(m);

    ngx_add_timer(&m->timer, NGX_HTTP_LOGBROKER_TAILS_EVERY);

    return NGX_OK;
}


/* Brokers that are not there any more are left out. */

static ngx_int_t
ngx_http_logbroker_tails_resume(ngx_http_logbroker_tails_t *m, ngx_str_t *id)
{
    u_char                    *p, *end, *next, *is;
    ngx_str_t                 *name;
    ngx_uint_t                 i;
    ngx_http_logbroker_leg_t  *leg;

    end = id->data + id->len;

    for (p = id->data; p < end; p = next + 1) {

        next = ngx_strlchr(p, end, ';');

        if (next == NULL) {
            next = end;
        }

        is = ngx_strlchr(p, next, '=');

        if (is == NULL) {
            continue;
        }

        for (i = 0; i < m->n; i++) {
            leg = &m->legs[i];
            name = &leg->conf->name;

            if (name->len == (size_t) (is - p)
                && ngx_memcmp(name->data, p, name->len) == 0
                && ngx_http_logbroker_leg_place(leg, is + 1, next - is - 1)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static void
ngx_http_logbroker_tails_left(ngx_http_logbroker_sse_t *s)
{
    ngx_uint_t                   i;
    ngx_http_logbroker_tails_t  *m;

    m = (ngx_http_logbroker_tails_t *) s;

    ngx_http_logbroker_tails_stop(m);

    for (i = 0; i < m->n; i++) {
        ngx_http_logbroker_leg_free(&m->legs[i]);
    }

    ngx_http_logbroker_mem_free(&m->out);
    ngx_http_logbroker_mem_free(&s->sending);

    ngx_http_logbroker_tails_n--;
}


static void
ngx_http_logbroker_tails_stop(ngx_http_logbroker_tails_t *m)
{
    ngx_uint_t  i;

    for (i = 0; i < m->n; i++) {
        ngx_http_logbroker_leg_close(&m->legs[i]);
    }

    if (m->wake.posted) {
        ngx_delete_posted_event(&m->wake);
    }

    if (m->timer.timer_set) {
        ngx_del_timer(&m->timer);
    }
}


static void
ngx_http_logbroker_tails_more(ngx_http_logbroker_sse_t *s)
{
    ngx_http_logbroker_tails_t  *m;

    m = (ngx_http_logbroker_tails_t *) s;

    if (m->out.len == 0) {
        return;
    }

    ngx_http_logbroker_mem_swap(&s->sending, &m->out);
    m->out.len = 0;

    if (m->out.size > NGX_HTTP_LOGBROKER_TAILS_ROOM) {
        ngx_http_logbroker_mem_free(&m->out);
    }

    if (m->full) {
        m->full = 0;
        ngx_post_event(&m->wake, &ngx_posted_next_events);
    }
}


static void
ngx_http_logbroker_tails_wake(ngx_event_t *ev)
{
    ngx_int_t                    rc;
    ngx_uint_t                   i;
    ngx_connection_t            *c;
    ngx_http_logbroker_leg_t    *leg;
    ngx_http_logbroker_tails_t  *m;

    m = ev->data;
    c = m->sse.request->connection;

    ngx_http_set_log_request(c->log, m->sse.request);

    for (i = 0; i < m->n; i++) {
        leg = &m->legs[(m->first + i) % m->n];

        if (leg->state == NGX_HTTP_LOGBROKER_LEG_AWAY) {
            continue;
        }

        rc = ngx_http_logbroker_tails_take(m, leg);

        if (rc == NGX_ERROR) {
            ngx_http_logbroker_tails_lost(m, leg);

        } else if (rc == NGX_OK) {
            ngx_post_event(&m->wake, &ngx_posted_next_events);
        }
    }

    m->first++;

    ngx_http_logbroker_sse_send(&m->sse);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_logbroker_tails_timer(ngx_event_t *ev)
{
    ngx_connection_t            *c;
    ngx_http_logbroker_tails_t  *m;

    m = ev->data;
    c = m->sse.request->connection;

    ngx_http_set_log_request(c->log, m->sse.request);

    if (ngx_exiting || m->sse.ended) {

        ngx_http_logbroker_tails_stop(m);

        if (!m->sse.ended) {
            /* the client comes back, with the id of the last event it saw */
            ngx_http_logbroker_sse_end(&m->sse, NGX_OK);
        }

    } else {
        ngx_add_timer(&m->timer, NGX_HTTP_LOGBROKER_TAILS_EVERY);
        ngx_http_logbroker_tails_look(m);
        ngx_http_logbroker_sse_send(&m->sse);
    }

    ngx_http_run_posted_requests(c);
}


/* Who is away is asked again; who hangs is away. */

static void
ngx_http_logbroker_tails_look(ngx_http_logbroker_tails_t *m)
{
    ngx_uint_t                 i;
    ngx_msec_t                 quiet;
    ngx_http_logbroker_leg_t  *leg;

    for (i = 0; i < m->n; i++) {
        leg = &m->legs[i];
        quiet = ngx_current_msec - leg->heard_at;

        if (leg->state == NGX_HTTP_LOGBROKER_LEG_AWAY) {

            if (ngx_http_logbroker_leg_open(leg, m->sse.request) != NGX_OK) {
                ngx_http_logbroker_tails_lost(m, leg);
            }

        } else if (quiet > (leg->state == NGX_HTTP_LOGBROKER_LEG_OPEN
                                ? NGX_HTTP_LOGBROKER_LEG_SILENT
                                : NGX_HTTP_LOGBROKER_LEG_ANSWER))
        {
            ngx_http_logbroker_tails_lost(m, leg);
        }
    }

    if (m->full) {
        /* there was no memory, maybe */
        ngx_post_event(&m->wake, &ngx_posted_next_events);
    }

    if (m->out.len == 0 && m->sse.sending.len == 0
        && ngx_http_logbroker_sse_quiet(&m->sse)
        && ngx_http_logbroker_tails_room(m, 3) == NGX_OK)
    {
        m->out.len = ngx_sprintf(m->out.data, ":\n\n") - m->out.data;
    }
}


/* The end of one that was open is no news yet: a broker that is reloaded ends
 * its streams. */

static void
ngx_http_logbroker_tails_lost(ngx_http_logbroker_tails_t *m,
    ngx_http_logbroker_leg_t *leg)
{
    ngx_uint_t  open;

    open = leg->state == NGX_HTTP_LOGBROKER_LEG_OPEN;

    ngx_http_logbroker_leg_close(leg);

    if (!open && !leg->missed
        && ngx_http_logbroker_tails_say(m, leg, "away") == NGX_OK)
    {
        leg->missed = 1;
    }
}


/* NGX_OK: there may be more; NGX_AGAIN: wake is posted when there is; NGX_ERROR:
 * the broker is lost. */

static ngx_int_t
ngx_http_logbroker_tails_take(ngx_http_logbroker_tails_t *m,
    ngx_http_logbroker_leg_t *leg)
{
    size_t     taken;
    ngx_int_t  rc;
    ngx_str_t  frame;

    taken = 0;

    for ( ;; ) {

        while (ngx_http_logbroker_leg_frame(leg, &frame) == NGX_OK) {

            rc = ngx_http_logbroker_tails_put(m, leg, &frame);

            if (rc == NGX_BUSY) {
                m->full = 1;
                return ngx_http_logbroker_leg_hold(leg) == NGX_OK ? NGX_AGAIN
                                                                  : NGX_ERROR;
            }

            if (rc != NGX_OK) {
                return NGX_ERROR;
            }

            ngx_http_logbroker_leg_took(leg, &frame);
            taken += frame.len;
        }

        if (taken >= NGX_HTTP_LOGBROKER_TAILS_TURN) {
            return NGX_OK;
        }

        rc = ngx_http_logbroker_leg_go(leg);

        if (rc != NGX_OK) {
            return rc;
        }

        if (leg->missed && leg->state == NGX_HTTP_LOGBROKER_LEG_OPEN
            && ngx_http_logbroker_tails_say(m, leg, "back") == NGX_OK)
        {
            leg->missed = 0;
        }
    }
}


/* A frame without comments and "retry:", its id made anew; nothing, if that was
 * all. */

static ngx_int_t
ngx_http_logbroker_tails_put(ngx_http_logbroker_tails_t *m,
    ngx_http_logbroker_leg_t *leg, ngx_str_t *frame)
{
    u_char                    *p, *end, *line, *next;
    size_t                     need;
    ngx_uint_t                 i;
    ngx_http_logbroker_leg_t  *l;

    /* the frame has this one's own */

    need = frame->len + sizeof("id: ");

    for (i = 0; i < m->n; i++) {
        l = &m->legs[i];
        need += l->conf->name.len + l->id.len + 2;
    }

    if (ngx_http_logbroker_tails_room(m, need) != NGX_OK) {
        return NGX_BUSY;
    }

    p = m->out.data + m->out.len;
    end = frame->data + frame->len - 1;

    for (line = frame->data; line < end; line = next) {

        next = ngx_strlchr(line, end, '\n') + 1;

        if (line[0] == ':' || ngx_strncmp(line, "retry:", 6) == 0) {
            continue;
        }

        if (ngx_strncmp(line, "id: ", 4) != 0) {
            p = ngx_cpymem(p, line, next - line);
            continue;
        }

        if (ngx_http_logbroker_leg_place(leg, line + 4, next - 1 - line - 4)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        p = ngx_cpymem(p, "id: ", 4);

        for (i = 0; i < m->n; i++) {
            l = &m->legs[i];

            if (l->id.len) {
                p = ngx_sprintf(p, "%V=%*s;", &l->conf->name, l->id.len,
                                l->id.data);
            }
        }

        p[-1] = '\n';
    }

    if (p > m->out.data + m->out.len) {
        *p++ = '\n';
        m->out.len = p - m->out.data;
    }

    return NGX_OK;
}


/* NGX_BUSY: when the client has taken what there is. */

static ngx_int_t
ngx_http_logbroker_tails_room(ngx_http_logbroker_tails_t *m, size_t need)
{
    need += m->out.len;

    if (m->out.len && need > NGX_HTTP_LOGBROKER_TAILS_ROOM) {
        return NGX_BUSY;
    }

    if (need > m->out.size) {
        need = ngx_max(need, ngx_min(2 * m->out.size,
                                     NGX_HTTP_LOGBROKER_TAILS_ROOM));
        need = ngx_max(need, 4096);
    }

    return ngx_http_logbroker_mem_grow(&m->out, need) == NGX_OK ? NGX_OK
                                                                : NGX_BUSY;
}


static ngx_int_t
ngx_http_logbroker_tails_say(ngx_http_logbroker_tails_t *m,
    ngx_http_logbroker_leg_t *leg, char *event)
{
    u_char  *p;

    if (ngx_http_logbroker_tails_room(m, 128 + leg->conf->name.len) != NGX_OK)
    {
        return NGX_BUSY;
    }

    p = m->out.data + m->out.len;

    p = ngx_sprintf(p, "event: %s\ndata: {\"broker\":\"%V\"", event,
                    &leg->conf->name);

    if (leg->status && leg->status != NGX_HTTP_OK) {
        p = ngx_sprintf(p, ",\"status\":%ui", leg->status);
    }

    p = ngx_cpymem(p, "}\n\n", 3);

    m->out.len = p - m->out.data;

    return NGX_OK;
}
