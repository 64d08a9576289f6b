/*
 * Content-Encoding gzip.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <zlib.h>

#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_decode.h"


static void *
ngx_http_logbroker_gzip_create(void)
{
    z_stream  *zs;

    zs = calloc(1, sizeof(z_stream));

    if (zs == NULL || inflateInit2(zs, MAX_WBITS + 16) != Z_OK) {
        free(zs);
        return NULL;
    }

    return zs;
}


static ngx_uint_t
ngx_http_logbroker_gzip_decode(void *state, u_char *in, size_t len,
    size_t limit, ngx_http_logbroker_mem_t *out, char **error)
{
    int          rc;
    size_t       n;
    z_stream    *zs;
    ngx_uint_t   reason;

    zs = state;

    (void) inflateReset2(zs, MAX_WBITS + 16);

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

    return out->len > limit
               ? ngx_http_logbroker_decode_room(out, limit, error) : 0;
}


static void
ngx_http_logbroker_gzip_destroy(void *state)
{
    (void) inflateEnd(state);
    free(state);
}


const ngx_http_logbroker_coding_t  ngx_http_logbroker_gzip = {
    ngx_string("gzip"),
    ngx_string("x-gzip"),
    ngx_http_logbroker_gzip_create,
    ngx_http_logbroker_gzip_decode,
    ngx_http_logbroker_gzip_destroy
};
