/*
 * A job: a thread makes a record of a large body.  It owns its memory and its
 * descriptor, so that the request may die at any time.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/format.h"
#include "event/scan.h"
#include "spool/lb_crc32c.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_decode.h"
#include "ngx_http_logbroker_mem.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_record.h"
#include "ngx_http_logbroker_job.h"


static void ngx_http_logbroker_job_run(ngx_http_logbroker_job_t *job);
static ngx_uint_t ngx_http_logbroker_job_join(ngx_http_logbroker_job_t *job);
static void ngx_http_logbroker_job_scan(ngx_http_logbroker_job_t *job,
    u_char *in, size_t len);
static void ngx_http_logbroker_job_drop(ngx_http_logbroker_job_t *job);


/* In the thread: nothing of nginx but its types. */

void
ngx_http_logbroker_job_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_job_t *job = data;

    ngx_http_logbroker_job_run(job);
    ngx_http_logbroker_job_drop(job);

    ngx_http_logbroker_mem_free(&job->raw);
    ngx_http_logbroker_mem_free(&job->decoded);

    if (job->reason) {
        ngx_http_logbroker_mem_free(&job->record);
    }
}


static void
ngx_http_logbroker_job_run(ngx_http_logbroker_job_t *job)
{
    ngx_str_t                    body;
    ngx_http_logbroker_codec_t   codec;

    job->reason = ngx_http_logbroker_job_join(job);

    if (job->reason) {
        return;
    }

    if (job->raw.data) {
        body.data = job->raw.data;
        body.len = job->raw.len;

    } else {
        body = job->pieces[0];
    }

    job->decoding = 1;

    if (job->open) {
        job->reason = job->open(&body, job->limit, &job->encoding,
                                &job->error);
        if (job->reason) {
            return;
        }
    }

    if (job->encoding != NGX_HTTP_LOGBROKER_IDENTITY) {

        ngx_memzero(&codec, sizeof(ngx_http_logbroker_codec_t));

        job->reason = ngx_http_logbroker_decode(&codec, job->encoding,
                                                body.data, body.len,
                                                job->limit, &job->decoded,
                                                &job->error);

        ngx_http_logbroker_codec_free(&codec);

        /* not needed any more, before the record needs memory */

        ngx_http_logbroker_job_drop(job);
        ngx_http_logbroker_mem_free(&job->raw);

        if (job->reason) {
            return;
        }

        body.data = job->decoded.data;
        body.len = job->decoded.len;
    }

    job->decoding = 0;

    ngx_http_logbroker_job_scan(job, body.data, body.len);
}


/* Makes the body one piece, if it is not. */

static ngx_uint_t
ngx_http_logbroker_job_join(ngx_http_logbroker_job_t *job)
{
    ssize_t     n;
    ngx_uint_t  i;

    if (job->fd == NGX_INVALID_FILE && job->npieces == 1) {
        return 0;
    }

    if (ngx_http_logbroker_mem_grow(&job->raw, job->len) != NGX_OK) {
        return NGX_HTTP_LOGBROKER_NO_MEMORY;
    }

    for (i = 0; i < job->npieces; i++) {
        ngx_memcpy(job->raw.data + job->raw.len, job->pieces[i].data,
                   job->pieces[i].len);
        job->raw.len += job->pieces[i].len;
    }

    while (job->raw.len < job->len) {

        n = pread(job->fd, job->raw.data + job->raw.len,
                  job->len - job->raw.len, job->offset);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n <= 0) {
            job->err = n == 0 ? 0 : errno;
            return NGX_HTTP_LOGBROKER_BODY_FAILED;
        }

        job->raw.len += n;
        job->offset += n;
    }

    return 0;
}


/*
 * The record's memory is asked for as large as it may become: what is not
 * used is no memory yet.
 */

static void
ngx_http_logbroker_job_scan(ngx_http_logbroker_job_t *job, u_char *in,
    size_t len)
{
    u_char            *p;
    size_t             cap;
    lb_scan_status_t   rc;
    lb_scan_result_t   res;

    cap = job->format->out_max(len);
    cap = ngx_min(cap, job->max_body);

    for ( ;; ) {

        if (ngx_http_logbroker_mem_grow(&job->record, job->header + cap + 8)
            != NGX_OK)
        {
            job->reason = NGX_HTTP_LOGBROKER_NO_MEMORY;
            return;
        }

        p = job->record.data + job->header;

        job->reply.len = 0;

        rc = lb_format_scan(job->format, in, len, p, cap, &job->options, &res);

        if (rc != LB_SCAN_NOSPACE || cap == job->max_body) {
            break;
        }

        /* more than a body grows to, such as what a wrapper unfolds to */

        cap = job->max_body;
        ngx_http_logbroker_mem_free(&job->record);
    }

    job->reason = ngx_http_logbroker_record_reason(rc, &res);
    job->rejected = res.rejected;
    job->replaced = res.replaced;

    if (rc == LB_SCAN_BAD || rc == LB_SCAN_TOOBIG || res.rejected) {
        job->row = res.row;
        job->column = res.column;
        job->error = (char *) lb_format_explain(job->format, in, len, &res,
                                                job->words,
                                                sizeof(job->words));
    }

    if (job->reason) {
        return;
    }

    job->events = res.events;
    job->contexts = res.contexts;
    job->payload = res.out_len;
    job->crc = lb_crc32c(0, p, res.out_len);

    /* what was touched in vain goes back; smaller, so it cannot fail */
    ngx_http_logbroker_mem_trim(&job->record,
                                job->header + job->payload + 8);
}


/* Lets go of the body as it was sent. */

static void
ngx_http_logbroker_job_drop(ngx_http_logbroker_job_t *job)
{
    free(job->pieces);
    job->pieces = NULL;
    job->npieces = 0;

    free(job->block);
    job->block = NULL;
}


void
ngx_http_logbroker_job_free(ngx_http_logbroker_job_t *job)
{
    ngx_http_logbroker_job_drop(job);

    if (job->fd != NGX_INVALID_FILE && ngx_close_file(job->fd) == -1) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      ngx_close_file_n " of a request body failed");
    }

    ngx_http_logbroker_mem_free(&job->raw);
    ngx_http_logbroker_mem_free(&job->decoded);
    ngx_http_logbroker_mem_free(&job->record);
    lb_reply_free(&job->reply);
    free(job->params);
    ngx_free(job);
}
