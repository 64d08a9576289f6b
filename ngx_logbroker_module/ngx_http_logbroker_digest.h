/*
 * What a request is recognised by when it is sent again: a digest of its bytes.
 *
 * The digest is a SHA-1 over the path, the headers that say who sends it and
 * what the bytes mean, and the length and a 128-bit XXH3 of the body as it was
 * received.  XXH3 is fast, not strong: it is seeded with the spool's UUID, which
 * clients do not see, so that nobody can make two bodies that are the same to
 * it; were that to fail, a client could only do so to requests with its own
 * credentials, which are in the SHA-1.
 *
 * The same at all times: in all workers, after a restart, in other releases.
 */


#ifndef _NGX_HTTP_LOGBROKER_DIGEST_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_DIGEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#define NGX_HTTP_LOGBROKER_DIGEST        20         /* bytes */


/* Has bodies hashed as they come in, where logbroker_deduplicate says so:
 * postconfiguration. */
ngx_int_t ngx_http_logbroker_digest_init(ngx_conf_t *cf);

/*
 * Of a request whose body has been read: into NGX_HTTP_LOGBROKER_DIGEST bytes.
 * NGX_DECLINED: it has none, because the body is not here as a whole, or the
 * spool is not open; NGX_ERROR: no memory, or the body cannot be read back.
 */
ngx_int_t ngx_http_logbroker_digest(ngx_http_request_t *r, u_char *digest);

/* $logbroker_digest */
ngx_int_t ngx_http_logbroker_digest_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


#endif /* _NGX_HTTP_LOGBROKER_DIGEST_H_INCLUDED_ */
