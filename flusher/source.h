/*
 * The bytes of a batch, from its events one by one.
 */

#ifndef _LB_SOURCE_H_INCLUDED_
#define _LB_SOURCE_H_INCLUDED_

#include "flusher/batch.h"
#include "flusher/encode.h"

/* The bytes of the batch in flight, as a pure function of encoder, state, rings and the
 * n excluded events, which must stay where they are. */
typedef struct lb_source_s lb_source_t;

lb_source_t *lb_source_new(const lb_encoder_t *encoder, lb_rings_t *rings,
                           const lb_ckpt_state_t *state,
                           const lb_excluded_t *excluded, uint32_t n);
void lb_source_free(lb_source_t *s);

/* Up to size bytes into buf; 0 at the end; negative on an error, which is
 * then in lb_source_error. */
long lb_source_read(void *source, void *buf, size_t size);

/* 1 if reading failed because the ring no longer holds what the batch was
 * fixed on: it is damaged. */
int lb_source_damaged(const lb_source_t *s);
const char *lb_source_error(const lb_source_t *s);

#endif /* _LB_SOURCE_H_INCLUDED_ */
