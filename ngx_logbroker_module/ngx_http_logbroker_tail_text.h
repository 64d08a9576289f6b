/*
 * The text of ids and filters.
 *
 * The id of an event says the place of its group in all rings, so that who
 * comes back with it misses nothing and gets nothing twice:
 *
 *     RING:POSITION:SEQ[,RING:POSITION:SEQ...]
 *
 * RING are the first 8 digits of its UUID, POSITION is that of the record with
 * the event SEQ, the next one to show.
 */


#ifndef _NGX_HTTP_LOGBROKER_TAIL_TEXT_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_TAIL_TEXT_H_INCLUDED_


#include "ngx_http_logbroker_tail_read.h"


/* one mark as text, with a comma */
#define NGX_HTTP_LOGBROKER_TAIL_MARK_LEN                                      \
    (8 + 1 + NGX_INT64_LEN + 1 + NGX_INT64_LEN + 1)


/* What the arguments of the request ask for: stream, level, service, text.  The
 * lists are the caller's, to be freed, whatever is returned. */
ngx_int_t ngx_http_logbroker_tail_ask(ngx_http_request_t *r,
    ngx_http_logbroker_tail_feed_t *f);

/* Writes a mark, without a comma; returns the end. */
u_char *ngx_http_logbroker_tail_print(u_char *p,
    ngx_http_logbroker_tail_mark_t *mark);

/* Marks from an id that was sent: NGX_OK, or NGX_DECLINED if it is none. */
ngx_int_t ngx_http_logbroker_tail_resume(
    ngx_http_logbroker_tail_group_t *group, ngx_str_t *id);

/* Text in which capitals are small letters, of any alphabet, and escapes of JSON
 * what they stand for, so that a search finds all of them; to has room for
 * 2 * len bytes.  Returns how many it wrote. */
size_t ngx_http_logbroker_tail_fold(u_char *to, const u_char *text,
    size_t len);

/* Is the value in the list, or the list empty? */
ngx_uint_t ngx_http_logbroker_tail_listed(ngx_str_t *list,
    const uint8_t *value, size_t len);


#endif /* _NGX_HTTP_LOGBROKER_TAIL_TEXT_H_INCLUDED_ */
