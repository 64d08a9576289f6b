/*
 * The search for rows that cannot be taken, by halves, and how they are set
 * aside: with no server, only ranges.
 */

#include <errno.h>

#include "flusher/pick.h"
#include "flusher/poison.h"
#include "tests/unit/spool_env.h"

#define NOON (20000 * LB_DAY_US + LB_DAY_US / 2)

typedef struct {
    env_t *env;
    lb_writer_t *w;
    lb_rings_t rings;
    lb_ckpt_state_t state;
    lb_dead_t *dead;
    lb_poison_t poison;
    uint64_t appended;
} spool_t;

static void
put(spool_t *s, uint32_t events)
{
    uint32_t i;
    size_t len = 0;
    uint8_t *p;
    lb_meta_t meta = {
        .received_us = NOON, .stream = (const uint8_t *)"s", .stream_len = 1};

    p = lb_writer_stage(s->w, &meta, events * 32);
    assert_non_null(p);
    for (i = 0; i < events; i++) {
        len += (size_t)sprintf((char *)p + len, "{\"n\":%llu}\n",
                               (unsigned long long)s->appended++);
    }
    assert_int_equal(lb_writer_append(s->w, &meta, len, events), 0);
    assert_int_equal(env_commit(s->w, 1), 0);
}

/* Records of 3, 1 and 12 events: a batch of all 16. */
static int
setup(void **arg)
{
    void *env;
    lb_error_t err;
    lb_batch_limits_t limits = {.max_rows = 100, .max_bytes = 1 << 20};
    spool_t *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    assert_int_equal(env_setup(&env), 0);
    s->env = env;
    s->w = env_writer(s->env, 1 << 20);
    put(s, 3);
    put(s, 1);
    put(s, 12);
    assert_int_equal(lb_dead_open(s->env->spool, 1 << 20, &s->dead, &err), 0);
    lb_rings_init(&s->rings, s->env->spool);
    assert_int_equal(lb_rings_look(&s->rings, 0, &err), 0);
    (void)lb_rings_enter(&s->rings, &s->state);
    assert_int_equal(lb_batch_pick(&s->rings, &s->state, &limits), 1);
    assert_int_equal(s->state.rows, 16);
    *arg = s;

    return 0;
}

static int
teardown(void **arg)
{
    spool_t *s = *arg;
    void *env = s->env;

    lb_dead_close(s->dead);
    lb_rings_close(&s->rings);
    lb_writer_close(s->w);
    assert_int_equal(env_teardown(&env), 0);
    free(s);

    return 0;
}

/* The letter of a seq holds that very event. */
static void
letter(spool_t *s, uint64_t *offset, uint64_t seq)
{
    char event[32];
    lb_record_t rec;
    lb_dead_letter_t l;

    assert_int_equal(lb_dead_next(s->dead, offset, &l), 1);
    assert_int_equal(lb_dead_read(s->dead, l.offset, &l), 0);
    assert_int_equal(l.kind, LB_DEAD_ROW);
    assert_int_equal(l.first_seq, seq);
    assert_string_equal(l.reason, "because");
    assert_int_equal(lb_dead_record(&l, &rec), 0);
    (void)snprintf(event, sizeof(event), "{\"n\":%llu}",
                   (unsigned long long)seq);
    assert_int_equal(l.bytes_len - rec.header_len, strlen(event));
    assert_memory_equal(l.bytes + rec.header_len, event, strlen(event));
    lb_dead_free(&l);
}

/* As delivery does it: what holds the bad row is refused, all else is in. */
static uint64_t
search(spool_t *s, uint64_t bad, int *steps)
{
    int rc;
    lb_error_t err;
    lb_ckpt_ring_t *e = &s->state.rings[0];

    strcpy(s->poison.reason, "because");

    for (*steps = 0; *steps < 50; (*steps)++) {
        assert_true(e->end_seq > e->acked_seq);
        assert_int_equal(s->state.rows, e->end_seq - e->acked_seq);

        if (bad < e->acked_seq || bad >= e->end_seq) {
            /* in */
            e->acked = e->end;
            e->acked_seq = e->end_seq;
        } else if (s->state.rows == 1) {
            rc = lb_poison_set_aside(&s->poison, &s->rings, &s->state, s->dead,
                                     &err);
            assert_int_equal(rc, 0);
            return e->acked_seq - 1;
        } else {
            assert_int_equal(
                lb_poison_halve(&s->poison, &s->rings, &s->state, &err), 0);
            continue;
        }

        assert_int_equal(lb_poison_pick(&s->poison, &s->rings, &s->state, &err),
                         1);
    }

    fail_msg("no end");
    return 0;
}

static void
finds(void **arg)
{
    int steps;
    uint64_t offset = 0;
    spool_t *s = *arg;

    assert_int_equal(search(s, 9, &steps), 9);
    /* 16: four halvings, and a step for each half that was in */
    assert_in_range(steps, 4, 10);
    letter(s, &offset, 9);
    assert_int_equal(s->state.dead, 1);
    assert_int_equal(s->state.rings[0].acked_seq, 10);
    assert_int_equal(s->poison.nsuspects, 0);

    /* bad rows tend to cluster: small batches, which grow */
    assert_int_equal(s->poison.limit, 4);
    lb_poison_success(&s->poison, 100);
    assert_int_equal(s->poison.limit, 16);
    lb_poison_success(&s->poison, 100);
    assert_int_equal(s->poison.limit, 64);
    lb_poison_success(&s->poison, 100);
    assert_int_equal(s->poison.limit, 0);
}

static void
finds_first_and_last(void **arg)
{
    int steps;
    uint64_t offset = 0;
    spool_t *s = *arg;
    lb_batch_limits_t limits = {.max_rows = 100, .max_bytes = 1 << 20};

    assert_int_equal(search(s, 0, &steps), 0);
    letter(s, &offset, 0);
    assert_int_equal(s->state.rings[0].acked_seq, 1);

    assert_int_equal(lb_batch_pick(&s->rings, &s->state, &limits), 1);
    assert_int_equal(search(s, 15, &steps), 15);
    letter(s, &offset, 15);
    assert_int_equal(s->state.rings[0].acked_seq, 16);
    assert_int_equal(s->state.dead, 2);
    assert_int_equal(lb_batch_pick(&s->rings, &s->state, &limits), 0);
}

/* A limit that grows while suspects are left would be no search. */
static void
no_growth_in_a_search(void **arg)
{
    spool_t *s = *arg;
    lb_error_t err;

    s->poison.limit = 4;
    assert_int_equal(lb_poison_halve(&s->poison, &s->rings, &s->state, &err),
                     0);
    assert_int_equal(s->state.rows, 8);
    lb_poison_success(&s->poison, 100);
    assert_int_equal(s->poison.limit, 4);

    /* suspects that are all acked are none */
    s->state.rings[0].acked_seq = 16;
    assert_int_equal(lb_poison_pick(&s->poison, &s->rings, &s->state, &err), 0);
    assert_int_equal(s->poison.nsuspects, 0);
}

/* Rows that are known at once, over all records. */
static void
excludes(void **arg)
{
    size_t i;
    uint64_t offset = 0;
    spool_t *s = *arg;
    lb_error_t err;

    static const uint64_t seqs[] = {0, 2, 3, 4, 15};
    lb_excluded_t list[5];

    for (i = 0; i < 5; i++) {
        list[4 - i].entry = 0;
        list[4 - i].seq = seqs[i];
    }
    lb_batch_sort(list, 5);

    strcpy(s->poison.reason, "because");
    assert_int_equal(lb_poison_exclude(&s->poison, &s->rings, &s->state, list,
                                       5, s->dead, &err),
                     0);
    for (i = 0; i < 5; i++) {
        letter(s, &offset, seqs[i]);
    }
    assert_int_equal(s->state.rings[0].acked_seq, 0);

    /* again, as after a crash in between: nothing is written twice */
    assert_int_equal(lb_poison_exclude(&s->poison, &s->rings, &s->state, list,
                                       5, s->dead, &err),
                     0);
    assert_int_equal(lb_dead_count_open(s->dead), 5);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(finds),
        T(finds_first_and_last),
        T(no_growth_in_a_search),
        T(excludes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
