/*
 * One of several streams that are merged.
 *
 * It comes from a location of this server, which knows of TLS, of names and of
 * who may look.  HTTP/1.0: the answer is a header and what follows.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event_connect.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_leg.h"


static ngx_int_t ngx_http_logbroker_leg_ask(ngx_http_logbroker_leg_t *leg,
    ngx_http_request_t *r);
static void ngx_http_logbroker_leg_event(ngx_event_t *ev);
static ngx_int_t ngx_http_logbroker_leg_send(ngx_http_logbroker_leg_t *leg);
static ngx_int_t ngx_http_logbroker_leg_room(ngx_http_logbroker_leg_t *leg);
static ngx_int_t ngx_http_logbroker_leg_answer(ngx_http_logbroker_leg_t *leg);


ngx_int_t
ngx_http_logbroker_leg_place(ngx_http_logbroker_leg_t *leg, u_char *id,
    size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {

        if (!(id[i] >= '0' && id[i] <= '9') && !(id[i] >= 'a' && id[i] <= 'f')
            && id[i] != ':' && id[i] != ',')
        {
            return NGX_OK;
        }
    }

    if (ngx_http_logbroker_mem_grow(&leg->id, len) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memcpy(leg->id.data, id, len);
    leg->id.len = len;

    return NGX_OK;
}


ngx_int_t
ngx_http_logbroker_leg_open(ngx_http_logbroker_leg_t *leg,
    ngx_http_request_t *r)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    leg->status = 0;

    if (ngx_http_logbroker_leg_ask(leg, r) != NGX_OK
        || ngx_connection_local_sockaddr(r->connection, NULL, 0) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memzero(&leg->peer, sizeof(ngx_peer_connection_t));

    leg->peer.sockaddr = r->connection->local_sockaddr;
    leg->peer.socklen = r->connection->local_socklen;
    leg->peer.name = &leg->conf->uri;
    leg->peer.rcvbuf = NGX_HTTP_LOGBROKER_LEG_RCVBUF;
    leg->peer.get = ngx_event_get_peer;
    leg->peer.log = r->connection->log;
    leg->peer.log_error = NGX_ERROR_INFO;

    rc = ngx_event_connect_peer(&leg->peer);

    c = leg->peer.connection;

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_http_logbroker_leg_close(leg);
        return NGX_ERROR;
    }

    c->data = leg;
    c->read->handler = ngx_http_logbroker_leg_event;
    c->write->handler = ngx_http_logbroker_leg_event;

    leg->state = NGX_HTTP_LOGBROKER_LEG_ASKING;
    leg->heard_at = ngx_current_msec;

    if (rc == NGX_OK) {
        ngx_post_event(leg->wake, &ngx_posted_events);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_leg_ask(ngx_http_logbroker_leg_t *leg,
    ngx_http_request_t *r)
{
    size_t            size;
    u_char           *p;
    ngx_str_t        *host;
    ngx_table_elt_t  *who;

    host = &r->headers_in.server;
    who = r->headers_in.authorization;

    size = sizeof("GET ? HTTP/1.0" CRLF "Host: " CRLF "Authorization: " CRLF
                  "Accept: text/event-stream" CRLF "Last-Event-ID: " CRLF CRLF)
           + leg->conf->uri.len + r->args.len + host->len
           + (who ? who->value.len : 0) + leg->id.len;

    if (ngx_http_logbroker_mem_grow(&leg->request, size) != NGX_OK) {
        return NGX_ERROR;
    }

    p = leg->request.data;

    p = ngx_sprintf(p, "GET %V%s%V HTTP/1.0" CRLF
                    "Accept: text/event-stream" CRLF,
                    &leg->conf->uri, r->args.len ? "?" : "", &r->args);

    if (host->len) {
        p = ngx_sprintf(p, "Host: %V" CRLF, host);
    }

    if (who) {
        p = ngx_sprintf(p, "Authorization: %V" CRLF, &who->value);
    }

    if (leg->id.len) {
        p = ngx_sprintf(p, "Last-Event-ID: %*s" CRLF, leg->id.len,
                        leg->id.data);
    }

    p = ngx_cpymem(p, CRLF, 2);

    leg->request.len = p - leg->request.data;
    leg->sent = 0;

    return NGX_OK;
}


void
ngx_http_logbroker_leg_close(ngx_http_logbroker_leg_t *leg)
{
    if (leg->peer.connection) {
        ngx_close_connection(leg->peer.connection);
        leg->peer.connection = NULL;
    }

    leg->state = NGX_HTTP_LOGBROKER_LEG_AWAY;
    leg->begin = 0;
    leg->seen = 0;

    ngx_http_logbroker_mem_free(&leg->in);
}


void
ngx_http_logbroker_leg_free(ngx_http_logbroker_leg_t *leg)
{
    ngx_http_logbroker_leg_close(leg);
    ngx_http_logbroker_mem_free(&leg->request);
    ngx_http_logbroker_mem_free(&leg->id);
}


static void
ngx_http_logbroker_leg_event(ngx_event_t *ev)
{
    ngx_connection_t          *c;
    ngx_http_logbroker_leg_t  *leg;

    c = ev->data;
    leg = c->data;

    ngx_post_event(leg->wake, &ngx_posted_events);
}


ngx_int_t
ngx_http_logbroker_leg_go(ngx_http_logbroker_leg_t *leg)
{
    ssize_t            n;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = leg->peer.connection;
    rev = c->read;

    if (leg->state == NGX_HTTP_LOGBROKER_LEG_ASKING
        && ngx_http_logbroker_leg_send(leg) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (leg->state == NGX_HTTP_LOGBROKER_LEG_ASKING || !rev->ready) {
        return ngx_handle_read_event(rev, 0) == NGX_OK ? NGX_AGAIN : NGX_ERROR;
    }

    if (ngx_http_logbroker_leg_room(leg) != NGX_OK) {
        return NGX_ERROR;
    }

    n = c->recv(c, leg->in.data + leg->in.len, leg->in.size - leg->in.len);

    if (n == NGX_AGAIN) {
        return ngx_handle_read_event(rev, 0) == NGX_OK ? NGX_AGAIN : NGX_ERROR;
    }

    if (n <= 0) {
        return NGX_ERROR;
    }

    leg->in.len += n;
    leg->heard_at = ngx_current_msec;

    return leg->state == NGX_HTTP_LOGBROKER_LEG_OPEN
               ? NGX_OK : ngx_http_logbroker_leg_answer(leg);
}


ngx_int_t
ngx_http_logbroker_leg_hold(ngx_http_logbroker_leg_t *leg)
{
    leg->heard_at = ngx_current_msec;

    return ngx_handle_read_event(leg->peer.connection->read, 0);
}


static ngx_int_t
ngx_http_logbroker_leg_send(ngx_http_logbroker_leg_t *leg)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = leg->peer.connection;

    while (leg->sent < leg->request.len) {

        n = c->send(c, leg->request.data + leg->sent,
                    leg->request.len - leg->sent);

        if (n == NGX_AGAIN) {
            return ngx_handle_write_event(c->write, 0);
        }

        if (n <= 0) {
            return NGX_ERROR;
        }

        leg->sent += n;
    }

    leg->state = NGX_HTTP_LOGBROKER_LEG_ASKED;

    return ngx_handle_write_event(c->write, 0);
}


/* What is there of a frame stays, at the begin of the memory. */

static ngx_int_t
ngx_http_logbroker_leg_room(ngx_http_logbroker_leg_t *leg)
{
    size_t                     len;
    ngx_http_logbroker_mem_t  *in;

    in = &leg->in;
    len = in->len - leg->begin;

    if (leg->begin) {
        ngx_memmove(in->data, in->data + leg->begin, len);
        in->len = len;
        leg->seen -= leg->begin;
        leg->begin = 0;
    }

    if (len == 0 && in->size > NGX_HTTP_LOGBROKER_LEG_READ) {
        /* a large one went through */
        ngx_http_logbroker_mem_free(in);
    }

    if (len < in->size) {
        return NGX_OK;
    }

    if (len >= NGX_HTTP_LOGBROKER_LEG_FRAME) {
        return NGX_ERROR;
    }

    return ngx_http_logbroker_mem_grow(in, in->size
                                           ? 2 * in->size
                                           : NGX_HTTP_LOGBROKER_LEG_READ);
}


/* NGX_OK: so far it is a good one. */

static ngx_int_t
ngx_http_logbroker_leg_answer(ngx_http_logbroker_leg_t *leg)
{
    u_char     *p, *end;
    ngx_int_t   status;

    static const size_t  shortest = sizeof("HTTP/1.1 200") - 1;

    p = leg->in.data;
    end = p + leg->in.len;

    if (leg->in.len < shortest) {
        return NGX_OK;
    }

    status = ngx_atoi(p + sizeof("HTTP/1.1 ") - 1, 3);

    if (ngx_strncmp(p, "HTTP/1.", sizeof("HTTP/1.") - 1) != 0
        || status == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    leg->status = status;

    if (status != NGX_HTTP_OK) {
        return NGX_ERROR;
    }

    p = memmem(p, end - p, CRLF CRLF, 4);

    if (p) {
        leg->begin = p + 4 - leg->in.data;
        leg->seen = leg->begin;
        leg->state = NGX_HTTP_LOGBROKER_LEG_OPEN;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_logbroker_leg_frame(ngx_http_logbroker_leg_t *leg, ngx_str_t *frame)
{
    u_char  *p, *end;

    if (leg->state != NGX_HTTP_LOGBROKER_LEG_OPEN
        || leg->seen >= leg->in.len)
    {
        return NGX_AGAIN;
    }

    end = leg->in.data + leg->in.len;

    p = memmem(leg->in.data + leg->seen, end - (leg->in.data + leg->seen),
               "\n\n", 2);

    if (p == NULL) {
        /* the last one may be the first of the two */
        leg->seen = leg->in.len - 1;
        return NGX_AGAIN;
    }

    leg->seen = p - leg->in.data;

    frame->data = leg->in.data + leg->begin;
    frame->len = p + 2 - frame->data;

    return NGX_OK;
}


void
ngx_http_logbroker_leg_took(ngx_http_logbroker_leg_t *leg, ngx_str_t *frame)
{
    leg->begin += frame->len;
    leg->seen = leg->begin;
}
