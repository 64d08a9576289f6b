/*
 * The snapshot as JSON.
 */


#ifndef _NGX_HTTP_LOGBROKER_JSON_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_JSON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_snapshot.h"


/* Room that suffices for ngx_http_logbroker_json(), which returns where it has
 * ended, or last. */
size_t ngx_http_logbroker_json_size(ngx_http_logbroker_snapshot_t *s);
u_char *ngx_http_logbroker_json(ngx_http_logbroker_snapshot_t *s, u_char *p,
    u_char *last);


#endif /* _NGX_HTTP_LOGBROKER_JSON_H_INCLUDED_ */
