/*
 * Rings whose disk fails: what fails is never confirmed.
 */

#include "spool_env.h"

#include <sys/stat.h>
#include <unistd.h>

#include "failing_io.h"

/* A write, or the sync, fails while the sync runs: the ring is given up, and
 * nothing is said to be durable. */
static void
failures_while_a_sync_runs(void **state)
{
    env_t *e = *state;
    static lb_io_calls_t calls;
    lb_ring_info_t info;
    lb_writer_t *w;
    lb_reader_t *r;

    failing_io(&calls);

    /* the write, its cell, the sync */
    for (int n = 1; n <= 3; n++) {
        fail_in = 0;
        w = env_writer(e, 65536);
        r = env_reader(e, lb_writer_slot(w));
        env_append(w, "s", "{}\n", 3, 1);
        assert_int_equal(env_commit(w, 0), 0);

        assert_int_equal(lb_writer_sync_begin(w), 1);
        env_append(w, "s", "{}\n", 3, 1);
        fail_in = n;
        assert_int_equal(env_commit(w, 0), n < 3 ? -EIO : 0);
        lb_writer_sync_run(w);
        fail_in = 0;
        assert_int_equal(lb_writer_sync_end(w), n < 3 ? LB_EPOISONED : -EIO);

        assert_int_equal(lb_writer_poisoned(w), 1);
        assert_int_equal(lb_reader_info(r, &info), 0);
        assert_true(info.flags & LB_CELL_POISONED);
        assert_int_equal(info.durable, 0);
        assert_int_equal(env_append(w, "s", "{}\n", 3, 1), LB_EPOISONED);
        assert_int_equal(lb_writer_sync_end(w), LB_EPOISONED);

        lb_reader_close(r);
        lb_writer_close(w);
    }

    lb_io = &lb_io_system;
}

/* Whatever call fails: a group that was not confirmed is not committed, the
 * ring takes no more, and what was committed before is still there. */
static void
failures_are_never_confirmed(void **state)
{
    int sync, n, rc;
    env_t *e = *state;
    uint32_t slot;
    lb_writer_t *w, *other;
    lb_reader_t *r;
    lb_error_t err;
    lb_record_t rec;
    static lb_io_calls_t calls;
    lb_ring_info_t good, info;

    failing_io(&calls);

    for (sync = 0; sync < 2; sync++) {
        for (n = 1; n < 7; n++) {
            fail_in = 0;
            failed = 0;
            w = env_writer(e, 512);
            slot = lb_writer_slot(w);
            r = env_reader(e, slot);
            assert_int_equal(lb_reader_info(r, &info), 0);
            assert_int_equal(lb_reader_ack(r, info.committed, info.next_seq),
                             0);

            /* a record that wraps takes two writes */
            env_append(w, "s", "{\"a\":\"0123456789\"}\n", 19, 1);
            assert_int_equal(env_commit(w, sync), 0);
            assert_int_equal(lb_reader_info(r, &good), 0);

            fail_in = n;
            rc = 0;
            env_append(w, "s", "{\"b\":\"0123456789\"}\n", 19, 1);
            assert_int_equal(lb_writer_begin(w), 1);
            env_append(w, "s", "{\"c\":\"0123456789\"}\n", 19, 1);
            (void)lb_writer_write(w, sync);
            rc = lb_writer_end(w);
            if (rc != 0) {
                assert_int_equal(lb_writer_staged(w), 0);
            } else if (!sync) {
                rc = lb_writer_sync(w);
            }

            assert_int_equal(lb_reader_info(r, &info), 0);

            if (!failed) {
                assert_int_equal(rc, 0);
                fail_in = 0;
                lb_reader_close(r);
                lb_writer_close(w);
                continue;
            }

            assert_int_equal(rc, -EIO);
            assert_int_equal(lb_writer_poisoned(w), 1);
            assert_true(info.flags & LB_CELL_POISONED);
            assert_int_equal(info.durable, good.durable);
            if (n < 3 || sync) {
                assert_int_equal(info.committed, good.committed);
                assert_int_equal(info.next_seq, good.next_seq);
                assert_int_equal(info.counters[LB_COUNTER_EVENTS],
                                 good.counters[LB_COUNTER_EVENTS]);
            }
            assert_int_equal(env_append(w, "s", "{}\n", 3, 1), LB_EPOISONED);

            fail_in = 0;
            assert_int_equal(lb_reader_sync(r, &info), 0);
            assert_int_equal(
                lb_reader_record(r, good.acked, info.committed, 1, &rec), 0);

            /* not to be claimed before it is drained */
            lb_writer_close(w);
            assert_int_equal(lb_writer_claim_slot(e->spool, slot, &other, &err),
                             LB_EPOISONED);
            assert_int_equal(lb_reader_ack(r, info.committed, info.next_seq),
                             0);
            assert_int_equal(lb_writer_claim_slot(e->spool, slot, &other, &err),
                             0);
            assert_int_equal(lb_reader_info(r, &info), 0);
            assert_int_equal(info.flags & LB_CELL_POISONED, 0);
            lb_writer_close(other);
            lb_reader_close(r);
        }
    }
}

/* The disk takes nothing any more, not even the flag in the cell: nothing is
 * confirmed, the ring takes no more, and the next owner, once the disk works
 * again, goes on from what is there. */
static void
a_dead_disk_confirms_nothing(void **state)
{
    int sync, n, rc;
    env_t *e = *state;
    lb_error_t err;
    lb_writer_t *w, *other;
    lb_reader_t *r;
    lb_record_t rec;
    lb_ring_info_t good, info;
    static lb_io_calls_t calls;

    failing_io(&calls);

    for (sync = 0; sync < 2; sync++) {
        for (n = 1; n < 6; n++) {
            fail_in = 0;
            failed = 0;
            w = env_writer(e, 65536);
            r = env_reader(e, lb_writer_slot(w));
            assert_int_equal(env_append(w, "s", "{\"a\":1}\n", 8, 1), 0);
            assert_int_equal(env_commit(w, 1), 0);
            assert_int_equal(lb_reader_info(r, &good), 0);

            fail_forever = 1;
            fail_in = n;
            assert_int_equal(env_append(w, "s", "{\"b\":1}\n", 8, 1), 0);
            rc = env_commit(w, sync);
            if (rc == 0 && !sync) {
                rc = lb_writer_sync(w);
            }

            if (failed) {
                assert_int_equal(rc, -EIO);
                assert_int_equal(lb_writer_poisoned(w), 1);
                assert_int_equal(env_append(w, "s", "{}\n", 3, 1),
                                 LB_EPOISONED);
                lb_writer_close(w);
                w = NULL;
                /* half of the cell with the flag may have made it */
                rc = lb_writer_claim_slot(e->spool, good.slot, &other, &err);
                assert_true(rc == -EIO || rc == LB_EPOISONED);
            }

            fail_in = 0;
            fail_forever = 0;

            if (failed) {
                assert_int_equal(lb_reader_info(r, &info), 0);
                if (info.flags & LB_CELL_POISONED) {
                    lb_reader_ack(r, info.committed, info.next_seq);
                }
                assert_int_equal(
                    lb_writer_claim_slot(e->spool, good.slot, &w, &err), 0);
                assert_int_equal(lb_reader_info(r, &info), 0);
                assert_true(info.committed >= good.committed);
                if (info.committed > good.committed) {
                    assert_int_equal(lb_reader_record(r, good.committed,
                                                      info.committed, 1, &rec),
                                     0);
                    assert_int_equal(rec.first_seq, good.next_seq);
                }
            }

            lb_reader_close(r);
            lb_writer_close(w);
        }
    }
}

/* A sync that failed once says nothing the second time: a ring whose claim
 * could not sync is poisoned, until it is drained. */
static void
a_failed_sync_of_a_claim_poisons(void **state)
{
    int n;
    env_t *e = *state;
    uint32_t slot;
    lb_error_t err;
    lb_writer_t *w;
    lb_reader_t *r;
    lb_ring_info_t info;
    static lb_io_calls_t calls;

    failing_io(&calls);
    calls.write = lb_io_system.write;

    for (n = 1; n <= 2; n++) {
        fail_in = 0;
        w = env_writer(e, 65536);
        slot = lb_writer_slot(w);
        r = env_reader(e, slot);
        assert_int_equal(env_append(w, "s", "{}\n", 3, 1), 0);
        assert_int_equal(env_commit(w, 1), 0);
        lb_writer_close(w);

        fail_in = n;
        assert_int_equal(lb_writer_claim_slot(e->spool, slot, &w, &err), -EIO);
        assert_int_equal(fail_in, 0);
        assert_int_equal(lb_reader_info(r, &info), 0);
        assert_true(info.flags & LB_CELL_POISONED);

        assert_int_equal(lb_writer_claim_slot(e->spool, slot, &w, &err),
                         LB_EPOISONED);
        lb_reader_ack(r, info.committed, info.next_seq);
        assert_int_equal(lb_writer_claim_slot(e->spool, slot, &w, &err), 0);
        lb_writer_close(w);
        lb_reader_close(r);
    }
}

/* Nothing is confirmed that went into a file which is no longer the ring. */
static void
a_file_that_is_gone_confirms_nothing(void **state)
{
    int how;
    char path[300], cmd[900];
    env_t *e = *state;
    lb_writer_t *w;

    for (how = 0; how < 4; how++) {
        w = env_writer(e, 65536);
        assert_int_equal(env_append(w, "s", "{}\n", 3, 1), 0);
        assert_int_equal(env_commit(w, 1), 0);
        assert_int_equal(lb_writer_check(w), 0);

        (void)snprintf(path, sizeof(path), "%s/ring-%04u", e->dir,
                       lb_writer_slot(w));

        switch (how) {
        case 0:
            assert_int_equal(unlink(path), 0);
            break;
        case 1:
            assert_int_equal(truncate(path, 30000), 0);
            break;
        case 2: /* all there again, and all zeros */
            assert_int_equal(truncate(path, 0), 0);
            assert_int_equal(truncate(path, LB_RING_DATA + 65536), 0);
            break;
        default: /* another directory in its place */
            (void)snprintf(cmd, sizeof(cmd), "mv '%s' '%s.old' && mkdir '%s'",
                           e->dir, e->dir, e->dir);
            assert_int_equal(system(cmd), 0);
        }

        assert_int_equal(lb_writer_check(w), LB_EGONE);

        if (how < 2) {
            assert_int_equal(env_append(w, "s", "{}\n", 3, 1), 0);
            assert_int_equal(env_commit(w, 1), LB_EGONE);
            assert_int_equal(lb_writer_poisoned(w), 1);
        }

        lb_writer_close(w);
        (void)snprintf(cmd, sizeof(cmd), "rm -f '%s'/ring-*", e->dir);
        assert_int_equal(system(cmd), 0);
    }

    (void)snprintf(cmd, sizeof(cmd), "rm -r '%s.old'", e->dir);
    assert_int_equal(system(cmd), 0);
}

/* Creation fails at each call in turn: no half-made ring is ever visible, and
 * the next attempt succeeds. */
static void
creation_survives_each_failure(void **state)
{
    int n, rc;
    char path[300];
    env_t *e = *state;
    lb_error_t err;
    struct stat st;
    static lb_io_calls_t calls;

    failing_io(&calls);

    for (n = 1; n < 50; n++) {
        failed = 0;
        fail_in = n;
        rc = lb_ring_create(e->spool, 4096, 1, &err);
        fail_in = 0;

        if (!failed) {
            assert_int_equal(rc, 0);
            break;
        }

        (void)snprintf(path, sizeof(path), "%s/ring-0000", e->dir);

        /* the sync of the directory comes after the rename */
        if (stat(path, &st) == 0) {
            lb_writer_close(env_writer(e, 4096));
            assert_int_equal(unlink(path), 0);
        } else {
            assert_true(rc < 0);
            assert_non_null(strstr(err.text, "ring-0000"));
        }
    }

    assert_true(n > 5 && n < 50);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)
    const struct CMUnitTest tests[] = {
        T(failures_while_a_sync_runs),
        T(failures_are_never_confirmed),
        T(a_dead_disk_confirms_nothing),
        T(a_failed_sync_of_a_claim_poisons),
        T(a_file_that_is_gone_confirms_nothing),
        T(creation_survives_each_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
