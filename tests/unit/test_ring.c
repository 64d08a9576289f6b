/*
 * Rings: what is committed is read back, what is full is refused, what fails
 * is never confirmed.
 */

#include "spool_env.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/lb_bytes.h"

/* In place of the C library's, so that it can be counted. */
static int times_asked;

int
fstat(int fd, struct stat *st)
{
    times_asked++;
    return fstatat(fd, "", st, AT_EMPTY_PATH);
}

static void
written_is_read_back(void **state)
{
    char *text;
    env_t *e = *state;
    lb_writer_t *w = env_writer(e, 65536);
    lb_reader_t *r = env_reader(e, 0);
    lb_record_t rec;
    lb_ring_info_t info;

    assert_int_equal(env_append(w, "a", "{\"n\":1}\n", 8, 1), 0);
    assert_int_equal(env_append(w, "bb", "{}\n{}\n", 6, 2), 0);

    /* staged is not committed */
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.committed, 0);
    assert_int_equal(info.locked, 1);

    assert_int_equal(env_commit(w, 1), 0);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.next_seq, 3);
    assert_int_equal(info.durable, info.committed);
    assert_int_equal(info.counters[LB_COUNTER_EVENTS], 3);
    assert_int_equal(info.counters[LB_COUNTER_RECORDS], 2);

    assert_int_equal(lb_reader_record(r, 0, info.committed, 1, &rec), 0);
    assert_int_equal(rec.first_seq, 0);
    text = env_payload(r, &rec);
    assert_string_equal(text, "{\"n\":1}\n");
    free(text);

    assert_int_equal(lb_reader_record(r, rec.next, info.committed, 1, &rec), 0);
    assert_int_equal(rec.first_seq, 1);
    assert_int_equal(rec.events, 2);
    assert_string_equal(rec.stream, "bb");
    assert_int_equal(rec.next, info.committed);
    assert_int_equal(lb_reader_record(r, rec.next, info.committed, 1, &rec),
                     LB_EEND);

    lb_reader_close(r);
    lb_writer_close(w);
}

static void
unsynced_becomes_durable(void **state)
{
    env_t *e = *state;
    lb_writer_t *w = env_writer(e, 65536);
    lb_reader_t *r = env_reader(e, 0);
    lb_ring_info_t info;

    env_append(w, "s", "{}\n", 3, 1);
    assert_int_equal(env_commit(w, 0), 0);
    assert_int_equal(lb_writer_dirty(w), 1);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.durable, 0);

    /* the reader can see to it by itself */
    assert_int_equal(lb_reader_sync(r, &info), 0);
    assert_int_equal(info.durable, info.committed);

    assert_int_equal(lb_writer_sync(w), 0);
    assert_int_equal(lb_writer_dirty(w), 0);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.durable, info.committed);

    lb_reader_close(r);
    lb_writer_close(w);
}

/* A file whose times were asked for gets a new one with the next write, which
 * the sync of that has to store: a group commit does not ask. */
static void
a_group_does_not_ask_for_times(void **state)
{
    int i;
    env_t *e = *state;
    lb_writer_t *w = env_writer(e, 65536);

    times_asked = 0;
    for (i = 0; i < 4; i++) {
        env_append(w, "s", "{}\n", 3, 1);
        assert_int_equal(env_commit(w, i % 2), 0);
    }
    assert_int_equal(times_asked, 0);

    lb_writer_close(w);
}

static uint64_t
resident(void)
{
    unsigned long all, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu %lu", &all, &pages), 2);
    fclose(f);

    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The memory of a large group is gone when it is written, not when it ends,
 * which is for the event loop. */
static void
large_groups_give_memory_back(void **state)
{
    env_t *e = *state;
    size_t len = 24u << 20;
    lb_writer_t *w = env_writer(e, 32u << 20);
    char *payload = malloc(len);
    uint64_t staged;

#if defined(__SANITIZE_ADDRESS__)
    /* keeps what is freed */
    free(payload);
    lb_writer_close(w);
    skip();
    return;
#endif

    assert_non_null(payload);
    memset(payload, 'x', len);
    assert_int_equal(env_append(w, "s", payload, len, 1), 0);
    assert_int_equal(lb_writer_begin(w), 1);

    staged = resident();
    assert_int_equal(lb_writer_write(w, 0), 0);
    assert_true(resident() + len / 2 < staged);
    assert_int_equal(lb_writer_end(w), 0);

    free(payload);
    lb_writer_close(w);
}

/* What is written while a sync runs is not what the sync made durable. */
static void
sync_leaves_out_what_comes_later(void **state)
{
    env_t *e = *state;
    lb_writer_t *w = env_writer(e, 65536);
    lb_reader_t *r = env_reader(e, 0);
    lb_ring_info_t info;
    uint64_t first;

    assert_int_equal(lb_writer_sync_begin(w), 0);

    env_append(w, "s", "{}\n", 3, 1);
    assert_int_equal(env_commit(w, 0), 0);
    assert_int_equal(lb_reader_info(r, &info), 0);
    first = info.committed;

    assert_int_equal(lb_writer_sync_begin(w), 1);
    assert_int_equal(lb_writer_sync_begin(w), 0);
    lb_writer_sync_run(w);
    env_append(w, "s", "{}\n", 3, 1);
    assert_int_equal(env_commit(w, 0), 0);
    assert_int_equal(lb_writer_sync_end(w), 0);

    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.durable, first);
    assert_true(info.committed > first);
    assert_int_equal(lb_writer_dirty(w), 1);

    /* one with sync takes it along */
    env_append(w, "s", "{}\n", 3, 1);
    assert_int_equal(env_commit(w, 1), 0);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.durable, info.committed);
    assert_int_equal(lb_writer_dirty(w), 0);

    lb_reader_close(r);
    lb_writer_close(w);
}

static void
full_ring_refuses_until_acked(void **state)
{
    int i, rc = 0;
    static char big[5000];
    env_t *e = *state;
    lb_writer_t *w = env_writer(e, 4096);
    lb_reader_t *r = env_reader(e, 0);
    lb_record_t rec;
    lb_ring_info_t info;

    memset(big, 'x', sizeof(big));

    for (i = 0; i < 100 && rc == 0; i++) {
        rc = env_append(w, "s", big, 600, 1);
    }

    assert_int_equal(rc, LB_EFULL);
    assert_int_equal(i, 4096 / 688 + 1);
    assert_int_equal(env_commit(w, 1), 0);
    assert_int_equal(env_append(w, "s", big, 600, 1), LB_EFULL);

    /* counted in the file by the second's sync at the latest */
    assert_int_equal(lb_writer_dirty(w), 1);
    assert_int_equal(lb_writer_sync(w), 0);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.counters[LB_COUNTER_FULL], 2);
    assert_int_equal(lb_reader_record(r, 0, info.committed, 1, &rec), 0);
    assert_int_equal(lb_reader_ack(r, rec.next, 1), 0);

    assert_int_equal(env_append(w, "s", big, 600, 1), 0);
    assert_int_equal(env_append(w, "s", big, 600, 1), LB_EFULL);
    assert_int_equal(env_append(w, "s", big, 5000, 1), LB_ETOOBIG);

    lb_reader_close(r);
    lb_writer_close(w);
}

static void
staging_goes_on_while_a_group_is_in_flight(void **state)
{
    env_t *e = *state;
    lb_writer_t *w = env_writer(e, 65536);
    lb_reader_t *r = env_reader(e, 0);
    lb_record_t rec;
    lb_ring_info_t info;

    env_append(w, "s", "{\"a\":1}\n", 8, 1);
    assert_int_equal(lb_writer_begin(w), 1);
    assert_int_equal(lb_writer_begin(w), -EBUSY);
    env_append(w, "s", "{\"b\":2}\n", 8, 1);
    assert_int_equal(lb_writer_write(w, 1), 0);
    env_append(w, "s", "{\"c\":3}\n", 8, 1);
    assert_int_equal(lb_writer_end(w), 0);
    assert_int_equal(env_commit(w, 1), 0);
    assert_int_equal(lb_writer_begin(w), 0);

    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.next_seq, 3);
    for (uint64_t p = 0, seq = 0; p < info.committed; p = rec.next, seq++) {
        assert_int_equal(lb_reader_record(r, p, info.committed, 1, &rec), 0);
        assert_int_equal(rec.first_seq, seq);
    }

    lb_reader_close(r);
    lb_writer_close(w);
}

/* A payload made elsewhere: its memory becomes the group's, or it is copied
 * behind what is staged; a refusal leaves it to its owner. */
static void
payloads_made_elsewhere(void **state)
{
    env_t *e = *state;
    lb_writer_t *w = env_writer(e, 8192);
    lb_reader_t *r = env_reader(e, 0);
    lb_meta_t meta = {
        .received_us = 7, .stream = (const uint8_t *)"s", .stream_len = 1};
    size_t header = lb_writer_header(&meta);
    lb_record_t rec;
    lb_ring_info_t info;
    uint64_t at = 0;
    char *text;

    for (int round = 0; round < 3; round++) {
        size_t cap = header + 3000 + (round == 1 ? 0 : 8);
        uint8_t *buf = malloc(cap);
        uint8_t *mine = buf;

        /* alone, without room behind it, behind another one */
        memset(buf + header, 'a' + round, 3000);
        if (round == 2) {
            env_append(w, "s", "{}\n", 3, 1);
        }
        assert_int_equal(
            lb_writer_append_made(w, &meta, &buf, cap, 3000, 2,
                                  lb_crc32c(0, buf + header, 3000)),
            round == 2 ? LB_EFULL : 0);
        assert_ptr_equal(buf, round == 0 ? NULL : mine);
        free(buf);
        if (round == 2) {
            break;
        }
        env_append(w, "s", "{}\n", 3, 1);
        assert_int_equal(env_commit(w, 1), 0);
        assert_int_equal(lb_reader_info(r, &info), 0);

        assert_int_equal(lb_reader_record(r, at, info.committed, 1, &rec), 0);
        assert_int_equal(rec.first_seq, 3 * round);
        assert_int_equal(rec.events, 2);
        text = env_payload(r, &rec);
        assert_int_equal(strlen(text), 3000);
        assert_int_equal(text[2999], 'a' + round);
        free(text);
        assert_int_equal(lb_reader_record(r, rec.next, info.committed, 1, &rec),
                         0);
        at = rec.next;
        assert_int_equal(at, info.committed);
    }

    /* what was staged before it is still there */
    assert_int_equal(env_commit(w, 1), 0);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.next_seq, 7);

    lb_reader_close(r);
    lb_writer_close(w);
}

static void
one_writer_per_ring(void **state)
{
    env_t *e = *state;
    lb_error_t err;
    lb_writer_t *a = env_writer(e, 4096), *b;

    assert_int_equal(lb_writer_claim_slot(e->spool, 0, &b, &err), LB_ELOCKED);
    assert_int_equal(lb_writer_claim(e->spool, 4096, &b, &err), LB_ENOSLOT);

    b = env_writer(e, 4096);
    assert_int_equal(lb_writer_slot(b), 1);

    /* the free ring with more room comes first */
    env_append(a, "s", "{}\n", 3, 1);
    env_commit(a, 1);
    lb_writer_close(a);
    lb_writer_close(b);
    a = env_writer(e, 4096);
    assert_int_equal(lb_writer_slot(a), 1);
    lb_writer_close(a);

    assert_int_equal(lb_ring_create(e->spool, 4096, 2, &err), LB_ENOSLOT);
    assert_non_null(strstr(err.text, "rings="));
}

static void
a_claim_goes_on_where_the_last_ended(void **state)
{
    env_t *e = *state;
    lb_writer_t *w = env_writer(e, 4096);
    lb_reader_t *r = env_reader(e, 0);
    lb_record_t rec;
    lb_ring_info_t before, after;

    env_append(w, "s", "{}\n{}\n", 6, 2);
    env_commit(w, 0);
    assert_int_equal(lb_reader_info(r, &before), 0);
    env_append(w, "s", "{}\n", 3, 1); /* staged, never written */
    lb_writer_close(w);

    w = env_writer(e, 4096);
    assert_int_equal(lb_reader_info(r, &after), 0);
    assert_int_equal(after.committed, before.committed);
    assert_int_equal(after.next_seq, 2);
    assert_true(after.epoch > before.epoch);
    assert_int_equal(after.durable, after.committed);

    env_append(w, "s", "{}\n", 3, 1);
    env_commit(w, 1);
    assert_int_equal(lb_reader_info(r, &after), 0);
    assert_int_equal(
        lb_reader_record(r, before.committed, after.committed, 1, &rec), 0);
    assert_int_equal(rec.first_seq, 2);
    assert_int_equal(rec.epoch, after.epoch);

    lb_reader_close(r);
    lb_writer_close(w);
}

/* Seam: the nth write or sync fails. */
static int fail_in, fail_forever, failed;

static int
must_fail(void)
{
    if (fail_in > 0 && --fail_in == 0) {
        if (fail_forever) {
            fail_in = 1;
        }
        failed = 1;
        errno = EIO;
        return 1;
    }

    return 0;
}

static ssize_t
failing_write(int fd, const void *buf, size_t len, off_t offset, int dsync)
{
    /* half of the bytes may have made it */
    if (must_fail()) {
        (void)lb_io_system.write(fd, buf, len / 2, offset, 0);
        errno = EIO;
        return -1;
    }

    return lb_io_system.write(fd, buf, len, offset, dsync);
}

static int
failing_sync(int fd)
{
    return must_fail() ? -1 : lb_io_system.sync(fd);
}

static int
failing_sync_dir(int fd)
{
    return must_fail() ? -1 : lb_io_system.sync_dir(fd);
}

static int
failing_preallocate(int fd, off_t len)
{
    if (must_fail()) {
        errno = ENOSPC;
        return -1;
    }

    return lb_io_system.preallocate(fd, len);
}

static int
failing_rename(int dirfd, const char *from, const char *to, int replace)
{
    return must_fail() ? -1 : lb_io_system.rename(dirfd, from, to, replace);
}

static void
failing_io(lb_io_calls_t *calls)
{
    *calls = lb_io_system;
    calls->write = failing_write;
    calls->sync = failing_sync;
    calls->sync_dir = failing_sync_dir;
    calls->preallocate = failing_preallocate;
    calls->rename = failing_rename;
    lb_io = calls;
}

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

/* What the flusher would write once everything in the ring is delivered. */
static void
deliver_all(env_t *e, lb_reader_t *r)
{
    lb_ckpt_t *c;
    lb_error_t err;
    lb_ring_info_t info;
    lb_ckpt_state_t *ckpt = calloc(1, sizeof(*ckpt));

    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(lb_ckpt_open(e->spool, &c, ckpt, &err), 0);
    ckpt->nrings = 1;
    memcpy(ckpt->rings[0].uuid, info.uuid, LB_UUID_LEN);
    ckpt->rings[0].slot = info.slot;
    ckpt->rings[0].acked = ckpt->rings[0].end = info.committed;
    ckpt->rings[0].acked_seq = ckpt->rings[0].end_seq = info.next_seq;
    assert_int_equal(lb_ckpt_store(c, ckpt, &err), 0);
    lb_ckpt_close(c);
    assert_int_equal(lb_reader_ack(r, info.committed, info.next_seq), 0);
    free(ckpt);
}

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
    deliver_all(e, old);
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
    deliver_all(e, r);
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
    deliver_all(e, r);
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

static void
a_foreign_file_is_refused(void **state)
{
    int fd;
    char path[300];
    env_t *e = *state;
    lb_error_t err;
    lb_reader_t *r;
    lb_writer_t *w = env_writer(e, 4096);

    lb_writer_close(w);
    (void)snprintf(path, sizeof(path), "%s/ring-0000", e->dir);

    /* another version */
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "\7\0\0\0", 4, 8), 4);
    assert_int_equal(lb_reader_open(e->spool, 0, 0, &r, &err), LB_EFOREIGN);
    assert_non_null(strstr(err.text, "version 7"));

    /* another spool, with a right checksum */
    {
        uint8_t buf[96];
        assert_int_equal(pread(fd, buf, sizeof(buf), 0), sizeof(buf));
        lb_put32(buf + 8, LB_FORMAT_VERSION);
        buf[16] ^= 1;
        lb_put32(buf + 12, lb_crc32c(0, buf + 16, 80));
        assert_int_equal(pwrite(fd, buf, sizeof(buf), 0), sizeof(buf));
    }
    assert_int_equal(lb_reader_open(e->spool, 0, 0, &r, &err), LB_EFOREIGN);
    assert_non_null(strstr(err.text, "another spool"));
    assert_int_equal(lb_writer_claim_slot(e->spool, 0, &w, &err), LB_EFOREIGN);

    /* not a ring at all, and cut short */
    assert_int_equal(pwrite(fd, "hello world, this is text", 24, 0), 24);
    assert_int_equal(lb_reader_open(e->spool, 0, 0, &r, &err), LB_EFOREIGN);
    assert_int_equal(ftruncate(fd, 10), 0);
    assert_int_equal(lb_reader_open(e->spool, 0, 0, &r, &err), LB_EFOREIGN);
    close(fd);

    /* nor is a worker's ring made in its place */
    w = env_writer(e, 4096);
    assert_int_equal(lb_writer_slot(w), 1);
    lb_writer_close(w);
}

static void
a_foreign_directory_is_refused(void **state)
{
    FILE *f;
    char dir[300], path[400];
    env_t *e = *state;
    lb_error_t err;
    lb_spool_t *s;

    (void)snprintf(dir, sizeof(dir), "%s/inner", e->dir);
    assert_int_equal(lb_spool_open(dir, 0, &s, &err), -ENOENT);
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(lb_spool_open(dir, 0, &s, &err), -ENOENT);
    assert_non_null(strstr(err.text, "not a spool"));

    (void)snprintf(path, sizeof(path), "%s/ring-0000", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(lb_spool_open(dir, LB_SPOOL_CREATE, &s, &err),
                     LB_EFOREIGN);
    assert_int_equal(unlink(path), 0);

    (void)snprintf(path, sizeof(path), "%s/spool", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs("something else", f);
    fclose(f);
    assert_int_equal(lb_spool_open(dir, LB_SPOOL_CREATE, &s, &err),
                     LB_EFOREIGN);
}

static void
put_group(lb_writer_t *w)
{
    uint8_t *p;
    lb_meta_t meta = {
        .received_us = 1, .stream = (const uint8_t *)"s", .stream_len = 1};

    p = lb_writer_stage(w, &meta, 16);
    assert_non_null(p);
    memcpy(p, "{}\n", 3);
    assert_int_equal(lb_writer_append(w, &meta, 3, 1), 0);
    assert_int_equal(lb_writer_begin(w), 1);
    assert_int_equal(lb_writer_write(w, 0), 0);
    assert_int_equal(lb_writer_end(w), 0);
}

/* What the marks of a ring say, whoever wrote them. */
static int
marks_of(env_t *e, uint64_t *committed, lb_mark_t marks[LB_MARKS])
{
    int i, n;
    lb_error_t err;
    lb_reader_t *r;
    lb_ring_info_t info;

    assert_int_equal(lb_reader_open(e->spool, 0, 0, &r, &err), 0);
    assert_int_equal(lb_reader_info(r, &info), 0);
    n = lb_reader_marks(r, info.committed, marks);
    lb_reader_close(r);

    for (i = 1; i < n; i++) {
        assert_true(marks[i - 1].position <= marks[i].position);
        assert_true(marks[i - 1].boot_us <= marks[i].boot_us);
    }

    *committed = info.committed;

    return n;
}

static void
marks_follow(void **state)
{
    int n, fd;
    size_t i;
    env_t *e = *state;
    char path[300];
    uint8_t page[LB_PAGE], *p;
    uint64_t committed, before, after;
    lb_mark_t marks[LB_MARKS];
    lb_writer_t *w;

    before = lb_boot_us();
    w = env_writer(e, 1 << 16);
    n = marks_of(e, &committed, marks);
    assert_true(n > 0 && marks[n - 1].position == 0);

    put_group(w);
    put_group(w);
    lb_writer_close(w);
    after = lb_boot_us();

    /* in order when the ring is left in order */
    n = marks_of(e, &committed, marks);
    assert_int_equal(marks[n - 1].position, committed);
    assert_true(marks[n - 1].boot_us >= (int64_t)before);
    assert_true(marks[n - 1].boot_us <= (int64_t)after);

    /* claimed again without anything new: the time stays */
    lb_writer_close(env_writer(e, 1 << 16));
    assert_int_equal(marks_of(e, &committed, marks), n);
    assert_true(marks[n - 1].boot_us <= (int64_t)after);

    /* another boot, which was a day old: its end is the beginning of ours;
     * a torn mark, and one of a commit that a power cut took back */

    (void)snprintf(path, sizeof(path), "%s/ring-0000", e->dir);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(lb_io_read(fd, page, sizeof(page), LB_RING_MARKS), 0);

    for (i = 0, n = 0; i < LB_MARKS; i++) {
        p = page + i * LB_MARK_SIZE;
        if (lb_get64(p) == 0) {
            continue;
        }
        lb_put32(p + 24, lb_get32(p + 24) ^ 1);
        lb_put64(p + 16, lb_get64(p + 16) + 86400000000u);
        if (i == 16) {
            lb_put64(p + 8, committed + 8);
        }
        lb_put32(p + 28, lb_crc32c(0, p, 28) ^ (i == 32));
        n++;
    }
    assert_true(n > 2);

    assert_int_equal(lb_io_write(fd, page, sizeof(page), LB_RING_MARKS, 0), 0);

    n = marks_of(e, &committed, marks);
    assert_true(n > 0);
    assert_int_equal(marks[n - 1].position, committed);
    assert_int_equal(marks[n - 1].boot_us, 0);
    assert_true(marks[0].boot_us > -60000000);

    /* and the next owner goes on with ours */
    w = env_writer(e, 1 << 16);
    put_group(w);
    lb_writer_close(w);
    n = marks_of(e, &committed, marks);
    assert_int_equal(marks[n - 1].position, committed);
    assert_true(marks[n - 1].boot_us >= (int64_t)after);
    assert_true(marks[0].boot_us <= 0);

    assert_int_equal(lb_io_read(fd, page, sizeof(page), LB_RING_MARKS), 0);
    assert_true(lb_get64(page + 16 * LB_MARK_SIZE + 8) <= committed);
    close(fd);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)
    const struct CMUnitTest tests[] = {
        T(written_is_read_back),
        T(unsynced_becomes_durable),
        T(a_group_does_not_ask_for_times),
        T(large_groups_give_memory_back),
        T(sync_leaves_out_what_comes_later),
        T(full_ring_refuses_until_acked),
        T(staging_goes_on_while_a_group_is_in_flight),
        T(payloads_made_elsewhere),
        T(one_writer_per_ring),
        T(a_claim_goes_on_where_the_last_ended),
        T(failures_while_a_sync_runs),
        T(failures_are_never_confirmed),
        T(a_dead_disk_confirms_nothing),
        T(a_failed_sync_of_a_claim_poisons),
        T(a_file_that_is_gone_confirms_nothing),
        T(creation_survives_each_failure),
        T(an_empty_ring_changes_size),
        T(acquired_rings_have_the_size_wanted),
        T(a_large_ring_is_filled_while_it_is_used),
        T(a_writer_overtakes_the_filling),
        T(a_foreign_file_is_refused),
        T(a_foreign_directory_is_refused),
        T(marks_follow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
