/*
 * Which ring a worker gets, and rings that change size.
 */

#include "spool_env.h"

#include <errno.h>

#include "failing_io.h"

/* A ring changes size only when it is empty and nobody has it; positions, seqs
 * and identity go on, and whichever call fails, it is one of the two. */
static void
an_empty_ring_changes_size(void **state)
{
    int n, rc, lap;
    env_t *e = *state;
    lb_writer_t *w = env_writer(e, 4096);
    lb_reader_t *old = env_reader(e, 0), *r;
    lb_error_t err;
    lb_record_t rec;
    lb_ring_info_t before, info;
    static lb_io_calls_t calls;

    for (lap = 0; lap < 70; lap++) {
        assert_int_equal(env_append(w, "s", "{\"n\":1}\n", 8, 1), 0);
        assert_int_equal(env_commit(w, 1), 0);
        assert_int_equal(lb_reader_info(old, &info), 0);
        if (lap < 69) {
            lb_reader_ack(old, info.committed, info.next_seq);
        }
    }

    assert_true(info.committed > info.capacity);
    assert_int_equal(lb_ring_resize(e->spool, 0, 65536, &err), LB_ELOCKED);
    lb_writer_close(w);
    assert_int_equal(lb_ring_resize(e->spool, 0, 65536, &err), -EBUSY);
    assert_non_null(strstr(err.text, "not delivered"));
    assert_int_equal(lb_reader_ack(old, info.committed, info.next_seq), 0);
    /* the hint alone is not enough */
    assert_int_equal(lb_ring_resize(e->spool, 0, 65536, &err), -EBUSY);
    env_deliver_all(e, old);
    assert_int_equal(lb_ring_resize(e->spool, 0, 4096, &err), 0);
    assert_int_equal(lb_ring_resize(e->spool, 0, 4097, &err), -EINVAL);

    failing_io(&calls);

    for (n = 1, rc = -1; rc < 0; n++) {
        assert_true(n < 100);
        fail_in = n;
        rc = lb_ring_resize(e->spool, 0, 65536, &err);
        fail_in = 0;
        r = env_reader(e, 0);
        assert_int_equal(lb_reader_info(r, &before), 0);
        assert_int_equal(before.committed, info.committed);
        assert_int_equal(before.next_seq, info.next_seq);
        assert_int_equal(before.acked, info.committed);
        assert_memory_equal(before.uuid, info.uuid, LB_UUID_LEN);
        lb_reader_close(r);
        if (rc == 0) {
            /* the new file was in place when the directory's sync failed */
            break;
        }
    }

    assert_true(n > 3);
    assert_int_equal(lb_ring_resize(e->spool, 0, 65536, &err), 0);
    assert_int_equal(lb_reader_stale(old), 1);
    lb_reader_close(old);

    w = env_writer(e, 65536);
    assert_int_equal(lb_writer_slot(w), 0);
    r = env_reader(e, 0);
    assert_int_equal(lb_reader_info(r, &before), 0);
    assert_int_equal(before.capacity, 65536);
    assert_int_equal(before.counters[LB_COUNTER_EVENTS], 70);
    assert_int_equal(env_append(w, "s", "{\"n\":2}\n", 8, 1), 0);
    assert_int_equal(env_commit(w, 1), 0);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(
        lb_reader_record(r, before.committed, info.committed, 1, &rec), 0);
    assert_int_equal(rec.first_seq, 70);
    assert_int_equal(info.next_seq, 71);
    lb_reader_close(r);
    lb_writer_close(w);
}

static uint64_t
size_of(env_t *e, uint32_t slot)
{
    lb_reader_t *r = env_reader(e, slot);
    lb_ring_info_t info;

    assert_int_equal(lb_reader_info(r, &info), 0);
    lb_reader_close(r);

    return info.capacity;
}

static const lb_wanted_t *
want(uint64_t capacity, uint32_t max_rings)
{
    static lb_wanted_t wanted;

    wanted.capacity = capacity;
    wanted.max_rings = max_rings;

    return &wanted;
}

/* Whoever needs a ring gets one of the size that is wanted now, or the reason
 * why not. */
static void
acquired_rings_have_the_size_wanted(void **state)
{
    env_t *e = *state;
    lb_error_t err;
    lb_writer_t *a, *b, *c;
    lb_reader_t *r;
    lb_wanted_t keep;
    lb_acquired_t got;
    lb_ring_info_t info;

    assert_int_equal(lb_writer_acquire(e->spool, want(4096, 2), &a, &got, &err),
                     0);
    assert_true(got.created && !got.resized && got.kept.code == 0);
    assert_int_equal(env_append(a, "s", "{}\n", 3, 1), 0);
    assert_int_equal(env_commit(a, 1), 0);
    lb_writer_close(a);
    assert_int_equal(lb_writer_acquire(e->spool, want(4096, 2), &a, &got, &err),
                     0);
    assert_int_equal(lb_writer_slot(a), 0);
    assert_true(!got.created && !got.resized && got.kept.code == 0);
    lb_writer_close(a);

    /* that one is not empty: a second one, which changes again and again */
    for (uint64_t size = 8192; size < 65536; size += 8192) {
        assert_int_equal(
            lb_writer_acquire(e->spool, want(size, 2), &b, &got, &err), 0);
        assert_int_equal(lb_writer_slot(b), 1);
        assert_int_equal(lb_writer_capacity(b), size);
        assert_int_equal(got.created, size == 8192);
        assert_int_equal(got.resized, size != 8192);
        assert_int_equal(got.kept.code, 0);
        lb_writer_close(b);
    }

    /* the second is held, the first not empty, no third may be made */
    assert_int_equal(lb_writer_acquire(e->spool, want(8192, 2), &b, &got, &err),
                     0);
    assert_int_equal(lb_writer_acquire(e->spool, want(8192, 2), &c, &got, &err),
                     0);
    assert_int_equal(lb_writer_slot(c), 0);
    assert_int_equal(lb_writer_capacity(c), 4096);
    assert_int_equal(got.kept.code, -EBUSY);
    assert_non_null(strstr(got.kept.text, "ring 0"));
    assert_non_null(strstr(got.kept.text, "not delivered"));
    assert_int_equal(lb_writer_acquire(e->spool, want(8192, 2), &a, &got, &err),
                     LB_ENOSLOT);
    assert_non_null(strstr(err.text, "rings="));
    assert_int_equal(lb_writer_acquire(e->spool, want(8192, 0), &a, &got, &err),
                     LB_ENOSLOT);
    lb_writer_close(c);
    lb_writer_close(b);

    /* once delivered it takes part; a spare one comes about the same way */
    r = env_reader(e, 0);
    env_deliver_all(e, r);
    assert_int_equal(lb_ring_spare(e->spool, want(16384, 2), &err), 1);
    keep = *want(16384, 2);
    keep.keep_us = 10000000;
    assert_int_equal(lb_ring_spare(e->spool, &keep, &err), LB_ENOSLOT);
    assert_int_equal(lb_writer_acquire(e->spool, &keep, &b, &got, &err), 0);
    assert_int_equal(lb_writer_acquire(e->spool, &keep, &c, &got, &err), 0);
    assert_int_equal(lb_writer_capacity(c), 4096);
    assert_non_null(strstr(got.kept.text, "idempotency keys"));
    lb_writer_close(b);
    lb_writer_close(c);
    assert_int_equal(size_of(e, 1), 16384);
    assert_int_equal(lb_ring_spare(e->spool, want(16384, 2), &err), 0);
    assert_int_equal(size_of(e, 0), 16384);
    lb_reader_close(r);
    r = env_reader(e, 0);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.next_seq, 1);
    lb_reader_close(r);
    assert_int_equal(lb_ring_spare(e->spool, want(16384, 2), &err), LB_ENOSLOT);
    assert_int_equal(lb_ring_spare(e->spool, want(16384, 3), &err), 2);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)
    const struct CMUnitTest tests[] = {
        T(an_empty_ring_changes_size),
        T(acquired_rings_have_the_size_wanted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
