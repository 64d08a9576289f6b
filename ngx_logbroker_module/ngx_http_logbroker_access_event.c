/*
 * A request of nginx as an event.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_access_event.h"


static ngx_uint_t ngx_http_logbroker_access_number(ngx_str_t *value);
static ngx_uint_t ngx_http_logbroker_access_utf8(ngx_str_t *value);
static void ngx_http_logbroker_access_latin1(ngx_http_request_t *r,
    ngx_str_t *value);
static void ngx_http_logbroker_access_level(ngx_http_request_t *r,
    ngx_str_t *value);


ngx_int_t
ngx_http_logbroker_access_event(ngx_http_request_t *r, ngx_array_t *fields,
    ngx_str_t *event)
{
    u_char                             *p;
    size_t                              len;
    ngx_str_t                          *value;
    ngx_uint_t                          i;
    ngx_http_logbroker_access_field_t  *field;

    field = fields->elts;

    value = ngx_pcalloc(r->pool, fields->nelts * sizeof(ngx_str_t));
    if (value == NULL) {
        return NGX_ERROR;
    }

    len = sizeof("{}") - 1;

    for (i = 0; i < fields->nelts; i++) {

        if (field[i].type == NGX_HTTP_LOGBROKER_ACCESS_LEVEL) {
            ngx_http_logbroker_access_level(r, &value[i]);

        } else if (ngx_http_complex_value(r, &field[i].value, &value[i])
                   != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (value[i].len == 0) {
            continue;
        }

        if (!ngx_http_logbroker_access_utf8(&value[i])) {
            ngx_http_logbroker_access_latin1(r, &value[i]);
        }

        len += sizeof(",\"\":\"\"") - 1 + field[i].name.len + value[i].len
               + ngx_escape_json(NULL, value[i].data, value[i].len);
    }

    event->data = ngx_pnalloc(r->pool, len);
    if (event->data == NULL) {
        return NGX_ERROR;
    }

    p = event->data;
    *p++ = '{';

    for (i = 0; i < fields->nelts; i++) {

        if (value[i].len == 0) {
            continue;
        }

        if (p > event->data + 1) {
            *p++ = ',';
        }

        *p++ = '"';
        p = ngx_cpymem(p, field[i].name.data, field[i].name.len);
        *p++ = '"';
        *p++ = ':';

        if (field[i].type == NGX_HTTP_LOGBROKER_ACCESS_NUMBER
            && ngx_http_logbroker_access_number(&value[i]))
        {
            p = ngx_cpymem(p, value[i].data, value[i].len);
            continue;
        }

        *p++ = '"';
        p = (u_char *) ngx_escape_json(p, value[i].data, value[i].len);
        *p++ = '"';
    }

    *p++ = '}';

    event->len = p - event->data;

    return NGX_OK;
}


/* A status may be 009 or 000, which JSON does not take for a number. */

static ngx_uint_t
ngx_http_logbroker_access_number(ngx_str_t *value)
{
    size_t      i;
    ngx_uint_t  dots;

    dots = 0;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] == '.' && i && i + 1 < value->len) {
            dots++;
            continue;
        }

        if (value->data[i] < '0' || value->data[i] > '9') {
            return 0;
        }
    }

    return dots <= 1
           && (value->data[0] != '0' || value->len == 1
               || value->data[1] == '.');
}


static ngx_uint_t
ngx_http_logbroker_access_utf8(ngx_str_t *value)
{
    u_char    *p, *last, *start;
    uint32_t   c;

    p = value->data;
    last = p + value->len;

    while (p < last) {

        if (*p < 0x80) {
            p++;
            continue;
        }

        start = p;
        c = ngx_utf8_decode(&p, last - p);

        /* it knows neither surrogates nor where Unicode ends */

        if (*start > 0xf4 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
            return 0;
        }
    }

    return 1;
}


/* What is not UTF-8 is taken byte by byte: nothing is lost that way. */

static void
ngx_http_logbroker_access_latin1(ngx_http_request_t *r, ngx_str_t *value)
{
    u_char  *p, *data;
    size_t   i;

    data = ngx_pnalloc(r->pool, 2 * value->len);
    if (data == NULL) {
        value->len = 0;
        return;
    }

    p = data;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] < 0x80) {
            *p++ = value->data[i];
            continue;
        }

        *p++ = (u_char) (0xc0 | value->data[i] >> 6);
        *p++ = (u_char) (0x80 | (value->data[i] & 0x3f));
    }

    value->data = data;
    value->len = p - data;
}


static void
ngx_http_logbroker_access_level(ngx_http_request_t *r, ngx_str_t *value)
{
    ngx_uint_t  status;

    status = r->err_status ? r->err_status : r->headers_out.status;

    if (status >= 500) {
        ngx_str_set(value, "error");

    } else if (status >= 400) {
        ngx_str_set(value, "warn");

    } else {
        ngx_str_set(value, "info");
    }
}
