/*
 * The logbroker module: takes log events over HTTP and keeps them in a ring.
 *
 *   module.c    directives, defaults and hooks: the table
 *   conf.c      the configuration, and what directives share
 *   spool.c     logbroker_spool, and its directory
 *   process.c   the life of a worker process; worker.h: what it has
 *
 * A request, from top to bottom; who is called knows nobody above:
 *
 *   request.c   the request and its body's arrival
 *   accept.c    media type, encoding and stream: what is taken
 *   stage.c     from the body to a record, parking
 *   body.c      the body as one piece of memory
 *   large.c     bodies that a thread makes records of: job.c
 *   record.c    from text to a record
 *   append.c    from a record into the pending group
 *   aside.c     a second ring, for large records
 *   room.c      from a full ring into another one
 *   group.c     group commit and the requests that wait for it
 *   ring.c      the worker's ring: claim, create, give back
 *   fill.c      zero-fills a new ring ahead of its writer
 *   key.c       where the idempotency key of a request comes from
 *   digest.c    what a request is recognised by: its bytes
 *   keys.c      idempotency keys: keys_table.c, keys_load.c
 *   hang.c      a disk that does not answer
 *   hold.c      what waits, and keeps a worker that leaves alive
 *   answer.c    why a request is refused, and how it is told
 *   dialect.c   protocols, a row each: log.c is our own
 *   cors.c      pages of other origins
 *   headers.c   headers of requests and answers, answers
 *   decode.c    content codings: the table; zlib.c, zstd.c, ...
 *   mem.c       memory that grows
 *
 * Beside it:
 *
 *   senders.c   who may send, at the edge: senders_conf.c, token.c
 *   access.c    nginx's own requests as events: access_conf.c, access_event.c
 *   counters.c  what all workers count, in shared memory
 *   status.c    which face of the status is asked for
 *   snapshot.c  what it shows
 *   json.c      the snapshot as JSON
 *   metrics.c   the snapshot as text for Prometheus
 *   variables.c those of a request
 *   page.html   the status as a page
 */


#ifndef _NGX_HTTP_LOGBROKER_MODULE_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#if !(NGX_THREADS)
#error the logbroker module needs nginx configured with --with-threads
#endif

#include <ngx_thread_pool.h>


typedef struct ngx_http_logbroker_ctx_s     ngx_http_logbroker_ctx_t;
typedef struct ngx_http_logbroker_worker_s  ngx_http_logbroker_worker_t;
typedef struct ngx_http_logbroker_keys_s    ngx_http_logbroker_keys_t;
typedef struct ngx_http_logbroker_senders_s
                                            ngx_http_logbroker_senders_t;


extern ngx_module_t                  ngx_http_logbroker_module;

/* of this process; NULL: it is no worker, or there is no spool */
extern ngx_http_logbroker_worker_t  *ngx_http_logbroker_worker;


#endif /* _NGX_HTTP_LOGBROKER_MODULE_H_INCLUDED_ */
