/*
 * Content codings: a row each, by the name that Content-Encoding gives them.
 *
 * Runs in the event loop and in threads: no pools, no logs, nothing of nginx
 * but its types.
 *
 * To add a coding
 *
 *  1. ngx_http_logbroker_NAME.c defines the three functions below and the row
 *     ngx_http_logbroker_NAME, declared at the end of this file.
 *  2. The row goes into the table in ngx_http_logbroker_decode.c, its library
 *     into `config`, a new package into packages.txt.
 *  3. Its name goes into docs/directives.md, bodies of it into
 *     tests/e2e/test_compressed.py, cut, followed by rubbish, larger than it
 *     says; a bomb into test_hostile.py; a number into fuzz_codings.c.
 */


#ifndef _NGX_HTTP_LOGBROKER_DECODE_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_DECODE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_logbroker_mem.h"


/* the first row: the body as it is */
#define NGX_HTTP_LOGBROKER_IDENTITY      0

/* more than there are rows */
#define NGX_HTTP_LOGBROKER_CODINGS_MAX   16


typedef struct {
    ngx_str_t                        name;
    ngx_str_t                        alias;

    /* what is kept from body to body; NULL without memory */
    void                          *(*create)(void);

    /*
     * Decodes the whole of in into out, which has room for at least one byte,
     * and grows it by ngx_http_logbroker_decode_room(), whose limit holds
     * whatever the body says of its size.  0 or a reason, with the words in
     * *error.
     */
    ngx_uint_t                     (*decode)(void *state, u_char *in,
                                             size_t len, size_t limit,
                                             ngx_http_logbroker_mem_t *out,
                                             char **error);

    void                           (*destroy)(void *state);
} ngx_http_logbroker_coding_t;


/* decoders, for one body at a time; zeroed at first */

typedef struct {
    void                            *state[NGX_HTTP_LOGBROKER_CODINGS_MAX];
} ngx_http_logbroker_codec_t;


/* The row of a coding, or NGX_ERROR for one that is not known. */
ngx_int_t ngx_http_logbroker_coding(u_char *name, size_t len);

/* "gzip, zstd or none", and "identity,gzip,zstd"; return where it ends. */
u_char *ngx_http_logbroker_codings_words(u_char *p, u_char *last);
u_char *ngx_http_logbroker_codings_list(u_char *p, u_char *last);

/*
 * Decodes in into out, whose memory grows as needed.  0 or one of
 * NGX_HTTP_LOGBROKER_CORRUPT, _BODY_TOO_BIG (more than limit bytes) and
 * _NO_MEMORY, with the words in *error.
 */
ngx_uint_t ngx_http_logbroker_decode(ngx_http_logbroker_codec_t *codec,
    ngx_uint_t coding, u_char *in, size_t len, size_t limit,
    ngx_http_logbroker_mem_t *out, char **error);

/* Does the body itself say that it becomes more than limit bytes?  It may be
 * wrong, and most codings say nothing. */
ngx_uint_t ngx_http_logbroker_decode_above(ngx_uint_t coding, u_char *in,
    size_t len, size_t limit);

void ngx_http_logbroker_codec_free(ngx_http_logbroker_codec_t *codec);

/* More room, up to one byte above the limit: that byte tells a body that just
 * fits from one that does not.  0 or a reason. */
ngx_uint_t ngx_http_logbroker_decode_room(ngx_http_logbroker_mem_t *out,
    size_t limit, char **error);


extern const ngx_http_logbroker_coding_t  ngx_http_logbroker_gzip;
extern const ngx_http_logbroker_coding_t  ngx_http_logbroker_deflate;
extern const ngx_http_logbroker_coding_t  ngx_http_logbroker_zstd;
extern const ngx_http_logbroker_coding_t  ngx_http_logbroker_snappy;
extern const ngx_http_logbroker_coding_t  ngx_http_logbroker_lz4;


#endif /* _NGX_HTTP_LOGBROKER_DECODE_H_INCLUDED_ */
