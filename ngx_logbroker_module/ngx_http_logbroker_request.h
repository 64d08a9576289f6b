/*
 * A request: from its header to its body, which stage.c takes.
 */


#ifndef _NGX_HTTP_LOGBROKER_REQUEST_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_REQUEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_format.h"
#include "event/format.h"
#include "event/frames.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_dialect.h"


typedef enum {
    NGX_HTTP_LOGBROKER_NEW = 0,
    NGX_HTTP_LOGBROKER_QUEUED,                      /* in w->large.queue */
    NGX_HTTP_LOGBROKER_WORKING,                     /* has a job */
    NGX_HTTP_LOGBROKER_PARKED,                      /* in w->stage.parked */
    NGX_HTTP_LOGBROKER_STAGED,                      /* in a group */
    NGX_HTTP_LOGBROKER_DONE
} ngx_http_logbroker_state_e;


struct ngx_http_logbroker_ctx_s {
    ngx_queue_t                      queue;     /* QUEUED, PARKED, STAGED */
    ngx_http_request_t              *request;
    struct ngx_http_logbroker_job_s *job;

    /* 0: its events are stored, or the reason why not; ctx is gone then */
    void                           (*done)(ngx_http_logbroker_ctx_t *ctx,
                                           ngx_uint_t reason);

    const ngx_http_logbroker_dialect_t
                                    *dialect;
    const lb_format_t *const        *formats;       /* to choose from */
    const lb_format_t               *format;
    const ngx_str_t                 *coding;        /* see dialect.h */
    ngx_http_logbroker_open_pt       open;
    ngx_str_t                        params;        /* see lb_param() */
    ngx_str_t                        stream;
    ngx_str_t                        streams;       /* that may be written;
                                                     * "": all */
    size_t                           len;           /* of the body as sent */
    u_char                           key[LB_KEY_LEN];

    /* one of many that came as one: see gathered.h; else NULL */
    const lb_frame_t                *frame;

    /* of the record */
    ngx_uint_t                       events;
    size_t                           bytes;
    ngx_uint_t                       slot;

    /* of the answer: what the scan left; first: why the first event that was
     * rejected was, error of an answer that is no refusal for another reason */
    lb_reply_t                       reply;
    ngx_uint_t                       rejected;
    uint64_t                         replaced;      /* of the record */
    ngx_str_t                        first;
    size_t                           first_row;
    size_t                           first_column;

    /* of the refusal */
    ngx_uint_t                       reason;
    ngx_str_t                        error;
    size_t                           row;           /* 0: means nothing */
    size_t                           column;

    unsigned                         state:3;
    unsigned                         encoding:4;    /* row of a coding */
    unsigned                         requesting:1;  /* inside the handler */
    unsigned                         has_slot:1;
    unsigned                         has_key:1;
    unsigned                         digest:1;      /* is the key */
    unsigned                         streamed:1;    /* its body, elsewhere */
    unsigned                         waited:1;      /* in any queue */
};


/* The content handler. */
ngx_int_t ngx_http_logbroker_handler(ngx_http_request_t *r);

/* The client has gone: whatever the request waits for goes on without it. */
void ngx_http_logbroker_forget(ngx_http_logbroker_ctx_t *ctx);


#endif /* _NGX_HTTP_LOGBROKER_REQUEST_H_INCLUDED_ */
