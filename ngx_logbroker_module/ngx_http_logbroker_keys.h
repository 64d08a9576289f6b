/*
 * Idempotency keys: of a request, and of the records of a group.
 */


#ifndef _NGX_HTTP_LOGBROKER_KEYS_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_KEYS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_format.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_keys_load.h"


/* what became of a record with an idempotency key; UNKNOWN: the ring is looked
 * through for it */

typedef enum {
    NGX_HTTP_LOGBROKER_KEY_NOT_STORED = 0,
    NGX_HTTP_LOGBROKER_KEY_IS_STORED,
    NGX_HTTP_LOGBROKER_KEY_UNKNOWN
} ngx_http_logbroker_key_end_e;


/* a record with an idempotency key; outlives the request */

typedef struct {
    ngx_queue_t                      queue;
    u_char                           hash[LB_KEY_LEN];
} ngx_http_logbroker_group_key_t;


typedef struct {
    ngx_http_logbroker_keys_t       *table;         /* NULL: off */
    time_t                           window;
    time_t                           logged;
    time_t                           short_logged;
    time_t                           unread;        /* logged */

    ngx_http_logbroker_keys_job_t   *job;           /* running */
    ngx_msec_t                       after;         /* not looked before */
    unsigned                         look:1;        /* for nobody's keys */
} ngx_http_logbroker_worker_keys_t;


/* logbroker_idempotency, and its zone. */
char *ngx_http_logbroker_idempotency(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_logbroker_keys_init_zone(ngx_shm_zone_t *zone, void *data);

/* Of a record for the ring of the slot.  0: the key is new, and from now on
 * PENDING; NGX_HTTP_LOGBROKER_REPEATED: its events are stored already; or the
 * reason for a refusal. */
ngx_uint_t ngx_http_logbroker_keys_begin(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, ngx_uint_t slot, uint32_t crc, size_t len);

/* What became of it; the second one for all keys of a group, which it frees. */
void ngx_http_logbroker_keys_end(ngx_http_logbroker_worker_t *w,
    const u_char *hash, ngx_uint_t end);
void ngx_http_logbroker_keys_end_group(ngx_http_logbroker_worker_t *w,
    ngx_queue_t *queue, ngx_uint_t end);


#endif /* _NGX_HTTP_LOGBROKER_KEYS_H_INCLUDED_ */
