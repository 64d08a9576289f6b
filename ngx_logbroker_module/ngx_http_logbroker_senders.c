/*
 * Senders: whose a request is, whether it is let in, and what became of it.
 *
 * What is found out about a request is kept with its pool: internal redirects,
 * to the page that says why it is refused, clear the contexts of modules.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_mem.h"
#include "ngx_http_logbroker_senders.h"


/* a second, in the thousandths in which buckets count */
#define NGX_HTTP_LOGBROKER_SENDER_SECOND 1000


typedef struct {
    ngx_http_logbroker_accounts_t   *accounts;
    ngx_http_logbroker_sender_t     *sender;        /* NULL: unknown */
    ngx_uint_t                       refused;
    off_t                            charged;       /* bytes, when let in */
    off_t                            received;      /* of the body */
    time_t                           day;           /* on which */
    unsigned                         judged:1;
    unsigned                         admitted:1;
} ngx_http_logbroker_visit_t;


static ngx_int_t ngx_http_logbroker_senders_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_logbroker_senders_refuse(ngx_http_request_t *r,
    ngx_uint_t reason);
static ngx_int_t ngx_http_logbroker_senders_body(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_logbroker_senders_log(ngx_http_request_t *r);
static void ngx_http_logbroker_senders_admit(
    ngx_http_logbroker_visit_t *visit);
static void ngx_http_logbroker_senders_fill(
    ngx_http_logbroker_account_t *account,
    ngx_http_logbroker_sender_t *sender);
static int64_t ngx_http_logbroker_senders_bucket(int64_t level, int64_t rate,
    ngx_msec_int_t elapsed);
static ngx_http_logbroker_visit_t *ngx_http_logbroker_senders_visit(
    ngx_http_request_t *r);
static ngx_http_logbroker_visit_t *ngx_http_logbroker_senders_visited(
    ngx_http_request_t *r);
static void ngx_http_logbroker_senders_cleanup(void *data);
static ngx_int_t ngx_http_logbroker_senders_see(ngx_http_request_t *r,
    ngx_http_logbroker_senders_t *senders, ngx_http_logbroker_visit_t *visit);
static ngx_http_logbroker_sender_t *ngx_http_logbroker_senders_by_token(
    ngx_http_logbroker_senders_t *senders, u_char *hash);
static ngx_http_logbroker_sender_t *ngx_http_logbroker_senders_by_certificate(
    ngx_http_request_t *r, ngx_http_logbroker_senders_t *senders,
    ngx_int_t *shown);


const ngx_str_t  ngx_http_logbroker_sender_reasons[] = {
    ngx_null_string,
    ngx_string("unknown"),
    ngx_string("wrong"),
    ngx_string("expired"),
    ngx_string("requests"),
    ngx_string("bytes"),
    ngx_string("quota")
};


static ngx_http_request_body_filter_pt  ngx_http_next_request_body_filter;


ngx_int_t
ngx_http_logbroker_senders_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt             *h;
    ngx_http_core_main_conf_t       *cmcf;
    ngx_http_logbroker_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_logbroker_module);

    if (lmcf->senders == NULL) {
        return NGX_OK;
    }

    if (ngx_http_logbroker_senders_ready(cf, lmcf->senders) != NGX_OK) {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_logbroker_senders_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_logbroker_senders_log;

    ngx_http_next_request_body_filter = ngx_http_top_request_body_filter;
    ngx_http_top_request_body_filter = ngx_http_logbroker_senders_body;

    return NGX_OK;
}


/*
 * Browsers ask with OPTIONS whether a page may send, without a word of who it
 * is; nothing is ever stored by it.
 */

static ngx_int_t
ngx_http_logbroker_senders_handler(ngx_http_request_t *r)
{
    ngx_http_logbroker_visit_t     *visit;
    ngx_http_logbroker_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    if (!llcf->senders || r != r->main || r->method & NGX_HTTP_OPTIONS) {
        return NGX_DECLINED;
    }

    visit = ngx_http_logbroker_senders_visit(r);

    if (visit == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* once, however often it is redirected */

    if (visit->judged) {
        return ngx_http_logbroker_senders_refuse(r, visit->refused);
    }

    visit->judged = 1;

    if (visit->sender) {
        visit->charged = ngx_max(r->headers_in.content_length_n, 0);
    }

    ngx_shmtx_lock(&visit->accounts->shpool->mutex);

    if (visit->refused == NGX_HTTP_LOGBROKER_SENDER_WELL) {
        ngx_http_logbroker_senders_admit(visit);

    } else if (visit->sender) {
        visit->sender->account->refused[visit->refused]++;

    } else {
        visit->accounts->refused[visit->refused]++;
    }

    ngx_shmtx_unlock(&visit->accounts->shpool->mutex);

    return ngx_http_logbroker_senders_refuse(r, visit->refused);
}


static ngx_int_t
ngx_http_logbroker_senders_refuse(ngx_http_request_t *r, ngx_uint_t reason)
{
    ngx_table_elt_t  *h;

    if (reason == NGX_HTTP_LOGBROKER_SENDER_WELL) {
        return NGX_OK;
    }

    if (reason > NGX_HTTP_LOGBROKER_SENDER_EXPIRED) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    if (r->headers_out.www_authenticate == NULL) {

        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        h->hash = 1;
        ngx_str_set(&h->key, "WWW-Authenticate");
        ngx_str_set(&h->value, "Bearer realm=\"logbroker\"");

#if (nginx_version >= 1023000)
        h->next = NULL;
#endif

        r->headers_out.www_authenticate = h;
    }

    return NGX_HTTP_UNAUTHORIZED;
}


/* What a body of unknown length has is known when it has come. */

static ngx_int_t
ngx_http_logbroker_senders_body(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t                 *cl;
    ngx_http_logbroker_visit_t  *visit;

    visit = r == r->main ? ngx_http_logbroker_senders_visited(r) : NULL;

    for (cl = visit ? in : NULL; cl; cl = cl->next) {
        if (ngx_buf_in_memory(cl->buf)) {
            visit->received += cl->buf->last - cl->buf->pos;
        }
    }

    return ngx_http_next_request_body_filter(r, in);
}


/*
 * What was let in and not stored takes nothing of the quota: a client goes on
 * asking while brokers are away.  What may be stored does.
 */

static ngx_int_t
ngx_http_logbroker_senders_log(ngx_http_request_t *r)
{
    off_t                          more;
    ngx_uint_t                     status, stored;
    ngx_http_logbroker_visit_t    *visit;
    ngx_http_logbroker_account_t  *account;

    visit = ngx_http_logbroker_senders_visited(r);

    if (visit == NULL || !visit->admitted) {
        return NGX_OK;
    }

    status = ngx_http_logbroker_answered(r);
    stored = status >= 200 && status < 300;
    more = visit->received - visit->charged;
    account = visit->sender->account;

    ngx_shmtx_lock(&visit->accounts->shpool->mutex);

    if (account->owner == visit->sender->owner) {

        if (stored) {
            account->stored++;
            account->stored_bytes += visit->received;

        } else {
            account->failed++;
        }

        if (more > 0) {
            account->bytes -= more * NGX_HTTP_LOGBROKER_SENDER_SECOND;
        }

        if (account->day != visit->day) {
            /* yesterday's */

        } else if (stored || status == NGX_HTTP_BAD_GATEWAY) {
            account->used += ngx_max(more, 0);

        } else {
            account->used -= ngx_min(account->used,
                                     (uint64_t) visit->charged);
        }
    }

    ngx_shmtx_unlock(&visit->accounts->shpool->mutex);

    return NGX_OK;
}


/* Under the lock. */

static void
ngx_http_logbroker_senders_admit(ngx_http_logbroker_visit_t *visit)
{
    ngx_http_logbroker_sender_t   *sender;
    ngx_http_logbroker_account_t  *account;

    sender = visit->sender;
    account = sender->account;
    visit->day = ngx_time() / 86400;

    /* a worker that leaves, whose sender is gone: nobody counts any more */

    if (account->owner != sender->owner) {
        visit->admitted = 1;
        return;
    }

    ngx_http_logbroker_senders_fill(account, sender);

    if (account->day != visit->day) {
        account->day = visit->day;
        account->used = 0;
    }

    if (account->requests < NGX_HTTP_LOGBROKER_SENDER_SECOND) {
        visit->refused = NGX_HTTP_LOGBROKER_SENDER_REQUESTS;

    } else if (account->bytes <= 0) {
        visit->refused = NGX_HTTP_LOGBROKER_SENDER_BYTES;

    } else if (sender->quota
               && (account->used >= sender->quota
                   || (uint64_t) visit->charged
                      > sender->quota - account->used))
    {
        visit->refused = NGX_HTTP_LOGBROKER_SENDER_QUOTA;

    } else {
        visit->admitted = 1;
        account->requests -= NGX_HTTP_LOGBROKER_SENDER_SECOND;
        account->bytes -= visit->charged * NGX_HTTP_LOGBROKER_SENDER_SECOND;
        account->used += visit->charged;
    }

    account->refused[visit->refused]++;
}


/* What the time since then brings.  Clocks of workers differ by what each has
 * been busy for. */

static void
ngx_http_logbroker_senders_fill(ngx_http_logbroker_account_t *account,
    ngx_http_logbroker_sender_t *sender)
{
    ngx_msec_int_t  elapsed;

    elapsed = ngx_current_msec - account->last;

    if (account->last == 0 || elapsed > 0) {
        account->last = ngx_current_msec;

    } else {
        elapsed = 0;
    }

    account->requests = ngx_http_logbroker_senders_bucket(account->requests,
                                                  sender->requests, elapsed);
    account->bytes = ngx_http_logbroker_senders_bucket(account->bytes,
                                                  sender->bytes, elapsed);
}


/* Thousandths a millisecond are as many as units a second. */

static int64_t
ngx_http_logbroker_senders_bucket(int64_t level, int64_t rate,
    ngx_msec_int_t elapsed)
{
    int64_t  full;

    /* without a limit, more than any request takes */

    if (rate == 0) {
        return INT64_MAX / 2;
    }

    full = rate * NGX_HTTP_LOGBROKER_SENDER_SECOND;

    if (level >= full || elapsed > (full - level) / rate) {
        return full;
    }

    return level + elapsed * rate;
}


/* NULL: it is of no place where senders matter, or there is no memory. */

static ngx_http_logbroker_visit_t *
ngx_http_logbroker_senders_visit(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t              *cln;
    ngx_http_logbroker_visit_t      *visit;
    ngx_http_logbroker_loc_conf_t   *llcf;
    ngx_http_logbroker_main_conf_t  *lmcf;

    visit = ngx_http_logbroker_senders_visited(r);

    if (visit) {
        return visit;
    }

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    if (!llcf->senders) {
        return NULL;
    }

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_logbroker_module);

    cln = ngx_pool_cleanup_add(r->main->pool,
                               sizeof(ngx_http_logbroker_visit_t));
    if (cln == NULL) {
        return NULL;
    }

    visit = cln->data;

    ngx_memzero(visit, sizeof(ngx_http_logbroker_visit_t));

    visit->accounts = lmcf->senders->accounts;

    if (ngx_http_logbroker_senders_see(r->main, lmcf->senders, visit)
        != NGX_OK)
    {
        return NULL;
    }

    cln->handler = ngx_http_logbroker_senders_cleanup;

    return visit;
}


static ngx_http_logbroker_visit_t *
ngx_http_logbroker_senders_visited(ngx_http_request_t *r)
{
    return ngx_http_logbroker_mem_of(r->main->pool,
                                     ngx_http_logbroker_senders_cleanup);
}


/* By this function the visit is found; there is nothing to clean up. */

static void
ngx_http_logbroker_senders_cleanup(void *data)
{
    (void) data;
}


static ngx_int_t
ngx_http_logbroker_senders_see(ngx_http_request_t *r,
    ngx_http_logbroker_senders_t *senders, ngx_http_logbroker_visit_t *visit)
{
    u_char                        hash[NGX_HTTP_LOGBROKER_TOKEN_HASH];
    ngx_int_t                     i, n;
    ngx_str_t                     tokens[NGX_HTTP_LOGBROKER_TOKENS];
    ngx_http_logbroker_sender_t  *sender;

    n = ngx_http_logbroker_tokens(r, tokens);

    if (n == NGX_ERROR) {
        return NGX_ERROR;
    }

    sender = NULL;

    for (i = 0; i < n && sender == NULL; i++) {

        if (ngx_http_logbroker_token_hash(&tokens[i], hash) != NGX_OK) {
            return NGX_ERROR;
        }

        sender = ngx_http_logbroker_senders_by_token(senders, hash);
    }

    /* a token that is wrong is not made right by a certificate */

    if (n == 0) {
        sender = ngx_http_logbroker_senders_by_certificate(r, senders, &n);
    }

    if (sender == NULL) {
        visit->refused = n ? NGX_HTTP_LOGBROKER_SENDER_WRONG
                           : NGX_HTTP_LOGBROKER_SENDER_UNKNOWN;

    } else if (sender->expires && ngx_time() >= sender->expires) {
        visit->refused = NGX_HTTP_LOGBROKER_SENDER_EXPIRED;
    }

    visit->sender = sender;

    return NGX_OK;
}


static ngx_http_logbroker_sender_t *
ngx_http_logbroker_senders_by_token(ngx_http_logbroker_senders_t *senders,
    u_char *hash)
{
    int                                 rc;
    ngx_uint_t                          low, high, i;
    ngx_http_logbroker_sender_t        *sender;
    ngx_http_logbroker_sender_token_t  *token;

    sender = senders->senders.elts;
    token = senders->tokens.elts;
    low = 0;
    high = senders->tokens.nelts;

    while (low < high) {

        i = (low + high) / 2;
        rc = ngx_memcmp(hash, token[i].hash, NGX_HTTP_LOGBROKER_TOKEN_HASH);

        if (rc == 0) {
            return &sender[token[i].sender];
        }

        if (rc < 0) {
            high = i;

        } else {
            low = i + 1;
        }
    }

    return NULL;
}


/* One that nginx has verified; *shown: there was one. */

static ngx_http_logbroker_sender_t *
ngx_http_logbroker_senders_by_certificate(ngx_http_request_t *r,
    ngx_http_logbroker_senders_t *senders, ngx_int_t *shown)
{
    ngx_uint_t                                i;
    ngx_http_variable_value_t                *verify, *subject, *print;
    ngx_http_logbroker_sender_t              *sender;
    ngx_http_logbroker_sender_certificate_t  *c;

    if (senders->certificates.nelts == 0) {
        return NULL;
    }

    verify = ngx_http_get_indexed_variable(r, senders->verify);
    subject = ngx_http_get_indexed_variable(r, senders->subject);
    print = ngx_http_get_indexed_variable(r, senders->fingerprint);

    if (verify == NULL || verify->not_found
        || verify->len != sizeof("SUCCESS") - 1
        || ngx_strncmp(verify->data, "SUCCESS", verify->len) != 0
        || subject == NULL || print == NULL)
    {
        return NULL;
    }

    *shown = 1;

    sender = senders->senders.elts;
    c = senders->certificates.elts;

    for (i = 0; i < senders->certificates.nelts; i++) {

        if ((subject->len == c[i].subject.len
             && ngx_memcmp(subject->data, c[i].subject.data, subject->len)
                == 0)
            || (print->len == c[i].subject.len
                && ngx_strncasecmp(print->data, c[i].subject.data, print->len)
                   == 0))
        {
            return &sender[c[i].sender];
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_logbroker_sender_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                    s;
    ngx_http_logbroker_visit_t  *visit;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    ngx_str_null(&s);

    visit = ngx_http_logbroker_senders_visit(r);

    if (visit && data == NGX_HTTP_LOGBROKER_SENDER_VAR_REFUSED) {
        s = ngx_http_logbroker_sender_reasons[visit->refused];

    } else if (visit && visit->sender) {
        s = data == NGX_HTTP_LOGBROKER_SENDER_VAR_NAME
                ? visit->sender->name : visit->sender->streams;
    }

    if (s.len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->len = s.len;
    v->data = s.data;

    return NGX_OK;
}


void
ngx_http_logbroker_senders_streams(ngx_http_request_t *r, ngx_str_t *streams)
{
    ngx_http_logbroker_visit_t  *visit;

    ngx_str_null(streams);

    visit = ngx_http_logbroker_senders_visit(r);

    if (visit && visit->sender) {
        *streams = visit->sender->streams;
    }
}
