/*
 * What a record is told of its request, and what came of it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_clock.h"
#include "spool/lb_error.h"
#include "spool/lb_format.h"
#include "spool/lb_record.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_group.h"
#include "ngx_http_logbroker_keys.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_room.h"
#include "ngx_http_logbroker_append.h"


void
ngx_http_logbroker_meta(ngx_http_logbroker_ctx_t *ctx, lb_meta_t *meta)
{
    meta->received_us = lb_now_us();
    meta->stream = ctx->stream.data;
    meta->stream_len = ctx->stream.len;
    meta->key = ctx->has_key ? ctx->key : NULL;
    meta->key_kind = ctx->digest ? LB_KEY_DIGEST : LB_KEY_GIVEN;
    meta->contexts = 0;

    if (ctx->frame) {
        meta->client = ctx->frame->parts[LB_FRAME_CLIENT].data;
        meta->client_len = ctx->frame->parts[LB_FRAME_CLIENT].len;
        return;
    }

    ngx_http_logbroker_client(ctx->request->connection, meta);
}


/* What the append of a record with len bytes of payload came to. */

ngx_uint_t
ngx_http_logbroker_appended(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, int rc, size_t len)
{
    ngx_http_logbroker_loc_conf_t  *llcf;

    if (rc != 0 && ctx->has_key) {
        ngx_http_logbroker_keys_end(w, ctx->key,
                                    NGX_HTTP_LOGBROKER_KEY_NOT_STORED);
    }

    if (rc == LB_EFULL
        && ngx_http_logbroker_no_room(w, len + LB_RECORD_HEADER_MAX + 8))
    {
        return NGX_HTTP_LOGBROKER_SEEK;
    }

    switch (rc) {

    case 0:
        break;

    case LB_EFULL:

        if (ngx_time() - w->room.full_logged >= 60) {
            w->room.full_logged = ngx_time();
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "logbroker: ring %uD is full and no other has room: "
                          "answering 503. Check that the flusher runs and that "
                          "ClickHouse accepts batches ring=%uD",
                          lb_writer_slot(w->ring.writer),
                          lb_writer_slot(w->ring.writer));
        }

        return NGX_HTTP_LOGBROKER_FULL;

    case LB_ETOOBIG:
        ngx_str_set(&ctx->error, "the body is larger than the whole ring");
        return NGX_HTTP_LOGBROKER_BODY_TOO_BIG;

    case -ENOMEM:
        return NGX_HTTP_LOGBROKER_NO_MEMORY;

    default:
        return NGX_HTTP_LOGBROKER_WRITE_FAILED;
    }

    w->room.staged_at = ngx_current_msec;

    ctx->bytes = len;
    ctx->slot = lb_writer_slot(w->ring.writer);
    ctx->has_slot = 1;

    llcf = ngx_http_get_module_loc_conf(ctx->request,
                                        ngx_http_logbroker_module);

    ngx_http_logbroker_group_join(w, ctx, llcf->sync);

    return 0;
}


void
ngx_http_logbroker_client(ngx_connection_t *c, lb_meta_t *meta)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    meta->client = NULL;
    meta->client_len = 0;

    switch (c->sockaddr->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) c->sockaddr;
        meta->client = (u_char *) &sin->sin_addr;
        meta->client_len = 4;
        break;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) c->sockaddr;
        meta->client = (u_char *) &sin6->sin6_addr;
        meta->client_len = 16;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            meta->client += 12;
            meta->client_len = 4;
        }

        break;
#endif

    default: /* a unix socket has no address */
        break;
    }
}
