/*
 * A request of nginx as an event.
 */


#ifndef _NGX_HTTP_LOGBROKER_ACCESS_EVENT_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_ACCESS_EVENT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef enum {
    NGX_HTTP_LOGBROKER_ACCESS_STRING = 0,
    NGX_HTTP_LOGBROKER_ACCESS_NUMBER,
    NGX_HTTP_LOGBROKER_ACCESS_LEVEL                 /* by the status */
} ngx_http_logbroker_access_type_e;


typedef struct {
    ngx_str_t                        name;
    ngx_http_complex_value_t         value;
    ngx_uint_t                       type;
} ngx_http_logbroker_access_field_t;


/* One JSON object of the fields, in memory of the request; a field without a
 * value is left out. */
ngx_int_t ngx_http_logbroker_access_event(ngx_http_request_t *r,
    ngx_array_t *fields, ngx_str_t *event);


#endif /* _NGX_HTTP_LOGBROKER_ACCESS_EVENT_H_INCLUDED_ */
