/*
 * Fuzzer: any bytes as the answers of a server, or of what stands before it,
 * to questions about a batch.  What is believed is within the batch, in order
 * and named once.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flusher/clickhouse/preflight.h"
#include "flusher/clickhouse/question.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX 8

static void
require(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "fuzz_answers: %s\n", what);
        abort();
    }
}

static void
look_at_excluded(const char *text, const lb_ckpt_state_t *st)
{
    uint32_t i, n = 0;
    lb_excluded_t excluded[MAX];
    const lb_ckpt_ring_t *e;

    if (lb_question_sift_answer(text, st, excluded, MAX, &n) < 0) {
        return;
    }

    for (i = 0; i < n; i++) {
        require(excluded[i].entry < st->nrings, "a ring of no batch");
        e = &st->rings[excluded[i].entry];
        require(excluded[i].seq >= e->acked_seq && excluded[i].seq < e->end_seq,
                "a seq outside of the batch");
        require(i == 0 || excluded[i].entry > excluded[i - 1].entry ||
                    excluded[i].seq > excluded[i - 1].seq,
                "twice, or out of order");
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *constraint;
    uint32_t n;
    lb_answer_t answer;
    lb_beyond_t beyond[MAX];
    static lb_ckpt_state_t st;

    require(text != NULL, "no memory");
    memcpy(text, data, size);
    text[size] = '\0';

    /* rings "11111111-1111-...", "22222222-2222-..." */
    st.nrings = 2;
    memset(st.rings[0].uuid, 0x11, LB_UUID_LEN);
    memset(st.rings[1].uuid, 0x22, LB_UUID_LEN);
    st.rings[0].acked_seq = 10;
    st.rings[0].end_seq = 20;
    st.rings[1].acked_seq = UINT64_MAX - 10;
    st.rings[1].end_seq = UINT64_MAX;

    (void)lb_question_batch_answer(text, &answer);

    if (lb_question_beyond_answer(text, &answer, beyond, MAX, &n) == 0) {
        require(n <= MAX && n == answer.found, "more rings than were told");
    }

    look_at_excluded(text, &st);

    constraint = lb_question_constraint(text);
    require(constraint == NULL || strstr(text, constraint) != NULL,
            "a constraint that is not in the text");
    free(constraint);
    free(text);

    return 0;
}
