/*
 * A record, as those who watch its ring are shown it.
 */


#ifndef _NGX_HTTP_LOGBROKER_TAIL_SHOW_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_TAIL_SHOW_H_INCLUDED_


#include "ngx_http_logbroker_tail_read.h"


/* The events of a record, which verified, from seq on; job->others is the rest
 * of their ids.  NGX_ERROR: it was written over meanwhile, or there is no
 * memory; nothing of it was shown. */
ngx_int_t ngx_http_logbroker_tail_record(ngx_http_logbroker_tail_job_t *job,
    ngx_http_logbroker_tail_group_t *group,
    ngx_http_logbroker_tail_ring_t *ring, lb_record_t *rec, uint64_t seq);

/* So many events could not be shown to anyone of the group. */
void ngx_http_logbroker_tail_dropped(ngx_http_logbroker_tail_group_t *group,
    uint64_t n);

/* Says how many were not shown to this one, if there are and there is room. */
void ngx_http_logbroker_tail_tell(ngx_http_logbroker_tail_feed_t *f);

/* All that there is was shown to the group: says where it is to one who is new,
 * was told of what was dropped or has heard nothing for long, so that it can
 * come back to there. */
void ngx_http_logbroker_tail_place(ngx_http_logbroker_tail_group_t *group,
    ngx_http_logbroker_tail_feed_t *f);


#endif /* _NGX_HTTP_LOGBROKER_TAIL_SHOW_H_INCLUDED_ */
