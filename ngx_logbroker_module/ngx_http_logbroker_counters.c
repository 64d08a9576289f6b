/*
 * What all workers count, in shared memory.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_counters.h"


/* upper bounds; the last bucket has none */

const uint64_t  ngx_http_logbroker_sync_bounds[] = {
    50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000,
    500000, 1000000, 5000000
};

const uint64_t  ngx_http_logbroker_group_bounds[] = {
    1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024
};


ngx_int_t
ngx_http_logbroker_counters_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    if (data) {
        /* a reload: the counters go on */
        zone->data = data;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (zone->shm.exists) {
        zone->data = shpool->data;
        return NGX_OK;
    }

    zone->data = ngx_slab_calloc(shpool,
                                 sizeof(ngx_http_logbroker_counters_t));
    if (zone->data == NULL) {
        return NGX_ERROR;
    }

    shpool->data = zone->data;

    return NGX_OK;
}


void
ngx_http_logbroker_count_sync(ngx_http_logbroker_counters_t *counters,
    uint64_t us)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_LOGBROKER_SYNC_BUCKETS - 1; i++) {
        if (us <= ngx_http_logbroker_sync_bounds[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&counters->sync[i], 1);
    (void) ngx_atomic_fetch_add(&counters->sync_us, us);
}


void
ngx_http_logbroker_count_group(ngx_http_logbroker_counters_t *counters,
    ngx_uint_t requests)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_LOGBROKER_GROUP_BUCKETS - 1; i++) {
        if (requests <= ngx_http_logbroker_group_bounds[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&counters->group[i], 1);
}
