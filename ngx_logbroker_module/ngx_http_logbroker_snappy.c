/*
 * Content-Encoding snappy: its framing format, one or more, or a single block,
 * as OpenTelemetry's Collector sends it.  The first bytes tell.
 *
 * Source: "Snappy framing format description" (framing_format.txt of Snappy).
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "event/snappy.h"
#include "spool/lb_crc32c.h"

#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_decode.h"


/* what a stream begins with: a chunk of type 0xff, 6 bytes */
#define NGX_HTTP_LOGBROKER_SNAPPY_MAGIC  "\xff\x06\x00\x00sNaPpY"

/* bytes of a chunk before its data, and of data in one */
#define NGX_HTTP_LOGBROKER_SNAPPY_CHUNK  4
#define NGX_HTTP_LOGBROKER_SNAPPY_MOST   65536

#define NGX_HTTP_LOGBROKER_SNAPPY_PACKED  0x00
#define NGX_HTTP_LOGBROKER_SNAPPY_PLAIN   0x01
#define NGX_HTTP_LOGBROKER_SNAPPY_SKIP    0x80     /* and above: no data */
#define NGX_HTTP_LOGBROKER_SNAPPY_MAGIC_TYPE  0xff


static ngx_uint_t ngx_http_logbroker_snappy_chunk(u_char *in, size_t len,
    size_t limit, ngx_uint_t packed, ngx_http_logbroker_mem_t *out,
    char **error);
static ngx_uint_t ngx_http_logbroker_snappy_room(
    ngx_http_logbroker_mem_t *out, size_t n, size_t limit, char **error);


static char  ngx_http_logbroker_snappy_invalid[] =
    "the body is not valid snappy (its framing format, or one block)";


/* Nothing is kept; but a state says that there is one. */

static void *
ngx_http_logbroker_snappy_create(void)
{
    return ngx_http_logbroker_snappy_invalid;
}


static ngx_uint_t
ngx_http_logbroker_snappy_decode(void *state, u_char *in, size_t len,
    size_t limit, ngx_http_logbroker_mem_t *out, char **error)
{
    size_t       n;
    u_char      *last;
    ngx_uint_t   type, reason;

    static const size_t  magic = sizeof(NGX_HTTP_LOGBROKER_SNAPPY_MAGIC) - 1;

    *error = ngx_http_logbroker_snappy_invalid;

    if (len < magic
        || ngx_memcmp(in, NGX_HTTP_LOGBROKER_SNAPPY_MAGIC, magic) != 0)
    {
        if (lb_snappy_size(in, len, &n) != 0) {
            return NGX_HTTP_LOGBROKER_CORRUPT;
        }

        reason = ngx_http_logbroker_snappy_room(out, n, limit, error);

        if (reason == 0 && lb_snappy(in, len, out->data, n) != 0) {
            return NGX_HTTP_LOGBROKER_CORRUPT;
        }

        out->len = n;

        return reason;
    }

    for (last = in + len; in < last; in += n) {

        if (last - in < NGX_HTTP_LOGBROKER_SNAPPY_CHUNK) {
            *error = "the snappy body ends too early";
            return NGX_HTTP_LOGBROKER_CORRUPT;
        }

        type = in[0];
        n = in[1] | in[2] << 8 | (size_t) in[3] << 16;
        in += NGX_HTTP_LOGBROKER_SNAPPY_CHUNK;

        if ((size_t) (last - in) < n) {
            *error = "the snappy body ends too early";
            return NGX_HTTP_LOGBROKER_CORRUPT;
        }

        switch (type) {

        case NGX_HTTP_LOGBROKER_SNAPPY_PACKED:
        case NGX_HTTP_LOGBROKER_SNAPPY_PLAIN:
            reason = ngx_http_logbroker_snappy_chunk(in, n, limit,
                                   type == NGX_HTTP_LOGBROKER_SNAPPY_PACKED,
                                   out, error);
            if (reason) {
                return reason;
            }

            break;

        case NGX_HTTP_LOGBROKER_SNAPPY_MAGIC_TYPE:
            if (n != magic - NGX_HTTP_LOGBROKER_SNAPPY_CHUNK
                || ngx_memcmp(in - NGX_HTTP_LOGBROKER_SNAPPY_CHUNK,
                              NGX_HTTP_LOGBROKER_SNAPPY_MAGIC, magic) != 0)
            {
                return NGX_HTTP_LOGBROKER_CORRUPT;
            }

            break;

        default:
            if (type < NGX_HTTP_LOGBROKER_SNAPPY_SKIP) {
                return NGX_HTTP_LOGBROKER_CORRUPT;
            }
        }
    }

    return 0;
}


/* The data of a chunk: its checksum, and what it is for. */

static ngx_uint_t
ngx_http_logbroker_snappy_chunk(u_char *in, size_t len, size_t limit,
    ngx_uint_t packed, ngx_http_logbroker_mem_t *out, char **error)
{
    size_t       n;
    u_char      *p;
    uint32_t     crc, said;
    ngx_uint_t   reason;

    if (len < 4) {
        return NGX_HTTP_LOGBROKER_CORRUPT;
    }

    said = in[0] | in[1] << 8 | in[2] << 16 | (uint32_t) in[3] << 24;
    in += 4;
    len -= 4;
    n = len;

    if ((packed && lb_snappy_size(in, len, &n) != 0)
        || n > NGX_HTTP_LOGBROKER_SNAPPY_MOST)
    {
        return NGX_HTTP_LOGBROKER_CORRUPT;
    }

    reason = ngx_http_logbroker_snappy_room(out, n, limit, error);

    if (reason) {
        return reason;
    }

    p = out->data + out->len;

    if (!packed) {
        ngx_memcpy(p, in, n);

    } else if (lb_snappy(in, len, p, n) != 0) {
        return NGX_HTTP_LOGBROKER_CORRUPT;
    }

    /* "masked", as the format has it */

    crc = lb_crc32c(0, p, n);
    crc = ((crc >> 15) | (crc << 17)) + 0xa282ead8;

    if (crc != said) {
        return NGX_HTTP_LOGBROKER_CORRUPT;
    }

    out->len += n;

    return 0;
}


/* Room for n bytes more. */

static ngx_uint_t
ngx_http_logbroker_snappy_room(ngx_http_logbroker_mem_t *out, size_t n,
    size_t limit, char **error)
{
    size_t  size;

    if (n > limit - out->len) {
        *error = "the decompressed body is too large";
        return NGX_HTTP_LOGBROKER_BODY_TOO_BIG;
    }

    if (n <= out->size - out->len) {
        return 0;
    }

    size = ngx_min(out->size * 2, limit);
    size = ngx_max(size, out->len + n);

    if (ngx_http_logbroker_mem_grow(out, size) != NGX_OK) {
        *error = "no memory for the decompressed body";
        return NGX_HTTP_LOGBROKER_NO_MEMORY;
    }

    return 0;
}


static void
ngx_http_logbroker_snappy_destroy(void *state)
{
    /* void */
}


const ngx_http_logbroker_coding_t  ngx_http_logbroker_snappy = {
    ngx_string("snappy"),
    ngx_string("x-snappy-framed"),
    ngx_http_logbroker_snappy_create,
    ngx_http_logbroker_snappy_decode,
    ngx_http_logbroker_snappy_destroy
};
