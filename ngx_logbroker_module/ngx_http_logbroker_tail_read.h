/*
 * What those who watch the rings are shown: a thread reads what was committed
 * since, by any worker, and writes it for each of them.
 */


#ifndef _NGX_HTTP_LOGBROKER_TAIL_READ_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_TAIL_READ_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/context.h"
#include "spool/lb_format.h"
#include "spool/lb_reader.h"
#include "spool/lb_spool.h"

#include "ngx_http_logbroker_mem.h"


/* bytes that wait for a client; what is more is counted as dropped */
#define NGX_HTTP_LOGBROKER_TAIL_ROOM     (1024 * 1024)

/* bytes of a ring that are read in one go */
#define NGX_HTTP_LOGBROKER_TAIL_READ     (1024 * 1024)

/* who is further behind than this, and did not ask to be, goes on with what is
 * committed now */
#define NGX_HTTP_LOGBROKER_TAIL_BEHIND   (8 * 1024 * 1024)

/* milliseconds between two looks at which rings there are */
#define NGX_HTTP_LOGBROKER_TAIL_LOOK     200


/* the next event to show of a ring */

typedef struct {
    uint8_t                          ring[LB_UUID_LEN];
    uint64_t                         position;      /* of its record */
    uint64_t                         seq;
} ngx_http_logbroker_tail_mark_t;


/* those who are at the same place */

typedef struct {
    ngx_queue_t                      queue;         /* of all groups */
    ngx_queue_t                      feeds;
    ngx_http_logbroker_tail_mark_t   marks[LB_SLOTS_MAX];
    ngx_uint_t                       n;
    ngx_uint_t                       begun;         /* other rings are new */
    ngx_uint_t                       live;          /* not asked for older */
} ngx_http_logbroker_tail_group_t;


/* what is shown to one of them; lists are separated by commas, empty: any */

typedef struct {
    ngx_queue_t                      queue;         /* of its group */
    ngx_str_t                        stream;
    ngx_str_t                        level;
    ngx_str_t                        service;
    ngx_str_t                        text;          /* folded */

    ngx_http_logbroker_mem_t         out;           /* to be sent */
    size_t                           waiting;       /* being sent */
    uint64_t                         dropped;       /* not said yet */
    ngx_uint_t                       placed;        /* its last id is right */
    ngx_uint_t                       quiet;         /* nothing said for long */

    /* before the record that is read */
    size_t                           kept;
    uint64_t                         kept_dropped;
} ngx_http_logbroker_tail_feed_t;


typedef struct {
    uint32_t                         slot;
    lb_reader_t                     *reader;
    lb_ring_info_t                   info;
    ngx_uint_t                       known;         /* info is */
} ngx_http_logbroker_tail_ring_t;


typedef struct {
    ngx_thread_task_t                task;
    char                            *path;          /* of the spool */
    ngx_queue_t                      groups;
    ngx_uint_t                       more;          /* there is, at once */

    lb_spool_t                      *spool;
    ngx_http_logbroker_tail_ring_t   rings[LB_SLOTS_MAX];
    ngx_uint_t                       nrings;
    uint64_t                         looked_us;

    /* of the record, the event, and for them */
    lb_context_t                     context;
    ngx_http_logbroker_mem_t         line;
    ngx_http_logbroker_mem_t         event;
    ngx_http_logbroker_mem_t         scratch;
    ngx_http_logbroker_mem_t         row;
    ngx_http_logbroker_mem_t         folded;
    ngx_http_logbroker_mem_t         others;        /* marks, as text */
} ngx_http_logbroker_tail_job_t;


/* The handler of job->task.  While it runs, groups and feeds are its own. */
void ngx_http_logbroker_tail_thread(void *data, ngx_log_t *log);

/* Are they at the same place? */
ngx_uint_t ngx_http_logbroker_tail_same(ngx_http_logbroker_tail_group_t *a,
    ngx_http_logbroker_tail_group_t *b);

/* Gives back what the job holds, but not the groups. */
void ngx_http_logbroker_tail_close(ngx_http_logbroker_tail_job_t *job);


#endif /* _NGX_HTTP_LOGBROKER_TAIL_READ_H_INCLUDED_ */
