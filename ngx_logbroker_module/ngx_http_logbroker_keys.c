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
 *        ^                    |
 *        +--- group failed ---+
 *
 * Entries lie in a circle in the order in which they came, which is the order
 * in which they expire, and are found by hash.  A worker may be killed while
 * it holds the lock (the master then releases it): each change is made so that
 * whatever was done of it is harmless.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_sha1.h>

#include "ngx_http_logbroker_module.h"


#define NGX_HTTP_LOGBROKER_KEY_MAX       255

#define NGX_HTTP_LOGBROKER_TABLE_NEW      0
#define NGX_HTTP_LOGBROKER_TABLE_LOADING  1
#define NGX_HTTP_LOGBROKER_TABLE_READY    2

/* attempts at a ring that somebody holds, who may just be recovering it */
#define NGX_HTTP_LOGBROKER_KEYS_TRIES    3


typedef enum {
    NGX_HTTP_LOGBROKER_KEY_FREE = 0,                /* not in a bucket */
    NGX_HTTP_LOGBROKER_KEY_PENDING,
    NGX_HTTP_LOGBROKER_KEY_STORED
} ngx_http_logbroker_key_state_e;


typedef struct {
    u_char                           hash[LB_KEY_LEN];
    uint32_t                         crc;           /* of the payload */
    uint32_t                         len;
    uint32_t                         next;          /* index + 1, 0: none */
    uint32_t                         time;
    int32_t                          pid;           /* of a PENDING one */
    uint16_t                         slot;
    uint16_t                         state;
} ngx_http_logbroker_entry_t;


struct ngx_http_logbroker_keys_s {
    ngx_slab_pool_t                 *shpool;
    ngx_uint_t                       state;
    ngx_pid_t                        loader;
    uint32_t                         size;
    uint32_t                         mask;          /* of buckets */
    uint32_t                         first;
    uint32_t                         used;
    uint32_t                        *buckets;       /* index + 1, 0: none */
    ngx_http_logbroker_entry_t      *entries;
};


static void ngx_http_logbroker_keys_expire(ngx_http_logbroker_keys_t *keys,
    time_t before);
static ngx_http_logbroker_entry_t *ngx_http_logbroker_keys_find(
    ngx_http_logbroker_keys_t *keys, const u_char *hash);
static ngx_http_logbroker_entry_t *ngx_http_logbroker_keys_insert(
    ngx_http_logbroker_keys_t *keys, const u_char *hash, uint32_t crc,
    uint32_t len, ngx_uint_t slot, ngx_uint_t state, time_t now);
static void ngx_http_logbroker_keys_unlink(ngx_http_logbroker_keys_t *keys,
    ngx_http_logbroker_entry_t *e);
static ngx_uint_t ngx_http_logbroker_dead(ngx_pid_t pid);
static void ngx_http_logbroker_keys_thread(void *data, ngx_log_t *log);
static void ngx_http_logbroker_keys_load(ngx_http_logbroker_keys_job_t *job,
    u_char *slots);
static void ngx_http_logbroker_keys_load_ring(
    ngx_http_logbroker_keys_job_t *job, uint32_t slot);
static void ngx_http_logbroker_keys_done(ngx_event_t *ev);


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


/* Finds the key of a request: 0 or a reason. */

ngx_uint_t
ngx_http_logbroker_key(ngx_http_logbroker_ctx_t *ctx)
{
    size_t            i;
    ngx_sha1_t        sha1;
    ngx_str_t         key;
    ngx_uint_t        n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;
    u_char            digest[20];

    if (ngx_http_logbroker_worker->keys == NULL) {
        return 0;
    }

    key.len = 0;
    n = 0;

    part = &ctx->request->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                break;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == sizeof("Idempotency-Key") - 1
            && ngx_strncmp(h[i].lowcase_key, "idempotency-key",
                           sizeof("Idempotency-Key") - 1)
               == 0)
        {
            key = h[i].value;
            n++;
        }
    }

    if (n == 0) {
        return 0;
    }

    if (n > 1 || key.len == 0 || key.len > NGX_HTTP_LOGBROKER_KEY_MAX) {
        return NGX_HTTP_LOGBROKER_KEY_INVALID;
    }

    for (i = 0; i < key.len; i++) {
        if (key.data[i] < ' ' || key.data[i] > '~') {
            return NGX_HTTP_LOGBROKER_KEY_INVALID;
        }
    }

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, ctx->stream.data, ctx->stream.len);
    ngx_sha1_update(&sha1, "\0", 1);
    ngx_sha1_update(&sha1, key.data, key.len);
    ngx_sha1_final(digest, &sha1);

    ngx_memcpy(ctx->key, digest, LB_KEY_LEN);
    ctx->has_key = 1;

    return 0;
}


/*
 * 0: the key is new, and from now on PENDING; NGX_HTTP_LOGBROKER_REPEATED: its
 * events are stored already; or the reason for a refusal.
 */

ngx_uint_t
ngx_http_logbroker_keys_begin(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_ctx_t *ctx, uint32_t crc, size_t len)
{
    time_t                       now;
    ngx_uint_t                   reason;
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e;

    keys = w->keys;
    now = ngx_time();
    reason = 0;

    ngx_shmtx_lock(&keys->shpool->mutex);

    ngx_http_logbroker_keys_expire(keys, now - w->keys_window);

    e = ngx_http_logbroker_keys_find(keys, ctx->key);

    if (e && e->state == NGX_HTTP_LOGBROKER_KEY_STORED) {
        reason = (e->crc == crc && e->len == len)
                     ? NGX_HTTP_LOGBROKER_REPEATED
                     : NGX_HTTP_LOGBROKER_KEY_REUSED;

    } else if (e) {
        reason = NGX_HTTP_LOGBROKER_KEY_BUSY;

        if (ngx_http_logbroker_dead(e->pid)) {
            w->keys_look = 1;
        }

    } else if (keys->state != NGX_HTTP_LOGBROKER_TABLE_READY) {
        reason = NGX_HTTP_LOGBROKER_KEYS_LOADING;

    } else if (ngx_http_logbroker_keys_insert(keys, ctx->key, crc, len,
                                              lb_writer_slot(w->writer),
                                              NGX_HTTP_LOGBROKER_KEY_PENDING,
                                              now)
               == NULL)
    {
        reason = NGX_HTTP_LOGBROKER_KEYS_FULL;
    }

    ngx_shmtx_unlock(&keys->shpool->mutex);

    if (w->keys_look) {
        ngx_http_logbroker_keys_look(w);
    }

    if (reason == NGX_HTTP_LOGBROKER_KEYS_FULL
        && now - w->keys_logged >= 60)
    {
        w->keys_logged = now;
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "logbroker: %uD idempotency keys within %T seconds are "
                      "all there is room for, further ones are answered with "
                      "503: raise size= of \"logbroker_idempotency\" or "
                      "lower window=", keys->size, w->keys_window);
    }

    return reason;
}


/* The key of a record that was (not) stored. */

void
ngx_http_logbroker_keys_end(ngx_http_logbroker_worker_t *w, const u_char *hash,
    ngx_uint_t stored)
{
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e;

    keys = w->keys;

    ngx_shmtx_lock(&keys->shpool->mutex);

    e = ngx_http_logbroker_keys_find(keys, hash);

    if (e && e->state == NGX_HTTP_LOGBROKER_KEY_PENDING && e->pid == ngx_pid) {

        if (stored) {
            e->state = NGX_HTTP_LOGBROKER_KEY_STORED;

        } else {
            ngx_http_logbroker_keys_unlink(keys, e);
        }
    }

    ngx_shmtx_unlock(&keys->shpool->mutex);
}


/* All keys of a group; frees them. */

void
ngx_http_logbroker_keys_end_group(ngx_http_logbroker_worker_t *w,
    ngx_queue_t *queue, ngx_uint_t stored)
{
    ngx_queue_t                     *q;
    ngx_http_logbroker_group_key_t  *key;

    while (!ngx_queue_empty(queue)) {

        q = ngx_queue_head(queue);
        ngx_queue_remove(q);

        key = ngx_queue_data(q, ngx_http_logbroker_group_key_t, queue);

        ngx_http_logbroker_keys_end(w, key->hash, stored);

        ngx_free(key);
    }
}


static void
ngx_http_logbroker_keys_expire(ngx_http_logbroker_keys_t *keys, time_t before)
{
    ngx_http_logbroker_entry_t  *e;

    while (keys->used) {

        e = &keys->entries[keys->first];

        if ((time_t) e->time > before
            && e->state != NGX_HTTP_LOGBROKER_KEY_FREE)
        {
            return;
        }

        ngx_http_logbroker_keys_unlink(keys, e);

        keys->first = (keys->first + 1) % keys->size;
        keys->used--;
    }
}


static ngx_http_logbroker_entry_t *
ngx_http_logbroker_keys_find(ngx_http_logbroker_keys_t *keys,
    const u_char *hash)
{
    uint32_t                     i, bucket;
    ngx_http_logbroker_entry_t  *e;

    ngx_memcpy(&bucket, hash, sizeof(uint32_t));

    for (i = keys->buckets[bucket & keys->mask]; i; i = e->next) {

        e = &keys->entries[i - 1];

        if (ngx_memcmp(e->hash, hash, LB_KEY_LEN) == 0) {
            return e;
        }
    }

    return NULL;
}


static ngx_http_logbroker_entry_t *
ngx_http_logbroker_keys_insert(ngx_http_logbroker_keys_t *keys,
    const u_char *hash, uint32_t crc, uint32_t len, ngx_uint_t slot,
    ngx_uint_t state, time_t now)
{
    uint32_t                     i, bucket;
    ngx_http_logbroker_entry_t  *e;

    if (keys->used == keys->size) {
        return NULL;
    }

    i = (keys->first + keys->used) % keys->size;
    e = &keys->entries[i];

    /* counted first, linked last */

    e->state = NGX_HTTP_LOGBROKER_KEY_FREE;
    keys->used++;

    ngx_memcpy(&bucket, hash, sizeof(uint32_t));
    bucket &= keys->mask;

    ngx_memcpy(e->hash, hash, LB_KEY_LEN);
    e->crc = crc;
    e->len = len;
    e->slot = slot;
    e->pid = ngx_pid;
    e->time = now;
    e->state = state;
    e->next = keys->buckets[bucket];

    ngx_memory_barrier();

    keys->buckets[bucket] = i + 1;

    return e;
}


static void
ngx_http_logbroker_keys_unlink(ngx_http_logbroker_keys_t *keys,
    ngx_http_logbroker_entry_t *e)
{
    uint32_t  *p, bucket;

    ngx_memcpy(&bucket, e->hash, sizeof(uint32_t));

    for (p = &keys->buckets[bucket & keys->mask]; *p;
         p = &keys->entries[*p - 1].next)
    {
        if (&keys->entries[*p - 1] == e) {
            *p = e->next;
            break;
        }
    }

    e->state = NGX_HTTP_LOGBROKER_KEY_FREE;
}


static ngx_uint_t
ngx_http_logbroker_dead(ngx_pid_t pid)
{
    return pid != ngx_pid && kill(pid, 0) == -1 && ngx_errno == ESRCH;
}


/* Has a thread read keys back, if there is something to read. */

void
ngx_http_logbroker_keys_look(ngx_http_logbroker_worker_t *w)
{
    ngx_http_logbroker_keys_t      *keys;
    ngx_http_logbroker_keys_job_t  *job;

    keys = w->keys;

    if (keys == NULL || w->spool == NULL || w->keys_job) {
        return;
    }

    if (keys->state == NGX_HTTP_LOGBROKER_TABLE_READY) {

        if (!w->keys_look) {
            return;
        }

    } else if (keys->state == NGX_HTTP_LOGBROKER_TABLE_LOADING
               && !ngx_http_logbroker_dead(keys->loader))
    {
        return;
    }

    job = ngx_calloc(sizeof(ngx_http_logbroker_keys_job_t), ngx_cycle->log);
    if (job == NULL) {
        return;
    }

    job->spool = w->spool;
    job->keys = keys;
    job->window = w->keys_window;
    job->task.ctx = job;
    job->task.handler = ngx_http_logbroker_keys_thread;
    job->task.event.handler = ngx_http_logbroker_keys_done;
    job->task.event.data = w;
    job->task.event.log = ngx_cycle->log;

    if (ngx_thread_task_post(w->pool, &job->task) != NGX_OK) {
        ngx_free(job);
        return;
    }

    w->keys_job = job;
    w->keys_look = 0;
}


static void
ngx_http_logbroker_keys_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_keys_job_t *job = data;

    uint32_t                     i;
    u_char                       slots[LB_SLOTS_MAX];
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e;

    keys = job->keys;

    ngx_shmtx_lock(&keys->shpool->mutex);

    if (keys->state == NGX_HTTP_LOGBROKER_TABLE_NEW
        || (keys->state == NGX_HTTP_LOGBROKER_TABLE_LOADING
            && ngx_http_logbroker_dead(keys->loader)))
    {
        keys->state = NGX_HTTP_LOGBROKER_TABLE_LOADING;
        keys->loader = ngx_pid;

        ngx_shmtx_unlock(&keys->shpool->mutex);

        ngx_memset(slots, 1, sizeof(slots));
        ngx_http_logbroker_keys_load(job, slots);

        keys->state = NGX_HTTP_LOGBROKER_TABLE_READY;
        return;
    }

    /* what workers that died were about to store: is it in their rings? */

    ngx_memzero(slots, sizeof(slots));

    for (i = 0; i < keys->used; i++) {

        e = &keys->entries[(keys->first + i) % keys->size];

        if (e->state == NGX_HTTP_LOGBROKER_KEY_PENDING
            && ngx_http_logbroker_dead(e->pid))
        {
            slots[e->slot] = 1;
        }
    }

    ngx_shmtx_unlock(&keys->shpool->mutex);

    ngx_http_logbroker_keys_load(job, slots);

    ngx_shmtx_lock(&keys->shpool->mutex);

    for (i = 0; i < keys->used; i++) {

        e = &keys->entries[(keys->first + i) % keys->size];

        if (e->state == NGX_HTTP_LOGBROKER_KEY_PENDING && slots[e->slot]
            && ngx_http_logbroker_dead(e->pid))
        {
            ngx_http_logbroker_keys_unlink(keys, e);
        }
    }

    ngx_shmtx_unlock(&keys->shpool->mutex);
}


static void
ngx_http_logbroker_keys_load(ngx_http_logbroker_keys_job_t *job,
    u_char *slots)
{
    int         i, n;
    uint32_t    there[LB_SLOTS_MAX];
    lb_error_t  err;

    n = lb_spool_slots(job->spool, there, &err);

    for (i = 0; i < n; i++) {
        if (slots[there[i]]) {
            ngx_http_logbroker_keys_load_ring(job, there[i]);
        }
    }
}


/* All of a ring, delivered or not, as far back as it has not been reused. */

static void
ngx_http_logbroker_keys_load_ring(ngx_http_logbroker_keys_job_t *job,
    uint32_t slot)
{
    int                          rc;
    uint64_t                     p, since;
    lb_error_t                   err;
    lb_record_t                  rec;
    lb_reader_t                 *reader;
    lb_writer_t                 *writer;
    ngx_uint_t                   tries;
    lb_ring_info_t               info;
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e;

    keys = job->keys;

    /* records behind the commit cell of a writer that died are recovered */

    for (tries = 0; tries < NGX_HTTP_LOGBROKER_KEYS_TRIES; tries++) {

        rc = lb_writer_claim_slot(job->spool, slot, &writer, &err);

        if (rc == 0) {
            lb_writer_close(writer);
        }

        if (rc != LB_ELOCKED) {
            break;
        }

        ngx_msleep(50);
    }

    if (lb_reader_open(job->spool, slot, 0, &reader, &err) != 0) {
        return;
    }

    since = lb_now_us() - (uint64_t) job->window * 1000000;

    if (lb_reader_info(reader, &info) != 0 || info.committed_us < since) {
        lb_reader_close(reader);
        return;
    }

    p = info.committed > info.capacity ? info.committed - info.capacity : 0;

    while (p < info.committed) {

        rc = lb_reader_record(reader, p, info.committed, 0, &rec);

        if (rc == LB_ECORRUPT) {
            rc = lb_reader_resync(reader, p, info.committed, &p);
            if (rc == 0) {
                continue;
            }
        }

        if (rc != 0) {
            break;
        }

        p = rec.next;

        if (rec.key_len == 0 || rec.received_us < since) {
            continue;
        }

        ngx_shmtx_lock(&keys->shpool->mutex);

        e = ngx_http_logbroker_keys_find(keys, rec.key);

        if (e == NULL) {
            (void) ngx_http_logbroker_keys_insert(keys, rec.key,
                                           rec.payload_crc, rec.payload_len,
                                           slot,
                                           NGX_HTTP_LOGBROKER_KEY_STORED,
                                           rec.received_us / 1000000);

        } else if (e->state == NGX_HTTP_LOGBROKER_KEY_PENDING
                   && e->slot == slot && ngx_http_logbroker_dead(e->pid))
        {
            e->crc = rec.payload_crc;
            e->len = rec.payload_len;
            e->state = NGX_HTTP_LOGBROKER_KEY_STORED;
        }

        ngx_shmtx_unlock(&keys->shpool->mutex);
    }

    lb_reader_close(reader);
}


static void
ngx_http_logbroker_keys_done(ngx_event_t *ev)
{
    ngx_http_logbroker_worker_t  *w;

    w = ev->data;

    ngx_free(w->keys_job);
    w->keys_job = NULL;
}
