/*
 * The token of a batch: deduplication token and id of its INSERTs.
 */

#ifndef _LB_TOKEN_H_INCLUDED_
#define _LB_TOKEN_H_INCLUDED_

#include "flusher/batch.h"

/* What the tokens of a spool begin with. */
#define LB_TOKEN_PREFIX 34
void lb_token_prefix(const uint8_t spool[LB_UUID_LEN],
                     char prefix[LB_TOKEN_PREFIX]);

/* Fills the state's token, of its batch without the n excluded events: spool,
 * number of the batch, and a digest of its content, so that no other content
 * can ever go under the same token. */
void lb_token_make(const uint8_t spool[LB_UUID_LEN], lb_ckpt_state_t *state,
                   const lb_excluded_t *excluded, uint32_t n);

#endif /* _LB_TOKEN_H_INCLUDED_ */
