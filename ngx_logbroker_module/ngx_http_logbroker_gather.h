/*
 * logbroker_gather: at an edge, many small requests are carried to a broker as
 * one.
 *
 *     logbroker_gather /gathered $gather;
 *
 * A request of which the variable is not "", with a small body of a known
 * length, waits until no group of this worker is on its way, but for a few
 * milliseconds at most, and goes with all that came meanwhile: as the body
 * (event/frames.h) of one subrequest to the URI, from where proxy_pass of nginx
 * brings it to a broker that has logbroker_gathered (gathered.h).  Who is alone
 * goes the way of the location, as if there was no directive.
 *
 * What becomes of each:
 *
 *     stored                204
 *     nothing is stored     it goes the way of the location, by itself: that is
 *                           where the words of a refusal come from, and where
 *                           another broker is asked
 *     nobody knows          502, as when proxy_pass has got no answer
 *
 * The variables $upstream_... have the group's values.  In the turns of the
 * brokers a group counts as many requests as it has.
 */


#ifndef _NGX_HTTP_LOGBROKER_GATHER_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_GATHER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* The directive. */
char *ngx_http_logbroker_gather(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* After all directives: the handler of the phase. */
ngx_int_t ngx_http_logbroker_gather_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LOGBROKER_GATHER_H_INCLUDED_ */
