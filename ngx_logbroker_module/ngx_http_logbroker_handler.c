/*
 * The request: method, media type, encoding and stream before the body is
 * read, and the answer.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"


/* in the order of ngx_http_logbroker_reason_e */

ngx_http_logbroker_reason_t  ngx_http_logbroker_reasons[] = {

    { NGX_HTTP_INTERNAL_SERVER_ERROR, 0, ngx_null_string, "" },

    { NGX_HTTP_NOT_ALLOWED, 0, ngx_string("method"),
      "events are sent with POST" },

    { NGX_HTTP_UNSUPPORTED_MEDIA_TYPE, 0, ngx_string("content_type"),
      "unsupported Content-Type: send JSON (an object, an array of objects or "
      "NDJSON) or text/plain, in UTF-8" },

    { NGX_HTTP_UNSUPPORTED_MEDIA_TYPE, 0, ngx_string("content_encoding"),
      "unsupported Content-Encoding: send gzip, zstd or none" },

    { NGX_HTTP_BAD_REQUEST, 0, ngx_string("stream"),
      "invalid stream name: it is one path segment of 1 to 64 letters, "
      "digits, \"_\", \".\" and \"-\"" },

    { NGX_HTTP_BAD_REQUEST, 0, ngx_string("empty"),
      "no event in the body" },

    { NGX_HTTP_BAD_REQUEST, 0, ngx_string("malformed"),
      "malformed event" },

    { NGX_HTTP_BAD_REQUEST, 0, ngx_string("corrupt"),
      "the body cannot be decompressed" },

    { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, 0, ngx_string("event_too_big"),
      "an event is too large" },

    { NGX_HTTP_REQUEST_ENTITY_TOO_LARGE, 0, ngx_string("body_too_big"),
      "the body is too large" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 5, ngx_string("full"),
      "the ring is full: nothing was stored, try again later" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("no_ring"),
      "no ring to write to: nothing was stored, try again" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("write_failed"),
      "writing to disk failed: try again" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("body_failed"),
      "the body could not be read back from its temporary file: nothing was "
      "stored, try again" },

    { NGX_HTTP_SERVICE_UNAVAILABLE, 1, ngx_string("no_memory"),
      "no memory for the body: nothing was stored, try again" }
};


/* a media type ends with "/" to stand for all that begin with it */

static ngx_str_t  ngx_http_logbroker_json_types[] = {
    ngx_string("application/json"),
    ngx_string("application/x-ndjson"),
    ngx_string("application/x-www-form-urlencoded"),
    ngx_string("text/json"),
    ngx_string("text/x-json"),
    ngx_string("text/ndjson"),
    ngx_string("text/x-ndjson"),
    ngx_string("text/jsonl"),
    ngx_string("text/jsonlines"),
    ngx_null_string
};


static ngx_str_t  ngx_http_logbroker_foreign_types[] = {
    ngx_string("text/"),
    ngx_string("image/"),
    ngx_string("audio/"),
    ngx_string("video/"),
    ngx_string("font/"),
    ngx_string("model/"),
    ngx_string("message/"),
    ngx_string("multipart/"),
    ngx_string("application/avro"),
    ngx_string("application/bson"),
    ngx_string("application/cbor"),
    ngx_string("application/csv"),
    ngx_string("application/gzip"),
    ngx_string("application/grpc"),
    ngx_string("application/java-archive"),
    ngx_string("application/javascript"),
    ngx_string("application/msgpack"),
    ngx_string("application/pdf"),
    ngx_string("application/protobuf"),
    ngx_string("application/toml"),
    ngx_string("application/vnd.apache.parquet"),
    ngx_string("application/vnd.google.protobuf"),
    ngx_string("application/vnd.msgpack"),
    ngx_string("application/wasm"),
    ngx_string("application/x-avro"),
    ngx_string("application/x-gzip"),
    ngx_string("application/x-msgpack"),
    ngx_string("application/x-protobuf"),
    ngx_string("application/x-tar"),
    ngx_string("application/x-thrift"),
    ngx_string("application/x-yaml"),
    ngx_string("application/x-zip-compressed"),
    ngx_string("application/xml"),
    ngx_string("application/yaml"),
    ngx_string("application/zip"),
    ngx_string("application/zstd"),
    ngx_null_string
};


static ngx_str_t  ngx_http_logbroker_foreign_suffixes[] = {
    ngx_string("+xml"),
    ngx_string("+cbor"),
    ngx_string("+protobuf"),
    ngx_string("+msgpack"),
    ngx_string("+yaml"),
    ngx_string("+zip"),
    ngx_string("+gzip"),
    ngx_string("+proto"),
    ngx_null_string
};


static ngx_int_t ngx_http_logbroker_refuse_early(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason);
static ngx_uint_t ngx_http_logbroker_content_type(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_uint_t ngx_http_logbroker_charset(u_char *p, u_char *last);
static ngx_uint_t ngx_http_logbroker_content_encoding(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_uint_t ngx_http_logbroker_stream(ngx_http_logbroker_ctx_t *ctx);
static void ngx_http_logbroker_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_logbroker_send_refusal(
    ngx_http_logbroker_ctx_t *ctx, ngx_uint_t reason);
static ngx_int_t ngx_http_logbroker_add_header(ngx_http_request_t *r,
    ngx_str_t *name, ngx_str_t *value);


ngx_int_t
ngx_http_logbroker_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_uint_t                    reason;
    ngx_http_cleanup_t           *cln;
    ngx_http_logbroker_ctx_t     *ctx;
    ngx_http_logbroker_worker_t  *w;

    w = ngx_http_logbroker_worker;

    if (w == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_logbroker_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;

    ngx_http_set_ctx(r, ctx, ngx_http_logbroker_module);

    if (r->method != NGX_HTTP_POST) {
        return ngx_http_logbroker_refuse_early(ctx,
                                               NGX_HTTP_LOGBROKER_METHOD);
    }

    reason = ngx_http_logbroker_content_type(ctx);

    if (reason == 0) {
        reason = ngx_http_logbroker_content_encoding(ctx);
    }

    if (reason == 0) {
        reason = ngx_http_logbroker_stream(ctx);
    }

    if (reason == 0 && w->writer == NULL && !ngx_http_logbroker_in_grace(w)) {
        reason = NGX_HTTP_LOGBROKER_NO_RING;
    }

    if (reason) {
        return ngx_http_logbroker_refuse_early(ctx, reason);
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_logbroker_cleanup;
    cln->data = ctx;

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_logbroker_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_logbroker_refuse_early(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason)
{
    ngx_int_t  rc;

    rc = ngx_http_discard_request_body(ctx->request);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_logbroker_send_refusal(ctx, reason);
}


/*
 * JSON is what comes out of curl -d, of log shippers with their own idea of
 * a media type, and of clients that send none: it is taken unless the type
 * clearly says something else.
 */

static ngx_uint_t
ngx_http_logbroker_content_type(ngx_http_logbroker_ctx_t *ctx)
{
    u_char              *p, *last, *params;
    size_t               len;
    ngx_str_t           *t;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (r->headers_in.content_type == NULL) {
        return 0;
    }

    p = r->headers_in.content_type->value.data;
    last = p + r->headers_in.content_type->value.len;

    params = ngx_strlchr(p, last, ';');

    if (params == NULL) {
        params = last;
    }

    while (p < params && (*p == ' ' || *p == '\t')) {
        p++;
    }

    len = params - p;

    while (len && (p[len - 1] == ' ' || p[len - 1] == '\t')) {
        len--;
    }

    if (params < last && ngx_http_logbroker_charset(params, last)) {
        return NGX_HTTP_LOGBROKER_TYPE;
    }

    if (len == 10 && ngx_strncasecmp(p, (u_char *) "text/plain", 10) == 0) {
        ctx->text = 1;
        return 0;
    }

    for (t = ngx_http_logbroker_json_types; t->len; t++) {
        if (len == t->len && ngx_strncasecmp(p, t->data, len) == 0) {
            return 0;
        }
    }

    for (t = ngx_http_logbroker_foreign_suffixes; t->len; t++) {
        if (len > t->len
            && ngx_strncasecmp(p + len - t->len, t->data, t->len) == 0)
        {
            return NGX_HTTP_LOGBROKER_TYPE;
        }
    }

    for (t = ngx_http_logbroker_foreign_types; t->len; t++) {

        if (len < t->len || ngx_strncasecmp(p, t->data, t->len) != 0) {
            continue;
        }

        if (len == t->len || t->data[t->len - 1] == '/') {
            return NGX_HTTP_LOGBROKER_TYPE;
        }
    }

    return 0;
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


static ngx_uint_t
ngx_http_logbroker_content_encoding(ngx_http_logbroker_ctx_t *ctx)
{
    u_char           *p, *last, *start;
    size_t            len;
    ngx_uint_t        i, encoding;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &ctx->request->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len != sizeof("Content-Encoding") - 1
            || ngx_strncmp(h[i].lowcase_key, "content-encoding", 16) != 0)
        {
            continue;
        }

        p = h[i].value.data;
        last = p + h[i].value.len;

        while (p < last) {

            while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
                p++;
            }

            start = p;

            while (p < last && *p != ' ' && *p != '\t' && *p != ',') {
                p++;
            }

            len = p - start;

            if (len == 0
                || (len == 8
                    && ngx_strncasecmp(start, (u_char *) "identity", 8) == 0))
            {
                continue;
            }

            if ((len == 4
                 && ngx_strncasecmp(start, (u_char *) "gzip", 4) == 0)
                || (len == 6
                    && ngx_strncasecmp(start, (u_char *) "x-gzip", 6) == 0))
            {
                encoding = NGX_HTTP_LOGBROKER_GZIP;

            } else if (len == 4
                       && ngx_strncasecmp(start, (u_char *) "zstd", 4) == 0)
            {
                encoding = NGX_HTTP_LOGBROKER_ZSTD;

            } else {
                return NGX_HTTP_LOGBROKER_ENCODING;
            }

            /* one layer only */

            if (ctx->encoding) {
                return NGX_HTTP_LOGBROKER_ENCODING;
            }

            ctx->encoding = encoding;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_logbroker_stream(ngx_http_logbroker_ctx_t *ctx)
{
    u_char                          c;
    size_t                          i;
    ngx_http_request_t             *r;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_logbroker_loc_conf_t  *llcf;

    r = ctx->request;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    if (llcf->stream) {

        if (ngx_http_complex_value(r, llcf->stream, &ctx->stream) != NGX_OK) {
            return NGX_HTTP_LOGBROKER_NO_MEMORY;
        }

    } else {
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        /* what follows a prefix location's name */

        if (!clcf->named
#if (NGX_PCRE)
            && clcf->regex == NULL
#endif
            && r->uri.len > clcf->name.len)
        {
            ctx->stream.data = r->uri.data + clcf->name.len;
            ctx->stream.len = r->uri.len - clcf->name.len;

            if (clcf->name.len && clcf->name.data[clcf->name.len - 1] != '/') {

                if (ctx->stream.data[0] != '/') {
                    return NGX_HTTP_LOGBROKER_STREAM;
                }

                ctx->stream.data++;
                ctx->stream.len--;
            }
        }
    }

    if (ctx->stream.len == 0) {
        ngx_str_set(&ctx->stream, "default");
        return 0;
    }

    if (ctx->stream.len > LB_STREAM_MAX) {
        ctx->stream.len = 0;
        return NGX_HTTP_LOGBROKER_STREAM;
    }

    for (i = 0; i < ctx->stream.len; i++) {
        c = ctx->stream.data[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
            || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-')
        {
            continue;
        }

        ctx->stream.len = 0;
        return NGX_HTTP_LOGBROKER_STREAM;
    }

    return 0;
}


static void
ngx_http_logbroker_body_handler(ngx_http_request_t *r)
{
    ngx_http_logbroker_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_logbroker_module);

    /* nothing to write before the answer; also when the body came with the
     * header, where nginx leaves the phase handler here */

    r->write_event_handler = ngx_http_request_empty_handler;
    r->read_event_handler = ngx_http_block_reading;

    r->connection->log->action = "storing events";

    ctx->len = ngx_http_logbroker_body_len(r);

    ngx_http_logbroker_enter(ctx, 0);
}


void
ngx_http_logbroker_accepted(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    c->log->action = "sending response to client";

    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || c->error) {
        (void) ngx_atomic_fetch_add(
                             &ngx_http_logbroker_worker->counters->dropped, 1);
    }

    ngx_http_finalize_request(r, rc);

    ngx_http_run_posted_requests(c);
}


void
ngx_http_logbroker_refused(ngx_http_logbroker_ctx_t *ctx, ngx_uint_t reason,
    ngx_uint_t posted)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    ngx_http_finalize_request(r, ngx_http_logbroker_send_refusal(ctx, reason));

    if (posted) {
        ngx_http_run_posted_requests(c);
    }
}


static ngx_int_t
ngx_http_logbroker_send_refusal(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason)
{
    size_t                        len;
    ngx_buf_t                    *b;
    ngx_str_t                     error, name, value;
    ngx_http_request_t           *r;
    ngx_http_logbroker_reason_t  *why;
    u_char                        buf[NGX_INT_T_LEN];

    r = ctx->request;
    why = &ngx_http_logbroker_reasons[reason];

    ctx->reason = reason;

    (void) ngx_atomic_fetch_add(
                 &ngx_http_logbroker_worker->counters->refused[reason], 1);

    error = ctx->error;

    if (error.len == 0) {
        error.data = (u_char *) why->text;
        error.len = ngx_strlen(why->text);
    }

    if (why->status < NGX_HTTP_INTERNAL_SERVER_ERROR) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "logbroker refused a request: %V", &error);
    }

    r->connection->log->action = "sending response to client";

    if (reason == NGX_HTTP_LOGBROKER_METHOD) {
        ngx_str_set(&name, "Allow");
        ngx_str_set(&value, "POST");

        if (ngx_http_logbroker_add_header(r, &name, &value) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (why->retry_after) {
        ngx_str_set(&name, "Retry-After");

        value.len = ngx_sprintf(buf, "%ui", why->retry_after) - buf;
        value.data = ngx_pnalloc(r->pool, value.len);

        if (value.data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_memcpy(value.data, buf, value.len);

        if (ngx_http_logbroker_add_header(r, &name, &value) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    len = sizeof("{\"error\": \"\", \"row\": , \"column\": }\n") - 1
          + error.len + ngx_escape_json(NULL, error.data, error.len)
          + 2 * NGX_SIZE_T_LEN;

    b = ngx_create_temp_buf(r->pool, len);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_cpymem(b->last, "{\"error\": \"",
                         sizeof("{\"error\": \"") - 1);
    b->last = (u_char *) ngx_escape_json(b->last, error.data, error.len);
    *b->last++ = '"';

    if (ctx->row) {
        b->last = ngx_sprintf(b->last, ", \"row\": %uz, \"column\": %uz",
                              ctx->row, ctx->column);
    }

    *b->last++ = '}';
    *b->last++ = LF;

    return ngx_http_logbroker_send(r, why->status, b);
}


/* Sends a whole answer in JSON. */

ngx_int_t
ngx_http_logbroker_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_buf_t *b)
{
    ngx_int_t    rc;
    ngx_chain_t  out;

    r->headers_out.status = status;
    r->headers_out.content_length_n = b->last - b->pos;

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_logbroker_add_header(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key = *name;
    h->value = *value;

#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return NGX_OK;
}
