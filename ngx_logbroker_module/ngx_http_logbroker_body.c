/*
 * The body of a request as one piece of memory, decoded.
 *
 * A body in a single buffer, the usual case, is not copied, and its memory is
 * given back as soon as its record is staged.  One in several buffers is
 * joined in memory that the worker keeps.  One in a temporary file is read,
 * and decoded, by a thread.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"


static ngx_buf_t *ngx_http_logbroker_body_buffer(ngx_http_request_t *r);
static void ngx_http_logbroker_body_release(ngx_http_logbroker_ctx_t *ctx);
static size_t ngx_http_logbroker_body_limit(ngx_http_logbroker_worker_t *w,
    ngx_http_request_t *r);
static void ngx_http_logbroker_body_thread(void *data, ngx_log_t *log);
static void ngx_http_logbroker_body_thread_done(ngx_event_t *ev);
static void ngx_http_logbroker_job_free(ngx_http_logbroker_job_t *job);
static void ngx_http_logbroker_scratch(ngx_http_logbroker_mem_t *mem);


/*
 * Has nginx read the body.  What came with the header stays in the header's
 * buffer, and nginx reads the rest into another one, unless there is room for
 * it behind the header.  Where that would make two pieces, nginx is given a
 * buffer of the right size in place of the header's, as long as it takes to
 * start reading: then the body is one piece from the beginning.
 */

ngx_int_t
ngx_http_logbroker_body_request(ngx_http_logbroker_ctx_t *ctx,
    ngx_http_client_body_handler_pt handler)
{
    ngx_int_t            rc;
    ngx_buf_t           *b, *header_in;
    ngx_http_request_t  *r;

    r = ctx->request;

    r->request_body_in_single_buf = 1;

    header_in = r->header_in;

    b = ngx_http_logbroker_body_buffer(r);

    if (b) {
        b->last = ngx_cpymem(b->last, header_in->pos,
                             header_in->last - header_in->pos);
        header_in->pos = header_in->last;

        r->header_in = b;
    }

    ctx->requesting = 1;

    rc = ngx_http_read_client_request_body(r, handler);

    ctx->requesting = 0;

    r->header_in = header_in;

    return rc;
}


/* The buffer for a body of which a part came with the header, or NULL. */

static ngx_buf_t *
ngx_http_logbroker_body_buffer(ngx_http_request_t *r)
{
    off_t                      len, rest;
    ngx_buf_t                 *b;
    ngx_http_core_loc_conf_t  *clcf;

    if (r != r->main || r->request_body || r->discard_body
        || r->http_version > NGX_HTTP_VERSION_11
        || r->headers_in.chunked)
    {
        return NULL;
    }

    b = r->header_in;
    len = r->headers_in.content_length_n;
    rest = len - (b->last - b->pos);

    if (rest == len || rest <= b->end - b->last) {
        return NULL;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (len > (off_t) clcf->client_body_buffer_size) {
        return NULL;
    }

    /* without memory nginx goes its own way, or fails */
    return ngx_create_temp_buf(r->pool, len);
}


ngx_uint_t
ngx_http_logbroker_body_in_file(ngx_http_request_t *r)
{
    ngx_chain_t  *cl;

    if (r->request_body == NULL) {
        return 0;
    }

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        if (!ngx_buf_in_memory(cl->buf) && cl->buf->in_file) {
            return 1;
        }
    }

    return 0;
}


size_t
ngx_http_logbroker_body_len(ngx_http_request_t *r)
{
    size_t        len;
    ngx_chain_t  *cl;

    len = 0;

    if (r->request_body) {
        for (cl = r->request_body->bufs; cl; cl = cl->next) {
            len += ngx_buf_size(cl->buf);
        }
    }

    return len;
}


/*
 * Is what nginx calls the body all of what the client has sent?  Not if the
 * request was streamed to somebody (proxy_request_buffering off) who failed:
 * what was passed on is gone, the rest may still be on its way.  Nor if the
 * body was thrown away, or is not asked for by the request that this one is
 * a copy of.
 */

ngx_uint_t
ngx_http_logbroker_body_whole(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_http_request_t       *r;
    ngx_http_request_body_t  *rb;

    r = ctx->request;
    rb = r->request_body;

    return rb
           && !ctx->streamed
           && !r->main->reading_body
           && !r->main->discard_body
           && rb->rest <= 0
           && (r->headers_in.content_length_n <= 0
               || (off_t) ctx->len >= r->headers_in.content_length_n);
}


/* The body stays valid until ngx_http_logbroker_body_done().  0 or a reason;
 * the words are in ctx->error then. */

ngx_uint_t
ngx_http_logbroker_body(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, ngx_str_t *body)
{
    u_char                    *p, *last;
    char                      *error;
    ngx_buf_t                 *b;
    ngx_uint_t                 reason;
    ngx_chain_t               *cl;
    ngx_http_request_t        *r;
    ngx_http_logbroker_job_t  *job;

    job = ctx->job;

    if (job) {
        body->data = job->body.data;
        body->len = job->body.len;
        return 0;
    }

    r = ctx->request;

    body->data = NULL;
    body->len = 0;

    if (r->request_body == NULL) {
        return 0;
    }

    /* buffers often are neighbours in the same memory */

    last = NULL;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (b->pos == b->last) {
            continue;
        }

        if (body->data == NULL) {
            body->data = b->pos;

        } else if (b->pos != last) {
            break;
        }

        last = b->last;
    }

    if (cl == NULL) {
        body->len = last - body->data;

    } else {

        if (ngx_http_logbroker_mem_grow(&w->joined, ctx->len) != NGX_OK) {
            return NGX_HTTP_LOGBROKER_NO_MEMORY;
        }

        p = w->joined.data;

        for (cl = r->request_body->bufs; cl; cl = cl->next) {
            p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
        }

        body->data = w->joined.data;
        body->len = p - w->joined.data;
    }

    if (ctx->encoding == NGX_HTTP_LOGBROKER_IDENTITY || body->len == 0) {
        return 0;
    }

    reason = ngx_http_logbroker_decode(&w->codec, ctx->encoding, body->data,
                                       body->len,
                                       ngx_http_logbroker_body_limit(w, r),
                                       &w->decoded, &error);
    if (reason) {
        ctx->error.data = (u_char *) error;
        ctx->error.len = ngx_strlen(error);
        return reason;
    }

    body->data = w->decoded.data;
    body->len = w->decoded.len;

    return 0;
}


/* What client_max_body_size allows; what a ring can hold if that is off. */

static size_t
ngx_http_logbroker_body_limit(ngx_http_logbroker_worker_t *w,
    ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->client_max_body_size) {
        return clcf->client_max_body_size;
    }

    return w->capacity;
}


void
ngx_http_logbroker_body_done(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx)
{
    if (ctx->job) {
        ngx_http_logbroker_job_free(ctx->job);
        ctx->job = NULL;
    }

    ngx_http_logbroker_scratch(&w->joined);
    ngx_http_logbroker_scratch(&w->decoded);

    ngx_http_logbroker_body_release(ctx);
}


/*
 * A body of some size is memory of its own.  Nobody needs it while the request
 * waits for its group, and the next body finds it still in the processor's
 * caches.  Subrequests, as of the mirror module, may share it: then it stays.
 */

static void
ngx_http_logbroker_body_release(ngx_http_logbroker_ctx_t *ctx)
{
    ngx_http_request_t       *r;
    ngx_http_request_body_t  *rb;

    r = ctx->request;
    rb = r->request_body;

    if (rb == NULL || rb->buf == NULL || rb->temp_file
        || r != r->main || r->http_version > NGX_HTTP_VERSION_11
        || r->count != (ctx->requesting ? 2 : 1))
    {
        return;
    }

    if (ngx_pfree(r->pool, rb->bufs->buf->start) == NGX_OK) {
        rb->bufs = NULL;
        rb->buf = NULL;
    }
}


static void
ngx_http_logbroker_scratch(ngx_http_logbroker_mem_t *mem)
{
    if (mem->size > NGX_HTTP_LOGBROKER_SCRATCH_MAX) {
        ngx_http_logbroker_mem_free(mem);
    }
}


/* Starts reading a body from its file.  0 or a reason. */

ngx_uint_t
ngx_http_logbroker_body_read(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx)
{
    size_t                     n;
    ngx_buf_t                 *b, *file;
    ngx_chain_t               *cl;
    ngx_http_request_t        *r;
    ngx_http_logbroker_job_t  *job;

    r = ctx->request;

    job = ngx_calloc(sizeof(ngx_http_logbroker_job_t), r->connection->log);
    if (job == NULL) {
        return NGX_HTTP_LOGBROKER_NO_MEMORY;
    }

    job->worker = w;
    job->ctx = ctx;
    job->fd = NGX_INVALID_FILE;

    if (ngx_http_logbroker_mem_grow(&job->body, ctx->len) != NGX_OK) {
        ngx_http_logbroker_job_free(job);
        return NGX_HTTP_LOGBROKER_NO_MEMORY;
    }

    w->jobs++;
    w->reading += ctx->len;
    job->len = ctx->len;

    /* nginx gives one buffer with the whole file; a body filter of another
     * module may have put memory before it, which is copied here */

    file = NULL;
    n = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {

            if (b->pos == b->last) {
                continue;
            }

            if (file == NULL) {
                ngx_memcpy(job->body.data + n, b->pos, b->last - b->pos);
                n += b->last - b->pos;
                continue;
            }

        } else if (b->in_file && file == NULL) {
            file = b;
            continue;

        } else if (ngx_buf_size(b) == 0) {
            continue;
        }

        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "logbroker: unexpected buffers of a request body");
        ngx_http_logbroker_job_free(job);
        return NGX_HTTP_LOGBROKER_BODY_FAILED;
    }

    job->body.len = n;
    job->offset = file->file_pos;
    job->encoding = ctx->encoding;
    job->limit = ngx_http_logbroker_body_limit(w, r);

    /* the request's own descriptor is closed when the request goes away */

    job->fd = fcntl(file->file->fd, F_DUPFD_CLOEXEC, 0);

    if (job->fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, ngx_errno,
                      "logbroker: cannot duplicate the descriptor of \"%V\"",
                      &file->file->name);
        ngx_http_logbroker_job_free(job);
        return NGX_HTTP_LOGBROKER_BODY_FAILED;
    }

    job->task.ctx = job;
    job->task.handler = ngx_http_logbroker_body_thread;
    job->task.event.handler = ngx_http_logbroker_body_thread_done;
    job->task.event.data = job;
    job->task.event.log = ngx_cycle->log;

    if (ngx_thread_task_post(w->pool, &job->task) != NGX_OK) {
        ngx_http_logbroker_job_free(job);
        return NGX_HTTP_LOGBROKER_BODY_FAILED;
    }

    job->running = 1;
    ctx->job = job;
    ctx->state = NGX_HTTP_LOGBROKER_READING;

    ngx_http_logbroker_hold(w);

    return 0;
}


static void
ngx_http_logbroker_body_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_job_t *job = data;

    ssize_t                     n;
    ngx_http_logbroker_mem_t    raw;
    ngx_http_logbroker_codec_t  codec;

    while (job->body.len < job->len) {

        n = pread(job->fd, job->body.data + job->body.len,
                  job->len - job->body.len, job->offset);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n <= 0) {
            job->err = n == 0 ? 0 : ngx_errno;
            job->reason = NGX_HTTP_LOGBROKER_BODY_FAILED;
            return;
        }

        job->body.len += n;
        job->offset += n;
    }

    if (job->encoding == NGX_HTTP_LOGBROKER_IDENTITY || job->len == 0) {
        return;
    }

    raw = job->body;

    ngx_memzero(&job->body, sizeof(ngx_http_logbroker_mem_t));
    ngx_memzero(&codec, sizeof(ngx_http_logbroker_codec_t));

    job->reason = ngx_http_logbroker_decode(&codec, job->encoding, raw.data,
                                            raw.len, job->limit, &job->body,
                                            &job->error);

    ngx_http_logbroker_codec_free(&codec);
    ngx_http_logbroker_mem_free(&raw);
}


static void
ngx_http_logbroker_body_thread_done(ngx_event_t *ev)
{
    ngx_uint_t                    reason;
    ngx_connection_t             *c;
    ngx_http_logbroker_job_t     *job;
    ngx_http_logbroker_ctx_t     *ctx;
    ngx_http_logbroker_worker_t  *w;

    job = ev->data;
    w = job->worker;
    ctx = job->ctx;

    job->running = 0;

    if (ctx == NULL) {
        /* the client left */
        ngx_http_logbroker_job_free(job);

    } else if (job->reason) {

        reason = job->reason;
        ctx->job = NULL;
        c = ctx->request->connection;

        ngx_http_set_log_request(c->log, ctx->request);

        if (reason == NGX_HTTP_LOGBROKER_BODY_FAILED) {
            ngx_log_error(NGX_LOG_CRIT, c->log, job->err,
                          "logbroker: cannot read a request body back from "
                          "its temporary file");

        } else {
            ctx->error.data = (u_char *) job->error;
            ctx->error.len = ngx_strlen(job->error);
        }

        ngx_http_logbroker_job_free(job);
        ngx_http_logbroker_refused(ctx, reason, 1);

    } else {
        w->reading += job->body.size - job->len;
        job->len = job->body.size;

        /* its memory is taken already: before those that still wait */
        ngx_http_logbroker_park_first(w, ctx);
    }

    ngx_http_logbroker_unpark(w);
    ngx_http_logbroker_hold(w);
}


/* The request goes away: the job, if it runs, finishes alone. */

void
ngx_http_logbroker_body_abandon(ngx_http_logbroker_ctx_t *ctx)
{
    if (ctx->job == NULL) {
        return;
    }

    if (ctx->job->running) {
        ctx->job->ctx = NULL;

    } else {
        ngx_http_logbroker_job_free(ctx->job);
    }

    ctx->job = NULL;
}


static void
ngx_http_logbroker_job_free(ngx_http_logbroker_job_t *job)
{
    if (job->len) {
        job->worker->jobs--;
        job->worker->reading -= job->len;
    }

    if (job->fd != NGX_INVALID_FILE && ngx_close_file(job->fd) == -1) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      ngx_close_file_n " of a request body failed");
    }

    ngx_http_logbroker_mem_free(&job->body);
    ngx_free(job);
}
