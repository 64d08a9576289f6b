/*
 * Content-Encoding lz4: frames, one or more.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <lz4frame.h>

#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_decode.h"


static void *
ngx_http_logbroker_lz4_create(void)
{
    LZ4F_dctx  *ld;

    if (LZ4F_isError(LZ4F_createDecompressionContext(&ld, LZ4F_VERSION))) {
        return NULL;
    }

    return ld;
}


static ngx_uint_t
ngx_http_logbroker_lz4_decode(void *state, u_char *in, size_t len,
    size_t limit, ngx_http_logbroker_mem_t *out, char **error)
{
    size_t       rc, n, used;
    LZ4F_dctx   *ld;
    ngx_uint_t   reason;

    ld = state;

    LZ4F_resetDecompressionContext(ld);

    for ( ;; ) {

        if (out->len == out->size || out->len > limit) {
            reason = ngx_http_logbroker_decode_room(out, limit, error);

            if (reason) {
                return reason;
            }
        }

        n = out->size - out->len;
        used = len;

        rc = LZ4F_decompress(ld, out->data + out->len, &n, in, &used, NULL);

        if (LZ4F_isError(rc)) {
            *error = "the body is not valid lz4 (its frame format)";
            return NGX_HTTP_LOGBROKER_CORRUPT;
        }

        out->len += n;
        in += used;
        len -= used;

        if (len) {

            if (n == 0 && used == 0) {
                *error = "the body is not valid lz4 (its frame format)";
                return NGX_HTTP_LOGBROKER_CORRUPT;
            }

            continue;
        }

        if (rc == 0) {
            /* the last frame is complete */
            break;
        }

        if (out->len < out->size) {
            *error = "the lz4 body ends too early";
            return NGX_HTTP_LOGBROKER_CORRUPT;
        }
    }

    return out->len > limit
               ? ngx_http_logbroker_decode_room(out, limit, error) : 0;
}


static void
ngx_http_logbroker_lz4_destroy(void *state)
{
    (void) LZ4F_freeDecompressionContext(state);
}


const ngx_http_logbroker_coding_t  ngx_http_logbroker_lz4 = {
    ngx_string("lz4"),
    ngx_null_string,
    ngx_http_logbroker_lz4_create,
    ngx_http_logbroker_lz4_decode,
    ngx_http_logbroker_lz4_destroy
};
