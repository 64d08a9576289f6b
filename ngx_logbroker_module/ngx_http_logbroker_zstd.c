/*
 * Content-Encoding zstd.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include <zstd.h>

#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_decode.h"


/* 2^23 = 8 MB, what RFC 8878 asks every decoder to take */
#define NGX_HTTP_LOGBROKER_ZSTD_WINDOW  23


static void *
ngx_http_logbroker_zstd_create(void)
{
    ZSTD_DCtx  *zd;

    zd = ZSTD_createDCtx();

    if (zd) {
        (void) ZSTD_DCtx_setParameter(zd, ZSTD_d_windowLogMax,
                                      NGX_HTTP_LOGBROKER_ZSTD_WINDOW);
    }

    return zd;
}


static ngx_uint_t
ngx_http_logbroker_zstd_decode(void *state, u_char *in, size_t len,
    size_t limit, ngx_http_logbroker_mem_t *out, char **error)
{
    size_t           rc;
    ZSTD_DCtx       *zd;
    ngx_uint_t       reason;
    ZSTD_inBuffer    src;
    ZSTD_outBuffer   dst;

    zd = state;

    (void) ZSTD_DCtx_reset(zd, ZSTD_reset_session_only);

    src.src = in;
    src.size = len;
    src.pos = 0;

    for ( ;; ) {

        if (out->len == out->size || out->len > limit) {
            reason = ngx_http_logbroker_decode_room(out, limit, error);

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

    return out->len > limit
               ? ngx_http_logbroker_decode_room(out, limit, error) : 0;
}


static void
ngx_http_logbroker_zstd_destroy(void *state)
{
    (void) ZSTD_freeDCtx(state);
}


const ngx_http_logbroker_coding_t  ngx_http_logbroker_zstd = {
    ngx_string("zstd"),
    ngx_null_string,
    ngx_http_logbroker_zstd_create,
    ngx_http_logbroker_zstd_decode,
    ngx_http_logbroker_zstd_destroy
};
