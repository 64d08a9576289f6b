/*
 * The table of idempotency keys, in shared memory.
 */


#ifndef _NGX_HTTP_LOGBROKER_KEYS_TABLE_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_KEYS_TABLE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "spool/lb_format.h"


#define NGX_HTTP_LOGBROKER_TABLE_NEW      0
#define NGX_HTTP_LOGBROKER_TABLE_LOADING  1
#define NGX_HTTP_LOGBROKER_TABLE_READY    2

/* places looked at for a new key, and entries per hold of the lock */
#define NGX_HTTP_LOGBROKER_KEYS_STEP     1024


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
    uint8_t                          state;
    uint8_t                          kind;          /* LB_KEY_* */
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
    int32_t                          kept;          /* seconds, of the last
                                                     * digest that made room
                                                     * before its time, or -1 */
    u_char                           loaded[LB_SLOTS_MAX];
    uint32_t                        *buckets;       /* index + 1, 0: none */
    ngx_http_logbroker_entry_t      *entries;
};


int32_t ngx_http_logbroker_keys_now(void);
ngx_http_logbroker_entry_t *ngx_http_logbroker_keys_find(
    ngx_http_logbroker_keys_t *keys, const u_char *hash, int32_t now);

/* A new key, of which hash to time are taken.  Where there is no place for it
 * the oldest digest makes room, before its time, if it is no younger: a client
 * has not asked for it.  NULL: no room. */
ngx_http_logbroker_entry_t *ngx_http_logbroker_keys_insert(
    ngx_http_logbroker_keys_t *keys, const ngx_http_logbroker_entry_t *key,
    int32_t now);
void ngx_http_logbroker_keys_unlink(ngx_http_logbroker_keys_t *keys,
    ngx_http_logbroker_entry_t *e);
ngx_uint_t ngx_http_logbroker_dead(ngx_pid_t pid);


#endif /* _NGX_HTTP_LOGBROKER_KEYS_TABLE_H_INCLUDED_ */
