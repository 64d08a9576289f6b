/*
 * logbroker_status: which face of the status is asked for, and sending it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_snapshot.h"
#include "ngx_http_logbroker_json.h"
#include "ngx_http_logbroker_metrics.h"
#include "ngx_http_logbroker_status.h"
#include "ngx_http_logbroker_page.h"


static ngx_int_t ngx_http_logbroker_status_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_logbroker_status_text(ngx_http_request_t *r,
    ngx_uint_t format);
static ngx_int_t ngx_http_logbroker_status_history(ngx_http_request_t *r);
static ngx_int_t ngx_http_logbroker_status_health(ngx_http_request_t *r,
    ngx_http_logbroker_snapshot_t *s);
static ngx_uint_t ngx_http_logbroker_status_format(ngx_http_request_t *r);
static ngx_int_t ngx_http_logbroker_status_send(ngx_http_request_t *r,
    ngx_uint_t format, ngx_buf_t *b);


char *
ngx_http_logbroker_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_logbroker_loc_conf_t *llcf = conf;

    char       *rv;
    ngx_str_t  *value;

    rv = ngx_http_logbroker_take_location(cf, ngx_http_logbroker_status_handler);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (cf->args->nelts == 2) {
        value = cf->args->elts;

        if (ngx_strcmp(value[1].data, "json") == 0) {
            llcf->status = NGX_HTTP_LOGBROKER_STATUS_JSON;

        } else if (ngx_strcmp(value[1].data, "metrics") == 0) {
            llcf->status = NGX_HTTP_LOGBROKER_STATUS_METRICS;

        } else if (ngx_strcmp(value[1].data, "page") == 0) {
            llcf->status = NGX_HTTP_LOGBROKER_STATUS_PAGE;

        } else if (ngx_strcmp(value[1].data, "explore") == 0) {
            llcf->status = NGX_HTTP_LOGBROKER_STATUS_EXPLORE;

        } else if (ngx_strcmp(value[1].data, "health") == 0) {
            llcf->status = NGX_HTTP_LOGBROKER_STATUS_HEALTH;

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid format \"%V\" in \"logbroker_status\""
                               ", it must be \"json\", \"metrics\", \"page\", "
                               "\"explore\" or \"health\"; without one the Accept header "
                               "decides", &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    llcf->handler = ngx_http_logbroker_status_handler;

    if (llcf->status != NGX_HTTP_LOGBROKER_STATUS_PAGE
        && llcf->status != NGX_HTTP_LOGBROKER_STATUS_EXPLORE)
    {
        ngx_http_logbroker_needs_spool(cf, &cmd->name);
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_logbroker_status_handler(ngx_http_request_t *r)
{
    ngx_buf_t   *b;
    ngx_int_t    rc;
    ngx_uint_t   format;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    format = ngx_http_logbroker_status_format(r);

    if (format == NGX_HTTP_LOGBROKER_STATUS_PAGE
        || format == NGX_HTTP_LOGBROKER_STATUS_EXPLORE)
    {
        b = ngx_calloc_buf(r->pool);
        if (b == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (format == NGX_HTTP_LOGBROKER_STATUS_PAGE) {
            b->pos = (u_char *) ngx_http_logbroker_page;
            b->last = b->pos + sizeof(ngx_http_logbroker_page);

        } else {
            b->pos = (u_char *) ngx_http_logbroker_explore;
            b->last = b->pos + sizeof(ngx_http_logbroker_explore);
        }

        b->memory = 1;

        return ngx_http_logbroker_status_send(r, format, b);
    }

    if (ngx_http_logbroker_worker == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (format == NGX_HTTP_LOGBROKER_STATUS_HISTORY) {
        return ngx_http_logbroker_status_history(r);
    }

    return ngx_http_logbroker_status_text(r, format);
}


static ngx_int_t
ngx_http_logbroker_status_text(ngx_http_request_t *r, ngx_uint_t format)
{
    size_t                          size;
    ngx_buf_t                      *b;
    ngx_http_logbroker_snapshot_t   snapshot;

    if (ngx_http_logbroker_snapshot(ngx_http_logbroker_worker, r->pool,
                                    &snapshot)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (format == NGX_HTTP_LOGBROKER_STATUS_HEALTH) {
        return ngx_http_logbroker_status_health(r, &snapshot);
    }

    size = format == NGX_HTTP_LOGBROKER_STATUS_METRICS
               ? ngx_http_logbroker_metrics_size(&snapshot)
               : ngx_http_logbroker_json_size(&snapshot);

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = format == NGX_HTTP_LOGBROKER_STATUS_METRICS
                  ? ngx_http_logbroker_metrics(&snapshot, b->last, b->end)
                  : ngx_http_logbroker_json(&snapshot, b->last, b->end);

    if (b->last == b->end) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "logbroker: the status is longer than %uz bytes", size);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_logbroker_status_send(r, format, b);
}


/* What the flusher keeps: as old as its last minute. */

static ngx_int_t
ngx_http_logbroker_status_history(ngx_http_request_t *r)
{
    ngx_buf_t  *b;
    ngx_int_t   rc;
    ngx_str_t   json;

    rc = ngx_http_logbroker_history(ngx_http_logbroker_worker, r->pool, &json);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        ngx_str_set(&json, "{}");
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->pos = json.data;
    b->last = json.data + json.len;
    b->memory = 1;

    return ngx_http_logbroker_status_send(r, NGX_HTTP_LOGBROKER_STATUS_JSON, b);
}


/* Are events taken here, by each worker: 200, or 503 and why not. */

static ngx_int_t
ngx_http_logbroker_status_health(ngx_http_request_t *r,
    ngx_http_logbroker_snapshot_t *s)
{
    size_t      size;
    ngx_buf_t  *b;

    size = 256 + (s->problem ? ngx_strlen(s->problem) : 0);

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (s->waits.hangs_ms) {
        b->last = ngx_slprintf(b->last, b->end, "no events are taken: the disk "
                               "has not answered for %uL s\n",
                               s->waits.hangs_ms / 1000);

    } else if (s->waits.no_ring) {
        b->last = ngx_slprintf(b->last, b->end,
                               "%ui of %ui workers take no events, they have "
                               "no ring%s%s\n", s->waits.no_ring,
                               s->waits.workers, s->problem ? ": "
                               : "; why is in the error log of nginx",
                               s->problem ? s->problem : "");

    } else if (s->waits.starting) {
        b->last = ngx_slprintf(b->last, b->end,
                               "%ui of %ui workers wait for their ring\n",
                               s->waits.starting, s->waits.workers);

    } else if (s->capacity && s->backlog_bytes > s->capacity / 10 * 9) {
        b->last = ngx_slprintf(b->last, b->end,
                               "no events are taken: the spool is full, %uL of "
                               "%uL bytes wait for ClickHouse\n",
                               s->backlog_bytes, s->capacity);

    } else {
        b->last = ngx_cpymem(b->last, "ok\n", 3);

        return ngx_http_logbroker_send(r, NGX_HTTP_OK, "text/plain", b);
    }

    if (ngx_http_logbroker_add_header(r, "Retry-After", "1") != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_logbroker_send(r, NGX_HTTP_SERVICE_UNAVAILABLE,
                                   "text/plain", b);
}


/* Browsers ask for text/html, Prometheus for openmetrics or text/plain; who
 * takes anything gets JSON. */

static ngx_uint_t
ngx_http_logbroker_status_format(ngx_http_request_t *r)
{
    u_char                         *p, *last;
    ngx_table_elt_t                *h;
    ngx_http_logbroker_loc_conf_t  *llcf;

    static ngx_str_t  accept = ngx_string("accept");

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    if (llcf->status == NGX_HTTP_LOGBROKER_STATUS_ACCEPT
        && r->args.len == 7 && ngx_strncmp(r->args.data, "history", 7) == 0)
    {
        return NGX_HTTP_LOGBROKER_STATUS_HISTORY;
    }

    if (llcf->status != NGX_HTTP_LOGBROKER_STATUS_ACCEPT) {
        return llcf->status;
    }

    h = NULL;

    while ((h = ngx_http_logbroker_header(r, &accept, h))) {

        p = h->value.data;
        last = p + h->value.len;

        if (ngx_strlcasestrn(p, last, (u_char *) "application/json", 16 - 1)) {
            return NGX_HTTP_LOGBROKER_STATUS_JSON;
        }

        if (ngx_strlcasestrn(p, last, (u_char *) "text/html", 9 - 1)) {
            return NGX_HTTP_LOGBROKER_STATUS_PAGE;
        }

        if (ngx_strlcasestrn(p, last, (u_char *) "text/plain", 10 - 1)
            || ngx_strlcasestrn(p, last,
                                (u_char *) "application/openmetrics-text",
                                28 - 1))
        {
            return NGX_HTTP_LOGBROKER_STATUS_METRICS;
        }
    }

    return NGX_HTTP_LOGBROKER_STATUS_JSON;
}


static ngx_int_t
ngx_http_logbroker_status_send(ngx_http_request_t *r, ngx_uint_t format,
    ngx_buf_t *b)
{
    char  *type;

    if (ngx_http_logbroker_add_header(r, "Cache-Control", "no-store")
        != NGX_OK
        || ngx_http_logbroker_add_header(r, "Vary", "Accept") != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    switch (format) {

    case NGX_HTTP_LOGBROKER_STATUS_PAGE:
    case NGX_HTTP_LOGBROKER_STATUS_EXPLORE:

        if (ngx_http_logbroker_add_header(r, "Content-Security-Policy",
                "default-src 'none'; style-src 'unsafe-inline'; "
                "script-src 'unsafe-inline'; connect-src 'self'; "
                "frame-ancestors 'none'; base-uri 'none'")
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        type = "text/html; charset=utf-8";
        break;

    case NGX_HTTP_LOGBROKER_STATUS_METRICS:
        type = "text/plain; version=0.0.4; charset=utf-8";
        break;

    default:
        type = "application/json";
        break;
    }

    return ngx_http_logbroker_send(r, NGX_HTTP_OK, type, b);
}


