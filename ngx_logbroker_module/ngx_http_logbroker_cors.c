/*
 * CORS: see cors.h.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_cors.h"


/* seconds that a browser remembers a preflight; they have bounds of their own,
 * of 2 to 24 hours */
#define NGX_HTTP_LOGBROKER_CORS_AGE  "86400"


static ngx_uint_t ngx_http_logbroker_cors_valid(ngx_str_t *origin);
static ngx_int_t ngx_http_logbroker_cors_handler(ngx_http_request_t *r);
static char *ngx_http_logbroker_cors_allows(ngx_array_t *origins,
    ngx_str_t *origin);
static ngx_int_t ngx_http_logbroker_cors_preflight(ngx_http_request_t *r,
    char *methods);


static char  ngx_http_logbroker_cors_vary[] = "Vary";


char *
ngx_http_logbroker_cors(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_logbroker_loc_conf_t *llcf = conf;

    ngx_str_t   *value, *origin;
    ngx_uint_t   i;

    if (llcf->cors != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        llcf->cors = NULL;
        return NGX_CONF_OK;
    }

    llcf->cors = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                  sizeof(ngx_str_t));
    if (llcf->cors == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (cf->args->nelts == 2 ? ngx_strcmp(value[i].data, "*") != 0
                                   && !ngx_http_logbroker_cors_valid(&value[i])
                                 : !ngx_http_logbroker_cors_valid(&value[i]))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid origin \"%V\": \"logbroker_cors\" "
                               "is off, or * for all of them, or a list of "
                               "origins as browsers send them: "
                               "https://example.com, or with a port that is "
                               "not the usual one, without a path and in "
                               "lower case", &value[i]);
            return NGX_CONF_ERROR;
        }

        origin = ngx_array_push(llcf->cors);
        if (origin == NULL) {
            return NGX_CONF_ERROR;
        }

        *origin = value[i];
    }

    return NGX_CONF_OK;
}


/* scheme://host, and perhaps :port */

static ngx_uint_t
ngx_http_logbroker_cors_valid(ngx_str_t *origin)
{
    u_char  *p, *last;

    last = origin->data + origin->len;

    p = ngx_strlchr(origin->data, last, ':');

    if (p == NULL || p == origin->data || last - p < 4 || p[1] != '/'
        || p[2] != '/')
    {
        return 0;
    }

    for (p += 3; p < last; p++) {
        if (*p <= ' ' || *p >= 0x7f || ngx_strchr("/?#@*,", *p)) {
            return 0;
        }
    }

    for (p = origin->data; p < last; p++) {
        if (*p >= 'A' && *p <= 'Z') {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_http_logbroker_cors_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_REWRITE_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_logbroker_cors_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_cors_handler(ngx_http_request_t *r)
{
    char                           *allowed;
    ngx_uint_t                      i;
    ngx_list_part_t                *part;
    ngx_table_elt_t                *h, *origin;
    ngx_http_logbroker_loc_conf_t  *llcf;

    static ngx_str_t  origin_name = ngx_string("origin");
    static ngx_str_t  method_name =
                                 ngx_string("access-control-request-method");

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_logbroker_module);

    if (llcf->cors == NULL || r != r->main) {
        return NGX_DECLINED;
    }

    /* an error page: the headers are there */

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.data == (u_char *) ngx_http_logbroker_cors_vary) {
                return NGX_DECLINED;
            }
        }
    }

    if (ngx_http_logbroker_add_header(r, ngx_http_logbroker_cors_vary,
                                      "Origin")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    origin = ngx_http_logbroker_header(r, &origin_name, NULL);

    if (origin == NULL) {
        return NGX_DECLINED;
    }

    allowed = ngx_http_logbroker_cors_allows(llcf->cors, &origin->value);

    if (allowed
        && (ngx_http_logbroker_add_header(r, "Access-Control-Allow-Origin",
                                          allowed)
            != NGX_OK
            || ngx_http_logbroker_add_header(r,
                                             "Access-Control-Expose-Headers",
                                             "Retry-After")
               != NGX_OK
            || (*allowed != '*'
                && ngx_http_logbroker_add_header(r,
                                         "Access-Control-Allow-Credentials",
                                         "true")
                   != NGX_OK)))
    {
        return NGX_ERROR;
    }

    if (r->method != NGX_HTTP_OPTIONS || llcf->dialect == NULL
        || ngx_http_logbroker_header(r, &method_name, NULL) == NULL)
    {
        return NGX_DECLINED;
    }

    if (allowed == NULL) {
        return NGX_HTTP_FORBIDDEN;
    }

    return ngx_http_logbroker_cors_preflight(r, llcf->dialect->allow);
}


/* What Access-Control-Allow-Origin is, or NULL. */

static char *
ngx_http_logbroker_cors_allows(ngx_array_t *origins, ngx_str_t *origin)
{
    ngx_str_t   *known;
    ngx_uint_t   i;

    known = origins->elts;

    for (i = 0; i < origins->nelts; i++) {

        if (known[i].len == 1) {
            return "*";
        }

        if (known[i].len == origin->len
            && ngx_memcmp(known[i].data, origin->data, origin->len) == 0)
        {
            return (char *) origin->data;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_logbroker_cors_preflight(ngx_http_request_t *r, char *methods)
{
    ngx_int_t         rc;
    ngx_table_elt_t  *headers;

    static ngx_str_t  name = ngx_string("access-control-request-headers");

    headers = ngx_http_logbroker_header(r, &name, NULL);

    if (ngx_http_logbroker_add_header(r, "Access-Control-Allow-Methods",
                                      methods)
        != NGX_OK
        || ngx_http_logbroker_add_header(r, "Access-Control-Max-Age",
                                         NGX_HTTP_LOGBROKER_CORS_AGE)
           != NGX_OK
        || (headers
            && ngx_http_logbroker_add_header(r,
                                             "Access-Control-Allow-Headers",
                                             (char *) headers->value.data)
               != NGX_OK))
    {
        return NGX_ERROR;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_logbroker_send_nothing(r);
}
