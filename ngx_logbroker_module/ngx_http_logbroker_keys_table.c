/*
 * The table of idempotency keys, in shared memory.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_clock.h"
#include "spool/lb_format.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_keys_table.h"


static ngx_uint_t ngx_http_logbroker_keys_expired(
    ngx_http_logbroker_keys_t *keys, ngx_http_logbroker_entry_t *e,
    int32_t now);


int32_t
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


ngx_http_logbroker_entry_t *
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


ngx_http_logbroker_entry_t *
ngx_http_logbroker_keys_insert(ngx_http_logbroker_keys_t *keys,
    const ngx_http_logbroker_entry_t *key, int32_t now)
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

        if (e->kind == LB_KEY_DIGEST
            && e->state == NGX_HTTP_LOGBROKER_KEY_STORED
            && e->time <= key->time)
        {
            keys->kept = now - e->time;
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

    ngx_memcpy(&bucket, key->hash, sizeof(uint32_t));
    bucket &= keys->mask;

    *e = *key;
    e->pid = ngx_pid;
    e->next = keys->buckets[bucket];

    ngx_memory_barrier();

    keys->buckets[bucket] = i + 1;

    return e;
}


void
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


ngx_uint_t
ngx_http_logbroker_dead(ngx_pid_t pid)
{
    return pid == 0
           || (pid != ngx_pid && kill(pid, 0) == -1 && ngx_errno == ESRCH);
}
