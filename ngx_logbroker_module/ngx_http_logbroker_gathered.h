/*
 * logbroker_gathered: many requests to /log in one, from an edge (gather.h).
 *
 * Each is a request of its own: checked, scanned, refused and stored by itself,
 * a record by itself, and all of them are in one write.  The answer is 204 with
 * a header that has a character for each, in their order:
 *
 *     +   stored: the answer to this one is 204
 *     -   nothing of it is stored; whoever sends it by itself learns why
 *     ?   stored or not: it must not be sent again by anybody but its client
 *
 * A status of 4xx or 503 says that nothing is stored of any of them.
 */


#ifndef _NGX_HTTP_LOGBROKER_GATHERED_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_GATHERED_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


#define NGX_HTTP_LOGBROKER_GATHERED_HEADER   "X-Logbroker-Gathered"

#define NGX_HTTP_LOGBROKER_GATHERED_STORED   '+'
#define NGX_HTTP_LOGBROKER_GATHERED_REFUSED  '-'
#define NGX_HTTP_LOGBROKER_GATHERED_UNKNOWN  '?'

/* requests in one at most: the header is not to be longer */
#define NGX_HTTP_LOGBROKER_GATHERED_MAX      512


/* The directive. */
char *ngx_http_logbroker_gathered(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_LOGBROKER_GATHERED_H_INCLUDED_ */
