/*
 * What a request is recognised by when it is sent again.
 *
 * A body is hashed as it comes in, by a filter: in the broker while it is still
 * in the processor's caches, whether it will be in memory or in a file; in the
 * edge without being read twice.  What was read elsewhere (the location is the
 * error page of another one) is hashed when it is asked for.
 *
 * The state of the hash belongs to the request, not to the module's context,
 * which an internal redirect clears: it is kept with the request's pool.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_sha1.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "spool/lb_spool.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_body.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_mem.h"
#include "ngx_http_logbroker_digest.h"


/* of a file, bytes at once */
#define NGX_HTTP_LOGBROKER_DIGEST_READ   (64 * 1024)


typedef struct {
    XXH3_state_t                    *state;
    uint64_t                         seed;
    size_t                           len;
} ngx_http_logbroker_hash_t;


static ngx_int_t ngx_http_logbroker_digest_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_uint_t ngx_http_logbroker_digest_given(ngx_http_request_t *r);
static ngx_http_logbroker_hash_t *ngx_http_logbroker_hash(
    ngx_http_request_t *r);
static ngx_http_logbroker_hash_t *ngx_http_logbroker_hash_new(
    ngx_http_request_t *r, uint64_t seed);
static void ngx_http_logbroker_hash_cleanup(void *data);
static ngx_int_t ngx_http_logbroker_hash_body(ngx_http_request_t *r,
    ngx_http_logbroker_hash_t *hash);
static ngx_int_t ngx_http_logbroker_hash_file(ngx_http_request_t *r,
    ngx_http_logbroker_hash_t *hash, ngx_buf_t *b);
static ngx_int_t ngx_http_logbroker_digest_seed(uint64_t *seed);


/* who sends a request, and what its bytes mean */

static ngx_str_t  ngx_http_logbroker_digest_headers[] = {
    ngx_string("authorization"),
    ngx_string("proxy-authorization"),
    ngx_string("api-key"),
    ngx_string("dd-api-key"),
    ngx_string("x-api-key"),
    ngx_string("x-amz-firehose-access-key"),
    ngx_string("x-auth-token"),
    ngx_string("x-scope-orgid"),
    ngx_string("cookie"),
    ngx_string("content-type"),
    ngx_string("content-encoding"),
    ngx_string("grpc-encoding"),
    ngx_null_string
};


static ngx_http_request_body_filter_pt  ngx_http_next_request_body_filter;


ngx_int_t
ngx_http_logbroker_digest_init(ngx_conf_t *cf)
{
    ngx_http_logbroker_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_logbroker_module);

    if (!lmcf->digests) {
        return NGX_OK;
    }

    ngx_http_next_request_body_filter = ngx_http_top_request_body_filter;
    ngx_http_top_request_body_filter = ngx_http_logbroker_digest_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_digest_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    size_t                          size;
    uint64_t                        seed;
    ngx_chain_t                    *cl;
    ngx_http_logbroker_hash_t      *hash;
    ngx_http_logbroker_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    if (!llcf->digest || r != r->main || r->request_body_no_buffering) {
        return ngx_http_next_request_body_filter(r, in);
    }

    hash = ngx_http_logbroker_hash(r);

    if (hash == NULL && !ngx_http_logbroker_digest_given(r)
        && ngx_http_logbroker_digest_seed(&seed) == NGX_OK)
    {
        /* without memory it is hashed later, or refused */
        hash = ngx_http_logbroker_hash_new(r, seed);
    }

    if (hash) {
        for (cl = in; cl; cl = cl->next) {

            size = cl->buf->last - cl->buf->pos;

            if (ngx_buf_in_memory(cl->buf) && size) {
                (void) XXH3_128bits_update(hash->state, cl->buf->pos, size);
                hash->len += size;
            }
        }
    }

    return ngx_http_next_request_body_filter(r, in);
}


/* A key of the client's own makes the digest useless. */

static ngx_uint_t
ngx_http_logbroker_digest_given(ngx_http_request_t *r)
{
    static const ngx_str_t  name = ngx_string("idempotency-key");

    return ngx_http_logbroker_header(r, &name, NULL) != NULL;
}


static ngx_http_logbroker_hash_t *
ngx_http_logbroker_hash(ngx_http_request_t *r)
{
    return ngx_http_logbroker_mem_of(r->pool, ngx_http_logbroker_hash_cleanup);
}


static ngx_http_logbroker_hash_t *
ngx_http_logbroker_hash_new(ngx_http_request_t *r, uint64_t seed)
{
    ngx_pool_cleanup_t         *cln;
    ngx_http_logbroker_hash_t  *hash;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_logbroker_hash_t));
    if (cln == NULL) {
        return NULL;
    }

    hash = cln->data;

    hash->state = ngx_pmemalign(r->pool, sizeof(XXH3_state_t), 64);
    if (hash->state == NULL) {
        return NULL;
    }

    hash->seed = seed;
    hash->len = 0;

    XXH3_INITSTATE(hash->state);
    (void) XXH3_128bits_reset_withSeed(hash->state, seed);

    cln->handler = ngx_http_logbroker_hash_cleanup;

    return hash;
}


/* By this function the state is found; there is nothing to clean up. */

static void
ngx_http_logbroker_hash_cleanup(void *data)
{
    (void) data;
}


/* All of a body that has been read. */

static ngx_int_t
ngx_http_logbroker_hash_body(ngx_http_request_t *r,
    ngx_http_logbroker_hash_t *hash)
{
    size_t        size;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    for (cl = r->request_body ? r->request_body->bufs : NULL; cl;
         cl = cl->next)
    {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {

            size = b->last - b->pos;

            if (size) {
                (void) XXH3_128bits_update(hash->state, b->pos, size);
                hash->len += size;
            }

        } else if (b->in_file
                   && ngx_http_logbroker_hash_file(r, hash, b) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_hash_file(ngx_http_request_t *r,
    ngx_http_logbroker_hash_t *hash, ngx_buf_t *b)
{
    off_t    at;
    u_char  *p;
    size_t   size;
    ssize_t  n;

    p = ngx_palloc(r->pool, NGX_HTTP_LOGBROKER_DIGEST_READ);
    if (p == NULL) {
        return NGX_ERROR;
    }

    for (at = b->file_pos; at < b->file_last; at += n) {

        size = ngx_min(NGX_HTTP_LOGBROKER_DIGEST_READ, b->file_last - at);

        n = ngx_read_file(b->file, p, size, at);

        if (n <= 0) {
            return NGX_ERROR;
        }

        (void) XXH3_128bits_update(hash->state, p, n);
        hash->len += n;
    }

    (void) ngx_pfree(r->pool, p);

    return NGX_OK;
}


/* Without a spool the digest only says where a request belongs. */

static ngx_int_t
ngx_http_logbroker_digest_seed(uint64_t *seed)
{
    if (ngx_http_logbroker_worker == NULL) {
        *seed = 0;
        return NGX_OK;
    }

    if (ngx_http_logbroker_worker->ring.spool == NULL) {
        return NGX_DECLINED;
    }

    ngx_memcpy(seed, lb_spool_uuid(ngx_http_logbroker_worker->ring.spool),
               sizeof(uint64_t));

    return NGX_OK;
}


ngx_int_t
ngx_http_logbroker_digest(ngx_http_request_t *r, u_char *digest)
{
    size_t                      len;
    u_char                      number;
    uint64_t                    seed, size;
    ngx_str_t                  *name;
    ngx_sha1_t                  sha1;
    ngx_table_elt_t            *h;
    XXH128_canonical_t          body;
    ngx_http_logbroker_hash_t  *hash;

    if (r->request_body_no_buffering || r->reading_body
        || (r->request_body == NULL
            && (r->headers_in.content_length_n > 0 || r->headers_in.chunked))
        || ngx_http_logbroker_digest_seed(&seed) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    len = ngx_http_logbroker_body_len(r);
    hash = ngx_http_logbroker_hash(r);

    if (hash == NULL || hash->len != len || hash->seed != seed) {

        hash = ngx_http_logbroker_hash_new(r, seed);

        if (hash == NULL || ngx_http_logbroker_hash_body(r, hash) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    XXH128_canonicalFromHash(&body, XXH3_128bits_digest(hash->state));

    /* the parts are told apart: none of them holds a zero byte, but for those
     * of a fixed length */

    size = len;

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, &size, sizeof(uint64_t));
    ngx_sha1_update(&sha1, body.digest, sizeof(body.digest));
    ngx_sha1_update(&sha1, r->uri.data, r->uri.len);
    ngx_sha1_update(&sha1, "\0", 1);
    ngx_sha1_update(&sha1, r->args.data, r->args.len);
    ngx_sha1_update(&sha1, "\0", 1);

    number = 0;

    for (name = ngx_http_logbroker_digest_headers; name->len; name++) {

        number++;
        h = NULL;

        while ((h = ngx_http_logbroker_header(r, name, h))) {
            ngx_sha1_update(&sha1, &number, 1);
            ngx_sha1_update(&sha1, h->value.data, h->value.len);
            ngx_sha1_update(&sha1, "\0", 1);
        }
    }

    ngx_sha1_final(digest, &sha1);

    return NGX_OK;
}


ngx_int_t
ngx_http_logbroker_digest_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                          digest[NGX_HTTP_LOGBROKER_DIGEST];
    ngx_http_logbroker_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    if (!llcf->digest || ngx_http_logbroker_digest(r, digest) != NGX_OK) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = ngx_pnalloc(r->pool, 2 * sizeof(digest));
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_hex_dump(v->data, digest, sizeof(digest)) - v->data;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
