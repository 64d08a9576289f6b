/*
 * Zeros ahead of a writer: never on a record.
 */

#include "spool_env.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "failing_io.h"

/* A large ring is there at once, of its full size on the disk, and filled while
 * it is written to; a sync that fails there does not hurt the ring. */
static void
a_large_ring_is_filled_while_it_is_used(void **state)
{
    int n, slices;
    char path[300];
    env_t *e = *state;
    uint64_t p;
    struct stat st;
    lb_error_t err;
    lb_record_t rec;
    lb_writer_t *w;
    lb_reader_t *r;
    lb_ring_info_t info;
    uint64_t slice = lb_fill_slice;
    static lb_io_calls_t calls;

    lb_fill_slice = 4096;
    failing_io(&calls);

    w = env_writer(e, 1 << 20);
    r = env_reader(e, 0);
    (void)snprintf(path, sizeof(path), "%s/ring-0000", e->dir);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_blocks * 512 >= 1 << 20);

    for (slices = 0; lb_writer_fill_begin(w); slices++) {

        /* catches up with the slice that was begun, now and then */
        for (n = slices % 8 == 0 ? 200 : 1; n > 0; n--) {
            assert_int_equal(env_append(w, "s", "{\"n\":1}\n", 8, 1), 0);
            assert_int_equal(env_commit(w, slices % 2), 0);
        }

        if (slices == 20) {
            lb_writer_fill_run(w);
            assert_int_equal(lb_writer_fill_end(w), 0);
            lb_writer_close(w);
            w = env_writer(e, 1 << 20);

        } else if (slices == 31) {
            fail_in = 1;
            lb_writer_fill_run(w);
            assert_int_equal(lb_writer_fill_end(w), -EIO);
            assert_int_equal(lb_writer_fill_begin(w), 0);
            assert_int_equal(lb_writer_dirty(w), 0);
            assert_int_equal(lb_writer_poisoned(w), 0);
            lb_writer_close(w);
            w = env_writer(e, 1 << 20);

        } else {
            lb_writer_fill_run(w);
            assert_int_equal(lb_writer_fill_end(w), 0);
        }
    }

    assert_true(slices > 40 && slices < 400);
    assert_int_equal(lb_writer_sync(w), 0);
    lb_writer_close(w);

    /* once, and not again */
    w = env_writer(e, 1 << 20);
    assert_int_equal(lb_writer_fill_begin(w), 0);

    assert_int_equal(lb_reader_info(r, &info), 0);
    for (p = 0, n = 0; p < info.committed; p = rec.next, n++) {
        assert_int_equal(lb_reader_record(r, p, info.committed, 1, &rec), 0);
        assert_int_equal(rec.first_seq, n);
    }
    assert_int_equal(n, info.next_seq);

    /* nor for another size, somewhere in the middle of a lap */
    lb_writer_close(w);
    env_deliver_all(e, r);
    lb_reader_close(r);
    assert_int_equal(lb_ring_resize(e->spool, 0, 2 << 20, &err), 1);
    w = env_writer(e, 2 << 20);
    r = env_reader(e, 0);
    for (slices = 0; lb_writer_fill_begin(w); slices++) {
        assert_int_equal(env_append(w, "s", "{\"n\":1}\n", 8, 1), 0);
        assert_int_equal(env_commit(w, 1), 0);
        lb_writer_fill_run(w);
        assert_int_equal(lb_writer_fill_end(w), 0);
    }
    assert_true(slices > 400 && slices < 600);
    p = info.committed;
    n = (int)info.next_seq;
    assert_int_equal(lb_reader_info(r, &info), 0);
    for (; p < info.committed; p = rec.next, n++) {
        assert_int_equal(lb_reader_record(r, p, info.committed, 1, &rec), 0);
        assert_int_equal(rec.first_seq, n);
    }
    assert_int_equal(n, info.next_seq);

    lb_writer_close(w);
    lb_reader_close(r);
    lb_fill_slice = slice;
}

static atomic_int filling; /* 1: a slice is to be run; -1: no more */

static void *
fill_thread(void *writer)
{
    int now;

    while ((now = atomic_load(&filling)) >= 0) {
        if (now == 1) {
            lb_writer_fill_run(writer);
            atomic_store(&filling, 0);
        }
    }

    return NULL;
}

/* Slices run in a thread while the writer overtakes them: no zeros land on a
 * record, whoever comes first. */
static void
a_writer_overtakes_the_filling(void **state)
{
    int i, n, under_way = 0;
    env_t *e = *state;
    uint64_t p;
    pthread_t thread;
    lb_record_t rec;
    lb_writer_t *w;
    lb_reader_t *r;
    lb_error_t err;
    lb_ring_info_t info;
    uint64_t slice = lb_fill_slice;

    lb_fill_slice = 16384;

    for (i = 0; i < 10; i++) {
        assert_int_equal(lb_ring_create(e->spool, 1 << 20, 100, &err), i);
        assert_int_equal(lb_writer_claim_slot(e->spool, (uint32_t)i, &w, &err),
                         0);
        r = env_reader(e, (uint32_t)i);

        atomic_store(&filling, 0);
        assert_int_equal(pthread_create(&thread, NULL, fill_thread, w), 0);

        for (n = 0; n < 8000; n++) {

            if (under_way && atomic_load(&filling) == 0) {
                assert_int_equal(lb_writer_fill_end(w), 0);
                under_way = 0;
            }

            if (!under_way && n % 64 == 0 && lb_writer_fill_begin(w)) {
                under_way = 1;
                atomic_store(&filling, 1);
            }

            assert_int_equal(env_append(w, "s", "{\"n\":1}\n", 8, 1), 0);
            (void)lb_writer_fill_busy(w);
            assert_int_equal(env_commit(w, 0), 0);
        }

        while (atomic_load(&filling) == 1) {
        }
        if (under_way) {
            assert_int_equal(lb_writer_fill_end(w), 0);
            under_way = 0;
        }
        atomic_store(&filling, -1);
        (void)pthread_join(thread, NULL);

        assert_int_equal(lb_reader_info(r, &info), 0);
        for (p = info.acked, n = 0; p < info.committed; p = rec.next, n++) {
            assert_int_equal(lb_reader_record(r, p, info.committed, 1, &rec),
                             0);
        }
        assert_int_equal(n, 8000);
        lb_reader_close(r);
        lb_writer_close(w);
    }

    lb_fill_slice = slice;
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)
    const struct CMUnitTest tests[] = {
        T(a_large_ring_is_filled_while_it_is_used),
        T(a_writer_overtakes_the_filling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
