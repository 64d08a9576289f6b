/*
 * The dialect of Elasticsearch: _bulk, and what its clients ask before.
 *
 * Sources: the reference of Elasticsearch 8 ("Bulk API") and the clients'
 * own: Beats, Logstash, Fluentd and Vector want to know whom they speak to, and
 * set up templates and policies, which are taken and forgotten.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/bulk.h"
#include "event/format.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_accept.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_reason.h"


typedef struct {
    ngx_str_t                        path;          /* of the API */
    ngx_str_t                        get;
    ngx_str_t                        put;           /* or POST; empty: 404 */
} ngx_http_logbroker_bulk_api_t;


static ngx_int_t ngx_http_logbroker_bulk_greet(ngx_http_logbroker_ctx_t *ctx);
static ngx_uint_t ngx_http_logbroker_bulk_stream(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_bulk_success(
    ngx_http_logbroker_ctx_t *ctx);
static ngx_int_t ngx_http_logbroker_bulk_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words);
static ngx_int_t ngx_http_logbroker_bulk_send(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *text);
static ngx_int_t ngx_http_logbroker_bulk_send_error(ngx_http_request_t *r,
    ngx_uint_t status, ngx_str_t *words);


static const lb_format_t  *const ngx_http_logbroker_bulk_formats[] = {
    &lb_format_bulk,
    NULL
};


const ngx_http_logbroker_dialect_t  ngx_http_logbroker_elasticsearch = {
    ngx_string("logbroker_elasticsearch"),
    NGX_HTTP_POST|NGX_HTTP_PUT,
    "POST, PUT",
    ngx_http_logbroker_bulk_formats,
    ngx_null_string,                       /* key */
    0,                                     /* deduplicate */
    ngx_http_logbroker_bulk_greet,
    ngx_http_logbroker_bulk_stream,
    ngx_http_logbroker_bulk_success,
    ngx_http_logbroker_bulk_error
};


/* Logstash and the official clients talk to nobody without this header. */
#define NGX_HTTP_LOGBROKER_BULK_PRODUCT  "X-Elastic-Product"

/* The version is one that all clients in use can speak to. */
static ngx_str_t  ngx_http_logbroker_bulk_info = ngx_string(
    "{\"name\":\"logbroker\",\"cluster_name\":\"logbroker\","
    "\"cluster_uuid\":\"bG9nYnJva2VyLWxvZ3MtaW\","
    "\"version\":{\"number\":\"8.19.0\",\"build_flavor\":\"default\","
    "\"build_type\":\"docker\",\"lucene_version\":\"9.12.0\","
    "\"minimum_wire_compatibility_version\":\"7.17.0\","
    "\"minimum_index_compatibility_version\":\"7.0.0\"},"
    "\"tagline\":\"You Know, for Search\"}");

/* Logstash gives a host up for good whose license is not active. */
#define NGX_HTTP_LOGBROKER_BULK_LICENSE                                      \
    "\"license\":{\"status\":\"active\",\"uid\":\"logbroker\","              \
    "\"type\":\"basic\",\"mode\":\"basic\","                                 \
    "\"expiry_date_in_millis\":4102444800000}"

#define NGX_HTTP_LOGBROKER_BULK_SHARDS                                       \
    "{\"_shards\":{\"total\":1,\"successful\":1,\"failed\":0}}"

#define NGX_HTTP_LOGBROKER_BULK_TAKEN                                        \
    ngx_string("{}"), ngx_string("{\"acknowledged\":true}")

static ngx_http_logbroker_bulk_api_t  ngx_http_logbroker_bulk_apis[] = {

    { ngx_string("_license"),
      ngx_string("{" NGX_HTTP_LOGBROKER_BULK_LICENSE "}"), ngx_null_string },

    { ngx_string("_xpack"),
      ngx_string("{" NGX_HTTP_LOGBROKER_BULK_LICENSE ",\"features\":"
                 "{\"ilm\":{\"available\":true,\"enabled\":true}}}"),
      ngx_null_string },

    { ngx_string("_cluster/health"),
      ngx_string("{\"cluster_name\":\"logbroker\",\"status\":\"green\","
                 "\"timed_out\":false,\"number_of_nodes\":1,"
                 "\"number_of_data_nodes\":1}"),
      ngx_null_string },

    /* no other hosts than those the client has */
    { ngx_string("_nodes"), ngx_string("{\"nodes\":{}}"), ngx_null_string },

    /* bulk helpers refresh at their end, and fail if that fails */
    { ngx_string("_refresh"),
      ngx_string(NGX_HTTP_LOGBROKER_BULK_SHARDS),
      ngx_string(NGX_HTTP_LOGBROKER_BULK_SHARDS) },

    { ngx_string("_template"), NGX_HTTP_LOGBROKER_BULK_TAKEN },
    { ngx_string("_index_template"), NGX_HTTP_LOGBROKER_BULK_TAKEN },
    { ngx_string("_component_template"), NGX_HTTP_LOGBROKER_BULK_TAKEN },
    { ngx_string("_ilm/policy"), NGX_HTTP_LOGBROKER_BULK_TAKEN },
    { ngx_string("_ingest/pipeline"), NGX_HTTP_LOGBROKER_BULK_TAKEN },
    { ngx_string("_data_stream"), NGX_HTTP_LOGBROKER_BULK_TAKEN },
    { ngx_string("_alias"), NGX_HTTP_LOGBROKER_BULK_TAKEN },

    { ngx_null_string, ngx_null_string, ngx_null_string }
};


static ngx_int_t
ngx_http_logbroker_bulk_greet(ngx_http_logbroker_ctx_t *ctx)
{
    u_char                         *api;
    size_t                          len;
    ngx_int_t                       rc;
    ngx_str_t                       path;
    ngx_http_request_t             *r;
    ngx_http_logbroker_bulk_api_t  *a;

    static ngx_str_t  none = ngx_string("{}");
    static ngx_str_t  created = ngx_string("{\"acknowledged\":true,"
                                           "\"shards_acknowledged\":true}");
    static ngx_str_t  unknown = ngx_string("logbroker speaks _bulk and what "
                                           "its senders ask before");

    r = ctx->request;

    if (ngx_http_logbroker_add_header(r, NGX_HTTP_LOGBROKER_BULK_PRODUCT,
                                      "Elasticsearch")
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_logbroker_path(r, &path);

    /* what clients put before the API is theirs; _all is an index */

    for (api = path.data; api < path.data + path.len; api++) {

        if (*api != '_' || (api > path.data && api[-1] != '/')) {
            continue;
        }

        len = path.data + path.len - api;

        if (len < 5 || ngx_strncmp(api, "_all/", 5) != 0) {
            break;
        }
    }

    len = path.data + path.len - api;

    if (len == 5 && ngx_strncmp(api, "_bulk", 5) == 0
        && !(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)))
    {
        return NGX_DECLINED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (r->method == NGX_HTTP_HEAD) {
        return ngx_http_logbroker_bulk_send(r, NGX_HTTP_OK, &none);
    }

    if (len == 0 && r->method == NGX_HTTP_GET) {
        return ngx_http_logbroker_bulk_send(r, NGX_HTTP_OK,
                                            &ngx_http_logbroker_bulk_info);
    }

    if (len == 0 && path.len && r->method == NGX_HTTP_PUT) {
        return ngx_http_logbroker_bulk_send(r, NGX_HTTP_OK, &created);
    }

    for (a = ngx_http_logbroker_bulk_apis; a->path.len; a++) {

        if (len < a->path.len
            || ngx_strncmp(api, a->path.data, a->path.len) != 0
            || (len > a->path.len && api[a->path.len] != '/'))
        {
            continue;
        }

        if (r->method == NGX_HTTP_GET) {
            return ngx_http_logbroker_bulk_send(r, NGX_HTTP_OK, &a->get);
        }

        if (a->put.len && (r->method & (NGX_HTTP_PUT|NGX_HTTP_POST))) {
            return ngx_http_logbroker_bulk_send(r, NGX_HTTP_OK, &a->put);
        }
    }

    return ngx_http_logbroker_bulk_send_error(r, NGX_HTTP_NOT_FOUND, &unknown);
}


/* "[INDEX/]_bulk": the stream is what logbroker_stream says; an index, of the
 * path or of an action, is said to the scan. */

static ngx_uint_t
ngx_http_logbroker_bulk_stream(ngx_http_logbroker_ctx_t *ctx)
{
    u_char                      *p, *last;
    ngx_str_t                    path, index, filter;
    ngx_uint_t                   reason;
    ngx_http_request_t          *r;
    ngx_http_logbroker_param_t   params[] = {
        { ngx_string("index"), ngx_null_string, 0 },
        { ngx_string("filter_path"), ngx_null_string, 0 },
        { ngx_string("streams"), ngx_null_string, 0 }
    };

    r = ctx->request;

    reason = ngx_http_logbroker_stream_set(ctx);

    if (reason) {
        return reason;
    }

    ngx_http_logbroker_path(r, &path);

    last = path.data + path.len - (sizeof("_bulk") - 1);

    if (last > path.data && last[-1] == '/') {
        last--;
    }

    for (p = last; p > path.data && p[-1] != '/'; p--) { /* void */ }

    index.data = p;
    index.len = last - p;

    if (index.len && !ngx_http_logbroker_stream_valid(&index)) {
        return NGX_HTTP_LOGBROKER_STREAM;
    }

    if (ngx_http_arg(r, (u_char *) "filter_path", 11, &filter) != NGX_OK) {
        filter.len = 0;
    }

    if (index.len == 0 && filter.len == 0 && ctx->streams.len == 0) {
        return 0;
    }

    params[0].value = index;
    params[1].value = filter;
    params[2].value = ctx->streams;

    return ngx_http_logbroker_params(ctx, params, 3);
}


static ngx_int_t
ngx_http_logbroker_bulk_success(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_str_t  text;

    text.data = ctx->reply.data;
    text.len = ctx->reply.len;

    return ngx_http_logbroker_bulk_send(ctx->request, NGX_HTTP_OK, &text);
}


static ngx_int_t
ngx_http_logbroker_bulk_error(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_logbroker_reason_t *why, ngx_str_t *words)
{
    return ngx_http_logbroker_bulk_send_error(ctx->request, why->status,
                                              words);
}


static ngx_int_t
ngx_http_logbroker_bulk_send_error(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *words)
{
    char       *type;
    size_t      len;
    ngx_str_t   text;

    switch (status) {

    case NGX_HTTP_NOT_FOUND:
        type = "resource_not_found_exception";
        break;

    case NGX_HTTP_REQUEST_ENTITY_TOO_LARGE:
        type = "content_too_large_exception";
        break;

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        type = "process_cluster_event_timeout_exception";
        break;

    default:
        type = "illegal_argument_exception";
    }

    len = sizeof("{\"error\":{\"type\":\"\",\"reason\":\"\"},\"status\":}") - 1
          + ngx_strlen(type) + NGX_INT_T_LEN
          + words->len + ngx_escape_json(NULL, words->data, words->len);

    text.data = ngx_pnalloc(r->pool, len);
    if (text.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    text.len = ngx_sprintf(text.data,
                           "{\"error\":{\"type\":\"%s\",\"reason\":\"", type)
               - text.data;
    text.len = (u_char *) ngx_escape_json(text.data + text.len, words->data,
                                          words->len)
               - text.data;
    text.len = ngx_sprintf(text.data + text.len, "\"},\"status\":%ui}", status)
               - text.data;

    return ngx_http_logbroker_bulk_send(r, status, &text);
}


/* The official clients name a type of their own and expect it back:
 * "application/vnd.elasticsearch+x-ndjson; compatible-with=8". */

static ngx_int_t
ngx_http_logbroker_bulk_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *text)
{
    char       *type;
    ngx_buf_t  *b;
    ngx_str_t  *sent;

    static char  vendor[] = "application/vnd.elasticsearch+";

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->pos = text->data;
    b->last = text->data + text->len;
    b->memory = 1;

    type = "application/json";

    sent = r->headers_in.content_type ? &r->headers_in.content_type->value
                                      : NULL;

    if (sent && sent->len > sizeof(vendor) - 1
        && ngx_strncasecmp(sent->data, (u_char *) vendor, sizeof(vendor) - 1)
           == 0)
    {
        type = ngx_strlcasestrn(sent->data, sent->data + sent->len,
                                (u_char *) "compatible-with=9", 16)
               ? "application/vnd.elasticsearch+json;compatible-with=9"
               : "application/vnd.elasticsearch+json;compatible-with=8";
    }

    return ngx_http_logbroker_send(r, status, type, b);
}
