/*
 * A record, for those who watch its ring: each of its events as a row, in a
 * frame of server-sent events.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "event/lift.h"
#include "event/lines.h"
#include "event/put.h"
#include "event/row.h"
#include "spool/lb_uuid.h"

#include "ngx_http_logbroker_mem.h"
#include "ngx_http_logbroker_tail_read.h"
#include "ngx_http_logbroker_tail_show.h"
#include "ngx_http_logbroker_tail_text.h"


static void ngx_http_logbroker_tail_keep(
    ngx_http_logbroker_tail_group_t *group);
static void ngx_http_logbroker_tail_take_back(
    ngx_http_logbroker_tail_group_t *group);
static ngx_int_t ngx_http_logbroker_tail_event(
    ngx_http_logbroker_tail_job_t *job, ngx_http_logbroker_tail_group_t *group,
    ngx_http_logbroker_tail_ring_t *ring, lb_record_t *rec, lb_line_t *line,
    uint64_t seq);
static ngx_int_t ngx_http_logbroker_tail_put(ngx_http_logbroker_tail_feed_t *f,
    ngx_http_logbroker_tail_job_t *job, ngx_str_t *id, ngx_str_t *row);
static ngx_uint_t ngx_http_logbroker_tail_room(ngx_http_logbroker_tail_feed_t *f,
    size_t need);
static ngx_int_t ngx_http_logbroker_tail_lines(
    ngx_http_logbroker_tail_job_t *job, ngx_http_logbroker_tail_group_t *group,
    ngx_http_logbroker_tail_ring_t *ring, lb_record_t *rec, uint64_t seq);


void
ngx_http_logbroker_tail_dropped(ngx_http_logbroker_tail_group_t *group,
    uint64_t n)
{
    ngx_queue_t                     *q;
    ngx_http_logbroker_tail_feed_t  *f;

    for (q = ngx_queue_head(&group->feeds);
         q != ngx_queue_sentinel(&group->feeds);
         q = ngx_queue_next(q))
    {
        f = ngx_queue_data(q, ngx_http_logbroker_tail_feed_t, queue);
        f->dropped += n;
    }
}


static void
ngx_http_logbroker_tail_keep(ngx_http_logbroker_tail_group_t *group)
{
    ngx_queue_t                     *q;
    ngx_http_logbroker_tail_feed_t  *f;

    for (q = ngx_queue_head(&group->feeds);
         q != ngx_queue_sentinel(&group->feeds);
         q = ngx_queue_next(q))
    {
        f = ngx_queue_data(q, ngx_http_logbroker_tail_feed_t, queue);
        f->kept = f->out.len;
        f->kept_dropped = f->dropped;
    }
}


static void
ngx_http_logbroker_tail_take_back(ngx_http_logbroker_tail_group_t *group)
{
    ngx_queue_t                     *q;
    ngx_http_logbroker_tail_feed_t  *f;

    for (q = ngx_queue_head(&group->feeds);
         q != ngx_queue_sentinel(&group->feeds);
         q = ngx_queue_next(q))
    {
        f = ngx_queue_data(q, ngx_http_logbroker_tail_feed_t, queue);
        f->out.len = f->kept;
        f->dropped = f->kept_dropped;
    }
}


ngx_int_t
ngx_http_logbroker_tail_record(ngx_http_logbroker_tail_job_t *job,
    ngx_http_logbroker_tail_group_t *group,
    ngx_http_logbroker_tail_ring_t *ring, lb_record_t *rec, uint64_t seq)
{
    lb_record_t  again;

    ngx_http_logbroker_tail_keep(group);

    /* one of several views may have been written over while it was read: then
     * it does not verify any more */

    if (ngx_http_logbroker_tail_lines(job, group, ring, rec, seq) != NGX_OK
        || (rec->next - rec->position > LB_READER_VIEW
            && lb_reader_record(ring->reader, rec->position, rec->next, 1,
                                &again)
               != 0))
    {
        ngx_http_logbroker_tail_take_back(group);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_tail_lines(ngx_http_logbroker_tail_job_t *job,
    ngx_http_logbroker_tail_group_t *group,
    ngx_http_logbroker_tail_ring_t *ring, lb_record_t *rec, uint64_t seq)
{
    size_t                     n;
    uint64_t                   p, end, at;
    lb_line_t                  line, whole;
    lb_lines_t                 lines;
    const uint8_t             *view;

    at = rec->first_seq;
    end = rec->payload + rec->payload_len;

    lb_lines_start(&lines);
    lb_context_start(&job->context);

    for (p = rec->payload; p < end; p += n) {

        if (lb_reader_view(ring->reader, p, end, 1, &view, &n) != 0) {
            return NGX_ERROR;
        }

        lb_lines_view(&lines, view, n);

        while (lb_lines_next(&lines, &line)) {

            if (line.context) {

                if (lb_context_line(&job->context, &line) != 0) {
                    return NGX_ERROR;
                }

                continue;
            }

            whole = line;

            if (!line.begins || !line.ends) {

                if (line.begins) {
                    job->line.len = 0;
                }

                if (ngx_http_logbroker_mem_grow(&job->line,
                                                job->line.len + line.len + 1)
                    != NGX_OK)
                {
                    return NGX_ERROR;
                }

                ngx_memcpy(job->line.data + job->line.len, line.data,
                           line.len);
                job->line.len += line.len;

                whole.data = job->line.data;
                whole.len = job->line.len;
            }

            if (!line.ends) {
                continue;
            }

            if (at >= seq
                && ngx_http_logbroker_tail_event(job, group, ring, rec, &whole,
                                                 at)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }

            at++;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_tail_event(ngx_http_logbroker_tail_job_t *job,
    ngx_http_logbroker_tail_group_t *group,
    ngx_http_logbroker_tail_ring_t *ring, lb_record_t *rec, lb_line_t *line,
    uint64_t seq)
{
    char                             uuid[LB_UUID_TEXT];
    size_t                           len, size;
    u_char                           id[NGX_HTTP_LOGBROKER_TAIL_MARK_LEN];
    lb_out_t                         out;
    lb_str_t                         stream;
    unsigned                         columns;
    ngx_str_t                        here, row;
    ngx_queue_t                     *q;
    lb_fields_t                      fields;
    lb_context_t                    *context;
    const uint8_t                   *event;
    ngx_http_logbroker_tail_feed_t  *f;
    ngx_http_logbroker_tail_mark_t   mark;

    context = &job->context;
    event = line->data;
    len = line->len;

    if (context->fields.len > 2) {

        if (ngx_http_logbroker_mem_grow(&job->event, len + context->fields.len)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        len = lb_context_event(context, event, len, job->event.data);
        event = job->event.data;
    }

    size = 256 + LB_STREAM_MAX + lb_row_max(len, context);

    if (ngx_http_logbroker_mem_grow(&job->scratch, lb_lift_scratch(len))
        != NGX_OK
        || ngx_http_logbroker_mem_grow(&job->row, size) != NGX_OK)
    {
        return NGX_ERROR;
    }

    columns = LB_LIFT_ALL;
    columns &= context->resource.len > 2 ? ~LB_LIFT_RESOURCE : LB_LIFT_ALL;
    columns &= context->scope.len > 2 ? ~LB_LIFT_SCOPE : LB_LIFT_ALL;

    lb_lift(event, len, rec->received_us, columns, job->scratch.data, &fields);

    stream.data = (uint8_t *) rec->stream;
    stream.len = rec->stream_len;

    if (context->stream.len && context->stream.len <= LB_STREAM_MAX) {
        stream = context->stream;
    }

    lb_uuid_format(ring->info.uuid, uuid);

    out.o = job->row.data;
    out.end = job->row.data + job->row.size;

    out.o = ngx_sprintf(out.o, "{\"ring\":\"%s\",\"seq\":%uL,\"stream\":\"",
                        uuid, seq);

    if (lb_out_put(&out, stream.data, stream.len) || lb_out_puts(&out, "\",")
        || lb_row_put(&out, &fields, context) || lb_put_end(&out))
    {
        /* more than a row can be */
        ngx_http_logbroker_tail_dropped(group, 1);
        return NGX_OK;
    }

    row.data = job->row.data;
    row.len = out.o - job->row.data - 1;
    job->folded.len = 0;

    ngx_memcpy(mark.ring, ring->info.uuid, LB_UUID_LEN);
    mark.position = rec->position;
    mark.seq = seq + 1;

    here.data = id;
    here.len = ngx_http_logbroker_tail_print(id, &mark) - id;

    for (q = ngx_queue_head(&group->feeds);
         q != ngx_queue_sentinel(&group->feeds);
         q = ngx_queue_next(q))
    {
        f = ngx_queue_data(q, ngx_http_logbroker_tail_feed_t, queue);

        if (!ngx_http_logbroker_tail_listed(&f->stream, stream.data,
                                            stream.len)
            || !ngx_http_logbroker_tail_listed(&f->level, fields.level.data,
                                               fields.level.len)
            || !ngx_http_logbroker_tail_listed(&f->service,
                           fields.service.len ? fields.service.data
                                              : context->service.data,
                           fields.service.len ? fields.service.len
                                              : context->service.len))
        {
            continue;
        }

        if (ngx_http_logbroker_tail_put(f, job, &here, &row) != NGX_OK) {
            f->dropped++;
        }
    }

    return NGX_OK;
}


/* NGX_DECLINED: there is no room for it. */

static ngx_int_t
ngx_http_logbroker_tail_put(ngx_http_logbroker_tail_feed_t *f,
    ngx_http_logbroker_tail_job_t *job, ngx_str_t *id, ngx_str_t *row)
{
    u_char  *p;

    if (f->text.len) {

        if (job->folded.len == 0) {

            if (ngx_http_logbroker_mem_grow(&job->folded, 2 * row->len)
                != NGX_OK)
            {
                return NGX_DECLINED;
            }

            job->folded.len = ngx_http_logbroker_tail_fold(job->folded.data,
                                                           row->data,
                                                           row->len);
        }

        if (memmem(job->folded.data, job->folded.len, f->text.data,
                   f->text.len)
            == NULL)
        {
            return NGX_OK;
        }
    }

    if (f->dropped) {
        ngx_http_logbroker_tail_tell(f);
    }

    if (f->dropped
        || !ngx_http_logbroker_tail_room(f, 32 + id->len + job->others.len
                                            + row->len))
    {
        return NGX_DECLINED;
    }

    p = f->out.data + f->out.len;

    p = ngx_cpymem(p, "id: ", 4);
    p = ngx_cpymem(p, id->data, id->len);
    p = ngx_cpymem(p, job->others.data, job->others.len);
    p = ngx_cpymem(p, "\ndata: ", 7);
    p = ngx_cpymem(p, row->data, row->len);
    p = ngx_cpymem(p, "\n\n", 2);

    f->out.len = p - f->out.data;
    f->placed = 1;

    return NGX_OK;
}


/* How many were not shown, if there is room to say it. */

void
ngx_http_logbroker_tail_tell(ngx_http_logbroker_tail_feed_t *f)
{
    u_char  *p;

    if (f->dropped == 0 || !ngx_http_logbroker_tail_room(f, 128)) {
        return;
    }

    p = f->out.data + f->out.len;
    p = ngx_sprintf(p, "event: dropped\ndata: {\"events\":%uL}\n\n", f->dropped);

    f->out.len = p - f->out.data;
    f->dropped = 0;
    f->placed = 0;
}


/* A frame without data is no event: it moves the id that a client keeps. */

void
ngx_http_logbroker_tail_place(ngx_http_logbroker_tail_group_t *group,
    ngx_http_logbroker_tail_feed_t *f)
{
    u_char      *p;
    ngx_uint_t   i;

    if (f->dropped || (f->placed && !f->quiet)
        || !ngx_http_logbroker_tail_room(f,
                          16 + group->n * NGX_HTTP_LOGBROKER_TAIL_MARK_LEN))
    {
        return;
    }

    p = f->out.data + f->out.len;

    if (group->n == 0) {
        /* no rings yet */

        if (!f->quiet) {
            return;
        }

        *p++ = ':';

    } else {

        for (i = 0; i < group->n; i++) {
            p = ngx_cpymem(p, i ? "," : "id: ", i ? 1 : 4);
            p = ngx_http_logbroker_tail_print(p, &group->marks[i]);
        }

        f->placed = 1;
    }

    p = ngx_cpymem(p, "\n\n", 2);

    f->out.len = p - f->out.data;
    f->quiet = 0;
}


static ngx_uint_t
ngx_http_logbroker_tail_room(ngx_http_logbroker_tail_feed_t *f, size_t need)
{
    need += f->out.len;

    if (need + f->waiting > NGX_HTTP_LOGBROKER_TAIL_ROOM) {
        return 0;
    }

    if (need > f->out.size) {
        need = ngx_max(need, ngx_min(2 * f->out.size,
                                     NGX_HTTP_LOGBROKER_TAIL_ROOM));
        need = ngx_max(need, 4096);
    }

    return ngx_http_logbroker_mem_grow(&f->out, need) == NGX_OK;
}
