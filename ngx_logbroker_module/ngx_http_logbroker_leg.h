/*
 * One of several streams of server-sent events that are merged: a connection to
 * this very server, to the location that has it.
 */


#ifndef _NGX_HTTP_LOGBROKER_LEG_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_LEG_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_mem.h"


/* bytes that are read in one go */
#define NGX_HTTP_LOGBROKER_LEG_READ      (64 * 1024)

/* ... that wait for that in the kernel */
#define NGX_HTTP_LOGBROKER_LEG_RCVBUF    (256 * 1024)

/* ... of the longest frame: a tail has at most a megabyte for all */
#define NGX_HTTP_LOGBROKER_LEG_FRAME     (2 * 1024 * 1024)

/* milliseconds until there is an answer */
#define NGX_HTTP_LOGBROKER_LEG_ANSWER    5000

/* ... after which one that says nothing is not there any more: a tail does so
 * every 15 seconds */
#define NGX_HTTP_LOGBROKER_LEG_SILENT    60000


typedef enum {
    NGX_HTTP_LOGBROKER_LEG_AWAY = 0,
    NGX_HTTP_LOGBROKER_LEG_ASKING,
    NGX_HTTP_LOGBROKER_LEG_ASKED,
    NGX_HTTP_LOGBROKER_LEG_OPEN
} ngx_http_logbroker_leg_state_e;


typedef struct {
    ngx_str_t                        name;          /* of its broker */
    ngx_str_t                        uri;
} ngx_http_logbroker_leg_conf_t;


typedef struct {
    ngx_http_logbroker_leg_conf_t   *conf;
    ngx_event_t                     *wake;          /* posted: go on with it */
    ngx_http_logbroker_leg_state_e   state;
    ngx_peer_connection_t            peer;
    ngx_msec_t                       heard_at;
    ngx_uint_t                       status;        /* of the answer, or 0 */
    ngx_uint_t                       missed;        /* the client was told */

    ngx_http_logbroker_mem_t         request;
    size_t                           sent;

    ngx_http_logbroker_mem_t         in;
    size_t                           begin;         /* of the next frame */
    size_t                           seen;          /* no end of it before */

    ngx_http_logbroker_mem_t         id;            /* where it is */
} ngx_http_logbroker_leg_t;


/* Takes an id as the place to go on from; one that is none is left out. */
ngx_int_t ngx_http_logbroker_leg_place(ngx_http_logbroker_leg_t *leg,
    u_char *id, size_t len);

/* Begins to connect, for the request of the client.  NGX_ERROR: it is away. */
ngx_int_t ngx_http_logbroker_leg_open(ngx_http_logbroker_leg_t *leg,
    ngx_http_request_t *r);
void ngx_http_logbroker_leg_close(ngx_http_logbroker_leg_t *leg);
void ngx_http_logbroker_leg_free(ngx_http_logbroker_leg_t *leg);

/* Sends and reads what can be at once.  NGX_OK: there may be more; NGX_AGAIN:
 * wake is posted when there is; NGX_ERROR: close it. */
ngx_int_t ngx_http_logbroker_leg_go(ngx_http_logbroker_leg_t *leg);

/* The client takes no more now: what comes stays where it is. */
ngx_int_t ngx_http_logbroker_leg_hold(ngx_http_logbroker_leg_t *leg);

/* The next whole frame, with the empty line at its end, or NGX_AGAIN.  It is
 * there until leg_took(). */
ngx_int_t ngx_http_logbroker_leg_frame(ngx_http_logbroker_leg_t *leg,
    ngx_str_t *frame);
void ngx_http_logbroker_leg_took(ngx_http_logbroker_leg_t *leg,
    ngx_str_t *frame);


#endif /* _NGX_HTTP_LOGBROKER_LEG_H_INCLUDED_ */
