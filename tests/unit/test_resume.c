/*
 * Where a writer goes on: the decision alone, on rings that are lists.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spool/lb_error.h"
#include "spool/lb_recovery.h"

typedef struct {
    uint64_t position;
    uint64_t next;
    uint64_t first_seq;
    uint32_t events;
    uint32_t epoch;
} rec_t;

typedef struct {
    const rec_t *recs;
    int n;
    int error; /* in place of the first read */
    int reads;
    uint64_t limit; /* that was asked for last */
} list_t;

static int
at(void *arg, uint64_t position, uint64_t end, lb_record_t *record)
{
    int i;
    list_t *l = arg;

    l->reads++;
    l->limit = end;

    if (l->error != 0) {
        return l->error;
    }

    if (position >= end) {
        return LB_EEND;
    }

    for (i = 0; i < l->n; i++) {
        if (l->recs[i].position == position && l->recs[i].next <= end) {
            memset(record, 0, sizeof(*record));
            record->position = position;
            record->next = l->recs[i].next;
            record->first_seq = l->recs[i].first_seq;
            record->events = l->recs[i].events;
            record->epoch = l->recs[i].epoch;
            return 0;
        }
    }

    return LB_ECORRUPT;
}

#define LIST(recs)                                                             \
    {                                                                          \
        recs, sizeof(recs) / sizeof(recs[0]), 0, 0, 0                          \
    }

static lb_cell_t
cell_at(uint64_t committed, uint64_t next_seq)
{
    lb_cell_t cell;

    memset(&cell, 0, sizeof(cell));
    cell.committed = committed;
    cell.next_seq = next_seq;
    cell.epoch = 3;

    return cell;
}

static lb_ckpt_ring_t
entry_at(uint64_t acked, uint64_t acked_seq, uint64_t end, uint64_t end_seq)
{
    lb_ckpt_ring_t e;

    memset(&e, 0, sizeof(e));
    e.acked = acked;
    e.acked_seq = acked_seq;
    e.end = end;
    e.end_seq = end_seq;

    return e;
}

static void
goes_on_at(list_t *l, const lb_cell_t *cell, const lb_ckpt_ring_t *entry,
           uint64_t end, uint64_t seq, uint32_t epoch, uint64_t events)
{
    lb_recovered_t found;

    assert_int_equal(lb_resume(cell, entry, 10000, 0, at, l, &found), 0);
    assert_int_equal(found.end, end);
    assert_int_equal(found.seq, seq);
    assert_int_equal(found.epoch, epoch);
    assert_int_equal(found.events, events);
    assert_true(l->reads == 0 || l->limit == 10000);
}

static void
nothing_behind_the_cell(void **state)
{
    list_t none = {NULL, 0, 0, 0, 0};
    lb_cell_t cell = cell_at(1000, 10);
    lb_ckpt_ring_t e = entry_at(800, 8, 1000, 10);

    (void)state;
    goes_on_at(&none, &cell, NULL, 1000, 10, 3, 0);
    goes_on_at(&none, &cell, &e, 1000, 10, 3, 0);
}

static void
whole_records_are_kept(void **state)
{
    static const rec_t recs[] = {{1000, 1100, 10, 2, 3},
                                 {1100, 1200, 12, 1, 4}};
    list_t l = LIST(recs);
    lb_cell_t cell = cell_at(1000, 10);

    (void)state;
    goes_on_at(&l, &cell, NULL, 1200, 13, 4, 3);
}

static void
what_ends_a_walk(void **state)
{
    /* a failed group of an earlier writer */
    static const rec_t older[] = {{1000, 1100, 10, 1, 4},
                                  {1100, 1200, 11, 1, 3}};
    /* a gap, and seqs that were given before */
    static const rec_t gap[] = {{1000, 1100, 10, 1, 3}, {1100, 1200, 12, 1, 3}};
    static const rec_t again[] = {{1000, 1100, 10, 2, 3},
                                  {1100, 1200, 11, 2, 3}};
    /* all of it before the seq wanted */
    static const rec_t before[] = {{1000, 1100, 8, 2, 3}};
    /* further than the ring reaches */
    static const rec_t beyond[] = {{1000, 10008, 10, 1, 3}};
    list_t l1 = LIST(older), l2 = LIST(gap), l3 = LIST(again),
           l4 = LIST(before), l5 = LIST(beyond);
    lb_cell_t cell = cell_at(1000, 10);

    (void)state;
    goes_on_at(&l1, &cell, NULL, 1100, 11, 4, 1);
    goes_on_at(&l2, &cell, NULL, 1100, 11, 3, 1);
    goes_on_at(&l3, &cell, NULL, 1100, 12, 3, 2);
    goes_on_at(&l4, &cell, NULL, 1000, 10, 3, 0);
    goes_on_at(&l5, &cell, NULL, 1000, 10, 3, 0);
}

/* A power cut took the cells of a whole lap: at 1000 lies something else. */
static void
an_old_cell_yields_to_the_checkpoint(void **state)
{
    static const rec_t recs[] = {{5000, 5100, 50, 4, 7},
                                 {5100, 5200, 54, 1, 7}};
    list_t l = LIST(recs);
    lb_cell_t cell = cell_at(1000, 10);
    lb_ckpt_ring_t e = entry_at(5000, 52, 5000, 52), far = e;

    (void)state;
    goes_on_at(&l, &cell, NULL, 1000, 10, 3, 0);

    /* the checkpoint names a record by a seq inside it */
    goes_on_at(&l, &cell, &e, 5200, 55, 7, 5);

    /* and the batch can be read */
    e.end = 5100;
    e.end_seq = 54;
    goes_on_at(&l, &cell, &e, 5200, 55, 7, 5);

    /* nothing readable there either */
    far.acked = far.end = 6000;
    far.acked_seq = far.end_seq = 60;
    goes_on_at(&l, &cell, &far, 6000, 60, 3, 0);
}

static void
no_seq_of_a_batch_is_given_again(void **state)
{
    static const rec_t recs[] = {{1000, 1100, 10, 5, 3}};
    static const rec_t behind[] = {{1300, 1400, 17, 1, 3}};
    list_t none = {NULL, 0, 0, 0, 0}, l = LIST(recs), b = LIST(behind);
    lb_cell_t cell = cell_at(1000, 10);
    lb_ckpt_ring_t batch = entry_at(900, 9, 1300, 17);
    lb_ckpt_ring_t inside = entry_at(1000, 10, 1000, 12);

    (void)state;

    /* its records are gone, what lies behind them is not */
    goes_on_at(&none, &cell, &batch, 1300, 17, 3, 0);
    goes_on_at(&b, &cell, &batch, 1400, 18, 3, 1);

    /* it ends inside a record: of one that is there, and of one that is not */
    goes_on_at(&l, &cell, &inside, 1100, 15, 3, 5);
    goes_on_at(&none, &cell, &inside, 1000, 12, 3, 0);
}

static void
a_poisoned_ring_is_not_read(void **state)
{
    static const rec_t recs[] = {{1000, 1100, 10, 1, 3},
                                 {1200, 1300, 12, 1, 3}};
    list_t l = LIST(recs);
    lb_cell_t cell = cell_at(1000, 10);
    lb_ckpt_ring_t e = entry_at(900, 9, 1200, 12);

    (void)state;
    cell.flags = LB_CELL_POISONED;
    goes_on_at(&l, &cell, NULL, 1000, 10, 3, 0);
    goes_on_at(&l, &cell, &e, 1200, 12, 3, 0);
    assert_int_equal(l.reads, 0);
}

/* The budget is one for all walks. */
static void
a_budget_ends(void **state)
{
    static const rec_t recs[] = {{1000, 1100, 10, 1, 3},
                                 {2000, 2100, 20, 1, 3}};
    list_t l = LIST(recs);
    lb_cell_t cell = cell_at(1000, 10);
    lb_ckpt_ring_t e = entry_at(2000, 20, 2000, 20);
    lb_recovered_t found;

    (void)state;
    assert_int_equal(lb_resume(&cell, &e, 10000, 200, at, &l, &found), 0);
    assert_int_equal(found.end, 2100);
    assert_int_equal(lb_resume(&cell, &e, 10000, 199, at, &l, &found),
                     LB_ELONG);
    assert_int_equal(lb_resume(&cell, &e, 10000, 99, at, &l, &found), LB_ELONG);
}

static void
an_error_of_the_disk_is_one(void **state)
{
    list_t l = {NULL, 0, -5, 0, 0};
    lb_cell_t cell = cell_at(1000, 10);
    lb_ckpt_ring_t e = entry_at(2000, 20, 2000, 20);
    lb_recovered_t found;

    (void)state;
    assert_int_equal(lb_resume(&cell, &e, 10000, 0, at, &l, &found), -5);
    assert_int_equal(l.reads, 1);
}

/* Whatever lies in the ring: behind all that is known, seq and position. */
static void
never_before_what_is_known(void **state)
{
    int i, k;
    unsigned seed = 1;
    uint64_t p, seq;
    rec_t recs[12];
    list_t l = {recs, 12, 0, 0, 0};
    lb_cell_t cell;
    lb_ckpt_ring_t e;
    lb_recovered_t found;

    (void)state;

    for (i = 0; i < 20000; i++) {
        for (k = 0, p = 1000, seq = 10; k < 12; k++) {
            recs[k].position = p;
            p += 8 * (1 + (uint64_t)rand_r(&seed) % 3);
            recs[k].next = p;
            recs[k].events = 1 + (uint32_t)rand_r(&seed) % 3;
            recs[k].first_seq = seq + (rand_r(&seed) % 8 == 0);
            recs[k].epoch = 3 + (uint32_t)(rand_r(&seed) % 5 == 0);
            seq += recs[k].events;
        }

        cell = cell_at(1000 + 8 * ((uint64_t)rand_r(&seed) % 20),
                       10 + (uint64_t)rand_r(&seed) % 20);
        cell.flags = rand_r(&seed) % 4 == 0 ? LB_CELL_POISONED : 0;
        e = entry_at(1000 + 8 * ((uint64_t)rand_r(&seed) % 20),
                     10 + (uint64_t)rand_r(&seed) % 20, 0, 0);
        e.end = e.acked + 8 * ((uint64_t)rand_r(&seed) % 5);
        e.end_seq = e.acked_seq + (uint64_t)rand_r(&seed) % 5;

        assert_int_equal(lb_resume(&cell, &e, 10000, 0, at, &l, &found), 0);
        assert_true(found.end >= cell.committed && found.end >= e.end);
        assert_true(found.seq >= e.end_seq);
        assert_true(found.epoch >= cell.epoch);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_behind_the_cell),
        cmocka_unit_test(whole_records_are_kept),
        cmocka_unit_test(what_ends_a_walk),
        cmocka_unit_test(an_old_cell_yields_to_the_checkpoint),
        cmocka_unit_test(no_seq_of_a_batch_is_given_again),
        cmocka_unit_test(a_poisoned_ring_is_not_read),
        cmocka_unit_test(a_budget_ends),
        cmocka_unit_test(an_error_of_the_disk_is_one),
        cmocka_unit_test(never_before_what_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
