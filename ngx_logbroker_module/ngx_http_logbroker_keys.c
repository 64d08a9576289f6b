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
#include <ngx_sha1.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_headers.h"


#define NGX_HTTP_LOGBROKER_KEY_MAX       255

#define NGX_HTTP_LOGBROKER_TABLE_NEW      0
#define NGX_HTTP_LOGBROKER_TABLE_LOADING  1
#define NGX_HTTP_LOGBROKER_TABLE_READY    2

/* places looked at for a new key, and entries per hold of the lock */
#define NGX_HTTP_LOGBROKER_KEYS_STEP     1024

/* milliseconds after which reading back lets others have the thread */
#define NGX_HTTP_LOGBROKER_KEYS_SLICE    20

/* attempts at a ring that somebody holds, who may just be recovering it, and
 * milliseconds between two */
#define NGX_HTTP_LOGBROKER_KEYS_TRIES    3
#define NGX_HTTP_LOGBROKER_KEYS_WAIT     50

/* milliseconds after which what was put off is looked at again */
#define NGX_HTTP_LOGBROKER_KEYS_AGAIN    200


typedef enum {
    NGX_HTTP_LOGBROKER_KEY_FREE = 0,                /* not in a bucket */
    NGX_HTTP_LOGBROKER_KEY_PENDING,
    NGX_HTTP_LOGBROKER_KEY_SOUGHT,
    NGX_HTTP_LOGBROKER_KEY_STORED
} ngx_http_logbroker_key_state_e;


typedef struct {
    u_char                           hash[LB_KEY_LEN];
    uint32_t                         crc;           /* of the payload */
    uint32_t                         len;
    uint32_t                         next;          /* index + 1, 0: none */
    int32_t                          time;          /* seconds since boot */
    int32_t                          pid;           /* who stores or seeks
                                                     * it; 0: nobody */
    uint16_t                         slot;
    uint16_t                         state;
} ngx_http_logbroker_entry_t;


struct ngx_http_logbroker_keys_s {
    ngx_slab_pool_t                 *shpool;
    ngx_uint_t                       state;
    ngx_pid_t                        loader;
    uint32_t                         size;
    uint32_t                         mask;          /* of buckets */
    uint32_t                         next;          /* place to look at */
    uint32_t                         top;           /* places ever used */
    uint32_t                         hole;          /* index + 1, 0: none */
    int32_t                          window;
    int32_t                          since;         /* when LOADING began */
    u_char                           loaded[LB_SLOTS_MAX];
    uint32_t                        *buckets;       /* index + 1, 0: none */
    ngx_http_logbroker_entry_t      *entries;
};


static int32_t ngx_http_logbroker_keys_now(void);
static ngx_uint_t ngx_http_logbroker_keys_expired(
    ngx_http_logbroker_keys_t *keys, ngx_http_logbroker_entry_t *e,
    int32_t now);
static ngx_http_logbroker_entry_t *ngx_http_logbroker_keys_find(
    ngx_http_logbroker_keys_t *keys, const u_char *hash, int32_t now);
static ngx_http_logbroker_entry_t *ngx_http_logbroker_keys_insert(
    ngx_http_logbroker_keys_t *keys, const u_char *hash, uint32_t crc,
    uint32_t len, ngx_uint_t slot, ngx_uint_t state, int32_t time,
    int32_t now);
static void ngx_http_logbroker_keys_unlink(ngx_http_logbroker_keys_t *keys,
    ngx_http_logbroker_entry_t *e);
static ngx_uint_t ngx_http_logbroker_dead(ngx_pid_t pid);
static void ngx_http_logbroker_keys_thread(void *data, ngx_log_t *log);
static ngx_uint_t ngx_http_logbroker_keys_seek(
    ngx_http_logbroker_keys_job_t *job);
static void ngx_http_logbroker_keys_unsought(
    ngx_http_logbroker_keys_job_t *job);
static ngx_uint_t ngx_http_logbroker_keys_load(
    ngx_http_logbroker_keys_job_t *job);
static ngx_int_t ngx_http_logbroker_keys_open_ring(
    ngx_http_logbroker_keys_job_t *job, uint32_t slot);
static ngx_int_t ngx_http_logbroker_keys_open_settled(
    ngx_http_logbroker_keys_job_t *job, uint32_t slot);
static int ngx_http_logbroker_keys_unsettled(
    ngx_http_logbroker_keys_job_t *job);
static ngx_int_t ngx_http_logbroker_keys_load_ring(
    ngx_http_logbroker_keys_job_t *job, uint64_t until);
static ngx_int_t ngx_http_logbroker_keys_failed(
    ngx_http_logbroker_keys_job_t *job, int rc);
static int32_t ngx_http_logbroker_keys_time(
    ngx_http_logbroker_keys_job_t *job, lb_record_t *rec);
static ngx_int_t ngx_http_logbroker_keys_post(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_keys_job_t *job);
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
    ngx_table_elt_t  *h;
    u_char            digest[20];

    if (ngx_http_logbroker_worker->keys == NULL) {
        return 0;
    }

    key.len = 0;
    n = 0;

    h = NULL;

    while ((h = ngx_http_logbroker_header(ctx->request, &ctx->dialect->key,
                                           h))) {
        key = h->value;
        n++;
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
    int32_t                      now;
    ngx_uint_t                   reason;
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e;

    keys = w->keys;
    now = ngx_http_logbroker_keys_now();
    reason = 0;

    ngx_shmtx_lock(&keys->shpool->mutex);

    keys->window = w->keys_window;

    e = ngx_http_logbroker_keys_find(keys, ctx->key, now);

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
                                              now, now)
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


/* The key of a record of which it is known what became of it, or never will
 * be by whoever wrote it. */

void
ngx_http_logbroker_keys_end(ngx_http_logbroker_worker_t *w, const u_char *hash,
    ngx_uint_t end)
{
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e;

    keys = w->keys;

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


static int32_t
ngx_http_logbroker_keys_now(void)
{
    return (int32_t) (lb_boot_us() / 1000000);
}


/* What is being stored does not expire. */

static ngx_uint_t
ngx_http_logbroker_keys_expired(ngx_http_logbroker_keys_t *keys,
    ngx_http_logbroker_entry_t *e, int32_t now)
{
    return now - e->time > keys->window
           && (e->state == NGX_HTTP_LOGBROKER_KEY_STORED
               || ngx_http_logbroker_dead(e->pid));
}


static ngx_http_logbroker_entry_t *
ngx_http_logbroker_keys_find(ngx_http_logbroker_keys_t *keys,
    const u_char *hash, int32_t now)
{
    uint32_t                     i, bucket;
    ngx_http_logbroker_entry_t  *e;

    ngx_memcpy(&bucket, hash, sizeof(uint32_t));

    for (i = keys->buckets[bucket & keys->mask]; i; i = e->next) {

        e = &keys->entries[i - 1];

        if (ngx_memcmp(e->hash, hash, LB_KEY_LEN) != 0) {
            continue;
        }

        if (ngx_http_logbroker_keys_expired(keys, e, now)) {
            ngx_http_logbroker_keys_unlink(keys, e);
            return NULL;
        }

        return e;
    }

    return NULL;
}


static ngx_http_logbroker_entry_t *
ngx_http_logbroker_keys_insert(ngx_http_logbroker_keys_t *keys,
    const u_char *hash, uint32_t crc, uint32_t len, ngx_uint_t slot,
    ngx_uint_t state, int32_t time, int32_t now)
{
    uint32_t                     i, n, bucket;
    ngx_http_logbroker_entry_t  *e;

    /* the place of the last key that came to nothing, or the next one */

    i = keys->hole ? keys->hole - 1 : keys->next;
    e = &keys->entries[i];

    keys->hole = 0;

    for (n = 0; e->state != NGX_HTTP_LOGBROKER_KEY_FREE; n++) {

        if (ngx_http_logbroker_keys_expired(keys, e, now)) {
            ngx_http_logbroker_keys_unlink(keys, e);
            keys->hole = 0;
            break;
        }

        if (n == NGX_HTTP_LOGBROKER_KEYS_STEP || n == keys->size) {
            return NULL;
        }

        i = keys->next;
        e = &keys->entries[i];

        keys->next = (i + 1) % keys->size;
    }

    if (i == keys->next) {
        keys->next = (i + 1) % keys->size;
    }

    keys->top = ngx_max(keys->top, i + 1);

    /* linked last */

    ngx_memcpy(&bucket, hash, sizeof(uint32_t));
    bucket &= keys->mask;

    ngx_memcpy(e->hash, hash, LB_KEY_LEN);
    e->crc = crc;
    e->len = len;
    e->slot = slot;
    e->pid = ngx_pid;
    e->time = time;
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
    keys->hole = e - keys->entries + 1;
}


static ngx_uint_t
ngx_http_logbroker_dead(ngx_pid_t pid)
{
    return pid == 0
           || (pid != ngx_pid && kill(pid, 0) == -1 && ngx_errno == ESRCH);
}


/* Has a thread read keys back, if there is something to read. */

void
ngx_http_logbroker_keys_look(ngx_http_logbroker_worker_t *w)
{
    ngx_http_logbroker_keys_t      *keys;
    ngx_http_logbroker_keys_job_t  *job;

    keys = w->keys;

    if (keys == NULL || w->spool == NULL || w->keys_job
        || (ngx_msec_int_t) (w->keys_after - ngx_current_msec) > 0)
    {
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

    if (ngx_http_logbroker_keys_post(w, job) == NGX_OK) {
        w->keys_look = 0;
    }
}


static ngx_int_t
ngx_http_logbroker_keys_post(ngx_http_logbroker_worker_t *w,
    ngx_http_logbroker_keys_job_t *job)
{
    if (ngx_thread_task_post(w->pool, &job->task) == NGX_OK) {
        w->keys_job = job;
        return NGX_OK;
    }

    /* as if the worker had died at it: somebody begins anew */

    if (job->state == NGX_HTTP_LOGBROKER_KEYS_ALL) {
        job->keys->state = NGX_HTTP_LOGBROKER_TABLE_NEW;

    } else if (job->state == NGX_HTTP_LOGBROKER_KEYS_SOUGHT) {
        ngx_memzero(job->slots, sizeof(job->slots));
        ngx_http_logbroker_keys_unsought(job);
    }

    lb_reader_close(job->reader);
    ngx_free(job);

    w->keys_job = NULL;

    return NGX_ERROR;
}


/* A slice of the work. */

static void
ngx_http_logbroker_keys_thread(void *data, ngx_log_t *log)
{
    ngx_http_logbroker_keys_job_t *job = data;

    ngx_uint_t                  i, first;
    ngx_http_logbroker_keys_t  *keys;

    keys = job->keys;

    if (job->state == NGX_HTTP_LOGBROKER_KEYS_BEGIN) {

        ngx_shmtx_lock(&keys->shpool->mutex);

        first = keys->state == NGX_HTTP_LOGBROKER_TABLE_NEW
                || (keys->state == NGX_HTTP_LOGBROKER_TABLE_LOADING
                    && ngx_http_logbroker_dead(keys->loader));

        if (first) {
            keys->state = NGX_HTTP_LOGBROKER_TABLE_LOADING;
            keys->loader = ngx_pid;
            keys->window = job->window;

            if (keys->since == 0) {
                keys->since = ngx_http_logbroker_keys_now() | 1;
            }
        }

        ngx_shmtx_unlock(&keys->shpool->mutex);

        if (first) {
            job->state = NGX_HTTP_LOGBROKER_KEYS_ALL;

            for (i = 0; i < LB_SLOTS_MAX; i++) {
                job->slots[i] = !keys->loaded[i];
            }

        } else {
            /* what nobody stores any more: is it there? */

            job->state = NGX_HTTP_LOGBROKER_KEYS_SOUGHT;

            if (!ngx_http_logbroker_keys_seek(job)) {
                job->state = NGX_HTTP_LOGBROKER_KEYS_DONE;
                return;
            }
        }

        job->n = lb_spool_slots(job->spool, job->there, &job->error);

        if (job->n < 0) {
            ngx_memzero(job->slots, sizeof(job->slots));
            job->put_off++;
        }
    }

    if (ngx_http_logbroker_keys_load(job)) {
        return;
    }

    if (job->state == NGX_HTTP_LOGBROKER_KEYS_ALL) {
        keys->state = job->put_off ? NGX_HTTP_LOGBROKER_TABLE_NEW
                                   : NGX_HTTP_LOGBROKER_TABLE_READY;

    } else {
        ngx_http_logbroker_keys_unsought(job);
    }

    job->state = NGX_HTTP_LOGBROKER_KEYS_DONE;
}


static ngx_uint_t
ngx_http_logbroker_keys_seek(ngx_http_logbroker_keys_job_t *job)
{
    uint32_t                     i;
    ngx_uint_t                   found;
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e;

    keys = job->keys;
    found = 0;

    ngx_shmtx_lock(&keys->shpool->mutex);

    for (i = 0; i < keys->top; i++) {

        if (i % NGX_HTTP_LOGBROKER_KEYS_STEP == 0) {
            ngx_shmtx_unlock(&keys->shpool->mutex);
            ngx_shmtx_lock(&keys->shpool->mutex);
        }

        e = &keys->entries[i];

        if ((e->state == NGX_HTTP_LOGBROKER_KEY_PENDING
             || e->state == NGX_HTTP_LOGBROKER_KEY_SOUGHT)
            && ngx_http_logbroker_dead(e->pid))
        {
            e->pid = ngx_pid;
            e->state = NGX_HTTP_LOGBROKER_KEY_SOUGHT;
            job->slots[e->slot] = 1;
            found = 1;
        }
    }

    ngx_shmtx_unlock(&keys->shpool->mutex);

    return found;
}


/* What was sought and not found was not stored, unless not all of its ring
 * could be read: that is left to the next who looks. */

static void
ngx_http_logbroker_keys_unsought(ngx_http_logbroker_keys_job_t *job)
{
    uint32_t                     i;
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e;

    keys = job->keys;

    ngx_shmtx_lock(&keys->shpool->mutex);

    for (i = 0; i < keys->top; i++) {

        if (i % NGX_HTTP_LOGBROKER_KEYS_STEP == 0) {
            ngx_shmtx_unlock(&keys->shpool->mutex);
            ngx_shmtx_lock(&keys->shpool->mutex);
        }

        e = &keys->entries[i];

        if (e->state != NGX_HTTP_LOGBROKER_KEY_SOUGHT || e->pid != ngx_pid) {
            continue;
        }

        if (job->slots[e->slot]) {
            ngx_http_logbroker_keys_unlink(keys, e);

        } else {
            e->pid = 0;
        }
    }

    ngx_shmtx_unlock(&keys->shpool->mutex);
}


/* 1: there is more to do */

static ngx_uint_t
ngx_http_logbroker_keys_load(ngx_http_logbroker_keys_job_t *job)
{
    uint32_t   slot;
    uint64_t   until;
    ngx_int_t  rc;

    until = ngx_http_logbroker_mono_us()
            + NGX_HTTP_LOGBROKER_KEYS_SLICE * 1000;

    while (job->ring < job->n) {

        slot = job->there[job->ring];
        rc = NGX_OK;

        if (job->reader) {
            rc = ngx_http_logbroker_keys_load_ring(job, until);

        } else if (job->slots[slot]) {
            rc = ngx_http_logbroker_keys_open_ring(job, slot);
        }

        if (rc != NGX_AGAIN) {

            lb_reader_close(job->reader);
            job->reader = NULL;
            job->ring++;

            if (rc != NGX_OK) {
                job->slots[slot] = 0;
                job->put_off++;

            } else if (job->state == NGX_HTTP_LOGBROKER_KEYS_ALL) {
                job->keys->loaded[slot] = 1;
            }
        }

        if (ngx_http_logbroker_mono_us() >= until) {
            return job->ring < job->n;
        }
    }

    return 0;
}


/* NGX_AGAIN: there is something to read in it, NGX_OK: there is not,
 * NGX_ERROR: nobody knows yet. */

static ngx_int_t
ngx_http_logbroker_keys_open_ring(ngx_http_logbroker_keys_job_t *job,
    uint32_t slot)
{
    int              i;
    int64_t          since;
    ngx_int_t        rc;
    lb_ring_info_t  *info;

    rc = ngx_http_logbroker_keys_open_settled(job, slot);

    if (rc != NGX_AGAIN) {
        return rc;
    }

    info = &job->info;

    /* all of the ring, delivered or not, as far as it has not been reused,
     * but for what a mark knows to be too old */

    job->mark = 0;
    job->now = lb_boot_us();
    since = (int64_t) job->now - (int64_t) job->window * 1000000;

    job->position = info->committed > info->capacity
                        ? info->committed - info->capacity : 0;

    for (i = 0; i < job->nmarks && job->marks[i].boot_us < since; i++) {
        job->position = ngx_max(job->position, job->marks[i].position);
    }

    return job->position < info->committed ? NGX_AGAIN : NGX_OK;
}


/*
 * Opens a ring of which everything that will ever be in it of the past is
 * committed.  What a worker that died has left behind the commit cell is
 * recovered first: here, or by whoever holds the ring by now.  The latter is
 * waited for: it has not got so far as long as there is something behind the
 * cell and the cell does not change.
 */

static ngx_int_t
ngx_http_logbroker_keys_open_settled(ngx_http_logbroker_keys_job_t *job,
    uint32_t slot)
{
    int              rc;
    uint32_t         epoch;
    uint64_t         committed, last;
    ngx_uint_t       tries, recovered;
    lb_error_t       err;
    lb_writer_t     *writer;
    lb_ring_info_t  *info;

    info = &job->info;

    epoch = 0;
    committed = 0;
    recovered = 0;

    for (tries = 0; tries < NGX_HTTP_LOGBROKER_KEYS_TRIES; tries++) {

        rc = lb_reader_open(job->spool, slot, 0, &job->reader, &err);

        if (rc != 0) {
            job->reader = NULL;
            return ngx_http_logbroker_keys_failed(job, rc);
        }

        rc = lb_reader_info(job->reader, info);

        if (rc != 0) {
            return ngx_http_logbroker_keys_failed(job, rc);
        }

        job->nmarks = ngx_max(lb_reader_marks(job->reader, info->committed,
                                              job->marks), 0);

        /* of a poisoned one nothing behind the cell is believed */

        if (recovered || (info->flags & LB_CELL_POISONED)
            || (tries && (info->epoch != epoch
                          || info->committed != committed)))
        {
            return NGX_AGAIN;
        }

        epoch = info->epoch;
        committed = info->committed;

        rc = ngx_http_logbroker_keys_unsettled(job);

        if (rc < 0) {
            return ngx_http_logbroker_keys_failed(job, rc);
        }

        last = job->nmarks ? job->marks[job->nmarks - 1].position : 0;

        if (rc == 0 && (info->locked || last == committed)) {
            return NGX_AGAIN;
        }

        lb_reader_close(job->reader);
        job->reader = NULL;

        rc = lb_writer_claim_slot(job->spool, slot, &writer, &err);

        switch (rc) {

        case 0:
            lb_writer_close(writer);
            recovered = 1;
            break;

        case LB_ELOCKED:
            ngx_msleep(NGX_HTTP_LOGBROKER_KEYS_WAIT);
            break;

        case LB_EPOISONED:
            break;

        default:
            return ngx_http_logbroker_keys_failed(job, rc);
        }
    }

    return ngx_http_logbroker_keys_failed(job, -EAGAIN);
}


/* 1: there is a record behind the commit cell, or more was delivered than it
 * says; leftovers of an earlier writer do not count.  0, -errno. */

static int
ngx_http_logbroker_keys_unsettled(ngx_http_logbroker_keys_job_t *job)
{
    int              rc;
    uint64_t         received;
    lb_record_t      rec;
    lb_ring_info_t  *info;

    info = &job->info;

    if (info->acked > info->committed) {
        return 1;
    }

    /* a small read, and mostly enough */

    rc = lb_reader_received(job->reader, info->committed,
                            info->committed + LB_RECORD_HEADER_MAX,
                            &received);

    if (rc == 0) {
        rc = lb_reader_record(job->reader, info->committed,
                              info->committed + info->capacity, 0, &rec);
    }

    if (rc == 0) {
        return rec.epoch >= info->epoch;
    }

    return rc == LB_ECORRUPT || rc == LB_EEND ? 0 : rc;
}


/* NGX_AGAIN: there is more in it, NGX_OK: that was all, NGX_ERROR: some of it
 * could not be read. */

static ngx_int_t
ngx_http_logbroker_keys_load_ring(ngx_http_logbroker_keys_job_t *job,
    uint64_t until)
{
    int                          rc;
    int32_t                      now, time;
    uint32_t                     n;
    lb_record_t                  rec;
    ngx_uint_t                   full;
    ngx_http_logbroker_keys_t   *keys;
    ngx_http_logbroker_entry_t  *e;

    keys = job->keys;
    now = ngx_http_logbroker_keys_now();

    for (n = 1; job->position < job->info.committed; n++) {

        if (n % 64 == 0 && ngx_http_logbroker_mono_us() >= until) {
            return NGX_AGAIN;
        }

        rc = lb_reader_record(job->reader, job->position, job->info.committed,
                              0, &rec);

        if (rc == LB_ECORRUPT) {
            rc = lb_reader_resync(job->reader, job->position,
                                  job->info.committed, &job->position);
            if (rc == 0) {
                continue;
            }
        }

        if (rc != 0) {
            return ngx_http_logbroker_keys_failed(job, rc);
        }

        job->position = rec.next;

        if (rec.key_len == 0) {
            continue;
        }

        time = ngx_http_logbroker_keys_time(job, &rec);

        if (now - time > job->window) {
            continue;
        }

        full = 0;

        ngx_shmtx_lock(&keys->shpool->mutex);

        e = ngx_http_logbroker_keys_find(keys, rec.key, now);

        if (e == NULL) {
            full = ngx_http_logbroker_keys_insert(keys, rec.key,
                                           rec.payload_crc, rec.payload_len,
                                           job->info.slot,
                                           NGX_HTTP_LOGBROKER_KEY_STORED,
                                           time, now)
                   == NULL;

        } else if (e->state == NGX_HTTP_LOGBROKER_KEY_SOUGHT
                   && e->slot == job->info.slot)
        {
            e->crc = rec.payload_crc;
            e->len = rec.payload_len;
            e->state = NGX_HTTP_LOGBROKER_KEY_STORED;
        }

        ngx_shmtx_unlock(&keys->shpool->mutex);

        if (full && job->state == NGX_HTTP_LOGBROKER_KEYS_ALL) {
            return ngx_http_logbroker_keys_failed(job, -ENOSPC);
        }
    }

    return NGX_OK;
}


/*
 * Something could not be read: is that an answer?  It is if nothing can ever be
 * read there (a file that is no ring, or gone), and it is if what is there has
 * become too old meanwhile.
 */

static ngx_int_t
ngx_http_logbroker_keys_failed(ngx_http_logbroker_keys_job_t *job, int rc)
{
    char  buf[128];

    if (rc == LB_ECORRUPT || rc == LB_EFOREIGN || rc == LB_EEND
        || rc == LB_EGONE || rc == -ENOENT)
    {
        return NGX_OK;
    }

    if (job->state == NGX_HTTP_LOGBROKER_KEYS_ALL
        && ngx_http_logbroker_keys_now() - job->keys->since > job->window)
    {
        return NGX_OK;
    }

    job->error.code = rc;
    (void) ngx_cpystrn((u_char *) job->error.text,
                       (u_char *) lb_strerror(rc, buf, sizeof(buf)),
                       sizeof(job->error.text));

    return NGX_ERROR;
}


/*
 * When a record was received, or later: seconds since boot.  The next mark
 * behind it says so; only what is older than all marks, written by a release
 * without, goes by the wall clock.
 */

static int32_t
ngx_http_logbroker_keys_time(ngx_http_logbroker_keys_job_t *job,
    lb_record_t *rec)
{
    int64_t   us;
    uint64_t  now;

    while (job->mark < job->nmarks
           && job->marks[job->mark].position < rec->next)
    {
        job->mark++;
    }

    us = job->mark < job->nmarks ? job->marks[job->mark].boot_us
                                 : (int64_t) job->now;

    if (job->mark == 0) {
        /* the first mark of all is put when the ring is first claimed */

        now = lb_now_us();

        if (now > rec->received_us) {
            us = ngx_min(us, (int64_t) job->now
                             - (int64_t) (now - rec->received_us));
        }
    }

    return (int32_t) (us / 1000000);
}


static void
ngx_http_logbroker_keys_done(ngx_event_t *ev)
{
    ngx_http_logbroker_worker_t    *w;
    ngx_http_logbroker_keys_job_t  *job;

    w = ev->data;
    job = w->keys_job;

    if (job->state != NGX_HTTP_LOGBROKER_KEYS_DONE) {
        (void) ngx_http_logbroker_keys_post(w, job);
        return;
    }

    if (job->put_off) {
        w->keys_look = 1;
        w->keys_after = ngx_current_msec + NGX_HTTP_LOGBROKER_KEYS_AGAIN;

        if (job->error.code != -EAGAIN && ngx_time() - w->keys_unread >= 60) {
            w->keys_unread = ngx_time();
            ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                          "logbroker: idempotency keys cannot be read back "
                          "from the spool \"%V\": %s; requests with such a key "
                          "are answered with 503 until they can", &w->path,
                          job->error.text);
        }
    }

    ngx_free(job);
    w->keys_job = NULL;
}
