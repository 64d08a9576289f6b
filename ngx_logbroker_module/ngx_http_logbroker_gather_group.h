/*
 * A group: the requests of logbroker_gather (gather.h) that go to a broker as
 * one, from what waits to the answer of each.
 *
 * The subrequest is one of the group's first request.  What comes of it is
 * dealt with in an event of its own, when nginx is done with it.  A request
 * that goes away takes itself out; with the first one goes the subrequest, and
 * what became of the others is not known then.
 */


#ifndef _NGX_HTTP_LOGBROKER_GATHER_GROUP_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_GATHER_GROUP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/frames.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"


/* a group is sent when it has so much: a broker keeps it in memory */
#define NGX_HTTP_LOGBROKER_GATHER_BYTES  (192 * 1024)


typedef struct ngx_http_logbroker_gather_group_s
                                    ngx_http_logbroker_gather_group_t;


/* of a worker and a location */

struct ngx_http_logbroker_gather_s {
    ngx_str_t                        uri;
    ngx_http_complex_value_t         condition;

    ngx_queue_t                      waiting;
    ngx_uint_t                       n;             /* waiting */
    size_t                           bytes;         /* of them */
    ngx_uint_t                       away;          /* groups, and requests
                                                     * that were alone */
    ngx_msec_t                       sent_at;
    ngx_msec_t                       off_until;     /* 0: never was off */
    time_t                           off_logged;    /* 0: never */
    ngx_event_t                      send;          /* posted, or a timer */
    ngx_http_upstream_srv_conf_t    *upstream;      /* NULL: none asked yet */

    /* something that was away no longer is */
    void                           (*back)(ngx_http_logbroker_gather_t *gather);
};


/* one of them */

typedef struct {
    ngx_queue_t                      queue;         /* waiting, or a group */
    ngx_http_request_t              *request;
    ngx_http_logbroker_gather_t     *gather;
    ngx_http_logbroker_gather_group_t
                                    *group;
    ngx_uint_t                       place;         /* in the group */
    size_t                           size;          /* of the frame */
    lb_frame_t                       frame;
    unsigned                         waits:1;       /* in gather->waiting */
    unsigned                         alone:1;       /* counted as away */
} ngx_http_logbroker_gather_one_t;


/* Takes the next one out of what waits; there is one. */
ngx_http_logbroker_gather_one_t *ngx_http_logbroker_gather_next(
    ngx_http_logbroker_gather_t *gather);

/* The request goes on in its location, by itself. */
void ngx_http_logbroker_gather_pass(ngx_http_logbroker_gather_one_t *one);

/* Sends a group of what waits, as much as goes into one. */
void ngx_http_logbroker_gather_group(ngx_http_logbroker_gather_t *gather);

/* The request goes away, and is in a group. */
void ngx_http_logbroker_gather_leave(ngx_http_logbroker_gather_one_t *one);


#endif /* _NGX_HTTP_LOGBROKER_GATHER_GROUP_H_INCLUDED_ */
