/*
 * From a full ring into another one.
 */


#ifndef _NGX_HTTP_LOGBROKER_ROOM_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_ROOM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_error.h"
#include "spool/lb_spool.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"


/* looking for a ring with room */

typedef struct {
    ngx_thread_task_t                task;
    lb_spool_t                      *spool;
    uint64_t                         capacity;
    uint64_t                         need;
    lb_writer_t                     *writer;
    int                              rc;
    lb_error_t                       error;
    ngx_uint_t                       running;
    ngx_msec_t                       started;
} ngx_http_logbroker_seek_t;


typedef struct {
    ngx_http_logbroker_seek_t        seek;
    lb_writer_t                     *next;          /* ring to go on in */
    uint64_t                         need;
    ngx_event_t                      retry;
    ngx_msec_t                       seek_until;
    ngx_msec_t                       full_until;
    ngx_msec_t                       kept_since;
    ngx_msec_t                       staged_at;     /* the last record */
    time_t                           full_logged;

    /* set by who holds a ring beside: one is sought, that would do */
    void                           (*sought)(ngx_http_logbroker_worker_t *w);

    unsigned                         seeking:1;     /* requests are parked */
    unsigned                         leaving:1;     /* likewise */
    unsigned                         yielded:1;     /* no ring, on purpose */
} ngx_http_logbroker_worker_room_t;


void ngx_http_logbroker_room_init(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_room_exit(ngx_http_logbroker_worker_t *w);

/* The ring has no room for a record of need bytes: shall it wait? */
ngx_uint_t ngx_http_logbroker_no_room(ngx_http_logbroker_worker_t *w,
    uint64_t need);

/* Does another worker call for room just now? */
ngx_uint_t ngx_http_logbroker_room_called(ngx_http_logbroker_worker_t *w);

/* A worker that has yielded its ring needs one again. */
void ngx_http_logbroker_room_wanted(ngx_http_logbroker_worker_t *w);

/* Once a second. */
void ngx_http_logbroker_room_tick(ngx_http_logbroker_worker_t *w);

/* Gives the ring up, if it is to be left and nothing in it is left to do. */
void ngx_http_logbroker_leave(ngx_http_logbroker_worker_t *w);


#endif /* _NGX_HTTP_LOGBROKER_ROOM_H_INCLUDED_ */
