/*
 * From text to a record: what requests, large bodies and the access log have
 * in common.
 */


#ifndef _NGX_HTTP_LOGBROKER_RECORD_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_RECORD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "event/format.h"
#include "spool/lb_record.h"
#include "spool/lb_writer.h"


/* events of one record */
#define NGX_HTTP_LOGBROKER_EVENTS_MAX    1000000


typedef struct {
    const lb_format_t               *format;
    lb_scan_options_t                options;
    size_t                           max;           /* bytes of its events */

    /* what came of it */
    u_char                          *payload;
    lb_scan_result_t                 res;
} ngx_http_logbroker_record_t;


/*
 * Scans text straight into the memory that a group is written from, for
 * lb_writer_append() with the same meta, whose contexts it sets,
 * record->res.out_len and .events.  0 or a reason; NGX_HTTP_LOGBROKER_LARGE: in a thread.
 */
ngx_uint_t ngx_http_logbroker_record_stage(lb_writer_t *writer,
    lb_meta_t *meta, ngx_http_logbroker_record_t *record, ngx_str_t *text);

/* What a scan came to: 0 or a reason. */
ngx_uint_t ngx_http_logbroker_record_reason(lb_scan_status_t rc,
    lb_scan_result_t *res);


#endif /* _NGX_HTTP_LOGBROKER_RECORD_H_INCLUDED_ */
