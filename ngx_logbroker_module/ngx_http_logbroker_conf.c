/*
 * What directives share.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"


off_t
ngx_http_logbroker_parse_size(ngx_str_t *value)
{
    off_t      size;
    size_t     len;
    ngx_int_t  shift;

    len = value->len;

    if (len == 0) {
        return NGX_ERROR;
    }

    switch (value->data[len - 1]) {

    case 'k':
    case 'K':
        shift = 10;
        break;

    case 'm':
    case 'M':
        shift = 20;
        break;

    case 'g':
    case 'G':
        shift = 30;
        break;

    case 't':
    case 'T':
        shift = 40;
        break;

    default:
        shift = 0;
    }

    if (shift) {
        len--;
    }

    size = ngx_atoof(value->data, len);

    if (size == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (size > (NGX_MAX_OFF_T_VALUE >> shift)) {
        return NGX_MAX_OFF_T_VALUE;
    }

    return size << shift;
}


char *
ngx_http_logbroker_take_location(ngx_conf_t *cf, ngx_http_handler_pt handler)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return clcf->handler == handler
                   ? "is duplicate"
                   : "cannot share a location with another handler";
    }

    clcf->handler = handler;

    return NGX_CONF_OK;
}


/* The spool may be configured further down: remember where to point to. */

void
ngx_http_logbroker_needs_spool(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_http_logbroker_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_logbroker_module);

    if (lmcf->name.len == 0) {
        lmcf->name = *name;
        lmcf->file = cf->conf_file->file.name;
        lmcf->line = cf->conf_file->line;
    }
}
