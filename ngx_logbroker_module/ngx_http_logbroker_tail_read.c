/*
 * Reads the rings for those who watch them.
 *
 * A group of watchers has a place in each ring.  All that was committed behind
 * it is read, lifted as the flusher does it, and written for those whose filters
 * let it pass.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_clock.h"
#include "spool/lb_open.h"

#include "ngx_http_logbroker_mem.h"
#include "ngx_http_logbroker_tail_read.h"
#include "ngx_http_logbroker_tail_show.h"
#include "ngx_http_logbroker_tail_text.h"


static void ngx_http_logbroker_tail_look(ngx_http_logbroker_tail_job_t *job);
static ngx_uint_t ngx_http_logbroker_tail_has_slot(
    ngx_http_logbroker_tail_job_t *job, uint32_t slot);
static void ngx_http_logbroker_tail_group(ngx_http_logbroker_tail_job_t *job,
    ngx_http_logbroker_tail_group_t *group);
static ngx_http_logbroker_tail_mark_t *ngx_http_logbroker_tail_mark(
    ngx_http_logbroker_tail_group_t *group, lb_ring_info_t *info);
static void ngx_http_logbroker_tail_ring(ngx_http_logbroker_tail_job_t *job,
    ngx_http_logbroker_tail_group_t *group,
    ngx_http_logbroker_tail_ring_t *ring,
    ngx_http_logbroker_tail_mark_t *mark);
static void ngx_http_logbroker_tail_skip(
    ngx_http_logbroker_tail_group_t *group, lb_ring_info_t *info,
    ngx_http_logbroker_tail_mark_t *mark);


void
ngx_http_logbroker_tail_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_tail_job_t *job = data;

    ngx_uint_t    i;
    ngx_queue_t  *q;

    job->more = 0;

    ngx_http_logbroker_tail_look(job);

    for (i = 0; i < job->nrings; i++) {
        job->rings[i].known = lb_reader_info(job->rings[i].reader,
                                             &job->rings[i].info)
                              == 0;
    }

    for (q = ngx_queue_head(&job->groups);
         q != ngx_queue_sentinel(&job->groups);
         q = ngx_queue_next(q))
    {
        ngx_http_logbroker_tail_group(job,
                    ngx_queue_data(q, ngx_http_logbroker_tail_group_t, queue));
    }
}


void
ngx_http_logbroker_tail_close(ngx_http_logbroker_tail_job_t *job)
{
    ngx_uint_t  i;

    for (i = 0; i < job->nrings; i++) {
        lb_reader_close(job->rings[i].reader);
    }

    job->nrings = 0;
    job->looked_us = 0;

    if (job->spool) {
        lb_spool_close(job->spool);
        job->spool = NULL;
    }

    lb_context_free(&job->context);
    ngx_http_logbroker_mem_free(&job->line);
    ngx_http_logbroker_mem_free(&job->event);
    ngx_http_logbroker_mem_free(&job->scratch);
    ngx_http_logbroker_mem_free(&job->row);
    ngx_http_logbroker_mem_free(&job->folded);
    ngx_http_logbroker_mem_free(&job->others);
}


/* Which rings are there?  Without a spool there is nothing to see, yet. */

static void
ngx_http_logbroker_tail_look(ngx_http_logbroker_tail_job_t *job)
{
    int                              i, n;
    uint32_t                         slots[LB_SLOTS_MAX];
    uint64_t                         now;
    ngx_uint_t                       k;
    ngx_http_logbroker_tail_ring_t  *ring;

    now = lb_mono_us();

    if (job->looked_us
        && now - job->looked_us < NGX_HTTP_LOGBROKER_TAIL_LOOK * 1000)
    {
        return;
    }

    if (job->spool && lb_spool_stale(job->spool)) {

        for (k = 0; k < job->nrings; k++) {
            lb_reader_close(job->rings[k].reader);
        }

        job->nrings = 0;
        lb_spool_close(job->spool);
        job->spool = NULL;
    }

    if (job->spool == NULL
        && lb_spool_open(job->path, 0, &job->spool, NULL) != 0)
    {
        job->spool = NULL;
        return;
    }

    job->looked_us = now;

    for (k = 0; k < job->nrings; /* void */ ) {

        if (lb_reader_stale(job->rings[k].reader)) {
            lb_reader_close(job->rings[k].reader);
            job->rings[k] = job->rings[--job->nrings];

        } else {
            k++;
        }
    }

    n = lb_spool_slots(job->spool, slots, NULL);

    for (i = 0; i < n && job->nrings < LB_SLOTS_MAX; i++) {

        if (ngx_http_logbroker_tail_has_slot(job, slots[i])) {
            continue;
        }

        ring = &job->rings[job->nrings];
        ring->slot = slots[i];

        if (lb_reader_open(job->spool, slots[i], 0, &ring->reader, NULL) == 0)
        {
            job->nrings++;
        }
    }
}


static ngx_uint_t
ngx_http_logbroker_tail_has_slot(ngx_http_logbroker_tail_job_t *job,
    uint32_t slot)
{
    ngx_uint_t  i;

    for (i = 0; i < job->nrings; i++) {

        if (job->rings[i].slot == slot) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_logbroker_tail_group(ngx_http_logbroker_tail_job_t *job,
    ngx_http_logbroker_tail_group_t *group)
{
    ngx_uint_t                       i;
    ngx_queue_t                     *q;
    ngx_http_logbroker_tail_feed_t  *f;
    ngx_http_logbroker_tail_mark_t  *mark;

    /* the places in all rings first: an event's id has them */

    for (i = 0; i < job->nrings; i++) {

        if (job->rings[i].known) {
            (void) ngx_http_logbroker_tail_mark(group, &job->rings[i].info);
        }
    }

    if (job->spool) {
        group->begun = 1;
    }

    for (i = 0; i < job->nrings; i++) {

        if (!job->rings[i].known) {
            continue;
        }

        mark = ngx_http_logbroker_tail_mark(group, &job->rings[i].info);

        if (mark && mark->position < job->rings[i].info.committed) {
            ngx_http_logbroker_tail_ring(job, group, &job->rings[i], mark);
        }
    }

    for (q = ngx_queue_head(&group->feeds);
         q != ngx_queue_sentinel(&group->feeds);
         q = ngx_queue_next(q))
    {
        f = ngx_queue_data(q, ngx_http_logbroker_tail_feed_t, queue);

        ngx_http_logbroker_tail_tell(f);
        ngx_http_logbroker_tail_place(group, f);
    }
}


/* The place of the group in the ring, NULL if there are more than it can know. */

static ngx_http_logbroker_tail_mark_t *
ngx_http_logbroker_tail_mark(ngx_http_logbroker_tail_group_t *group,
    lb_ring_info_t *info)
{
    ngx_uint_t                       i;
    ngx_http_logbroker_tail_mark_t  *mark;

    for (i = 0; i < group->n; i++) {
        mark = &group->marks[i];

        if (ngx_memcmp(mark->ring, info->uuid, 4) != 0) {
            continue;
        }

        /* an id has no more of it */

        ngx_memcpy(mark->ring, info->uuid, LB_UUID_LEN);

        if (mark->position > info->committed) {
            mark->position = info->committed;
            mark->seq = info->next_seq;
        }

        return mark;
    }

    if (group->n == LB_SLOTS_MAX) {
        return NULL;
    }

    mark = &group->marks[group->n++];
    ngx_memcpy(mark->ring, info->uuid, LB_UUID_LEN);

    if (!group->begun) {
        mark->position = info->committed;
        mark->seq = info->next_seq;
        return mark;
    }

    /* made since: from its begin, if that is still there */

    mark->position = 0;
    mark->seq = 0;

    return mark;
}


static void
ngx_http_logbroker_tail_ring(ngx_http_logbroker_tail_job_t *job,
    ngx_http_logbroker_tail_group_t *group,
    ngx_http_logbroker_tail_ring_t *ring, ngx_http_logbroker_tail_mark_t *mark)
{
    u_char          *p;
    size_t           size;
    uint64_t         budget;
    ngx_uint_t       i;
    lb_record_t      rec;
    lb_ring_info_t  *info;

    info = &ring->info;

    if (group->live
        && info->committed - mark->position > NGX_HTTP_LOGBROKER_TAIL_BEHIND)
    {
        ngx_http_logbroker_tail_skip(group, info, mark);
        return;
    }

    size = group->n * NGX_HTTP_LOGBROKER_TAIL_MARK_LEN;

    if (ngx_http_logbroker_mem_grow(&job->others, size + 1) != NGX_OK) {
        ngx_http_logbroker_tail_skip(group, info, mark);
        return;
    }

    p = job->others.data;

    for (i = 0; i < group->n; i++) {

        if (&group->marks[i] != mark) {
            *p++ = ',';
            p = ngx_http_logbroker_tail_print(p, &group->marks[i]);
        }
    }

    job->others.len = p - job->others.data;

    budget = NGX_HTTP_LOGBROKER_TAIL_READ;

    while (mark->position < info->committed) {

        if (lb_reader_record(ring->reader, mark->position, info->committed, 1,
                             &rec)
            != 0)
        {
            /* written over since, or damaged */
            ngx_http_logbroker_tail_skip(group, info, mark);
            return;
        }

        if (mark->seq && rec.first_seq > mark->seq) {
            ngx_http_logbroker_tail_dropped(group, rec.first_seq - mark->seq);
        }

        if (ngx_http_logbroker_tail_record(job, group, ring, &rec, mark->seq)
            != NGX_OK)
        {
            ngx_http_logbroker_tail_skip(group, info, mark);
            return;
        }

        mark->position = rec.next;
        mark->seq = rec.first_seq + rec.events;

        if (rec.next - rec.position >= budget) {
            job->more |= mark->position < info->committed;
            return;
        }

        budget -= rec.next - rec.position;
    }
}


/* On to what is committed now. */

static void
ngx_http_logbroker_tail_skip(ngx_http_logbroker_tail_group_t *group,
    lb_ring_info_t *info, ngx_http_logbroker_tail_mark_t *mark)
{
    if (info->next_seq > mark->seq) {
        ngx_http_logbroker_tail_dropped(group, info->next_seq - mark->seq);
    }

    mark->position = info->committed;
    mark->seq = info->next_seq;
}


ngx_uint_t
ngx_http_logbroker_tail_same(ngx_http_logbroker_tail_group_t *a,
    ngx_http_logbroker_tail_group_t *b)
{
    ngx_uint_t  i, k;

    if (!a->begun || !b->begun) {
        return 0;
    }

    /* rings that are gone may be known to one of them alone */

    for (i = 0; i < b->n; i++) {

        for (k = 0; k < a->n; k++) {

            if (ngx_memcmp(a->marks[k].ring, b->marks[i].ring, 4) == 0) {

                if (a->marks[k].position != b->marks[i].position
                    || a->marks[k].seq != b->marks[i].seq)
                {
                    return 0;
                }

                break;
            }
        }
    }

    return 1;
}
