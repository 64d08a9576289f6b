/*
 * Why a request is refused.
 */


#ifndef _NGX_HTTP_LOGBROKER_REASON_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_REASON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* why a request is refused; 0 is none */

typedef enum {
    NGX_HTTP_LOGBROKER_METHOD = 1,
    NGX_HTTP_LOGBROKER_TYPE,
    NGX_HTTP_LOGBROKER_ENCODING,
    NGX_HTTP_LOGBROKER_STREAM,
    NGX_HTTP_LOGBROKER_EMPTY,
    NGX_HTTP_LOGBROKER_MALFORMED,
    NGX_HTTP_LOGBROKER_CORRUPT,
    NGX_HTTP_LOGBROKER_EVENT_TOO_BIG,
    NGX_HTTP_LOGBROKER_BODY_TOO_BIG,
    NGX_HTTP_LOGBROKER_FULL,
    NGX_HTTP_LOGBROKER_NO_RING,
    NGX_HTTP_LOGBROKER_WRITE_FAILED,
    NGX_HTTP_LOGBROKER_WRITE_UNKNOWN,
    NGX_HTTP_LOGBROKER_BODY_FAILED,
    NGX_HTTP_LOGBROKER_NO_MEMORY,
    NGX_HTTP_LOGBROKER_KEY_INVALID,
    NGX_HTTP_LOGBROKER_KEY_REUSED,
    NGX_HTTP_LOGBROKER_KEY_BUSY,
    NGX_HTTP_LOGBROKER_KEYS_FULL,
    NGX_HTTP_LOGBROKER_KEYS_LOADING,
    NGX_HTTP_LOGBROKER_BODY_PARTIAL,
    NGX_HTTP_LOGBROKER_DISK_HANGS,
    NGX_HTTP_LOGBROKER_TOO_MANY,
    NGX_HTTP_LOGBROKER_STREAM_DENIED,
    NGX_HTTP_LOGBROKER_REASONS,

    /* not a refusal: the request is answered like the one it repeats */
    NGX_HTTP_LOGBROKER_REPEATED,

    /* nor these: the body is left to a thread; a ring with room is sought */
    NGX_HTTP_LOGBROKER_LARGE,
    NGX_HTTP_LOGBROKER_SEEK
} ngx_http_logbroker_reason_e;


typedef struct {
    ngx_uint_t                       status;
    ngx_uint_t                       retry_after;   /* seconds, 0: none */
    ngx_str_t                        name;
    char                            *text;
} ngx_http_logbroker_reason_t;


/* by ngx_http_logbroker_reason_e */
extern ngx_http_logbroker_reason_t   ngx_http_logbroker_reasons[];


#endif /* _NGX_HTTP_LOGBROKER_REASON_H_INCLUDED_ */
