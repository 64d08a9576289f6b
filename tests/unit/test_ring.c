/*
 * Rings: what is committed is read back, what is full is refused.
 */

#include "spool_env.h"

#include <errno.h>
#include <fcntl.h>
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
    lb_writer_t *w;
    char *payload;
    uint64_t staged;

#if defined(__SANITIZE_ADDRESS__)
    /* keeps what is freed */
    skip();
    return;
#endif

    w = env_writer(e, 32u << 20);
    payload = malloc(len);
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

static uint64_t part_of_page; /* writes that begin a page and leave it so */

static ssize_t
page_write(int fd, const void *buf, size_t len, off_t offset, int dsync)
{
    uint64_t end = (uint64_t)offset + len;

    if (offset >= (off_t)LB_RING_DATA && end % LB_PAGE != 0 &&
        end / LB_PAGE * LB_PAGE >= (uint64_t)offset) {
        part_of_page++;
    }

    return lb_io_system.write(fd, buf, len, offset, dsync);
}

/* Pages are written whole when they are begun, so that none has to be read; but
 * where a record that is not acked begins in the same page, nothing is written
 * over it. */
static void
pages_are_begun_whole(void **state)
{
    int lap;
    env_t *e = *state;
    uint32_t i, len, events = 0, expected = 0;
    uint64_t p, room;
    char payload[700];
    lb_record_t rec;
    lb_writer_t *w = env_writer(e, 5 * LB_PAGE);
    lb_reader_t *r = env_reader(e, 0);
    lb_ring_info_t info;
    lb_io_calls_t calls = lb_io_system;

    calls.write = page_write;
    lb_io = &calls;
    memset(payload, 'x', sizeof(payload));
    part_of_page = 0;

    for (lap = 0; lap < 200; lap++) {

        /* until it is full; some groups have several records */
        for (i = 0;; i++) {
            len = 8 + (lap * 31 + i * 113) % 690;
            room = lb_writer_room(w);
            if (env_append(w, "s", payload, len, 1) != 0) {
                break;
            }
            events++;
            if (i % 3 != 0) {
                assert_int_equal(env_commit(w, (int)i % 2), 0);
            }
            if (lap == 0 && room > 2 * LB_PAGE) {
                assert_int_equal(part_of_page, 0);
            }
        }
        (void)env_commit(w, 1);

        /* all that was not acked is still there; a part is, in any place */
        assert_int_equal(lb_reader_info(r, &info), 0);
        assert_int_equal(info.next_seq, events);
        for (p = info.acked, i = 0; p < info.committed; p = rec.next, i++) {
            assert_int_equal(lb_reader_record(r, p, info.committed, 1, &rec),
                             0);
            assert_int_equal(rec.first_seq, expected + i);
        }
        assert_int_equal(expected + i, events);
        for (p = info.acked; p < info.acked + (uint64_t)(lap % 4 + 1) * 3000 &&
                             p < info.committed;
             p = rec.next, expected++) {
            assert_int_equal(lb_reader_record(r, p, info.committed, 1, &rec),
                             0);
        }
        assert_int_equal(lb_reader_ack(r, p, expected), 0);
    }

    lb_io = &lb_io_system;
    lb_reader_close(r);
    lb_writer_close(w);
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
        T(a_foreign_file_is_refused),
        T(a_foreign_directory_is_refused),
        T(pages_are_begun_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
