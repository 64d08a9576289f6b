/*
 * What is taken: media type, encoding and stream, known before the body.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/format.h"
#include "event/stream.h"
#include "spool/lb_format.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_decode.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_accept.h"


#if (LB_STREAM_NAME_MAX != LB_STREAM_MAX)
#error a stream has another length in event/ than in spool/
#endif


static ngx_uint_t ngx_http_logbroker_type(ngx_http_logbroker_ctx_t *ctx,
    ngx_str_t *value);
static ngx_uint_t ngx_http_logbroker_charset(u_char *p, u_char *last);
static void ngx_http_logbroker_unknown_coding(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t several);
static ngx_uint_t ngx_http_logbroker_stream_named(
    ngx_http_logbroker_ctx_t *ctx, ngx_str_t *uri, ngx_str_t *prefix);
static ngx_uint_t ngx_http_logbroker_stream_allowed(
    ngx_http_logbroker_ctx_t *ctx, ngx_str_t *streams);


ngx_uint_t
ngx_http_logbroker_content_type(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_table_elt_t  *h;

    static ngx_str_t  none = ngx_null_string;

    h = ctx->request->headers_in.content_type;

    return ngx_http_logbroker_type(ctx, h ? &h->value : &none);
}


ngx_uint_t
ngx_http_logbroker_frame_type(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_str_t  value;

    value.data = (u_char *) ctx->frame->parts[LB_FRAME_TYPE].data;
    value.len = ctx->frame->parts[LB_FRAME_TYPE].len;

    return ngx_http_logbroker_type(ctx, &value);
}


static ngx_uint_t
ngx_http_logbroker_type(ngx_http_logbroker_ctx_t *ctx, ngx_str_t *value)
{
    u_char     *p, *last, *params;
    ngx_str_t   type;

    ngx_str_null(&type);

    if (value->len) {

        p = value->data;
        last = p + value->len;

        params = ngx_strlchr(p, last, ';');

        if (params == NULL) {
            params = last;
        }

        while (p < params && (*p == ' ' || *p == '\t')) {
            p++;
        }

        type.data = p;
        type.len = params - p;

        while (type.len && (p[type.len - 1] == ' ' || p[type.len - 1] == '\t'))
        {
            type.len--;
        }

        if (params < last && ngx_http_logbroker_charset(params, last)) {
            return NGX_HTTP_LOGBROKER_TYPE;
        }
    }

    ctx->format = lb_format_find(ctx->formats, (char *) type.data, type.len);

    return ctx->format ? 0 : NGX_HTTP_LOGBROKER_TYPE;
}


/* The parameters of a media type: is there a charset that is not UTF-8? */

static ngx_uint_t
ngx_http_logbroker_charset(u_char *p, u_char *last)
{
    size_t       len;
    u_char      *value;
    ngx_uint_t   i;

    static ngx_str_t  known[] = {
        ngx_string("utf-8"),
        ngx_string("utf8"),
        ngx_string("us-ascii"),
        ngx_string("ascii")
    };

    while (p < last) {

        /* p is at ";" */

        do {
            p++;
        } while (p < last && (*p == ' ' || *p == '\t'));

        value = p;

        while (p < last && *p != ';') {
            p++;
        }

        len = p - value;

        if (len < 8
            || ngx_strncasecmp(value, (u_char *) "charset=", 8) != 0)
        {
            continue;
        }

        value += 8;
        len -= 8;

        while (len && (value[len - 1] == ' ' || value[len - 1] == '\t')) {
            len--;
        }

        if (len >= 2 && value[0] == '"' && value[len - 1] == '"') {
            value++;
            len -= 2;
        }

        for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
            if (len == known[i].len
                && ngx_strncasecmp(value, known[i].data, len) == 0)
            {
                break;
            }
        }

        if (i == sizeof(known) / sizeof(known[0])) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_logbroker_content_encoding(ngx_http_logbroker_ctx_t *ctx)
{
    u_char           *p, *last, *start;
    size_t            len;
    ngx_int_t         encoding;
    ngx_table_elt_t  *h;

    static ngx_str_t  name = ngx_string("content-encoding");

    h = NULL;

    while ((h = ngx_http_logbroker_header(ctx->request,
                                          ctx->coding ? ctx->coding : &name,
                                          h)))
    {

        p = h->value.data;
        last = p + h->value.len;

        while (p < last) {

            while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
                p++;
            }

            start = p;

            while (p < last && *p != ' ' && *p != '\t' && *p != ',') {
                p++;
            }

            len = p - start;

            if (len == 0) {
                continue;
            }

            encoding = ngx_http_logbroker_coding(start, len);

            if (encoding == NGX_HTTP_LOGBROKER_IDENTITY) {
                continue;
            }

            /* one layer only */

            if (encoding == NGX_ERROR || ctx->encoding) {
                ngx_http_logbroker_unknown_coding(ctx, ctx->encoding != 0);
                return NGX_HTTP_LOGBROKER_ENCODING;
            }

            ctx->encoding = encoding;
        }
    }

    return 0;
}


static void
ngx_http_logbroker_unknown_coding(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t several)
{
    char    *name;
    u_char  *p, *last;

    p = ngx_pnalloc(ctx->request->pool, 256);
    if (p == NULL) {
        return;
    }

    name = ctx->coding ? (char *) ctx->coding->data : "Content-Encoding";

    last = ngx_slprintf(p, p + 256, "unsupported %s: %ssend ", name,
                        several ? "several are not taken, " : "");
    last = ngx_http_logbroker_codings_words(last, p + 256);

    ctx->error.data = p;
    ctx->error.len = last - p;
}


ngx_uint_t
ngx_http_logbroker_stream(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_uint_t                      reason;
    ngx_http_request_t             *r;
    ngx_http_logbroker_loc_conf_t  *llcf;

    r = ctx->request;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    if (llcf->stream == NULL && llcf->prefix.len) {

        reason = ngx_http_logbroker_stream_named(ctx, &r->uri, &llcf->prefix);

        if (reason) {
            return reason;
        }
    }

    return ngx_http_logbroker_stream_set(ctx);
}


ngx_uint_t
ngx_http_logbroker_frame_stream(ngx_http_logbroker_ctx_t *ctx,
    ngx_str_t *prefix)
{
    ngx_str_t   uri, streams;
    ngx_uint_t  reason;

    uri.data = (u_char *) ctx->frame->parts[LB_FRAME_PATH].data;
    uri.len = ctx->frame->parts[LB_FRAME_PATH].len;

    streams.data = (u_char *) ctx->frame->parts[LB_FRAME_STREAMS].data;
    streams.len = ctx->frame->parts[LB_FRAME_STREAMS].len;

    if (uri.len < prefix->len
        || ngx_memcmp(uri.data, prefix->data, prefix->len) != 0)
    {
        return NGX_HTTP_LOGBROKER_STREAM;
    }

    reason = ngx_http_logbroker_stream_named(ctx, &uri, prefix);

    if (reason) {
        return reason;
    }

    return ngx_http_logbroker_stream_allowed(ctx,
                                             streams.len ? &streams : NULL);
}


/* What follows the location's name; after a rewrite that has stayed in the
 * location, all of it if it begins with another one. */

static ngx_uint_t
ngx_http_logbroker_stream_named(ngx_http_logbroker_ctx_t *ctx, ngx_str_t *uri,
    ngx_str_t *prefix)
{
    size_t  n;

    n = prefix->len;

    if (uri->len < n || ngx_memcmp(uri->data, prefix->data, n) != 0) {
        n = 0;
    }

    ctx->stream.data = uri->data + n;
    ctx->stream.len = uri->len - n;

    if (ctx->stream.len && (n == 0 || prefix->data[n - 1] != '/')) {

        if (ctx->stream.data[0] != '/') {
            return NGX_HTTP_LOGBROKER_STREAM;
        }

        ctx->stream.data++;
        ctx->stream.len--;
    }

    return 0;
}


ngx_uint_t
ngx_http_logbroker_stream_set(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_table_elt_t                *h;
    ngx_http_logbroker_loc_conf_t  *llcf;

    static const ngx_str_t  name = ngx_string("x-logbroker-streams");

    llcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_logbroker_module);

    if (llcf->stream
        && ngx_http_complex_value(ctx->request, llcf->stream, &ctx->stream)
           != NGX_OK)
    {
        return NGX_HTTP_LOGBROKER_NO_MEMORY;
    }

    h = ngx_http_logbroker_header(ctx->request, &name, NULL);

    return ngx_http_logbroker_stream_allowed(ctx, h ? &h->value : NULL);
}


/* Which streams its sender may write to is known at the edge; NULL: all. */

static ngx_uint_t
ngx_http_logbroker_stream_allowed(ngx_http_logbroker_ctx_t *ctx,
    ngx_str_t *streams)
{
    if (streams) {
        ctx->streams = *streams;
    }

    if (ctx->stream.len == 0 && streams) {
        ctx->stream.data = streams->data;
        (void) lb_streams_next((char *) streams->data,
                               (char *) streams->data + streams->len,
                               &ctx->stream.len);

    } else if (ctx->stream.len == 0) {
        ngx_str_set(&ctx->stream, "default");
        return 0;
    }

    if (!ngx_http_logbroker_stream_valid(&ctx->stream)) {
        ctx->stream.len = 0;
        return NGX_HTTP_LOGBROKER_STREAM;
    }

    if (streams && !lb_streams_have((char *) streams->data, streams->len,
                                    (char *) ctx->stream.data,
                                    ctx->stream.len))
    {
        ctx->stream.len = 0;
        return NGX_HTTP_LOGBROKER_STREAM_DENIED;
    }

    return 0;
}


void
ngx_http_logbroker_path(ngx_http_request_t *r, ngx_str_t *path)
{
    ngx_http_logbroker_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    *path = r->uri;

    if (path->len >= llcf->prefix.len
        && ngx_memcmp(path->data, llcf->prefix.data, llcf->prefix.len) == 0)
    {
        path->data += llcf->prefix.len;
        path->len -= llcf->prefix.len;
    }

    while (path->len && path->data[0] == '/') {
        path->data++;
        path->len--;
    }

    while (path->len && path->data[path->len - 1] == '/') {
        path->len--;
    }
}


ngx_uint_t
ngx_http_logbroker_stream_valid(ngx_str_t *stream)
{
    return lb_stream_valid((char *) stream->data, stream->len);
}


ngx_uint_t
ngx_http_logbroker_ends(ngx_str_t *path, char *end)
{
    size_t  len, n;

    n = ngx_strlen(end);

    for (len = path->len; len && path->data[len - 1] == '/'; len--) {
        /* void */
    }

    return len >= n && ngx_strncmp(path->data + len - n, end, n) == 0;
}


ngx_uint_t
ngx_http_logbroker_params(ngx_http_logbroker_ctx_t *ctx,
    const ngx_http_logbroker_param_t *params, ngx_uint_t n)
{
    size_t       len;
    u_char      *p, *src, *value;
    ngx_uint_t   i;

    len = 0;

    for (i = 0; i < n; i++) {
        len += params[i].name.len + params[i].value.len + 2;
    }

    p = ngx_pnalloc(ctx->request->pool, len);
    if (p == NULL) {
        return NGX_HTTP_LOGBROKER_NO_MEMORY;
    }

    ctx->params.data = p;

    for (i = 0; i < n; i++) {

        if (params[i].value.len == 0) {
            continue;
        }

        p = ngx_sprintf(p, "%V%Z", &params[i].name);

        src = params[i].value.data;
        value = p;

        if (params[i].escaped) {
            ngx_unescape_uri(&p, &src, params[i].value.len, 0);

        } else {
            p = ngx_cpymem(p, src, params[i].value.len);
        }

        /* a zero ends the value */

        *p = '\0';
        p = value + ngx_strlen(value) + 1;
    }

    ctx->params.len = p - ctx->params.data;

    return 0;
}
