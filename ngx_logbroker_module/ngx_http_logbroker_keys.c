/*
 * Idempotency keys: a request that repeats the Idempotency-Key of one whose
 * events are stored is answered like it and stored no second time.
 *
 * The keys of the last while are in shared memory, so that every worker of
 * the node knows them.  They are also part of the records in the rings: when
 * the shared memory is new (nginx was started) they are read back from there
 * by a thread of one worker, and what a worker that died was about to store
 * is looked up there as well.
 *
 *     (none) --- begin --> PENDING --- group written --> STORED
 *        ^                    |                            ^  |
 *        +-- not written -----+                            |  |
 *        |                    | outcome unknown, or        |  |
 *        |                    | the worker died            |  |
 *        |                    v                            |  |
 *        +-- not found --- SOUGHT --- found ---------------+  |
 *        |                                                    |
 *        +-- when the window has passed ----------------------+
 *
 * A key is SOUGHT in the ring it was to be stored in.  As long as that cannot
 * be read to its end, because somebody else is just recovering it or for an
 * error, nobody knows, and requests with that key are put off; likewise all
 * requests with a key as long as one ring has not been read back.  No longer
 * than the window, though: by then what that ring holds is too old.
 *
 * Entries are found by hash.  A new one is put into the next place of the
 * table that is free or whose key has expired; nothing else is ever done with
 * expired keys.  Time is that since the machine was started, which nobody can
 * set.  A worker may be killed while it holds the lock (the master then
 * releases it): each change is made so that whatever was done of it is
 * harmless.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_format.h"
#include "spool/lb_writer.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_worker.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_keys_load.h"
#include "ngx_http_logbroker_keys_table.h"
#include "ngx_http_logbroker_reason.h"
#include "ngx_http_logbroker_keys.h"


/* seconds for which requests are put off whose digest may not have been read
 * back yet */
#define NGX_HTTP_LOGBROKER_KEYS_PATIENCE 10


static ngx_uint_t ngx_http_logbroker_keys_loading(
    ngx_http_logbroker_keys_t *keys, ngx_http_logbroker_ctx_t *ctx,
    int32_t now);
static void ngx_http_logbroker_keys_words(ngx_http_logbroker_ctx_t *ctx,
    ngx_uint_t reason);


/* logbroker_idempotency off | [window=10m] [size=16m]; */

char *
ngx_http_logbroker_idempotency(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_logbroker_main_conf_t *lmcf = conf;

    off_t        size;
    time_t       window;
    ngx_str_t   *value, s;
    ngx_uint_t   i;

    if (lmcf->keys != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    lmcf->keys = 1;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        lmcf->keys = 0;
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "window=", 7) == 0
            && lmcf->keys_window == NGX_CONF_UNSET)
        {
            s.data = value[i].data + 7;
            s.len = value[i].len - 7;

            window = ngx_parse_time(&s, 1);

            if (window == (time_t) NGX_ERROR || window < 1
                || window > 7 * 24 * 3600)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "\"%V\": the window must be between 1s "
                                   "and 7d", &value[i]);
                return NGX_CONF_ERROR;
            }

            lmcf->keys_window = window;
            continue;
        }

        if (ngx_strncmp(value[i].data, "size=", 5) == 0
            && lmcf->keys_size == NGX_CONF_UNSET_SIZE)
        {
            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

            size = ngx_http_logbroker_parse_size(&s);

            if (size == NGX_ERROR || size < 64 * 1024
                || size > (off_t) 64 * 1024 * 1024 * 1024)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "\"%V\": the memory for keys must be "
                                   "between 64k and 64g", &value[i]);
                return NGX_CONF_ERROR;
            }

            lmcf->keys_size = size;
            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\": "
                           "\"logbroker_idempotency\" is off or has window= "
                           "and size=, each once", &value[i]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_logbroker_keys_init_zone(ngx_shm_zone_t *zone, void *data)
{
    size_t                      size;
    uint32_t                    n, buckets;
    ngx_slab_pool_t            *shpool;
    ngx_http_logbroker_keys_t  *keys;

    if (data) {
        zone->data = data;
        return NGX_OK;
    }

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (zone->shm.exists) {
        zone->data = shpool->data;
        return NGX_OK;
    }

    keys = ngx_slab_calloc(shpool, sizeof(ngx_http_logbroker_keys_t));
    if (keys == NULL) {
        return NGX_ERROR;
    }

    size = (shpool->pfree - 2) * ngx_pagesize;

    for (buckets = 1; buckets <= size / 128; buckets *= 2) { /* void */ }

    n = (size - buckets * sizeof(uint32_t))
        / sizeof(ngx_http_logbroker_entry_t);

    keys->buckets = ngx_slab_alloc(shpool, buckets * sizeof(uint32_t));
    if (keys->buckets == NULL) {
        return NGX_ERROR;
    }

    keys->entries = ngx_slab_alloc(shpool,
                                   n * sizeof(ngx_http_logbroker_entry_t));
    if (keys->entries == NULL) {
        return NGX_ERROR;
    }

    /* new shared memory is zeros: untouched pages take no memory */

    keys->shpool = shpool;
    keys->size = n;
    keys->mask = buckets - 1;

    zone->data = keys;
    shpool->data = keys;

    return NGX_OK;
}


/*
 * 0: the key is new, and from now on PENDING; NGX_HTTP_LOGBROKER_REPEATED: its
 * events are stored already; or the reason for a refusal.
 */

ngx_uint_t
ngx_http_logbroker_keys_begin(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, ngx_uint_t slot, uint32_t crc, size_t len)
{
    int32_t                      now, kept;
    ngx_uint_t                   reason;
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e, new;

    keys = w->keys.table;
    now = ngx_http_logbroker_keys_now();
    reason = 0;

    ngx_memcpy(new.hash, ctx->key, LB_KEY_LEN);
    new.crc = crc;
    new.len = len;
    new.slot = slot;
    new.state = NGX_HTTP_LOGBROKER_KEY_PENDING;
    new.kind = ctx->digest ? LB_KEY_DIGEST : LB_KEY_GIVEN;
    new.time = now;

    ngx_shmtx_lock(&keys->shpool->mutex);

    keys->window = w->keys.window;
    keys->kept = -1;

    e = ngx_http_logbroker_keys_find(keys, ctx->key, now);

    if (e && e->state == NGX_HTTP_LOGBROKER_KEY_STORED) {
        reason = (ctx->digest || (e->crc == crc && e->len == len))
                     ? NGX_HTTP_LOGBROKER_REPEATED
                     : NGX_HTTP_LOGBROKER_KEY_REUSED;

    } else if (e) {
        reason = NGX_HTTP_LOGBROKER_KEY_BUSY;

        if (ngx_http_logbroker_dead(e->pid)) {
            w->keys.look = 1;
        }

    } else if (ngx_http_logbroker_keys_loading(keys, ctx, now)) {
        reason = NGX_HTTP_LOGBROKER_KEYS_LOADING;

    } else if (ngx_http_logbroker_keys_insert(keys, &new, now) == NULL) {

        /* who has not asked for it is not refused for it */

        if (ctx->digest) {
            keys->kept = 0;

        } else {
            reason = NGX_HTTP_LOGBROKER_KEYS_FULL;
        }
    }

    kept = keys->kept;

    ngx_shmtx_unlock(&keys->shpool->mutex);

    if (w->keys.look) {
        ngx_http_logbroker_keys_look(w);
    }

    if (ctx->digest) {
        ngx_http_logbroker_keys_words(ctx, reason);
    }

    if (kept >= 0 && now - w->keys.short_logged >= 60) {
        w->keys.short_logged = now;
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "logbroker: %uD idempotency keys are all there is room "
                      "for: requests that come without one are recognised "
                      "for %D seconds instead of %T, raise size= of "
                      "\"logbroker_idempotency\"", keys->size, kept,
                      w->keys.window);
    }

    if (reason == NGX_HTTP_LOGBROKER_KEYS_FULL
        && now - w->keys.logged >= 60)
    {
        w->keys.logged = now;
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "logbroker: %uD idempotency keys within %T seconds are "
                      "all there is room for, further ones are answered with "
                      "503: raise size= of \"logbroker_idempotency\" or "
                      "lower window=", keys->size, w->keys.window);
    }

    return reason;
}


/* May the key of the request be one that has not been read back yet?  Digests
 * are waited for only so long as clients that have not asked for it wait. */

static ngx_uint_t
ngx_http_logbroker_keys_loading(ngx_http_logbroker_keys_t *keys,
    ngx_http_logbroker_ctx_t *ctx, int32_t now)
{
    return keys->state != NGX_HTTP_LOGBROKER_TABLE_READY
           && !(ctx->digest && keys->since
                && now - keys->since > NGX_HTTP_LOGBROKER_KEYS_PATIENCE);
}


/* For a client that has sent no key. */

static void
ngx_http_logbroker_keys_words(ngx_http_logbroker_ctx_t *ctx, ngx_uint_t reason)
{
    if (reason == NGX_HTTP_LOGBROKER_KEY_BUSY) {
        ngx_str_set(&ctx->error, "the same request is still being stored: try "
                                 "again");

    } else if (reason == NGX_HTTP_LOGBROKER_KEYS_LOADING) {
        ngx_str_set(&ctx->error, "what was stored lately is still being read "
                                 "back: nothing was stored, try again");
    }
}


/* The key of a record of which it is known what became of it, or never will
 * be by whoever wrote it. */

void
ngx_http_logbroker_keys_end(ngx_http_logbroker_worker_t *w, const u_char *hash,
    ngx_uint_t end)
{
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e;

    keys = w->keys.table;

    ngx_shmtx_lock(&keys->shpool->mutex);

    e = ngx_http_logbroker_keys_find(keys, hash,
                                     ngx_http_logbroker_keys_now());

    if (e && e->state == NGX_HTTP_LOGBROKER_KEY_PENDING && e->pid == ngx_pid) {

        switch (end) {

        case NGX_HTTP_LOGBROKER_KEY_IS_STORED:
            e->state = NGX_HTTP_LOGBROKER_KEY_STORED;
            break;

        case NGX_HTTP_LOGBROKER_KEY_UNKNOWN:
            e->pid = 0;
            break;

        default: /* NGX_HTTP_LOGBROKER_KEY_NOT_STORED */
            ngx_http_logbroker_keys_unlink(keys, e);
        }
    }

    ngx_shmtx_unlock(&keys->shpool->mutex);
}


/* All keys of a group; frees them. */

void
ngx_http_logbroker_keys_end_group(ngx_http_logbroker_worker_t *w,
    ngx_queue_t *queue, ngx_uint_t end)
{
    ngx_queue_t                     *q;
    ngx_http_logbroker_group_key_t  *key;

    while (!ngx_queue_empty(queue)) {

        q = ngx_queue_head(queue);
        ngx_queue_remove(q);

        key = ngx_queue_data(q, ngx_http_logbroker_group_key_t, queue);

        ngx_http_logbroker_keys_end(w, key->hash, end);

        ngx_free(key);
    }
}
