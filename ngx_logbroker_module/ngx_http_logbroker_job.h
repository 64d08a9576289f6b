/*
 * A job: a thread makes a record of a large body.  It owns its memory and its
 * descriptor, so that the request may go away at any time.
 */


#ifndef _NGX_HTTP_LOGBROKER_JOB_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_JOB_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/format.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_mem.h"


typedef struct ngx_http_logbroker_job_s     ngx_http_logbroker_job_t;


struct ngx_http_logbroker_job_s {
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
    ngx_http_logbroker_open_pt       open;
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
    int                              contexts;
    uint32_t                         crc;

    /* for the answer */
    lb_reply_t                       reply;
    uint64_t                         replaced;
    ngx_uint_t                       rejected;      /* the first one: */

    /* or why there is no record */
    ngx_uint_t                       reason;
    char                            *error;
    size_t                           row;
    size_t                           column;
    ngx_err_t                        err;
    char                             words[512];
    ngx_uint_t                       decoding;      /* failed at that */

    /* of the event loop alone; no word is shared with what the thread writes */
    ngx_uint_t                       running;
};


/* Runs it: the handler of job->task. */
void ngx_http_logbroker_job_thread(void *data, ngx_log_t *log);

void ngx_http_logbroker_job_free(ngx_http_logbroker_job_t *job);


#endif /* _NGX_HTTP_LOGBROKER_JOB_H_INCLUDED_ */
