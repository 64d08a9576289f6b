/*
 * Recovery: whatever a crash leaves behind the commit cell, and whatever rots
 * before it.
 */

#include "spool_env.h"

#include <fcntl.h>

static int
open_ring(env_t *e, uint32_t slot)
{
    int fd;
    char path[300];

    (void)snprintf(path, sizeof(path), "%s/ring-%04u", e->dir, slot);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);

    return fd;
}

/* Puts the writer page back to what it was: as after a power cut that lost the
 * last cells, or a kill before the commit. */
static void
save_cells(env_t *e, uint8_t page[LB_PAGE])
{
    int fd = open_ring(e, 0);

    assert_int_equal(pread(fd, page, LB_PAGE, LB_RING_WRITER), LB_PAGE);
    close(fd);
}

static void
restore_cells(env_t *e, const uint8_t page[LB_PAGE])
{
    int fd = open_ring(e, 0);

    assert_int_equal(pwrite(fd, page, LB_PAGE, LB_RING_WRITER), LB_PAGE);
    close(fd);
}

static void
records_behind_an_old_cell_are_found(void **state)
{
    uint8_t page[LB_PAGE];
    env_t *e = *state;
    lb_writer_t *w = env_writer(e, 4096);
    lb_reader_t *r = env_reader(e, 0);
    lb_record_t rec;
    lb_ring_info_t info, full;

    env_append(w, "s", "{\"n\":0}\n", 8, 1);
    env_commit(w, 1);
    save_cells(e, page);
    env_append(w, "s", "{\"n\":1}\n{\"n\":2}\n", 16, 2);
    env_append(w, "s", "{\"n\":3}\n", 8, 1);
    env_commit(w, 1);
    assert_int_equal(lb_reader_info(r, &full), 0);
    lb_writer_close(w);
    restore_cells(e, page);

    w = env_writer(e, 4096);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.committed, full.committed);
    assert_int_equal(info.next_seq, 4);
    assert_int_equal(info.durable, info.committed);
    assert_int_equal(info.counters[LB_COUNTER_RECOVERED], 3);
    for (uint64_t p = 0, seq = 0; p < info.committed; p = rec.next) {
        assert_int_equal(lb_reader_record(r, p, info.committed, 1, &rec), 0);
        assert_int_equal(rec.first_seq, seq);
        seq += rec.events;
    }

    lb_reader_close(r);
    lb_writer_close(w);
}

/* Cells are synced every so many bytes: so far recovery walks, no further. */
static size_t cells_synced;

static ssize_t
counting_write(int fd, const void *buf, size_t len, off_t offset, int dsync)
{
    cells_synced += dsync && offset == LB_RING_WRITER;

    return lb_io_system.write(fd, buf, len, offset, dsync);
}

static void
cells_are_synced_now_and_then(void **state)
{
    int i;
    env_t *e = *state;
    lb_writer_t *w = env_writer(e, 65536);
    lb_io_calls_t calls = lb_io_system;
    uint64_t every = lb_cell_every;

    calls.write = counting_write;
    lb_io = &calls;
    lb_cell_every = 1000;
    cells_synced = 0;

    /* 104 bytes each */
    for (i = 0; i < 105; i++) {
        assert_int_equal(env_append(w, "s", "{\"n\":10000}\n", 12, 1), 0);
        assert_int_equal(env_commit(w, 1), 0);
    }

    assert_int_equal(cells_synced, 10);

    /* without sync, the second's sync takes the cell along */
    for (i = 0; i < 100; i++) {
        assert_int_equal(env_append(w, "s", "{\"n\":10000}\n", 12, 1), 0);
        assert_int_equal(env_commit(w, 0), 0);
        assert_int_equal(lb_writer_sync(w), 0);
    }

    assert_int_equal(env_append(w, "s", "{\"n\":10000}\n", 12, 1), 0);
    assert_int_equal(env_commit(w, 1), 0);
    assert_int_equal(cells_synced, 10);

    lb_io = &lb_io_system;
    lb_cell_every = every;
    lb_writer_close(w);
}

/* A cell that is far behind, as an older release left it after a power cut: a
 * worker in a hurry lets that ring be, and has another one. */
static void
a_long_recovery_is_left_for_later(void **state)
{
    int i;
    uint8_t page[LB_PAGE];
    env_t *e = *state;
    lb_error_t err;
    lb_writer_t *w = env_writer(e, 65536);
    lb_reader_t *r = env_reader(e, 0);
    lb_ring_info_t full, info;

    save_cells(e, page);
    for (i = 0; i < 100; i++) {
        assert_int_equal(env_append(w, "s", "{\"n\":10000}\n", 12, 1), 0);
        assert_int_equal(env_commit(w, 1), 0);
    }
    assert_int_equal(lb_reader_info(r, &full), 0);
    lb_writer_close(w);
    restore_cells(e, page);

    assert_int_equal(lb_writer_claim_within(e->spool, 0, 5000, &w, &err),
                     LB_ELONG);
    assert_int_equal(
        lb_writer_claim_within(e->spool, 0, full.committed - 1, &w, &err),
        LB_ELONG);
    assert_int_equal(
        lb_writer_claim_within(e->spool, 0, full.committed, &w, &err), 0);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.committed, full.committed);
    assert_int_equal(info.next_seq, 100);

    lb_writer_close(w);
    lb_reader_close(r);
}

/* The last record is cut at every byte and damaged at every byte: what comes
 * before it stays, it goes, and its seqs are given out again. */
static void
a_torn_record_ends_the_scan(void **state)
{
    int fd, cut;
    size_t i;
    uint8_t page[LB_PAGE], zero[256] = {0}, whole[256], damaged[256];
    env_t *e = *state;
    uint64_t start, end;
    lb_writer_t *w = env_writer(e, 65536);
    lb_reader_t *r = env_reader(e, 0);
    lb_ring_info_t info;

    env_append(w, "s", "{\"n\":0}\n", 8, 1);
    env_commit(w, 1);
    assert_int_equal(lb_reader_info(r, &info), 0);
    start = info.committed;
    save_cells(e, page);
    env_append(w, "s", "{\"n\":1}\n{\"n\":2}\n", 16, 2);
    env_commit(w, 1);
    assert_int_equal(lb_reader_info(r, &info), 0);
    end = info.committed;
    lb_writer_close(w);

    fd = open_ring(e, 0);
    assert_int_equal(
        pread(fd, whole, end - start, (off_t)(LB_RING_DATA + start)),
        end - start);

    for (cut = 0; cut < 2; cut++) {
        /* the last 8 bytes of a record of this size hold no payload byte that
         * matters only to the padding: both payload lines fill it */
        for (i = 0; i < end - start; i++) {
            memcpy(damaged, whole, sizeof(damaged));
            if (cut) {
                memcpy(damaged + i, zero, end - start - i);
            } else {
                damaged[i] ^= 0x40;
            }
            assert_int_equal(
                pwrite(fd, damaged, end - start, (off_t)(LB_RING_DATA + start)),
                end - start);
            restore_cells(e, page);
            w = env_writer(e, 65536);
            assert_int_equal(lb_reader_info(r, &info), 0);
            if (info.committed != start || info.next_seq != 1) {
                fail_msg("cut %d at byte %zu: %llu", cut, i,
                         (unsigned long long)info.committed);
            }
            lb_writer_close(w);
        }
    }

    close(fd);
    lb_reader_close(r);
}

/* Two records of one group that was never confirmed; the next writer puts a
 * record of the same size over the first: the second must not come back. */
static void
an_overwritten_group_stays_dead(void **state)
{
    int fd;
    uint8_t page[LB_PAGE], rest[256];
    env_t *e = *state;
    ssize_t n;
    uint64_t second, end;
    lb_writer_t *w = env_writer(e, 65536);
    lb_reader_t *r = env_reader(e, 0);
    lb_record_t rec;
    lb_ring_info_t info;

    save_cells(e, page);
    env_append(w, "s", "{\"n\":1}\n", 8, 1);
    env_append(w, "s", "{\"n\":2}\n", 8, 1);
    env_commit(w, 1);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(lb_reader_record(r, 0, info.committed, 1, &rec), 0);
    second = rec.next;
    end = info.committed;
    lb_writer_close(w);

    /* the first is torn, the second whole */
    fd = open_ring(e, 0);
    n = pread(fd, rest, end - second, (off_t)(LB_RING_DATA + second));
    assert_int_equal(n, end - second);
    assert_int_equal(pwrite(fd, "torn", 4, LB_RING_DATA + 90), 4);
    restore_cells(e, page);

    w = env_writer(e, 65536);
    env_append(w, "s", "{\"n\":9}\n", 8, 1);
    env_commit(w, 1);
    save_cells(e, page);
    lb_writer_close(w);

    w = env_writer(e, 65536);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.committed, second);
    assert_int_equal(info.next_seq, 1);

    lb_writer_close(w);
    lb_reader_close(r);
    close(fd);
}

/* The batch in flight keeps its positions and seqs even where its bytes can
 * no longer be read. */
static void
a_batch_in_flight_is_never_reused(void **state)
{
    int fd;
    uint8_t page[LB_PAGE];
    env_t *e = *state;
    lb_ckpt_t *c;
    lb_error_t err;
    lb_writer_t *w = env_writer(e, 65536);
    lb_reader_t *r = env_reader(e, 0);
    lb_ring_info_t full, info;
    lb_ckpt_state_t *st = calloc(1, sizeof(*st));

    save_cells(e, page);
    env_append(w, "s", "{\"n\":0}\n{\"n\":1}\n", 16, 2);
    env_commit(w, 1);
    assert_int_equal(lb_reader_info(r, &full), 0);

    assert_int_equal(lb_ckpt_open(e->spool, &c, st, &err), 0);
    st->nrings = 1;
    memcpy(st->rings[0].uuid, full.uuid, LB_UUID_LEN);
    st->rings[0].end = full.committed;
    st->rings[0].end_seq = full.next_seq;
    st->flags = LB_CKPT_IN_FLIGHT;
    assert_int_equal(lb_ckpt_store(c, st, &err), 0);
    lb_ckpt_close(c);
    lb_writer_close(w);

    restore_cells(e, page);
    fd = open_ring(e, 0);
    assert_int_equal(pwrite(fd, "rotten", 6, LB_RING_DATA + 100), 6);
    close(fd);

    w = env_writer(e, 65536);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(info.committed, full.committed);
    assert_int_equal(info.next_seq, full.next_seq);

    free(st);
    lb_writer_close(w);
    lb_reader_close(r);
}

static void
bit_rot_is_skipped_to_the_next_record(void **state)
{
    int fd, i;
    env_t *e = *state;
    uint64_t p, next, at[5];
    lb_writer_t *w = env_writer(e, 65536);
    lb_reader_t *r = env_reader(e, 0);
    lb_record_t rec;
    lb_ring_info_t info;

    for (i = 0; i < 5; i++) {
        assert_int_equal(lb_reader_info(r, &info), 0);
        at[i] = info.committed;
        env_append(w, "s", "{\"text\":\"LBRCLBRCLBRCLBRC\"}\n", 28, 1);
        env_commit(w, 1);
    }

    fd = open_ring(e, 0);
    assert_int_equal(pwrite(fd, "?", 1, (off_t)(LB_RING_DATA + at[1] + 20)), 1);
    assert_int_equal(pwrite(fd, "?", 1, (off_t)(LB_RING_DATA + at[2] + 95)), 1);
    close(fd);

    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(lb_reader_record(r, 0, info.committed, 1, &rec), 0);
    p = rec.next;
    assert_int_equal(lb_reader_record(r, p, info.committed, 1, &rec),
                     LB_ECORRUPT);
    assert_int_equal(lb_reader_resync(r, p, info.committed, &next), 0);
    assert_int_equal(next, at[3]);
    assert_int_equal(lb_reader_record(r, next, info.committed, 1, &rec), 0);
    assert_int_equal(rec.first_seq, 3);

    /* nothing behind the last one */
    assert_int_equal(lb_reader_resync(r, at[4], info.committed, &next), 0);
    assert_int_equal(next, info.committed);

    lb_reader_close(r);
    lb_writer_close(w);
}

/* Both cells damaged in turn: one is enough, none is refused. */
static void
one_valid_cell_is_enough(void **state)
{
    int fd, i;
    uint8_t page[LB_PAGE];
    env_t *e = *state;
    lb_error_t err;
    lb_writer_t *w = env_writer(e, 4096), *other;
    lb_reader_t *r = env_reader(e, 0);
    lb_ring_info_t info;

    env_append(w, "s", "{}\n", 3, 1);
    env_commit(w, 1);
    lb_writer_close(w);
    save_cells(e, page);

    fd = open_ring(e, 0);
    for (i = 0; i < 2; i++) {
        restore_cells(e, page);
        assert_int_equal(
            pwrite(fd, "?", 1,
                   (off_t)(LB_RING_WRITER + (unsigned)i * LB_CELL_STRIDE)),
            1);
        w = env_writer(e, 4096);
        assert_int_equal(lb_reader_info(r, &info), 0);
        assert_int_equal(info.next_seq, 1);
        lb_writer_close(w);
    }

    restore_cells(e, page);
    for (i = 0; i < 2; i++) {
        assert_int_equal(
            pwrite(fd, "?", 1,
                   (off_t)(LB_RING_WRITER + (unsigned)i * LB_CELL_STRIDE)),
            1);
    }
    assert_int_equal(lb_reader_info(r, &info), LB_ECORRUPT);
    assert_int_equal(lb_writer_claim_slot(e->spool, 0, &other, &err),
                     LB_ECORRUPT);

    close(fd);
    lb_reader_close(r);
}

/* Without a checkpoint: what is behind the commit cell, and where the ring
 * begins if its ack cells are gone. */
static void
found_without_a_checkpoint(void **state)
{
    int fd, i;
    uint8_t page[LB_PAGE], zeros[LB_PAGE] = {0};
    env_t *e = *state;
    lb_writer_t *w = env_writer(e, 1024);
    lb_reader_t *r = env_reader(e, 0);
    lb_record_t rec;
    lb_ring_info_t info, full;

    env_append(w, "s", "{\"n\":0}\n", 8, 1);
    env_commit(w, 1);
    save_cells(e, page);
    env_append(w, "s", "{\"n\":1}\n{\"n\":2}\n", 16, 2);
    env_commit(w, 1);

    /* its writer knows better */
    restore_cells(e, page);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(lb_reader_scan(r, &info), 0);
    assert_int_equal(info.next_seq, 1);
    lb_writer_close(w);

    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(lb_reader_scan(r, &info), 0);
    assert_int_equal(info.next_seq, 3);
    assert_int_equal(info.acked_seq, 0);

    /* three laps, all acked but the last */
    w = env_writer(e, 1024);
    for (i = 0; i < 30; i++) {
        env_append(w, "s", "{\"n\":1}\n", 8, 1);
        env_commit(w, 1);
        assert_int_equal(lb_reader_info(r, &full), 0);
        if (i < 29) {
            lb_reader_ack(r, full.committed, full.next_seq);
        }
    }
    lb_writer_close(w);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(lb_reader_scan(r, &info), 1);
    assert_int_equal(info.acked_seq, 32);

    fd = open_ring(e, 0);
    assert_int_equal(pwrite(fd, zeros, LB_PAGE, LB_RING_READER), LB_PAGE);
    close(fd);
    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(lb_reader_scan(r, &info), 0);
    assert_int_equal(info.next_seq, 33);
    assert_true(info.acked > info.committed - 1024 - LB_RECORD_HEADER_MAX);
    assert_true(info.acked_seq > 20 && info.acked_seq < 32);
    assert_int_equal(lb_reader_record(r, info.acked, info.committed, 1, &rec),
                     0);
    assert_int_equal(rec.first_seq, info.acked_seq);

    lb_reader_close(r);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)
    const struct CMUnitTest tests[] = {
        T(records_behind_an_old_cell_are_found),
        T(cells_are_synced_now_and_then),
        T(a_long_recovery_is_left_for_later),
        T(a_torn_record_ends_the_scan),
        T(an_overwritten_group_stays_dead),
        T(a_batch_in_flight_is_never_reused),
        T(bit_rot_is_skipped_to_the_next_record),
        T(one_valid_cell_is_enough),
        T(found_without_a_checkpoint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
