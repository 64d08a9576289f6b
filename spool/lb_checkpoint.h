/*
 * The checkpoint: what the flusher knows durably.  The acked position of every
 * ring, and the batch in flight.
 */

#ifndef _LB_CHECKPOINT_H_INCLUDED_
#define _LB_CHECKPOINT_H_INCLUDED_

#include <stdint.h>

#include "lb_error.h"
#include "lb_format.h"
#include "lb_spool.h"

typedef struct {
    uint8_t uuid[LB_UUID_LEN];
    uint32_t slot;
    uint64_t acked;     /* position of the record that holds acked_seq */
    uint64_t acked_seq; /* every event before this seq is acked */
    uint64_t end;       /* batch in flight: [acked_seq, end_seq); */
    uint64_t end_seq;   /* equal to acked, acked_seq if not in it */
    uint64_t digest;    /* of the batch's records, 0: not known */
    uint64_t from_us;   /* when they were received; not stored, */
    uint64_t to_us;     /* 0: not known */
} lb_ckpt_ring_t;

typedef struct {
    uint64_t generation;
    uint64_t batch_id;
    uint64_t rows;
    uint64_t fixed_us;
    uint64_t delivered;
    uint64_t dead;
    uint64_t lost_bytes;
    uint64_t from_us; /* times of receipt in the batch, first and last; */
    uint64_t to_us;   /* 0: not known */
    uint8_t table_uuid[LB_UUID_LEN];
    uint32_t flags; /* LB_CKPT_IN_FLIGHT, LB_CKPT_DOUBT */
    uint32_t encoding;
    uint32_t day;
    char token[LB_TOKEN_MAX + 1];
    char table[LB_TABLE_MAX + 1];
    char broker[LB_BROKER_MAX + 1];
    uint32_t nrings;
    lb_ckpt_ring_t rings[LB_CKPT_RINGS_MAX];
} lb_ckpt_state_t;

typedef struct lb_ckpt_s lb_ckpt_t;

/* Opens and locks the checkpoint for the flusher.  LB_ELOCKED: another
 * flusher serves this spool.  Sets LB_CKPT_DOUBT if one copy is damaged, for
 * it may have been the newer one. */
int lb_ckpt_open(lb_spool_t *spool, lb_ckpt_t **ckpt, lb_ckpt_state_t *state,
                 lb_error_t *err);

/* Stores a state durably and advances its generation.  After a failure a
 * restart may read the previous state or this one: the caller must treat both
 * as possible, and store again before it goes on. */
int lb_ckpt_store(lb_ckpt_t *ckpt, lb_ckpt_state_t *state, lb_error_t *err);
void lb_ckpt_close(lb_ckpt_t *ckpt);

/* For repair: locks the checkpoint as a flusher does, whatever is in it, even
 * if there is none; nothing is read. */
int lb_ckpt_repair(lb_spool_t *spool, lb_ckpt_t **ckpt, lb_error_t *err);

/* Puts a new file in place of the checkpoint, with this state in both copies. */
int lb_ckpt_replace(lb_ckpt_t *ckpt, lb_ckpt_state_t *state, lb_error_t *err);

/* The newest durable state, without a lock; any process. */
int lb_ckpt_peek(lb_spool_t *spool, lb_ckpt_state_t *state, lb_error_t *err);

/* The entry of a ring, or NULL. */
lb_ckpt_ring_t *lb_ckpt_find(lb_ckpt_state_t *state,
                             const uint8_t uuid[LB_UUID_LEN]);

/* For lb_identity.c: an empty checkpoint for a new spool, complete and synced
 * under the given temporary name. */
int lb_ckpt_create(int dirfd, const char *name, const uint8_t uuid[LB_UUID_LEN],
                   lb_error_t *err);

#endif /* _LB_CHECKPOINT_H_INCLUDED_ */
