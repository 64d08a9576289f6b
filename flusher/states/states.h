/*
 * The states of delivery, one function and one file for each, and what they
 * share.  deliver.h has the diagram; deliver.c calls them.
 */

#ifndef _LB_STATES_H_INCLUDED_
#define _LB_STATES_H_INCLUDED_

#include "flusher/deliver.h"
#include "flusher/source.h"

/* Each makes at most one request and moves on: 1 after progress, 0 after a
 * failure that calls for backoff. */
int lb_state_fixed(lb_deliver_t *d);
int lb_state_unknown(lb_deliver_t *d);
int lb_state_sift(lb_deliver_t *d);
int lb_state_doubt(lb_deliver_t *d);

/* Chooses a batch and fixes it: 1, or 0: there is nothing to do, or -1. */
int lb_state_empty(lb_deliver_t *d);

/* deliver.c */

/* A line for the log; one while a batch is in flight ends with token=... */
void lb_deliver_say(lb_deliver_t *d, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, and the status's last error too. */
void lb_deliver_trouble(lb_deliver_t *d, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Stores the state: 0, or -1, and it is stored before anything is sent. */
int lb_deliver_store(lb_deliver_t *d);

/* The same; then the writers may reuse what is acked. */
int lb_deliver_store_and_tell(lb_deliver_t *d);

/* There is no batch any more (not stored yet). */
void lb_deliver_clear(lb_deliver_t *d);

/* The batch is in: 0, or -1: it was not stored. */
int lb_deliver_ack(lb_deliver_t *d);

/* fix.c */

/* Names the batch whose ranges are in the state, and stores it: 0, or -1. */
int lb_fix_picked(lb_deliver_t *d);

/* The same for ranges that others than lb_batch_pick have chosen, without dead
 * letters. */
int lb_fix_ranges(lb_deliver_t *d);

/* Fills what is known of such ranges: 0, or -1. */
int lb_fix_measure(lb_deliver_t *d);

/* 1 if the batch in flight can be made as it was: by the same encoding, without
 * the same dead letters. */
int lb_fix_same_batch(lb_deliver_t *d);

/* send.c */

/* The batch in flight, to be read once; the caller frees the source.  NULL: no
 * memory. */
lb_source_t *lb_send_source(lb_deliver_t *d, lb_sink_batch_t *batch);

/* The rows are in, but maybe not in the views: again, for their sake. */
int lb_send_for_views(lb_deliver_t *d);

/* The rows are in, and cannot be sent again for the sake of views. */
int lb_send_past_views(lb_deliver_t *d);

/* settle.c */

/* The question goes on to the next server. */
void lb_settle_move_on(lb_deliver_t *d);

/* 1 if an attempt that was not answered may still come in: asks on. */
int lb_settle_may_come_late(lb_deliver_t *d);

/* 1 if the batch was fixed for another table than the configured one. */
int lb_settle_other_table(const lb_deliver_t *d);

/* A question was asked: counts and logs it.  1: it is to be asked again. */
int lb_settle_asked(lb_deliver_t *d, const lb_settled_t *settled);

/* sift.c */

/* Nothing of the batch is in, and the server blames its data. */
int lb_state_poisoned(lb_deliver_t *d);

#endif /* _LB_STATES_H_INCLUDED_ */
