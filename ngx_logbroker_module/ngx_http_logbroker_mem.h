/*
 * Memory that grows and may be filled in any thread: malloc(), no pool.
 */


#ifndef _NGX_HTTP_LOGBROKER_MEM_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_MEM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    u_char                          *data;
    size_t                           len;           /* used by the owner */
    size_t                           size;
} ngx_http_logbroker_mem_t;


/* At least size bytes; what is there stays. */
ngx_int_t ngx_http_logbroker_mem_grow(ngx_http_logbroker_mem_t *mem,
    size_t size);

void ngx_http_logbroker_mem_swap(ngx_http_logbroker_mem_t *a,
    ngx_http_logbroker_mem_t *b);

/* Gives back what is behind size. */
void ngx_http_logbroker_mem_trim(ngx_http_logbroker_mem_t *mem, size_t size);
void ngx_http_logbroker_mem_free(ngx_http_logbroker_mem_t *mem);

/* The data of the pool's cleanup that has this handler, or NULL.  Of a request's
 * pool: what lives through redirects, unlike the context of a module. */
void *ngx_http_logbroker_mem_of(ngx_pool_t *pool, ngx_pool_cleanup_pt handler);


#endif /* _NGX_HTTP_LOGBROKER_MEM_H_INCLUDED_ */
