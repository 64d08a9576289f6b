/*
 * logbroker_answers: see answers.h.
 *
 * A call of gRPC is answered with a status of 200 whatever became of it; it is
 * counted as the status of HTTP that means the same.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_senders.h"
#include "ngx_http_logbroker_answers.h"


#define NGX_HTTP_LOGBROKER_ANSWERS_MAX   600
#define NGX_HTTP_LOGBROKER_ANSWERS_ZONE  (64 * 1024)

/* of one line: the name, a status and a number */
#define NGX_HTTP_LOGBROKER_ANSWERS_LINE                                       \
    (sizeof("logbroker_answers_total{status=\"000\"} \n") + NGX_INT64_LEN)


static ngx_int_t ngx_http_logbroker_answers_init_zone(ngx_shm_zone_t *zone,
    void *data);
static ngx_int_t ngx_http_logbroker_answers_count(ngx_http_request_t *r);
static ngx_int_t ngx_http_logbroker_answers_handler(ngx_http_request_t *r);


static const char  ngx_http_logbroker_answers_head[] =
    "# HELP logbroker_answers_total Requests answered, by status.\n"
    "# TYPE logbroker_answers_total counter\n";


char *
ngx_http_logbroker_answers(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                            *rv;
    ngx_str_t                        name;
    ngx_http_logbroker_main_conf_t  *lmcf;

    rv = ngx_http_logbroker_take_location(cf, ngx_http_logbroker_answers_handler);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_logbroker_module);

    if (lmcf->answers_zone) {
        return NGX_CONF_OK;
    }

    ngx_str_set(&name, "logbroker_answers");

    lmcf->answers_zone = ngx_shared_memory_add(cf, &name,
                                               NGX_HTTP_LOGBROKER_ANSWERS_ZONE,
                                               &ngx_http_logbroker_module);
    if (lmcf->answers_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    lmcf->answers_zone->init = ngx_http_logbroker_answers_init_zone;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_logbroker_answers_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt             *h;
    ngx_http_core_main_conf_t       *cmcf;
    ngx_http_logbroker_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_logbroker_module);

    if (lmcf->answers_zone == NULL) {
        return NGX_OK;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_logbroker_answers_count;

    return NGX_OK;
}


/* a reload: the counters go on */

static ngx_int_t
ngx_http_logbroker_answers_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data || zone->shm.exists) {
        zone->data = data ? data : shpool->data;
        return NGX_OK;
    }

    zone->data = ngx_slab_calloc(shpool, NGX_HTTP_LOGBROKER_ANSWERS_MAX
                                         * sizeof(ngx_atomic_t));
    if (zone->data == NULL) {
        return NGX_ERROR;
    }

    shpool->data = zone->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_answers_count(ngx_http_request_t *r)
{
    ngx_uint_t                       status;
    ngx_atomic_t                    *counts;
    ngx_http_logbroker_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_logbroker_module);

    counts = lmcf->answers_zone->data;

    status = ngx_http_logbroker_answered(r);

    /* 0: the client left before there was an answer */

    if (status < NGX_HTTP_LOGBROKER_ANSWERS_MAX) {
        (void) ngx_atomic_fetch_add(&counts[status], 1);
    }

    return NGX_OK;
}


/* Those that a rule may wait for are told from the start: an increase is seen
 * only where there was a number before. */

static ngx_int_t
ngx_http_logbroker_answers_handler(ngx_http_request_t *r)
{
    size_t                           senders;
    ngx_int_t                        rc;
    ngx_buf_t                       *b;
    ngx_uint_t                       i, status;
    ngx_atomic_t                    *counts;
    ngx_http_logbroker_main_conf_t  *lmcf;

    static const ngx_uint_t  always[] = { 200, 204, 500, 502, 503, 504 };

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_logbroker_module);

    counts = lmcf->answers_zone->data;

    senders = lmcf->senders == NULL ? 0
                 : ngx_http_logbroker_senders_metrics_size(lmcf->senders);

    b = ngx_create_temp_buf(r->pool, senders
                                     + sizeof(ngx_http_logbroker_answers_head)
                                     + NGX_HTTP_LOGBROKER_ANSWERS_MAX
                                       * NGX_HTTP_LOGBROKER_ANSWERS_LINE);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_cpymem(b->last, ngx_http_logbroker_answers_head,
                         sizeof(ngx_http_logbroker_answers_head) - 1);

    for (status = 100, i = 0; status < NGX_HTTP_LOGBROKER_ANSWERS_MAX;
         status++)
    {
        if (i < sizeof(always) / sizeof(always[0]) && status == always[i]) {
            i++;

        } else if (counts[status] == 0) {
            continue;
        }

        b->last = ngx_sprintf(b->last, "logbroker_answers_total{status="
                              "\"%ui\"} %uA\n", status, counts[status]);
    }

    if (lmcf->senders) {
        b->last = ngx_http_logbroker_senders_metrics(lmcf->senders, b->last,
                                                     b->end);
    }

    if (ngx_http_logbroker_add_header(r, "Cache-Control", "no-store")
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_logbroker_send(r, NGX_HTTP_OK,
                                   "text/plain; version=0.0.4; charset=utf-8",
                                   b);
}
