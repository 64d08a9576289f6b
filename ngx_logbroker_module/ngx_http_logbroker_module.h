/*
 * The logbroker module: takes log events over HTTP and keeps them in a ring.
 *
 *   process.c   the life of a worker process
 *   request.c   the request and its body's arrival
 *   accept.c    media type, encoding and stream: what is taken
 *   stage.c     from the body to a record, parking
 *   body.c      the body as one piece of memory
 *   large.c     bodies that a thread makes records of: job.c
 *   record.c    from text to a record
 *   append.c    from a record into the pending group
 *   keys.c      idempotency keys: keys_table.c, keys_load.c
 *   group.c     group commit and the requests that wait for it
 *   answer.c    why a request is refused, and how it is told
 *   dialect.c   protocols, a row each: log.c is our own
 *   headers.c   headers of requests and answers, answers
 *   decode.c    content codings: the table; gzip.c, zstd.c
 *   mem.c       memory that grows
 *   hold.c      what waits, and keeps a worker that leaves alive
 *   ring.c      the worker's ring: claim, create, give back
 *   fill.c      zero-fills a new ring ahead of its writer
 *   room.c      from a full ring into another one
 *   hang.c      a disk that does not answer
 *   access.c    nginx's own requests as events
 *   counters.c  what all workers count, in shared memory
 *   status.c    variables, status
 *   metrics.c   the status as text for Prometheus
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

#include "spool/lb_ring.h"
#include "event/explain.h"
#include "event/json.h"
#include "event/text.h"
#include "event/format.h"

#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_mem.h"
#include "ngx_http_logbroker_decode.h"
#include "ngx_http_logbroker_dialect.h"


#define NGX_HTTP_LOGBROKER_SYNC_OFF      0
#define NGX_HTTP_LOGBROKER_SYNC_ALWAYS   1

/* records staged while a group is in flight; beyond it, requests are parked */
#define NGX_HTTP_LOGBROKER_STAGED_MAX    (4 * 1024 * 1024)

/* milliseconds for which requests are parked after a worker has started, or
 * has lost its ring, without a new one; afterwards they are refused */
#define NGX_HTTP_LOGBROKER_GRACE         1000

/* milliseconds between two attempts at a ring while requests are parked */
#define NGX_HTTP_LOGBROKER_CLAIM_RETRY   20

/* the largest body that the event loop itself deals with, decoded; and one
 * that it tries to decode; it takes a fraction of a millisecond */
#define NGX_HTTP_LOGBROKER_INLINE        (128 * 1024)
#define NGX_HTTP_LOGBROKER_INLINE_PACKED (32 * 1024)


/* what logbroker_status serves; _ACCEPT: what the client prefers */

typedef enum {
    NGX_HTTP_LOGBROKER_STATUS_ACCEPT = 0,
    NGX_HTTP_LOGBROKER_STATUS_JSON,
    NGX_HTTP_LOGBROKER_STATUS_METRICS,
    NGX_HTTP_LOGBROKER_STATUS_PAGE
} ngx_http_logbroker_status_e;


typedef struct {
    ngx_str_t                        path;
    off_t                            size;
    ngx_uint_t                       rings;         /* 0: by worker number */
    ngx_shm_zone_t                  *zone;
    ngx_thread_pool_t               *pool;
    ngx_msec_t                       write_timeout;

    ngx_flag_t                       keys;
    time_t                           keys_window;
    size_t                           keys_size;
    ngx_shm_zone_t                  *keys_zone;

    /* the first directive that needs a spool */
    ngx_str_t                        name;
    ngx_str_t                        file;
    ngx_uint_t                       line;
} ngx_http_logbroker_main_conf_t;


typedef struct {
    ngx_uint_t                       parked;
    ngx_uint_t                       waiting;
    uint64_t                         hangs_ms;
    ngx_uint_t                       workers;
    ngx_uint_t                       no_ring;
} ngx_http_logbroker_waits_t;


typedef struct ngx_http_logbroker_access_s  ngx_http_logbroker_access_t;


typedef struct {
    ngx_http_complex_value_t        *stream;
    ngx_uint_t                       sync;
    ngx_uint_t                       success;       /* 204 or 200 */
    size_t                           max_event;
    size_t                           max_body;

    /* of the location, and of the blocks within it that have no name */
    ngx_http_handler_pt              handler;
    const ngx_http_logbroker_dialect_t
                                    *dialect;
    ngx_str_t                        prefix;        /* before the stream */
    ngx_uint_t                       status;

    ngx_http_logbroker_access_t     *access;        /* NULL: off */
    ngx_array_t                     *access_fields;
} ngx_http_logbroker_loc_conf_t;


typedef struct ngx_http_logbroker_worker_s  ngx_http_logbroker_worker_t;
typedef struct ngx_http_logbroker_keys_s    ngx_http_logbroker_keys_t;


/* What a thread makes a record of; owns all its memory. */

typedef struct {
    ngx_thread_task_t                task;
    ngx_http_logbroker_worker_t     *worker;
    ngx_http_logbroker_ctx_t        *ctx;           /* NULL: client left */

    /* the body as it was sent: pieces of memory, then a file */
    u_char                          *block;
    ngx_str_t                       *pieces;
    ngx_uint_t                       npieces;
    ngx_fd_t                         fd;
    off_t                            offset;
    size_t                           len;

    ngx_uint_t                       encoding;
    const lb_format_t               *format;
    lb_scan_options_t                options;
    char                            *params;
    size_t                           limit;         /* decoded */
    size_t                           max_body;

    ngx_http_logbroker_mem_t         raw;
    ngx_http_logbroker_mem_t         decoded;

    /* the payload lies behind room for the record's header */
    ngx_http_logbroker_mem_t         record;
    size_t                           header;
    size_t                           payload;
    ngx_uint_t                       events;
    uint32_t                         crc;

    /* for the answer */
    lb_reply_t                       reply;
    ngx_uint_t                       rejected;      /* the first one: */

    /* or why there is no record */
    ngx_uint_t                       reason;
    char                            *error;
    size_t                           row;
    size_t                           column;
    ngx_err_t                        err;
    char                             words[512];

    unsigned                         running:1;
    unsigned                         decoding:1;
} ngx_http_logbroker_job_t;


typedef enum {
    NGX_HTTP_LOGBROKER_NEW = 0,
    NGX_HTTP_LOGBROKER_QUEUED,                      /* in worker->large */
    NGX_HTTP_LOGBROKER_WORKING,                     /* has a job */
    NGX_HTTP_LOGBROKER_PARKED,                      /* in worker->parked */
    NGX_HTTP_LOGBROKER_STAGED,                      /* in a group */
    NGX_HTTP_LOGBROKER_DONE
} ngx_http_logbroker_state_e;


struct ngx_http_logbroker_ctx_s {
    ngx_queue_t                      queue;     /* QUEUED, PARKED, STAGED */
    ngx_http_request_t              *request;
    ngx_http_logbroker_job_t        *job;

    const ngx_http_logbroker_dialect_t
                                    *dialect;
    const lb_format_t *const        *formats;       /* to choose from */
    const lb_format_t               *format;
    ngx_str_t                        params;        /* see lb_param() */
    ngx_str_t                        stream;
    size_t                           len;           /* of the body as sent */
    u_char                           key[LB_KEY_LEN];

    /* of the record */
    ngx_uint_t                       events;
    size_t                           bytes;
    ngx_uint_t                       slot;

    /* of the answer */
    lb_reply_t                       reply;
    ngx_uint_t                       rejected;

    /* of the refusal, or of the first event that was rejected */
    ngx_uint_t                       reason;
    ngx_str_t                        error;
    size_t                           row;           /* 0: means nothing */
    size_t                           column;

    unsigned                         state:3;
    unsigned                         encoding:4;    /* row of a coding */
    unsigned                         requesting:1;  /* inside the handler */
    unsigned                         has_slot:1;
    unsigned                         has_key:1;
    unsigned                         streamed:1;    /* its body, elsewhere */
};


/* what became of a record with an idempotency key; UNKNOWN: the ring is looked
 * through for it */

typedef enum {
    NGX_HTTP_LOGBROKER_KEY_NOT_STORED = 0,
    NGX_HTTP_LOGBROKER_KEY_IS_STORED,
    NGX_HTTP_LOGBROKER_KEY_UNKNOWN
} ngx_http_logbroker_key_end_e;


/* a record with an idempotency key; outlives the request */

typedef struct {
    ngx_queue_t                      queue;
    u_char                           hash[LB_KEY_LEN];
} ngx_http_logbroker_group_key_t;


/* records that are written together, and the requests that wait for it */

typedef struct {
    ngx_queue_t                      waiters;
    ngx_queue_t                      keys;
    ngx_uint_t                       requests;
    ngx_uint_t                       events;
    uint64_t                         bytes;
    ngx_uint_t                       access;        /* events nobody awaits */
    ngx_uint_t                       sync;
} ngx_http_logbroker_group_t;


typedef enum {
    NGX_HTTP_LOGBROKER_IO_IDLE = 0,
    NGX_HTTP_LOGBROKER_IO_GROUP,                    /* lb_writer_write() */
    NGX_HTTP_LOGBROKER_IO_SYNC                      /* lb_writer_sync_run() */
} ngx_http_logbroker_io_e;


/* gets the worker a ring, or sees to spare ones */

typedef struct {
    ngx_thread_task_t                task;
    char                            *path;
    lb_spool_t                      *spool;         /* NULL: to be opened */
    unsigned                         flags;         /* ... with these */
    lb_writer_t                     *writer;        /* what came of it */
    lb_acquired_t                    got;
    lb_wanted_t                      wanted;
    uint32_t                         spares;        /* 0: for the worker */
    uint32_t                         slot;          /* of the worker's ring */
    int                              rc;
    ngx_uint_t                       enough;
    lb_error_t                       error;
} ngx_http_logbroker_create_t;


/* zero-fills a ring ahead of its writer, slice by slice */

typedef struct {
    ngx_thread_task_t                task;
    ngx_event_t                      next;          /* timer */
    lb_writer_t                     *writer;        /* running */
    lb_writer_t                     *close;         /* when it has ended */
    ngx_msec_t                       took;
} ngx_http_logbroker_fill_t;


typedef enum {
    NGX_HTTP_LOGBROKER_KEYS_BEGIN = 0,
    NGX_HTTP_LOGBROKER_KEYS_ALL,                    /* the table is new */
    NGX_HTTP_LOGBROKER_KEYS_SOUGHT,                 /* those of the dead */
    NGX_HTTP_LOGBROKER_KEYS_DONE
} ngx_http_logbroker_keys_state_e;


typedef struct {
    ngx_thread_task_t                task;
    lb_spool_t                      *spool;
    ngx_http_logbroker_keys_t       *keys;
    time_t                           window;

    ngx_uint_t                       state;
    u_char                           slots[LB_SLOTS_MAX];
    uint32_t                         there[LB_SLOTS_MAX];
    int                              n;             /* < 0: an error */
    int                              ring;
    ngx_uint_t                       put_off;       /* rings */
    lb_error_t                       error;         /* of the last one */

    /* of the ring that is being read, if reader is not NULL */
    lb_reader_t                     *reader;
    lb_ring_info_t                   info;
    lb_mark_t                        marks[LB_MARKS];
    int                              nmarks;
    int                              mark;
    uint64_t                         position;
    uint64_t                         now;           /* since boot */
} ngx_http_logbroker_keys_job_t;


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


/* what the status says of the flusher: what it published, and what is true
 * whatever it published or not */

typedef struct {
    ngx_str_t                        json;
    lb_ckpt_state_t                 *acked;         /* NULL: unknown */
    uint64_t                         oldest_us;     /* not yet acked; 0: none */
} ngx_http_logbroker_flusher_t;


/* One per worker process, from init_process to exit_process. */

struct ngx_http_logbroker_worker_s {
    ngx_str_t                        path;
    uint64_t                         capacity;
    ngx_uint_t                       max_rings;
    ngx_uint_t                       spares;
    ngx_thread_pool_t               *pool;
    ngx_http_logbroker_counters_t   *counters;

    lb_spool_t                      *spool;
    lb_writer_t                     *writer;        /* NULL: no ring */

    ngx_http_logbroker_keys_t       *keys;          /* NULL: off */
    time_t                           keys_window;
    time_t                           keys_logged;
    time_t                           keys_unread;   /* logged */
    ngx_msec_t                       keys_after;    /* not looked before */
    ngx_http_logbroker_keys_job_t   *keys_job;      /* running */

    ngx_http_logbroker_group_t       pending;       /* being staged */
    ngx_http_logbroker_group_t       flight;        /* being written */
    ngx_queue_t                      parked;        /* waiting for room */
    ngx_uint_t                       nparked;
    ngx_queue_t                      held;          /* events of access.c */
    size_t                           held_bytes;

    /* what the thread does; the ring stays open as long as it does */
    ngx_uint_t                       io;
    ngx_msec_t                       io_started;
    ngx_thread_task_t                io_task;
    uint64_t                         io_us;         /* how long it took */
    int                              failed;        /* a write, meanwhile */

    ngx_event_t                      commit;        /* posted */
    ngx_event_t                      tick;          /* every second */
    ngx_event_t                      hold;          /* keeps us alive */

    /* flusher.json: its time, and when that was first seen, monotonic ms */
    struct timespec                  flusher_mtime;
    uint64_t                         flusher_seen;

    /* hang.c */
    ngx_msec_t                       write_timeout;
    ngx_event_t                      hang;
    ngx_http_logbroker_seat_t       *seat;
    ngx_http_logbroker_seat_t        no_seat;

    /* room.c */
    ngx_http_logbroker_seek_t        seek;
    lb_writer_t                     *next;          /* ring to go on in */
    uint64_t                         need;
    ngx_event_t                      retry;
    ngx_msec_t                       seek_until;
    ngx_msec_t                       full_until;
    ngx_msec_t                       kept_since;
    ngx_msec_t                       staged_at;     /* the last record */

    /* large.c */
    ngx_queue_t                      large;         /* waiting for a job */
    ngx_uint_t                       nlarge;        /* and the one that has */
    ngx_http_logbroker_job_t        *job;           /* NULL: none */
    ngx_event_t                      large_next;    /* posted */

    ngx_http_logbroker_create_t      create;
    ngx_http_logbroker_fill_t        fill;
    ngx_msec_t                       create_after;
    ngx_msec_t                       spare_after;
    ngx_msec_t                       lost_at;
    ngx_msec_t                       grace_until;

    ngx_http_logbroker_mem_t         joined;
    ngx_http_logbroker_mem_t         decoded;
    ngx_http_logbroker_codec_t       codec;

    u_char                           problem[600];  /* why there is no ring */
    int                              problem_code;
    ngx_msec_t                       problem_logged;
    time_t                           full_logged;
    ngx_uint_t                       refused;       /* since then */
    ngx_msec_t                       refused_logged;
    time_t                           access_logged;
    const char                      *access_why;    /* then */

    unsigned                         creating:1;
    unsigned                         want_sync:1;
    unsigned                         keys_look:1;   /* for nobody's keys */
    unsigned                         trim:1;        /* much was freed */
    unsigned                         seeking:1;     /* requests are parked */
    unsigned                         leaving:1;     /* likewise */
    unsigned                         yielded:1;     /* no ring, on purpose */
    unsigned                         hanging:1;     /* what the thread does */
    unsigned                         space_logged:1;
    unsigned                         vanished:1;    /* spool was there */
};


extern ngx_module_t  ngx_http_logbroker_module;
extern ngx_http_logbroker_worker_t  *ngx_http_logbroker_worker;


/* request.c */

ngx_int_t ngx_http_logbroker_handler(ngx_http_request_t *r);

/* Both finish the request; posted: run the connection's posted requests too,
 * for callers that are not inside a handler of that connection. */
void ngx_http_logbroker_accepted(ngx_http_logbroker_ctx_t *ctx);
void ngx_http_logbroker_refused(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason, ngx_uint_t posted);

/* answer.c */

ngx_int_t ngx_http_logbroker_send_refusal(
    ngx_http_logbroker_ctx_t *ctx, ngx_uint_t reason);

/* hold.c */

void ngx_http_logbroker_hold_handler(ngx_event_t *ev);

/* fill.c */

void ngx_http_logbroker_fill_thread(void *data, ngx_log_t *log);
void ngx_http_logbroker_fill_done(ngx_event_t *ev);
void ngx_http_logbroker_fill_next(ngx_event_t *ev);

/* job.c */

void ngx_http_logbroker_job_thread(void *data, ngx_log_t *log);
void ngx_http_logbroker_job_free(ngx_http_logbroker_job_t *job);

/* accept.c: 0 or a reason */

ngx_uint_t ngx_http_logbroker_content_type(ngx_http_logbroker_ctx_t *ctx);
ngx_uint_t ngx_http_logbroker_content_encoding(ngx_http_logbroker_ctx_t *ctx);
ngx_uint_t ngx_http_logbroker_stream(ngx_http_logbroker_ctx_t *ctx);
ngx_uint_t ngx_http_logbroker_stream_valid(ngx_str_t *stream);

/* body.c */

ngx_int_t ngx_http_logbroker_body_request(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_client_body_handler_pt handler);
ngx_uint_t ngx_http_logbroker_body_large(ngx_http_logbroker_ctx_t *ctx);
size_t ngx_http_logbroker_body_len(ngx_http_request_t *r);
ngx_uint_t ngx_http_logbroker_body_whole(ngx_http_logbroker_ctx_t *ctx);
ngx_uint_t ngx_http_logbroker_body(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, ngx_str_t *body);
size_t ngx_http_logbroker_body_limit(ngx_http_request_t *r);
void ngx_http_logbroker_too_big(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason, ngx_uint_t decoded);
void ngx_http_logbroker_error(ngx_http_logbroker_ctx_t *ctx,
    const char *words);
void ngx_http_logbroker_body_done(ngx_http_logbroker_ctx_t *ctx);
u_char *ngx_http_logbroker_body_block(ngx_http_logbroker_ctx_t *ctx,
    u_char **end);
void ngx_http_logbroker_body_detach(ngx_http_logbroker_ctx_t *ctx);

/* large.c */

void ngx_http_logbroker_large_init(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_large(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx);
void ngx_http_logbroker_large_stage(ngx_http_logbroker_worker_t *w);
ngx_uint_t ngx_http_logbroker_wants_room(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_large_abandon(ngx_http_logbroker_ctx_t *ctx);

/* stage.c */

/* Takes a request whose body was read: stages, parks or refuses it. */
void ngx_http_logbroker_enter(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t posted);
void ngx_http_logbroker_unpark(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_leave_parked(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx);
void ngx_http_logbroker_meta(ngx_http_logbroker_ctx_t *ctx, lb_meta_t *meta);
ngx_uint_t ngx_http_logbroker_staged(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, int rc, size_t len);
void ngx_http_logbroker_client(ngx_connection_t *c, lb_meta_t *meta);

/* group.c */

void ngx_http_logbroker_append_init(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_group_init(ngx_http_logbroker_group_t *group);
void ngx_http_logbroker_group_move(ngx_http_logbroker_group_t *from,
    ngx_http_logbroker_group_t *to);
void ngx_http_logbroker_answer(ngx_queue_t *waiters, ngx_uint_t reason);
void ngx_http_logbroker_wait(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx);
void ngx_http_logbroker_logged(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_sync(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_gone(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_hold(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_cleanup(void *data);

/* room.c */

void ngx_http_logbroker_room_init(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_room_exit(ngx_http_logbroker_worker_t *w);
ngx_uint_t ngx_http_logbroker_no_room(ngx_http_logbroker_worker_t *w,
    uint64_t need);
void ngx_http_logbroker_room_wanted(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_room_tick(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_share(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_leave(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_left(ngx_http_logbroker_worker_t *w);

/* hang.c */

void ngx_http_logbroker_hang_init(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_hang_exit(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_hang_watch(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_hang_over(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_hang_status(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_waits_t *waits);

/* keys.c */

ngx_int_t ngx_http_logbroker_keys_init_zone(ngx_shm_zone_t *zone, void *data);
ngx_uint_t ngx_http_logbroker_key(ngx_http_logbroker_ctx_t *ctx);
ngx_uint_t ngx_http_logbroker_keys_begin(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, uint32_t crc, size_t len);
void ngx_http_logbroker_keys_end(ngx_http_logbroker_worker_t *w,
    const u_char *hash, ngx_uint_t end);
void ngx_http_logbroker_keys_end_group(ngx_http_logbroker_worker_t *w,
    ngx_queue_t *queue, ngx_uint_t end);
void ngx_http_logbroker_keys_look(ngx_http_logbroker_worker_t *w);

/* module.c */

void ngx_http_logbroker_needs_spool(ngx_conf_t *cf, ngx_str_t *name);

/* ring.c */

void ngx_http_logbroker_create_thread(void *data, ngx_log_t *log);
void ngx_http_logbroker_create_done(ngx_event_t *ev);
void ngx_http_logbroker_create(ngx_http_logbroker_worker_t *w,
    ngx_uint_t spares);
void ngx_http_logbroker_opened(ngx_http_logbroker_worker_t *w);
ngx_int_t ngx_http_logbroker_init_process(ngx_cycle_t *cycle);
void ngx_http_logbroker_exit_process(ngx_cycle_t *cycle);
void ngx_http_logbroker_claim(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_fill(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_close(ngx_http_logbroker_worker_t *w,
    lb_writer_t *writer);
ngx_uint_t ngx_http_logbroker_waits(ngx_http_logbroker_worker_t *w);
void ngx_http_logbroker_problem(ngx_http_logbroker_worker_t *w,
    ngx_uint_t level, int code, const char *text);

/* status.c */

ngx_int_t ngx_http_logbroker_add_variables(ngx_conf_t *cf);
ngx_int_t ngx_http_logbroker_status_handler(ngx_http_request_t *r);

/* The next ring of the spool, or the words why it cannot be read. */
ngx_uint_t ngx_http_logbroker_status_ring(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_flusher_t *flusher, uint32_t slot, lb_ring_info_t *info,
    lb_error_t *err);
ngx_uint_t ngx_http_logbroker_flusher_runs(ngx_http_logbroker_worker_t *w);

/* Looks whether flusher.json was touched; how long ago in milliseconds, or
 * NGX_ERROR without one. */
ngx_msec_int_t ngx_http_logbroker_flusher_age(ngx_http_logbroker_worker_t *w);
uint64_t ngx_http_logbroker_lag_us(ngx_http_logbroker_flusher_t *flusher);

/* metrics.c */

size_t ngx_http_logbroker_metrics_size(ngx_uint_t rings);
u_char *ngx_http_logbroker_metrics(ngx_http_logbroker_worker_t *w, u_char *p,
    u_char *last, uint32_t *slots, ngx_int_t n,
    ngx_http_logbroker_flusher_t *flusher);


#endif /* _NGX_HTTP_LOGBROKER_MODULE_H_INCLUDED_ */
