/*
 * Senders: what became of their requests, as JSON and as text for Prometheus.
 *
 * The figures are those of this edge, since it was started; senders that are
 * not in the configuration any more are not told of.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_senders.h"


/* the longest text of one sender, and of all else */
#define NGX_HTTP_LOGBROKER_SENDERS_ONE   2048
#define NGX_HTTP_LOGBROKER_SENDERS_TEXT  4096


typedef struct {
    char                            *name;
    char                            *help;
    char                            *type;
    uint64_t                       (*value)(ngx_http_logbroker_sender_t *s);
} ngx_http_logbroker_sender_metric_t;


static ngx_int_t ngx_http_logbroker_senders_status_handler(
    ngx_http_request_t *r);
static ngx_uint_t ngx_http_logbroker_senders_text(ngx_http_request_t *r);
static u_char *ngx_http_logbroker_senders_json(
    ngx_http_logbroker_senders_t *senders, u_char *p, u_char *last);
static uint64_t ngx_http_logbroker_sender_stored(
    ngx_http_logbroker_sender_t *s);
static uint64_t ngx_http_logbroker_sender_stored_bytes(
    ngx_http_logbroker_sender_t *s);
static uint64_t ngx_http_logbroker_sender_failed(
    ngx_http_logbroker_sender_t *s);
static uint64_t ngx_http_logbroker_sender_used(ngx_http_logbroker_sender_t *s);
static uint64_t ngx_http_logbroker_sender_of_quota(
    ngx_http_logbroker_sender_t *s);
static uint64_t ngx_http_logbroker_sender_until(
    ngx_http_logbroker_sender_t *s);


static ngx_http_logbroker_sender_metric_t
    ngx_http_logbroker_sender_metrics[] =
{
    { "stored_requests_total",
      "Requests of a sender that were answered 2xx.", "counter",
      ngx_http_logbroker_sender_stored },

    { "stored_bytes_total",
      "Bytes of their bodies, as sent.", "counter",
      ngx_http_logbroker_sender_stored_bytes },

    { "failed_requests_total",
      "Requests of a sender that were let in and answered otherwise.",
      "counter", ngx_http_logbroker_sender_failed },

    { "quota_used_bytes",
      "Bytes that a sender has stored since midnight, UTC.", "gauge",
      ngx_http_logbroker_sender_used },

    { "quota_bytes",
      "Bytes that a sender may store a day; 0: any number.", "gauge",
      ngx_http_logbroker_sender_of_quota },

    { "expires_timestamp_seconds",
      "From when on a sender is refused, seconds since 1970; 0: never.",
      "gauge", ngx_http_logbroker_sender_until },

    { NULL, NULL, NULL, NULL }
};


char *
ngx_http_logbroker_senders_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    return ngx_http_logbroker_take_location(cf,
                                 ngx_http_logbroker_senders_status_handler);
}


static ngx_int_t
ngx_http_logbroker_senders_status_handler(ngx_http_request_t *r)
{
    char                            *type;
    size_t                           size;
    ngx_buf_t                       *b;
    ngx_int_t                        rc;
    ngx_uint_t                       text;
    ngx_http_logbroker_senders_t    *senders;
    ngx_http_logbroker_main_conf_t  *lmcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_logbroker_module);

    senders = lmcf->senders;

    if (senders == NULL) {
        return NGX_HTTP_NOT_FOUND;
    }

    text = ngx_http_logbroker_senders_text(r);
    size = ngx_http_logbroker_senders_metrics_size(senders);

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (text) {
        type = "text/plain; version=0.0.4; charset=utf-8";
        b->last = ngx_http_logbroker_senders_metrics(senders, b->last, b->end);

    } else {
        type = "application/json";
        b->last = ngx_http_logbroker_senders_json(senders, b->last, b->end);
    }

    if (b->last == b->end) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "logbroker: the status of the senders is longer than "
                      "%uz bytes", size);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_logbroker_add_header(r, "Cache-Control", "no-store")
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_logbroker_send(r, NGX_HTTP_OK, type, b);
}


static ngx_uint_t
ngx_http_logbroker_senders_text(ngx_http_request_t *r)
{
    u_char           *last;
    ngx_table_elt_t  *h;

    static const ngx_str_t  accept = ngx_string("accept");

    h = ngx_http_logbroker_header(r, &accept, NULL);

    if (h == NULL) {
        return 0;
    }

    last = h->value.data + h->value.len;

    return ngx_strlcasestrn(h->value.data, last, (u_char *) "text/plain",
                            sizeof("text/plain") - 2)
           || ngx_strlcasestrn(h->value.data, last, (u_char *) "openmetrics",
                               sizeof("openmetrics") - 2);
}


size_t
ngx_http_logbroker_senders_metrics_size(ngx_http_logbroker_senders_t *senders)
{
    return NGX_HTTP_LOGBROKER_SENDERS_TEXT
           + senders->senders.nelts * NGX_HTTP_LOGBROKER_SENDERS_ONE;
}


static u_char *
ngx_http_logbroker_senders_json(ngx_http_logbroker_senders_t *senders,
    u_char *p, u_char *last)
{
    ngx_uint_t                     i, k;
    ngx_http_logbroker_sender_t   *s;
    ngx_http_logbroker_account_t  *account;

    p = ngx_slprintf(p, last, "{\n\"unknown\": %uL,\n\"wrong\": %uL,\n"
                     "\"senders\": [",
                     senders->accounts->refused
                                         [NGX_HTTP_LOGBROKER_SENDER_UNKNOWN],
                     senders->accounts->refused
                                         [NGX_HTTP_LOGBROKER_SENDER_WRONG]);

    s = senders->senders.elts;

    for (i = 0; i < senders->senders.nelts; i++) {

        account = s[i].account;

        p = ngx_slprintf(p, last,
                         "%s\n  {\"name\": \"%V\", \"stored\": %uL, "
                         "\"bytes\": %uL, \"failed\": %uL, \"refused\": {",
                         i ? "," : "", &s[i].name, account->stored,
                         account->stored_bytes, account->failed);

        for (k = NGX_HTTP_LOGBROKER_SENDER_EXPIRED;
             k < NGX_HTTP_LOGBROKER_SENDER_REASONS;
             k++)
        {
            p = ngx_slprintf(p, last, "%s\"%V\": %uL",
                             k == NGX_HTTP_LOGBROKER_SENDER_EXPIRED ? ""
                                                                    : ", ",
                             &ngx_http_logbroker_sender_reasons[k],
                             account->refused[k]);
        }

        p = ngx_slprintf(p, last,
                         "}, \"used\": %uL, \"quota\": %uL, "
                         "\"tokens\": %ui, \"expires\": %T}",
                         ngx_http_logbroker_sender_used(&s[i]), s[i].quota,
                         s[i].tokens, s[i].expires);
    }

    return ngx_slprintf(p, last, "\n]\n}\n");
}


u_char *
ngx_http_logbroker_senders_metrics(ngx_http_logbroker_senders_t *senders,
    u_char *p, u_char *last)
{
    ngx_uint_t                           i, k;
    ngx_http_logbroker_sender_t         *s;
    ngx_http_logbroker_sender_metric_t  *m;

    s = senders->senders.elts;

    for (m = ngx_http_logbroker_sender_metrics; m->name; m++) {

        p = ngx_slprintf(p, last, "# HELP logbroker_sender_%s %s\n"
                         "# TYPE logbroker_sender_%s %s\n",
                         m->name, m->help, m->name, m->type);

        for (i = 0; i < senders->senders.nelts; i++) {
            p = ngx_slprintf(p, last, "logbroker_sender_%s{sender=\"%V\"} "
                             "%uL\n", m->name, &s[i].name, m->value(&s[i]));
        }
    }

    p = ngx_slprintf(p, last, "# HELP logbroker_sender_refused_requests_total "
                     "Requests refused at the edge: of whom it does not know "
                     "(sender=\"\"), or over a limit.\n"
                     "# TYPE logbroker_sender_refused_requests_total "
                     "counter\n");

    for (k = NGX_HTTP_LOGBROKER_SENDER_UNKNOWN;
         k < NGX_HTTP_LOGBROKER_SENDER_EXPIRED;
         k++)
    {
        p = ngx_slprintf(p, last, "logbroker_sender_refused_requests_total"
                         "{sender=\"\",reason=\"%V\"} %uL\n",
                         &ngx_http_logbroker_sender_reasons[k],
                         senders->accounts->refused[k]);
    }

    for (i = 0; i < senders->senders.nelts; i++) {
        for (k = NGX_HTTP_LOGBROKER_SENDER_EXPIRED;
             k < NGX_HTTP_LOGBROKER_SENDER_REASONS;
             k++)
        {
            p = ngx_slprintf(p, last, "logbroker_sender_refused_requests_total"
                             "{sender=\"%V\",reason=\"%V\"} %uL\n",
                             &s[i].name,
                             &ngx_http_logbroker_sender_reasons[k],
                             s[i].account->refused[k]);
        }
    }

    return p;
}


static uint64_t
ngx_http_logbroker_sender_stored(ngx_http_logbroker_sender_t *s)
{
    return s->account->stored;
}


static uint64_t
ngx_http_logbroker_sender_stored_bytes(ngx_http_logbroker_sender_t *s)
{
    return s->account->stored_bytes;
}


static uint64_t
ngx_http_logbroker_sender_failed(ngx_http_logbroker_sender_t *s)
{
    return s->account->failed;
}


static uint64_t
ngx_http_logbroker_sender_used(ngx_http_logbroker_sender_t *s)
{
    return s->account->day == ngx_time() / 86400 ? s->account->used : 0;
}


static uint64_t
ngx_http_logbroker_sender_of_quota(ngx_http_logbroker_sender_t *s)
{
    return s->quota;
}


static uint64_t
ngx_http_logbroker_sender_until(ngx_http_logbroker_sender_t *s)
{
    return s->expires;
}
