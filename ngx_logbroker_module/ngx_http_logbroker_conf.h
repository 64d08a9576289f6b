/*
 * The configuration, and what directives share.
 */


#ifndef _NGX_HTTP_LOGBROKER_CONF_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_CONF_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_format.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_dialect.h"


#define NGX_HTTP_LOGBROKER_SYNC_OFF      0
#define NGX_HTTP_LOGBROKER_SYNC_ALWAYS   1

/* what a Content-Type counts for */
#define NGX_HTTP_LOGBROKER_CONTENT_TYPE_AUTO    0
#define NGX_HTTP_LOGBROKER_CONTENT_TYPE_STRICT  1
#define NGX_HTTP_LOGBROKER_CONTENT_TYPE_JSON    2


typedef struct {
    ngx_str_t                        path;
    off_t                            size;          /* of a ring, or 0 */
    off_t                            total;         /* of all, or 0 */
    ngx_uint_t                       rings;         /* 0: by worker number */
    ngx_shm_zone_t                  *zone;
    ngx_thread_pool_t               *pool;
    ngx_msec_t                       write_timeout;

    ngx_flag_t                       keys;
    time_t                           keys_window;
    size_t                           keys_size;
    ngx_shm_zone_t                  *keys_zone;
    ngx_uint_t                       digests;       /* in any location */
    ngx_shm_zone_t                  *answers_zone;  /* NULL: not counted */
    ngx_http_logbroker_senders_t    *senders;       /* NULL: nobody asks */

    /* the first directive that needs a spool */
    ngx_str_t                        name;
    ngx_str_t                        file;
    ngx_uint_t                       line;
} ngx_http_logbroker_main_conf_t;


typedef struct ngx_http_logbroker_access_s  ngx_http_logbroker_access_t;
typedef struct ngx_http_logbroker_gather_s  ngx_http_logbroker_gather_t;


typedef struct {
    ngx_http_complex_value_t        *stream;
    ngx_uint_t                       sync;
    ngx_uint_t                       success;       /* 204 or 200 */
    ngx_uint_t                       content_type;
    ngx_array_t                     *cors;          /* ngx_str_t; NULL: off */
    ngx_msec_t                       answer_within; /* 0: no bound */
    size_t                           max_event;
    size_t                           max_body;
    ngx_flag_t                       deduplicate;   /* as it is set */
    ngx_flag_t                       digest;        /* what comes of it */
    ngx_flag_t                       senders;       /* known ones only */

    /* of the location, and of the blocks within it that have no name */
    ngx_http_handler_pt              handler;
    const ngx_http_logbroker_dialect_t
                                    *dialect;
    ngx_str_t                        prefix;        /* before the stream */
    ngx_uint_t                       status;

    ngx_array_t                     *legs;          /* of logbroker_tails */
    ngx_http_logbroker_gather_t     *gather;        /* NULL: off */

    ngx_http_logbroker_access_t     *access;        /* NULL: off */
    ngx_array_t                     *access_fields;
} ngx_http_logbroker_loc_conf_t;


/* Bytes of a number with k, m, g or t behind it; NGX_MAX_OFF_T_VALUE if that is
 * too much, NGX_ERROR if it is no such number. */
off_t ngx_http_logbroker_parse_size(ngx_str_t *value);

/* Makes a handler the location's content handler.  NGX_CONF_OK, or why not. */
char *ngx_http_logbroker_take_location(ngx_conf_t *cf,
    ngx_http_handler_pt handler);

/* Remembers the directive, for the message if there is no logbroker_spool: it
 * may come further down. */
void ngx_http_logbroker_needs_spool(ngx_conf_t *cf, ngx_str_t *name);


#endif /* _NGX_HTTP_LOGBROKER_CONF_H_INCLUDED_ */
