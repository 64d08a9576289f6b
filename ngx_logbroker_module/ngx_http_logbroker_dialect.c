/*
 * The table of dialects.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_dialect.h"


static const ngx_http_logbroker_dialect_t  *ngx_http_logbroker_dialects[] = {
    &ngx_http_logbroker_log,
    &ngx_http_logbroker_elasticsearch,
    &ngx_http_logbroker_otlp,
    &ngx_http_logbroker_splunk,
    &ngx_http_logbroker_loki,
    &ngx_http_logbroker_gelf,
    &ngx_http_logbroker_datadog,
    &ngx_http_logbroker_firehose,
    NULL
};


const ngx_http_logbroker_dialect_t *
ngx_http_logbroker_dialect(ngx_str_t *directive)
{
    const ngx_http_logbroker_dialect_t  **d;

    for (d = ngx_http_logbroker_dialects; *d; d++) {
        if ((*d)->name.len == directive->len
            && ngx_strncmp((*d)->name.data, directive->data, directive->len)
               == 0)
        {
            break;
        }
    }

    return *d;
}
