/*
 * What the status shows: the rings, and the flusher.
 */


#ifndef _NGX_HTTP_LOGBROKER_SNAPSHOT_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_SNAPSHOT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_checkpoint.h"
#include "spool/lb_error.h"
#include "spool/lb_reader.h"

#include "ngx_http_logbroker_module.h"


/* what the status says of the flusher: what it published, and what is true
 * whatever it published or not */

typedef struct {
    ngx_str_t                        json;
    lb_ckpt_state_t                 *acked;         /* NULL: unknown */
    uint64_t                         oldest_us;     /* not yet acked; 0: none */
} ngx_http_logbroker_flusher_t;


/* The next ring of the spool, or the words why it cannot be read. */
ngx_uint_t ngx_http_logbroker_status_ring(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_flusher_t *flusher, uint32_t slot, lb_ring_info_t *info,
    lb_error_t *err);
ngx_uint_t ngx_http_logbroker_flusher_runs(ngx_http_logbroker_worker_t *w);

/* Looks whether flusher.json was touched; how long ago in milliseconds, or
 * NGX_ERROR without one. */
ngx_msec_int_t ngx_http_logbroker_flusher_age(ngx_http_logbroker_worker_t *w);
uint64_t ngx_http_logbroker_lag_us(ngx_http_logbroker_flusher_t *flusher);
ngx_int_t ngx_http_logbroker_status_flusher(ngx_http_request_t *r,
    ngx_http_logbroker_worker_t *w, ngx_str_t *json);


#endif /* _NGX_HTTP_LOGBROKER_SNAPSHOT_H_INCLUDED_ */
