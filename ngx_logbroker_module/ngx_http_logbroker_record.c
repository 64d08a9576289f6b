/*
 * From text to a record.
 */


#include <ngx_config.h>
#include <ngx_core.h>

#include "event/format.h"
#include "event/scan.h"
#include "spool/lb_record.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_record.h"


ngx_uint_t
ngx_http_logbroker_record_stage(lb_writer_t *writer, lb_meta_t *meta,
    ngx_http_logbroker_record_t *record, ngx_str_t *text)
{
    size_t              cap, max;
    lb_scan_status_t    rc;
    const lb_format_t  *format;

    ngx_memzero(&record->res, sizeof(lb_scan_result_t));

    if (text->len == 0) {
        return NGX_HTTP_LOGBROKER_EMPTY;
    }

    format = record->format;

    max = format->out_max(text->len);
    max = ngx_min(max, record->max);

    cap = text->len / 8 * format->out_usual + text->len % 8 + 64;
    cap = ngx_min(cap, max);

    for ( ;; ) {
        record->payload = lb_writer_stage(writer, meta, cap);

        if (record->payload == NULL) {
            return NGX_HTTP_LOGBROKER_NO_MEMORY;
        }

        record->options.reply->len = 0;

        rc = lb_format_scan(format, text->data, text->len, record->payload, cap,
                            &record->options, &record->res);

        if (rc != LB_SCAN_NOSPACE || cap == max) {
            break;
        }

        cap = cap < max / 2 ? cap * 2 : max;
    }

    meta->contexts = record->res.contexts;

    return ngx_http_logbroker_record_reason(rc, &record->res);
}


ngx_uint_t
ngx_http_logbroker_record_reason(lb_scan_status_t rc, lb_scan_result_t *res)
{
    switch (rc) {

    case LB_SCAN_OK:
        return res->events > NGX_HTTP_LOGBROKER_EVENTS_MAX
                   ? NGX_HTTP_LOGBROKER_TOO_MANY : 0;

    case LB_SCAN_EMPTY:
        return NGX_HTTP_LOGBROKER_EMPTY;

    case LB_SCAN_TOOBIG:
        return NGX_HTTP_LOGBROKER_EVENT_TOO_BIG;

    case LB_SCAN_NOSPACE:
        /* there is always enough room but for the limit */
        return NGX_HTTP_LOGBROKER_BODY_TOO_BIG;

    case LB_SCAN_LATER:
        return NGX_HTTP_LOGBROKER_LARGE;

    case LB_SCAN_NOMEM:
        return NGX_HTTP_LOGBROKER_NO_MEMORY;

    default: /* LB_SCAN_BAD */
        return NGX_HTTP_LOGBROKER_MALFORMED;
    }
}
