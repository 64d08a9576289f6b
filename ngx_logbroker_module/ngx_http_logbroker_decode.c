/*
 * Content-Encoding gzip and zstd.
 *
 * Runs in the event loop and in threads: no pools, no logs, nothing of
 * nginx but its types.  The limit holds for the decoded body, so that a
 * small request cannot become a large one.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <zlib.h>
#include <zstd.h>

#include "ngx_http_logbroker_module.h"


/* 2^23 = 8 MB, what RFC 8878 asks every decoder to take */
#define NGX_HTTP_LOGBROKER_ZSTD_WINDOW  23


static ngx_uint_t ngx_http_logbroker_gunzip(ngx_http_logbroker_codec_t *codec,
    u_char *in, size_t len, size_t limit, ngx_http_logbroker_mem_t *out,
    char **error);
static ngx_uint_t ngx_http_logbroker_unzstd(ngx_http_logbroker_codec_t *codec,
    u_char *in, size_t len, size_t limit, ngx_http_logbroker_mem_t *out,
    char **error);
static ngx_uint_t ngx_http_logbroker_room(ngx_http_logbroker_mem_t *out,
    size_t limit, char **error);


ngx_uint_t
ngx_http_logbroker_decode(ngx_http_logbroker_codec_t *codec,
    ngx_uint_t encoding, u_char *in, size_t len, size_t limit,
    ngx_http_logbroker_mem_t *out, char **error)
{
    size_t  size;

    out->len = 0;

    size = len < 1024 ? 4096 : len * 4;
    size = ngx_min(size, limit);

    if (ngx_http_logbroker_mem_grow(out, ngx_max(size, 1)) != NGX_OK) {
        *error = "no memory for the decompressed body";
        return NGX_HTTP_LOGBROKER_NO_MEMORY;
    }

    if (encoding == NGX_HTTP_LOGBROKER_GZIP) {
        return ngx_http_logbroker_gunzip(codec, in, len, limit, out, error);
    }

    return ngx_http_logbroker_unzstd(codec, in, len, limit, out, error);
}


static ngx_uint_t
ngx_http_logbroker_gunzip(ngx_http_logbroker_codec_t *codec, u_char *in,
    size_t len, size_t limit, ngx_http_logbroker_mem_t *out, char **error)
{
    int          rc;
    size_t       n;
    z_stream    *zs;
    ngx_uint_t   reason;

    zs = codec->gzip;

    if (zs == NULL) {
        zs = calloc(1, sizeof(z_stream));

        if (zs == NULL || inflateInit2(zs, MAX_WBITS + 16) != Z_OK) {
            free(zs);
            *error = "no memory to decompress the body";
            return NGX_HTTP_LOGBROKER_NO_MEMORY;
        }

        codec->gzip = zs;

    } else {
        (void) inflateReset2(zs, MAX_WBITS + 16);
    }

    rc = Z_OK;
    zs->next_in = in;
    zs->avail_in = 0;

    for ( ;; ) {

        if (zs->avail_in == 0) {
            /* avail_in is only 32 bits wide */

            zs->avail_in = (uInt) ngx_min(len, 1 << 30);
            len -= zs->avail_in;
        }

        if (rc == Z_STREAM_END) {

            if (zs->avail_in == 0) {
                break;
            }

            /* another member follows */
            (void) inflateReset2(zs, MAX_WBITS + 16);
        }

        if (out->len == out->size || out->len > limit) {
            reason = ngx_http_logbroker_room(out, limit, error);
            if (reason) {
                return reason;
            }
        }

        n = ngx_min(out->size - out->len, 1 << 30);

        zs->next_out = out->data + out->len;
        zs->avail_out = (uInt) n;

        rc = inflate(zs, Z_NO_FLUSH);

        out->len += n - zs->avail_out;

        switch (rc) {

        case Z_OK:
        case Z_STREAM_END:
            break;

        case Z_BUF_ERROR:
            /* there was room, so it is the input that is missing */
            *error = "the gzip body ends too early";
            return NGX_HTTP_LOGBROKER_CORRUPT;

        case Z_MEM_ERROR:
            *error = "no memory to decompress the body";
            return NGX_HTTP_LOGBROKER_NO_MEMORY;

        default:
            *error = "the body is not valid gzip";
            return NGX_HTTP_LOGBROKER_CORRUPT;
        }
    }

    return out->len > limit ? ngx_http_logbroker_room(out, limit, error) : 0;
}


static ngx_uint_t
ngx_http_logbroker_unzstd(ngx_http_logbroker_codec_t *codec, u_char *in,
    size_t len, size_t limit, ngx_http_logbroker_mem_t *out, char **error)
{
    size_t           rc;
    ZSTD_DCtx       *zd;
    ngx_uint_t       reason;
    ZSTD_inBuffer    src;
    ZSTD_outBuffer   dst;

    zd = codec->zstd;

    if (zd == NULL) {
        zd = ZSTD_createDCtx();

        if (zd == NULL) {
            *error = "no memory to decompress the body";
            return NGX_HTTP_LOGBROKER_NO_MEMORY;
        }

        (void) ZSTD_DCtx_setParameter(zd, ZSTD_d_windowLogMax,
                                      NGX_HTTP_LOGBROKER_ZSTD_WINDOW);
        codec->zstd = zd;

    } else {
        (void) ZSTD_DCtx_reset(zd, ZSTD_reset_session_only);
    }

    src.src = in;
    src.size = len;
    src.pos = 0;

    for ( ;; ) {

        if (out->len == out->size || out->len > limit) {
            reason = ngx_http_logbroker_room(out, limit, error);
            if (reason) {
                return reason;
            }
        }

        dst.dst = out->data + out->len;
        dst.size = out->size - out->len;
        dst.pos = 0;

        rc = ZSTD_decompressStream(zd, &dst, &src);

        if (ZSTD_isError(rc)) {
            *error = "the body is not valid zstd, or needs a window above "
                     "8 MB";
            return NGX_HTTP_LOGBROKER_CORRUPT;
        }

        out->len += dst.pos;

        if (src.pos < src.size) {
            continue;
        }

        if (rc == 0) {
            /* the last frame is complete */
            break;
        }

        if (dst.pos < dst.size) {
            *error = "the zstd body ends too early";
            return NGX_HTTP_LOGBROKER_CORRUPT;
        }
    }

    return out->len > limit ? ngx_http_logbroker_room(out, limit, error) : 0;
}


/* More room, up to one byte above the limit: that byte tells a body that
 * just fits from one that does not. */

static ngx_uint_t
ngx_http_logbroker_room(ngx_http_logbroker_mem_t *out, size_t limit,
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


void
ngx_http_logbroker_codec_free(ngx_http_logbroker_codec_t *codec)
{
    if (codec->gzip) {
        (void) inflateEnd(codec->gzip);
        free(codec->gzip);
        codec->gzip = NULL;
    }

    if (codec->zstd) {
        (void) ZSTD_freeDCtx(codec->zstd);
        codec->zstd = NULL;
    }
}


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


/* Gives back what is behind size. */

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
