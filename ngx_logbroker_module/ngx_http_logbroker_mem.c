/*
 * Memory that grows.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_logbroker_mem.h"


ngx_int_t
ngx_http_logbroker_mem_grow(ngx_http_logbroker_mem_t *mem, size_t size)
{
    u_char  *p;

    if (size <= mem->size) {
        return NGX_OK;
    }

    p = realloc(mem->data, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mem->data = p;
    mem->size = size;

    return NGX_OK;
}


void
ngx_http_logbroker_mem_swap(ngx_http_logbroker_mem_t *a,
    ngx_http_logbroker_mem_t *b)
{
    ngx_http_logbroker_mem_t  mem;

    mem = *a;
    *a = *b;
    *b = mem;
}


void
ngx_http_logbroker_mem_trim(ngx_http_logbroker_mem_t *mem, size_t size)
{
    u_char  *p;

    p = realloc(mem->data, size);

    if (p) {
        mem->data = p;
        mem->size = size;
    }
}


void
ngx_http_logbroker_mem_free(ngx_http_logbroker_mem_t *mem)
{
    free(mem->data);

    mem->data = NULL;
    mem->len = 0;
    mem->size = 0;
}


void *
ngx_http_logbroker_mem_of(ngx_pool_t *pool, ngx_pool_cleanup_pt handler)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == handler) {
            return cln->data;
        }
    }

    return NULL;
}
