#include "flusher/token.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void
lb_token_prefix(const uint8_t spool[LB_UUID_LEN], char prefix[LB_TOKEN_PREFIX])
{
    size_t i;

    for (i = 0; i < LB_UUID_LEN; i++) {
        (void)snprintf(prefix + 2 * i, 3, "%02x", spool[i]);
    }

    (void)snprintf(prefix + 2 * LB_UUID_LEN, 2, "-");
}

/* FNV-1a, 64 bits. */
static uint64_t
fnv(uint64_t h, const void *data, size_t len)
{
    size_t i;
    const uint8_t *p = data;

    for (i = 0; i < len; i++) {
        h = (h ^ p[i]) * 0x100000001b3ull;
    }

    return h;
}

void
lb_token_make(const uint8_t spool[LB_UUID_LEN], lb_ckpt_state_t *state,
              const lb_excluded_t *excluded, uint32_t n)
{
    char prefix[LB_TOKEN_PREFIX];
    uint32_t i;
    uint64_t h = 0xcbf29ce484222325ull;
    const lb_ckpt_ring_t *e;

    h = fnv(h, &state->encoding, sizeof(state->encoding));
    h = fnv(h, state->table, strlen(state->table) + 1);
    h = fnv(h, state->broker, strlen(state->broker) + 1);

    for (i = 0; i < state->nrings; i++) {
        e = &state->rings[i];
        if (e->end_seq > e->acked_seq) {
            h = fnv(h, e->uuid, LB_UUID_LEN);
            h = fnv(h, &e->acked_seq, sizeof(e->acked_seq));
            h = fnv(h, &e->end_seq, sizeof(e->end_seq));
            h = fnv(h, &e->digest, sizeof(e->digest));
        }
    }

    for (i = 0; i < n; i++) {
        h = fnv(h, &excluded[i].entry, sizeof(excluded[i].entry));
        h = fnv(h, &excluded[i].seq, sizeof(excluded[i].seq));
    }

    lb_token_prefix(spool, prefix);
    (void)snprintf(state->token, sizeof(state->token),
                   "%s%" PRIu64 "-%016" PRIx64, prefix, state->batch_id, h);
}
