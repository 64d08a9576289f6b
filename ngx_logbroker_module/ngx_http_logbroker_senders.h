/*
 * Senders: who may send, where to, how much, until when.
 *
 * A request is its sender's by a token (token.h) of which the configuration has
 * the SHA-256, or by a client certificate that nginx has verified.  Everybody
 * else is answered 401, who is over a limit 503: 429 makes senders drop what
 * they have.
 *
 * Each sender has an account in shared memory, found by its name, that lives
 * through reloads.  Requests and bytes a second are buckets that hold what a
 * second brings; a body may take more than there is, and its sender waits until
 * that is paid.  What is stored on a day (UTC) never exceeds the quota, but for
 * bodies whose length is not known when they begin.
 */


#ifndef _NGX_HTTP_LOGBROKER_SENDERS_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_SENDERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_token.h"


/* in one configuration, and accounts */
#define NGX_HTTP_LOGBROKER_SENDERS_MAX   1024

/* bytes of a name */
#define NGX_HTTP_LOGBROKER_SENDER_NAME   64

/* the present one and the next */
#define NGX_HTTP_LOGBROKER_SENDER_TOKENS 2


/* why a request gets no further */

typedef enum {
    NGX_HTTP_LOGBROKER_SENDER_WELL = 0,
    NGX_HTTP_LOGBROKER_SENDER_UNKNOWN,              /* 401, as the next two */
    NGX_HTTP_LOGBROKER_SENDER_WRONG,                /* token or certificate */
    NGX_HTTP_LOGBROKER_SENDER_EXPIRED,
    NGX_HTTP_LOGBROKER_SENDER_REQUESTS,             /* 503, as the next two */
    NGX_HTTP_LOGBROKER_SENDER_BYTES,
    NGX_HTTP_LOGBROKER_SENDER_QUOTA,
    NGX_HTTP_LOGBROKER_SENDER_REASONS
} ngx_http_logbroker_sender_reason_e;


/* in shared memory, under its lock; zeros are a new one */

typedef struct {
    u_char                           name[NGX_HTTP_LOGBROKER_SENDER_NAME];
    size_t                           len;
    ngx_uint_t                       owner;         /* how many names it had */

    ngx_msec_t                       last;          /* when the next two were
                                                     * so; 0: never */
    int64_t                          requests;      /* left, in thousandths */
    int64_t                          bytes;         /* the same; may be < 0 */

    time_t                           day;           /* since 1970 */
    uint64_t                         used;          /* bytes, on that day */

    uint64_t                         stored;        /* requests */
    uint64_t                         stored_bytes;
    uint64_t                         failed;        /* let in, and refused or
                                                     * not answered there */
    uint64_t                         refused[NGX_HTTP_LOGBROKER_SENDER_REASONS];
} ngx_http_logbroker_account_t;


typedef struct {
    ngx_slab_pool_t                 *shpool;
    ngx_uint_t                       n;             /* accounts */
    uint64_t                         refused[NGX_HTTP_LOGBROKER_SENDER_REASONS];
    ngx_http_logbroker_account_t     accounts[NGX_HTTP_LOGBROKER_SENDERS_MAX];
} ngx_http_logbroker_accounts_t;


typedef struct {
    ngx_str_t                        name;
    ngx_str_t                        streams;       /* "a,b-*"; "": all */
    uint64_t                         requests;      /* a second; 0: any */
    uint64_t                         bytes;         /* a second; 0: any */
    uint64_t                         quota;         /* bytes a day; 0: any */
    time_t                           expires;       /* 0: never */
    ngx_uint_t                       tokens;        /* how many */
    ngx_uint_t                       certificates;

    ngx_http_logbroker_account_t    *account;
    ngx_uint_t                       owner;         /* of the account */
} ngx_http_logbroker_sender_t;


typedef struct {
    u_char                           hash[NGX_HTTP_LOGBROKER_TOKEN_HASH];
    ngx_uint_t                       sender;        /* its number */
} ngx_http_logbroker_sender_token_t;


typedef struct {
    ngx_str_t                        subject;       /* or fingerprint */
    ngx_uint_t                       sender;
} ngx_http_logbroker_sender_certificate_t;


struct ngx_http_logbroker_senders_s {
    ngx_array_t                      senders;
    ngx_array_t                      tokens;        /* sorted by hash */
    ngx_array_t                      certificates;

    /* nginx's variables, if there are certificates */
    ngx_int_t                        verify;
    ngx_int_t                        subject;
    ngx_int_t                        fingerprint;

    ngx_http_logbroker_accounts_t   *accounts;
    ngx_shm_zone_t                  *zone;
};


/* logbroker_sender NAME ...: senders_conf.c */
char *ngx_http_logbroker_sender(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* logbroker_senders on | off */
char *ngx_http_logbroker_senders(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* logbroker_senders_status: what there is to be told of them, in JSON or, who
 * asks for text/plain, for Prometheus: senders_status.c */
char *ngx_http_logbroker_senders_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Their metrics, and how many bytes these may have. */
size_t ngx_http_logbroker_senders_metrics_size(
    ngx_http_logbroker_senders_t *senders);
u_char *ngx_http_logbroker_senders_metrics(
    ngx_http_logbroker_senders_t *senders, u_char *p, u_char *last);

/* After all directives: what they say is made ready to be looked up;
 * NGX_ERROR after a mistake. */
ngx_int_t ngx_http_logbroker_senders_ready(ngx_conf_t *cf,
    ngx_http_logbroker_senders_t *senders);

/* Postconfiguration: the handlers, where there is anything to do. */
ngx_int_t ngx_http_logbroker_senders_init(ngx_conf_t *cf);

/* what is put into $logbroker_sender and the like: data of the variables */
#define NGX_HTTP_LOGBROKER_SENDER_VAR_NAME     0
#define NGX_HTTP_LOGBROKER_SENDER_VAR_STREAMS  1
#define NGX_HTTP_LOGBROKER_SENDER_VAR_REFUSED  2

ngx_int_t ngx_http_logbroker_sender_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);

/* by ngx_http_logbroker_sender_reason_e */
extern const ngx_str_t  ngx_http_logbroker_sender_reasons[];


/* What its sender may write to, "": all. */
void ngx_http_logbroker_senders_streams(ngx_http_request_t *r,
    ngx_str_t *streams);


#endif /* _NGX_HTTP_LOGBROKER_SENDERS_H_INCLUDED_ */
