/*
 * The headers of a request, those of its answer, and the answer.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_headers.h"


static ngx_table_elt_t *ngx_http_logbroker_grpc_status(ngx_list_t *list);


ngx_table_elt_t *
ngx_http_logbroker_header(ngx_http_request_t *r, const ngx_str_t *name,
    ngx_table_elt_t *prev)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (prev) {

                if (prev == &h[i]) {
                    prev = NULL;
                }

                continue;
            }

            if (h[i].key.len == name->len
                && ngx_strncmp(h[i].lowcase_key, name->data, name->len) == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_logbroker_through_edge(ngx_http_request_t *r)
{
    static const ngx_str_t  name = ngx_string("x-logbroker-edge");

    return ngx_http_logbroker_header(r, &name, NULL) != NULL;
}


ngx_uint_t
ngx_http_logbroker_answered(ngx_http_request_t *r)
{
    ngx_int_t         code;
    ngx_uint_t        status;
    ngx_table_elt_t  *h;

    /* as google.rpc.Code has them */
    static const ngx_uint_t  statuses[] = {
        200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500,
        503, 500, 401
    };

    status = r->err_status ? r->err_status : r->headers_out.status;

    if (status != NGX_HTTP_OK || r->http_version != NGX_HTTP_VERSION_20) {
        return status;
    }

    h = ngx_http_logbroker_grpc_status(&r->headers_out.headers);

    if (h == NULL) {
        h = ngx_http_logbroker_grpc_status(&r->headers_out.trailers);
    }

    if (h == NULL) {
        return status;
    }

    code = ngx_atoi(h->value.data, h->value.len);

    if (code < 0
        || code >= (ngx_int_t) (sizeof(statuses) / sizeof(statuses[0])))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return statuses[code];
}


static ngx_table_elt_t *
ngx_http_logbroker_grpc_status(ngx_list_t *list)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    static const ngx_str_t  name = ngx_string("grpc-status");

    for (part = &list->part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].hash && h[i].key.len == name.len
                && ngx_strncasecmp(h[i].key.data, name.data, name.len) == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_logbroker_add_header(ngx_http_request_t *r, char *name, char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);

#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return NGX_OK;
}


ngx_int_t
ngx_http_logbroker_send_nothing(ngx_http_request_t *r)
{
    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;

    return ngx_http_send_header(r);
}


ngx_int_t
ngx_http_logbroker_send(ngx_http_request_t *r, ngx_uint_t status, char *type,
    ngx_buf_t *b)
{
    ngx_int_t    rc;
    ngx_chain_t  out;

    r->headers_out.status = status;
    r->headers_out.content_length_n = b->last - b->pos;

    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    if (b->pos == b->last) {
        b->temporary = 0;
        b->memory = 0;
    }

    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}
