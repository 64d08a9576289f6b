/*
 * Content-Encoding gzip and deflate.
 *
 * RFC 9110 means zlib's format by deflate; many senders leave its two bytes at
 * the begin out.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <libdeflate.h>
#include <zlib.h>

#include "event/inflate.h"

#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_decode.h"


typedef struct {
    z_stream                         zs;
    struct libdeflate_decompressor  *whole;
} ngx_http_logbroker_zlib_t;


/* what inflateInit2() takes for the format */
#define NGX_HTTP_LOGBROKER_ZLIB  MAX_WBITS
#define NGX_HTTP_LOGBROKER_RAW   -MAX_WBITS
#define NGX_HTTP_LOGBROKER_GZIP  (MAX_WBITS + 16)


typedef struct {
    int              bits;
    char            *early;
    char            *invalid;
} ngx_http_logbroker_zlib_form_t;


static void *
ngx_http_logbroker_zlib_create(void)
{
    ngx_http_logbroker_zlib_t  *z;

    z = calloc(1, sizeof(ngx_http_logbroker_zlib_t));

    if (z == NULL) {
        return NULL;
    }

    if (inflateInit2(&z->zs, MAX_WBITS) != Z_OK) {
        free(z);
        return NULL;
    }

    z->whole = libdeflate_alloc_decompressor();

    if (z->whole == NULL) {
        (void) inflateEnd(&z->zs);
        free(z);
        return NULL;
    }

    return z;
}


static ngx_uint_t
ngx_http_logbroker_zlib_decode(z_stream *zs,
    const ngx_http_logbroker_zlib_form_t *form, u_char *in, size_t len,
    size_t limit, ngx_http_logbroker_mem_t *out, char **error)
{
    int          rc;
    size_t       n;
    ngx_uint_t   reason;

    (void) inflateReset2(zs, form->bits);

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
            (void) inflateReset2(zs, form->bits);
        }

        if (out->len == out->size || out->len > limit) {
            reason = ngx_http_logbroker_decode_room(out, limit, error);

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
            *error = form->early;
            return NGX_HTTP_LOGBROKER_CORRUPT;

        case Z_MEM_ERROR:
            *error = "no memory to decompress the body";
            return NGX_HTTP_LOGBROKER_NO_MEMORY;

        default:
            *error = form->invalid;
            return NGX_HTTP_LOGBROKER_CORRUPT;
        }
    }

    return out->len > limit
               ? ngx_http_logbroker_decode_room(out, limit, error) : 0;
}


static ngx_uint_t
ngx_http_logbroker_gzip_decode(void *state, u_char *in, size_t len,
    size_t limit, ngx_http_logbroker_mem_t *out, char **error)
{
    size_t                      says, used;
    ngx_http_logbroker_zlib_t  *z;

    static const ngx_http_logbroker_zlib_form_t  gzip = {
        NGX_HTTP_LOGBROKER_GZIP,
        "the gzip body ends too early",
        "the body is not valid gzip"
    };

    z = state;

    says = lb_inflate_says(in, len, limit);

    if (says
        && ngx_http_logbroker_mem_grow(out, says) == NGX_OK
        && lb_inflate_member(z->whole, in, len, out->data, says, &used,
                             &out->len))
    {
        if (used == len) {
            return 0;
        }

        in += used;
        len -= used;
    }

    return ngx_http_logbroker_zlib_decode(&z->zs, &gzip, in, len, limit, out,
                                          error);
}


static ngx_uint_t
ngx_http_logbroker_deflate_decode(void *state, u_char *in, size_t len,
    size_t limit, ngx_http_logbroker_mem_t *out, char **error)
{
    ngx_uint_t                  zlib;
    ngx_http_logbroker_zlib_t  *z;

    static const ngx_http_logbroker_zlib_form_t  forms[] = {
        {
            NGX_HTTP_LOGBROKER_RAW,
            "the deflate body ends too early",
            "the body is not valid deflate"
        },
        {
            NGX_HTTP_LOGBROKER_ZLIB,
            "the deflate body ends too early",
            "the body is not valid deflate (zlib)"
        }
    };

    /* RFC 1950: method 8 and a multiple of 31; no encoder begins a raw block
     * so: it would be one that is stored, with rubbish in its unused bits */

    zlib = len < 2
           || ((in[0] & 0x0f) == Z_DEFLATED && (in[0] << 8 | in[1]) % 31 == 0);

    z = state;

    return ngx_http_logbroker_zlib_decode(&z->zs, &forms[zlib], in, len, limit,
                                          out, error);
}


static void
ngx_http_logbroker_zlib_destroy(void *state)
{
    ngx_http_logbroker_zlib_t  *z;

    z = state;

    libdeflate_free_decompressor(z->whole);
    (void) inflateEnd(&z->zs);
    free(z);
}


const ngx_http_logbroker_coding_t  ngx_http_logbroker_gzip = {
    ngx_string("gzip"),
    ngx_string("x-gzip"),
    ngx_http_logbroker_zlib_create,
    ngx_http_logbroker_gzip_decode,
    ngx_http_logbroker_zlib_destroy
};


const ngx_http_logbroker_coding_t  ngx_http_logbroker_deflate = {
    ngx_string("deflate"),
    ngx_string("zlib"),
    ngx_http_logbroker_zlib_create,
    ngx_http_logbroker_deflate_decode,
    ngx_http_logbroker_zlib_destroy
};
