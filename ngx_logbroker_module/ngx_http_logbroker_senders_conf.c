/*
 * Senders: what the configuration says of them.
 *
 *     logbroker_sender NAME token=SHA256 [token=SHA256] [certificate=...]
 *         [streams=NAME,PREFIX*] [requests=N] [bytes=SIZE] [quota=SIZE]
 *         [expires=TIME];
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/stream.h"
#include "event/timestamp.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_senders.h"


typedef struct {
    ngx_str_t                        name;          /* with "=" */
    char                          *(*set)(ngx_conf_t *cf,
                                        ngx_http_logbroker_senders_t *senders,
                                        ngx_http_logbroker_sender_t *sender,
                                        ngx_str_t *value);
    ngx_uint_t                       times;         /* it may be there */
} ngx_http_logbroker_sender_param_t;


static ngx_http_logbroker_senders_t *ngx_http_logbroker_senders_get(
    ngx_conf_t *cf);
static ngx_int_t ngx_http_logbroker_senders_init_zone(ngx_shm_zone_t *zone,
    void *data);
static ngx_http_logbroker_account_t *ngx_http_logbroker_senders_account(
    ngx_http_logbroker_senders_t *senders, ngx_str_t *name);
static ngx_http_logbroker_sender_t *ngx_http_logbroker_senders_find(
    ngx_http_logbroker_senders_t *senders, u_char *name, size_t len);
static char *ngx_http_logbroker_sender_token(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value);
static char *ngx_http_logbroker_sender_certificate(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value);
static char *ngx_http_logbroker_sender_streams(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value);
static char *ngx_http_logbroker_sender_requests(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value);
static char *ngx_http_logbroker_sender_bytes(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value);
static char *ngx_http_logbroker_sender_quota(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value);
static char *ngx_http_logbroker_sender_expires(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value);
static char *ngx_http_logbroker_sender_size(ngx_str_t *value, uint64_t *size);
static int ngx_libc_cdecl ngx_http_logbroker_sender_token_cmp(const void *one,
    const void *two);


static ngx_http_logbroker_sender_param_t  ngx_http_logbroker_sender_params[] = {
    { ngx_string("token="), ngx_http_logbroker_sender_token,
      NGX_HTTP_LOGBROKER_SENDER_TOKENS },
    { ngx_string("certificate="), ngx_http_logbroker_sender_certificate,
      NGX_HTTP_LOGBROKER_SENDER_TOKENS },
    { ngx_string("streams="), ngx_http_logbroker_sender_streams, 1 },
    { ngx_string("requests="), ngx_http_logbroker_sender_requests, 1 },
    { ngx_string("bytes="), ngx_http_logbroker_sender_bytes, 1 },
    { ngx_string("quota="), ngx_http_logbroker_sender_quota, 1 },
    { ngx_string("expires="), ngx_http_logbroker_sender_expires, 1 },
    { ngx_null_string, NULL, 0 }
};


/* the SHA-256 of an empty token */
static const u_char  ngx_http_logbroker_sender_nothing[] = {
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8,
    0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c,
    0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55
};


char *
ngx_http_logbroker_sender(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                               *rv;
    ngx_str_t                          *value, s;
    ngx_uint_t                          i, k;
    ngx_http_logbroker_sender_t        *sender;
    ngx_http_logbroker_senders_t       *senders;
    ngx_http_logbroker_sender_param_t  *param;
    ngx_uint_t                          times[
                                 sizeof(ngx_http_logbroker_sender_params)
                                 / sizeof(ngx_http_logbroker_sender_param_t)];

    senders = ngx_http_logbroker_senders_get(cf);
    if (senders == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (!lb_stream_valid((char *) value[1].data, value[1].len)) {
        return "needs a name: 1 to 64 letters, digits, \"_\", \".\" and \"-\"";
    }

    if (ngx_http_logbroker_senders_find(senders, value[1].data, value[1].len))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "there is a sender \"%V\" already", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (senders->senders.nelts == NGX_HTTP_LOGBROKER_SENDERS_MAX) {
        return "is one too many: there may be 1024 senders";
    }

    sender = ngx_array_push(&senders->senders);
    if (sender == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(sender, sizeof(ngx_http_logbroker_sender_t));
    ngx_memzero(times, sizeof(times));

    sender->name = value[1];

    for (i = 2; i < cf->args->nelts; i++) {

        for (param = ngx_http_logbroker_sender_params; param->name.len;
             param++)
        {
            if (ngx_strncmp(value[i].data, param->name.data, param->name.len)
                == 0)
            {
                break;
            }
        }

        k = param - ngx_http_logbroker_sender_params;

        if (param->name.len == 0) {
            rv = "is unknown: there are token=, certificate=, streams=, "
                 "requests=, bytes=, quota= and expires=";

        } else if (times[k]++ == param->times) {
            rv = param->times == 1 ? "is there twice"
                                   : "is one too many: there may be two, the "
                                     "present one and the next";

        } else {
            s.data = value[i].data + param->name.len;
            s.len = value[i].len - param->name.len;

            rv = param->set(cf, senders, sender, &s);
        }

        if (rv == NGX_CONF_ERROR) {
            return NGX_CONF_ERROR;
        }

        if (rv != NGX_CONF_OK) {

            /* a value may be a token by mistake */

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" of the sender \"%V\" %s",
                               param->name.len ? &param->name : &value[i],
                               &sender->name, rv);
            return NGX_CONF_ERROR;
        }
    }

    if (sender->tokens + sender->certificates == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the sender \"%V\" has neither token= nor "
                           "certificate=: nobody could send as it",
                           &sender->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_logbroker_senders(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    if (ngx_http_logbroker_senders_get(cf) == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_conf_set_flag_slot(cf, cmd, conf);
}


static ngx_http_logbroker_senders_t *
ngx_http_logbroker_senders_get(ngx_conf_t *cf)
{
    ngx_str_t                        name;
    ngx_http_logbroker_senders_t    *senders;
    ngx_http_logbroker_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_logbroker_module);

    if (lmcf->senders) {
        return lmcf->senders;
    }

    senders = ngx_pcalloc(cf->pool, sizeof(ngx_http_logbroker_senders_t));
    if (senders == NULL
        || ngx_array_init(&senders->senders, cf->pool, 32,
                          sizeof(ngx_http_logbroker_sender_t))
           != NGX_OK
        || ngx_array_init(&senders->tokens, cf->pool, 32,
                          sizeof(ngx_http_logbroker_sender_token_t))
           != NGX_OK
        || ngx_array_init(&senders->certificates, cf->pool, 4,
                          sizeof(ngx_http_logbroker_sender_certificate_t))
           != NGX_OK)
    {
        return NULL;
    }

    ngx_str_set(&name, "logbroker_senders");

    /* of one size, so that a reload finds it again */

    senders->zone = ngx_shared_memory_add(cf, &name,
                        ngx_align(sizeof(ngx_http_logbroker_accounts_t),
                                  ngx_pagesize)
                        + 16 * ngx_pagesize,
                        &ngx_http_logbroker_module);
    if (senders->zone == NULL) {
        return NULL;
    }

    senders->zone->init = ngx_http_logbroker_senders_init_zone;
    senders->zone->data = senders;

    lmcf->senders = senders;

    return senders;
}


/* A reload: what the accounts of the names that stay hold goes on. */

static ngx_int_t
ngx_http_logbroker_senders_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_uint_t                     i;
    ngx_slab_pool_t               *shpool;
    ngx_http_logbroker_sender_t   *sender;
    ngx_http_logbroker_senders_t  *senders, *before;

    senders = zone->data;
    before = data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (before) {
        senders->accounts = before->accounts;

    } else if (zone->shm.exists) {
        senders->accounts = shpool->data;

    } else {
        senders->accounts = ngx_slab_calloc(shpool,
                                        sizeof(ngx_http_logbroker_accounts_t));
        if (senders->accounts == NULL) {
            return NGX_ERROR;
        }

        senders->accounts->shpool = shpool;
        shpool->data = senders->accounts;
    }

    sender = senders->senders.elts;

    ngx_shmtx_lock(&shpool->mutex);

    for (i = 0; i < senders->senders.nelts; i++) {
        sender[i].account = ngx_http_logbroker_senders_account(senders,
                                                             &sender[i].name);
        sender[i].owner = sender[i].account->owner;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return NGX_OK;
}


/* That of the name, a new one, or one of a name that is gone: its requests that
 * are still on their way find another owner.  There are as many as senders. */

static ngx_http_logbroker_account_t *
ngx_http_logbroker_senders_account(ngx_http_logbroker_senders_t *senders,
    ngx_str_t *name)
{
    ngx_uint_t                      i, owner;
    ngx_http_logbroker_account_t   *account;
    ngx_http_logbroker_accounts_t  *accounts;

    accounts = senders->accounts;

    for (i = 0; i < accounts->n; i++) {
        account = &accounts->accounts[i];

        if (account->len == name->len
            && ngx_memcmp(account->name, name->data, name->len) == 0)
        {
            return account;
        }
    }

    if (accounts->n < NGX_HTTP_LOGBROKER_SENDERS_MAX) {
        account = &accounts->accounts[accounts->n++];

    } else {

        account = accounts->accounts;

        for (i = 0; i < accounts->n; i++) {
            account = &accounts->accounts[i];

            if (ngx_http_logbroker_senders_find(senders, account->name,
                                                account->len)
                == NULL)
            {
                break;
            }
        }
    }

    owner = account->owner + 1;

    ngx_memzero(account, sizeof(ngx_http_logbroker_account_t));

    account->owner = owner;
    account->len = name->len;
    ngx_memcpy(account->name, name->data, name->len);

    return account;
}


static ngx_http_logbroker_sender_t *
ngx_http_logbroker_senders_find(ngx_http_logbroker_senders_t *senders,
    u_char *name, size_t len)
{
    ngx_uint_t                    i;
    ngx_http_logbroker_sender_t  *sender;

    sender = senders->senders.elts;

    for (i = 0; i < senders->senders.nelts; i++) {
        if (sender[i].name.len == len
            && ngx_memcmp(sender[i].name.data, name, len) == 0)
        {
            return &sender[i];
        }
    }

    return NULL;
}


static char *
ngx_http_logbroker_sender_token(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value)
{
    ngx_int_t                           n;
    ngx_str_t                           empty = ngx_null_string;
    ngx_uint_t                          i;
    ngx_http_logbroker_sender_token_t  *token;

    token = ngx_array_push(&senders->tokens);
    if (token == NULL) {
        return NGX_CONF_ERROR;
    }

    token->sender = senders->senders.nelts - 1;
    sender->tokens++;

    if (ngx_http_logbroker_token_hash(&empty, token->hash) != NGX_OK) {
        return "cannot be: this nginx was built without OpenSSL";
    }

    if (value->len != 2 * sizeof(token->hash)) {
        goto invalid;
    }

    for (i = 0; i < sizeof(token->hash); i++) {
        n = ngx_hextoi(value->data + 2 * i, 2);

        if (n == NGX_ERROR) {
            goto invalid;
        }

        token->hash[i] = (u_char) n;
    }

    if (ngx_memcmp(token->hash, ngx_http_logbroker_sender_nothing,
                   sizeof(token->hash))
        == 0)
    {
        return "is the SHA-256 of nothing: was the token empty?";
    }

    return NGX_CONF_OK;

invalid:

    return "is not the SHA-256 of a token, 64 hexadecimal digits: printf %s "
           "\"$TOKEN\" | sha256sum";
}


static char *
ngx_http_logbroker_sender_certificate(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value)
{
    ngx_uint_t                                i;
    ngx_http_logbroker_sender_certificate_t  *certificate;

    if (value->len == 0) {
        return "is empty: it is the subject (CN=shop,O=Example) or the SHA-1 "
               "fingerprint of a certificate";
    }

    certificate = senders->certificates.elts;

    for (i = 0; i < senders->certificates.nelts; i++) {
        if (certificate[i].subject.len == value->len
            && ngx_memcmp(certificate[i].subject.data, value->data,
                          value->len)
               == 0)
        {
            return "belongs to another sender, or is there twice";
        }
    }

    certificate = ngx_array_push(&senders->certificates);
    if (certificate == NULL) {
        return NGX_CONF_ERROR;
    }

    certificate->subject = *value;
    certificate->sender = senders->senders.nelts - 1;
    sender->certificates++;

    return NGX_CONF_OK;
}


static char *
ngx_http_logbroker_sender_streams(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value)
{
    if (!lb_streams_valid((char *) value->data, value->len)) {
        return "is no list of streams, NAME,PREFIX*: it begins with a name, "
               "where events go that name no stream";
    }

    sender->streams = *value;

    return NGX_CONF_OK;
}


static char *
ngx_http_logbroker_sender_requests(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n < 1 || n > 1000000) {
        return "is no number of requests a second, from 1 to 1000000";
    }

    sender->requests = n;

    return NGX_CONF_OK;
}


static char *
ngx_http_logbroker_sender_bytes(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value)
{
    return ngx_http_logbroker_sender_size(value, &sender->bytes);
}


static char *
ngx_http_logbroker_sender_quota(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value)
{
    return ngx_http_logbroker_sender_size(value, &sender->quota);
}


/* no more than can be counted in thousandths */

static char *
ngx_http_logbroker_sender_size(ngx_str_t *value, uint64_t *size)
{
    off_t  n;

    n = ngx_http_logbroker_parse_size(value);

    if (n < 1 || n > (off_t) 1024 * 1024 * 1024 * 1024 * 1024) {
        return "is no number of bytes, from 1 to 1024t: 512k, 10m, 50g";
    }

    *size = n;

    return NGX_CONF_OK;
}


static char *
ngx_http_logbroker_sender_expires(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders,
    ngx_http_logbroker_sender_t *sender, ngx_str_t *value)
{
    int      inexact;
    u_char   text[64], *last;
    int64_t  ns;

    /* of a day its beginning */

    last = ngx_snprintf(text, sizeof(text), "%V%s", value,
                        value->len == 10 ? "T00:00:00Z" : "");

    if (!lb_time_date(text, last, &ns, &inexact) || ns <= 0) {
        return "is no time: 2027-01-31 or 2027-01-31T12:00:00Z";
    }

    sender->expires = ns / 1000000000;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_logbroker_senders_ready(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders)
{
    ngx_uint_t                          i;
    ngx_http_logbroker_sender_t        *sender;
    ngx_http_logbroker_sender_token_t  *token;

    static ngx_str_t  verify = ngx_string("ssl_client_verify");
    static ngx_str_t  subject = ngx_string("ssl_client_s_dn");
    static ngx_str_t  fingerprint = ngx_string("ssl_client_fingerprint");

    sender = senders->senders.elts;
    token = senders->tokens.elts;

    ngx_qsort(token, senders->tokens.nelts,
              sizeof(ngx_http_logbroker_sender_token_t),
              ngx_http_logbroker_sender_token_cmp);

    for (i = 1; i < senders->tokens.nelts; i++) {
        if (ngx_http_logbroker_sender_token_cmp(&token[i - 1], &token[i])
            == 0)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "the senders \"%V\" and \"%V\" have the same "
                          "token=: whose is it?",
                          &sender[token[i - 1].sender].name,
                          &sender[token[i].sender].name);
            return NGX_ERROR;
        }
    }

    if (senders->certificates.nelts == 0) {
        return NGX_OK;
    }

    senders->verify = ngx_http_get_variable_index(cf, &verify);
    senders->subject = ngx_http_get_variable_index(cf, &subject);
    senders->fingerprint = ngx_http_get_variable_index(cf, &fingerprint);

    return senders->verify == NGX_ERROR || senders->subject == NGX_ERROR
           || senders->fingerprint == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_logbroker_sender_token_cmp(const void *one, const void *two)
{
    return ngx_memcmp(((ngx_http_logbroker_sender_token_t *) one)->hash,
                      ((ngx_http_logbroker_sender_token_t *) two)->hash,
                      NGX_HTTP_LOGBROKER_TOKEN_HASH);
}
