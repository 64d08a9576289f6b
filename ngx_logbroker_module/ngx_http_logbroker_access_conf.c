/*
 * The directives of the access log.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_accept.h"
#include "ngx_http_logbroker_access_event.h"
#include "ngx_http_logbroker_access_conf.h"


typedef struct {
    ngx_str_t                        name;
    ngx_str_t                        value;
    ngx_uint_t                       type;
} ngx_http_logbroker_access_default_t;


static ngx_array_t *ngx_http_logbroker_access_fields(ngx_conf_t *cf,
    ngx_array_t *own);


static ngx_http_logbroker_access_default_t
    ngx_http_logbroker_access_defaults[] =
{
    { ngx_string("timestamp"), ngx_string("$msec"),
      NGX_HTTP_LOGBROKER_ACCESS_NUMBER },
    { ngx_string("level"), ngx_string(""), NGX_HTTP_LOGBROKER_ACCESS_LEVEL },
    { ngx_string("service"), ngx_string("$server_name"), 0 },
    { ngx_string("host"), ngx_string("$hostname"), 0 },
    { ngx_string("message"), ngx_string("$request"), 0 },
    { ngx_string("trace_id"), ngx_string("$request_id"), 0 },
    { ngx_string("status"), ngx_string("$status"),
      NGX_HTTP_LOGBROKER_ACCESS_NUMBER },
    { ngx_string("method"), ngx_string("$request_method"), 0 },
    { ngx_string("uri"), ngx_string("$uri"), 0 },
    { ngx_string("http_host"), ngx_string("$host"), 0 },
    { ngx_string("duration"), ngx_string("$request_time"),
      NGX_HTTP_LOGBROKER_ACCESS_NUMBER },
    { ngx_string("bytes_in"), ngx_string("$request_length"),
      NGX_HTTP_LOGBROKER_ACCESS_NUMBER },
    { ngx_string("bytes_out"), ngx_string("$bytes_sent"),
      NGX_HTTP_LOGBROKER_ACCESS_NUMBER },
    { ngx_string("user"), ngx_string("$remote_user"), 0 },
    { ngx_string("referer"), ngx_string("$http_referer"), 0 },
    { ngx_string("user_agent"), ngx_string("$http_user_agent"), 0 },
    { ngx_string("upstream"), ngx_string("$upstream_addr"), 0 },
    { ngx_string("upstream_status"), ngx_string("$upstream_status"), 0 },
    { ngx_string("upstream_duration"), ngx_string("$upstream_response_time"),
      0 },
    { ngx_null_string, ngx_null_string, 0 }
};


/* logbroker_access_log off | <stream> [if=<condition>]; */

char *
ngx_http_logbroker_access_log(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_logbroker_loc_conf_t *llcf = conf;

    ngx_str_t                          *value, s;
    ngx_http_logbroker_access_t        *access;
    ngx_http_compile_complex_value_t    ccv;

    if (llcf->access != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {

        if (cf->args->nelts != 2) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"logbroker_access_log off\" has no further "
                               "parameter");
            return NGX_CONF_ERROR;
        }

        llcf->access = NULL;
        return NGX_CONF_OK;
    }

    if (!ngx_http_logbroker_stream_valid(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid stream \"%V\" in "
                           "\"logbroker_access_log\": 1 to %ui of letters, "
                           "digits, _ . and -", &value[1],
                           (ngx_uint_t) LB_STREAM_MAX);
        return NGX_CONF_ERROR;
    }

    access = ngx_pcalloc(cf->pool, sizeof(ngx_http_logbroker_access_t));
    if (access == NULL) {
        return NGX_CONF_ERROR;
    }

    access->stream = value[1];

    if (cf->args->nelts == 3) {

        if (ngx_strncmp(value[2].data, "if=", 3) != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\": "
                               "\"logbroker_access_log\" knows if=",
                               &value[2]);
            return NGX_CONF_ERROR;
        }

        s.data = value[2].data + 3;
        s.len = value[2].len - 3;

        access->filter = ngx_palloc(cf->pool,
                                    sizeof(ngx_http_complex_value_t));
        if (access->filter == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

        ccv.cf = cf;
        ccv.value = &s;
        ccv.complex_value = access->filter;

        if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    llcf->access = access;

    ngx_http_logbroker_needs_spool(cf, &cmd->name);

    return NGX_CONF_OK;
}


/* logbroker_access_field <name> <value>; */

char *
ngx_http_logbroker_access_field(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_logbroker_loc_conf_t *llcf = conf;

    size_t                              i;
    ngx_str_t                          *value;
    ngx_uint_t                          n;
    ngx_http_compile_complex_value_t    ccv;
    ngx_http_logbroker_access_field_t  *field;

    value = cf->args->elts;

    for (i = 0; i < value[1].len; i++) {
        if (value[1].data[i] <= ' ' || value[1].data[i] > '~'
            || value[1].data[i] == '"' || value[1].data[i] == '\\')
        {
            break;
        }
    }

    if (i == 0 || i != value[1].len || i > 255) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\" in "
                           "\"logbroker_access_field\": 1 to 255 printable "
                           "ASCII characters without space, quote and "
                           "backslash", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (llcf->access_fields == NULL) {
        llcf->access_fields = ngx_array_create(cf->pool, 4,
                                    sizeof(ngx_http_logbroker_access_field_t));
        if (llcf->access_fields == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    field = llcf->access_fields->elts;

    for (n = 0; n < llcf->access_fields->nelts; n++) {
        if (field[n].name.len == value[1].len
            && ngx_strcmp(field[n].name.data, value[1].data) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate \"logbroker_access_field %V\"",
                               &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    field = ngx_array_push(llcf->access_fields);
    if (field == NULL) {
        return NGX_CONF_ERROR;
    }

    field->name = value[1];
    field->type = NGX_HTTP_LOGBROKER_ACCESS_STRING;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[2];
    ccv.complex_value = &field->value;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_logbroker_access_merge(ngx_conf_t *cf,
    ngx_http_logbroker_loc_conf_t *prev, ngx_http_logbroker_loc_conf_t *conf)
{
    ngx_http_logbroker_access_t  *access;

    ngx_conf_merge_ptr_value(conf->access, prev->access, NULL);

    /* as with add_header: those of the level above count if here are none */

    if (conf->access_fields == NULL) {
        conf->access_fields = prev->access_fields;
    }

    if (conf->access == NULL) {
        return NGX_CONF_OK;
    }

    if (conf->access == prev->access
        && conf->access_fields == prev->access_fields
        && conf->access->fields)
    {
        return NGX_CONF_OK;
    }

    /* the level above may have other fields */

    access = ngx_palloc(cf->pool, sizeof(ngx_http_logbroker_access_t));
    if (access == NULL) {
        return NGX_CONF_ERROR;
    }

    *access = *conf->access;

    access->fields = ngx_http_logbroker_access_fields(cf,
                                                      conf->access_fields);
    if (access->fields == NULL) {
        return NGX_CONF_ERROR;
    }

    conf->access = access;

    return NGX_CONF_OK;
}


/* Our fields, with those the user has given another value, then the others. */

static ngx_array_t *
ngx_http_logbroker_access_fields(ngx_conf_t *cf, ngx_array_t *own)
{
    ngx_uint_t                            i, n;
    ngx_array_t                          *fields;
    ngx_http_compile_complex_value_t      ccv;
    ngx_http_logbroker_access_field_t    *field, *f;
    ngx_http_logbroker_access_default_t  *d;

    f = own ? own->elts : NULL;
    n = own ? own->nelts : 0;

    fields = ngx_array_create(cf->pool, n + 20,
                              sizeof(ngx_http_logbroker_access_field_t));
    if (fields == NULL) {
        return NULL;
    }

    for (d = ngx_http_logbroker_access_defaults; d->name.len; d++) {

        for (i = 0; i < n; i++) {
            if (f[i].name.len == d->name.len
                && ngx_strncmp(f[i].name.data, d->name.data, d->name.len) == 0)
            {
                break;
            }
        }

        if (i < n) {
            continue;
        }

        field = ngx_array_push(fields);
        if (field == NULL) {
            return NULL;
        }

        field->name = d->name;
        field->type = d->type;

        ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

        ccv.cf = cf;
        ccv.value = &d->value;
        ccv.complex_value = &field->value;

        if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
            return NULL;
        }
    }

    for (i = 0; i < n; i++) {

        field = ngx_array_push(fields);
        if (field == NULL) {
            return NULL;
        }

        *field = f[i];
    }

    return fields;
}
