/*
 * A client that is sent server-sent events.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_sse.h"


static void ngx_http_logbroker_sse_left(void *data);
static ngx_int_t ngx_http_logbroker_sse_put(ngx_http_logbroker_sse_t *s);
static ngx_int_t ngx_http_logbroker_sse_wait(ngx_http_request_t *r);
static void ngx_http_logbroker_sse_write(ngx_http_request_t *r);


ngx_int_t
ngx_http_logbroker_sse_accept(ngx_http_request_t *r, ngx_uint_t n)
{
    ngx_int_t  rc;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) || r != r->main) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
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

    if (ngx_exiting || n >= NGX_HTTP_LOGBROKER_SSE_CLIENTS) {
        return ngx_http_logbroker_add_header(r, "Retry-After", "1") == NGX_OK
                   ? NGX_HTTP_SERVICE_UNAVAILABLE
                   : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_logbroker_sse_begin(ngx_http_request_t *r,
    ngx_http_logbroker_sse_t *s)
{
    ngx_int_t            rc;
    ngx_http_cleanup_t  *cln;

    s->request = r;
    s->said_at = ngx_current_msec;

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        s->left(s);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_logbroker_sse_left;
    cln->data = s;

    if (ngx_http_logbroker_mem_grow(&s->sending, 32) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* so that the client knows at once that it is connected */

    s->sending.len = ngx_sprintf(s->sending.data, "retry: 1000\n\n")
                     - s->sending.data;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_logbroker_sse_write;
    r->main->count++;

    ngx_http_logbroker_sse_send(s);

    return NGX_DONE;
}


static void
ngx_http_logbroker_sse_left(void *data)
{
    ngx_http_logbroker_sse_t *s = data;

    s->request = NULL;
    s->left(s);
}


void
ngx_http_logbroker_sse_send(ngx_http_logbroker_sse_t *s)
{
    if (!s->ended && ngx_http_logbroker_sse_put(s) != NGX_OK) {
        ngx_http_logbroker_sse_end(s, NGX_ERROR);
    }
}


ngx_uint_t
ngx_http_logbroker_sse_quiet(ngx_http_logbroker_sse_t *s)
{
    return ngx_current_msec - s->said_at >= NGX_HTTP_LOGBROKER_SSE_QUIET;
}


static ngx_int_t
ngx_http_logbroker_sse_put(ngx_http_logbroker_sse_t *s)
{
    ngx_http_request_t  *r;

    r = s->request;

    if (s->buf.pos != s->buf.last) {
        /* the last of it is on its way */
        return NGX_OK;
    }

    if (s->buf.pos) {
        s->buf.pos = NULL;
        s->buf.last = NULL;
        s->sending.len = 0;
    }

    if (s->sending.len == 0) {
        s->more(s);
    }

    if (s->sending.len == 0) {
        return NGX_OK;
    }

    s->said_at = ngx_current_msec;

    ngx_memzero(&s->buf, sizeof(ngx_buf_t));

    s->buf.start = s->sending.data;
    s->buf.pos = s->sending.data;
    s->buf.last = s->sending.data + s->sending.len;
    s->buf.end = s->buf.last;
    s->buf.memory = 1;
    s->buf.flush = 1;
    s->buf.tag = (ngx_buf_tag_t) &ngx_http_logbroker_module;

    s->chain.buf = &s->buf;
    s->chain.next = NULL;

    if (ngx_http_output_filter(r, &s->chain) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return r->buffered || r->connection->buffered
               ? ngx_http_logbroker_sse_wait(r) : NGX_OK;
}


/* Until the client takes more, within send_timeout. */

static ngx_int_t
ngx_http_logbroker_sse_wait(ngx_http_request_t *r)
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
ngx_http_logbroker_sse_write(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_cleanup_t        *cln;
    ngx_http_logbroker_sse_t  *s;

    c = r->connection;
    wev = c->write;

    for (cln = r->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_http_logbroker_sse_left) {
            break;
        }
    }

    if (cln == NULL) {
        return;
    }

    s = cln->data;

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client timed out");
        c->timedout = 1;

        ngx_http_logbroker_sse_end(s, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (wev->delayed) {
        rc = ngx_http_logbroker_sse_wait(r);

    } else {
        rc = ngx_http_output_filter(r, NULL);

        if (rc != NGX_ERROR) {

            if (wev->timer_set) {
                ngx_del_timer(wev);
            }

            if (r->buffered || c->buffered) {
                rc = ngx_http_logbroker_sse_wait(r);

            } else {
                ngx_http_logbroker_sse_send(s);
                return;
            }
        }
    }

    if (rc == NGX_ERROR) {
        ngx_http_logbroker_sse_end(s, NGX_ERROR);
    }
}


void
ngx_http_logbroker_sse_end(ngx_http_logbroker_sse_t *s, ngx_int_t rc)
{
    ngx_http_request_t  *r;

    r = s->request;
    s->ended = 1;

    if (rc == NGX_OK) {
        rc = ngx_http_send_special(r, NGX_HTTP_LAST);
    }

    ngx_http_finalize_request(r, rc);
}
