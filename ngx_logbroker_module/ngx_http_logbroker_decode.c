/*
 * Content codings: the table, and what they have in common.
 *
 * The limit holds for the decoded body, so that a small request cannot become
 * a large one.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "event/inflate.h"

#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_decode.h"


static const ngx_http_logbroker_coding_t  ngx_http_logbroker_identity = {
    ngx_string("identity"),
    ngx_null_string,
    NULL,
    NULL,
    NULL
};


static const ngx_http_logbroker_coding_t  *ngx_http_logbroker_codings[] = {
    &ngx_http_logbroker_identity,
    &ngx_http_logbroker_gzip,
    &ngx_http_logbroker_deflate,
    &ngx_http_logbroker_zstd,
    &ngx_http_logbroker_snappy,
    &ngx_http_logbroker_lz4
};

#define NGX_HTTP_LOGBROKER_CODINGS                                            \
    (sizeof(ngx_http_logbroker_codings)                                       \
     / sizeof(ngx_http_logbroker_codings[0]))

_Static_assert(NGX_HTTP_LOGBROKER_CODINGS < NGX_HTTP_LOGBROKER_CODINGS_MAX,
               "NGX_HTTP_LOGBROKER_CODINGS_MAX is too small");


ngx_int_t
ngx_http_logbroker_coding(u_char *name, size_t len)
{
    ngx_uint_t                          i;
    const ngx_http_logbroker_coding_t  *c;

    for (i = 0; i < NGX_HTTP_LOGBROKER_CODINGS; i++) {
        c = ngx_http_logbroker_codings[i];

        if ((len == c->name.len
             && ngx_strncasecmp(name, c->name.data, len) == 0)
            || (len == c->alias.len
                && ngx_strncasecmp(name, c->alias.data, len) == 0))
        {
            return i;
        }
    }

    return NGX_ERROR;
}


u_char *
ngx_http_logbroker_codings_words(u_char *p, u_char *last)
{
    ngx_uint_t  i;

    for (i = 1; i < NGX_HTTP_LOGBROKER_CODINGS; i++) {
        p = ngx_slprintf(p, last, "%s%V", i > 1 ? ", " : "",
                         &ngx_http_logbroker_codings[i]->name);
    }

    return ngx_slprintf(p, last, " or none");
}


u_char *
ngx_http_logbroker_codings_list(u_char *p, u_char *last)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_LOGBROKER_CODINGS; i++) {
        p = ngx_slprintf(p, last, "%s%V", i > 0 ? "," : "",
                         &ngx_http_logbroker_codings[i]->name);
    }

    return p;
}


ngx_uint_t
ngx_http_logbroker_decode(ngx_http_logbroker_codec_t *codec,
    ngx_uint_t coding, u_char *in, size_t len, size_t limit,
    ngx_http_logbroker_mem_t *out, char **error)
{
    size_t                              size;
    const ngx_http_logbroker_coding_t  *c;

    out->len = 0;

    size = len < 1024 ? 4096 : len * 4;
    size = ngx_min(size, limit);

    if (ngx_http_logbroker_mem_grow(out, ngx_max(size, 1)) != NGX_OK) {
        *error = "no memory for the decompressed body";
        return NGX_HTTP_LOGBROKER_NO_MEMORY;
    }

    c = ngx_http_logbroker_codings[coding];

    if (codec->state[coding] == NULL) {
        codec->state[coding] = c->create();

        if (codec->state[coding] == NULL) {
            *error = "no memory to decompress the body";
            return NGX_HTTP_LOGBROKER_NO_MEMORY;
        }
    }

    return c->decode(codec->state[coding], in, len, limit, out, error);
}


ngx_uint_t
ngx_http_logbroker_decode_above(ngx_uint_t coding, u_char *in, size_t len,
    size_t limit)
{
    return ngx_http_logbroker_codings[coding] == &ngx_http_logbroker_gzip
           && lb_inflate_says(in, len, NGX_MAX_SIZE_T_VALUE) > limit;
}


void
ngx_http_logbroker_codec_free(ngx_http_logbroker_codec_t *codec)
{
    ngx_uint_t  i;

    for (i = 1; i < NGX_HTTP_LOGBROKER_CODINGS; i++) {

        if (codec->state[i]) {
            ngx_http_logbroker_codings[i]->destroy(codec->state[i]);
            codec->state[i] = NULL;
        }
    }
}


ngx_uint_t
ngx_http_logbroker_decode_room(ngx_http_logbroker_mem_t *out, size_t limit,
    char **error)
{
    size_t  size;

    if (out->len > limit) {
        *error = "the decompressed body is too large";
        return NGX_HTTP_LOGBROKER_BODY_TOO_BIG;
    }

    size = out->size < limit / 2 ? out->size * 2 : limit + 1;

    if (ngx_http_logbroker_mem_grow(out, size) != NGX_OK) {
        *error = "no memory for the decompressed body";
        return NGX_HTTP_LOGBROKER_NO_MEMORY;
    }

    return 0;
}
