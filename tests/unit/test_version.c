/*
 * The version of a ring: raised before the first context gets into it, so that
 * a release that would count it as an event refuses the ring.
 */

#include "spool_env.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "failing_io.h"
#include "spool/lb_bytes.h"

#define IDENTITY 96
#define CONTEXT "\001{\"stream\":\"x\"}\n{}\n"
#define CONTEXT_LEN (sizeof(CONTEXT) - 1)

static void
identity(env_t *e, uint32_t slot, uint8_t buf[IDENTITY])
{
    int fd;
    char path[300];

    (void)snprintf(path, sizeof(path), "%s/ring-%04u", e->dir, slot);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, buf, IDENTITY, 0), IDENTITY);
    close(fd);
}

static uint32_t
version(env_t *e, uint32_t slot)
{
    uint8_t buf[IDENTITY];

    identity(e, slot, buf);

    return lb_get32(buf + 8);
}

/* What a release does that knows version 1 alone. */
static int
old_release_takes(env_t *e, uint32_t slot)
{
    uint8_t buf[IDENTITY];

    identity(e, slot, buf);

    return memcmp(buf, "LBRING1\n", 8) == 0 && lb_get32(buf + 8) == 1 &&
           lb_get32(buf + 12) == lb_crc32c(0, buf + 16, 80);
}

/* Writes that raise a version; and a context that comes before it. */
static int raises, too_early;

static ssize_t
watching_write(int fd, const void *buf, size_t len, off_t offset, int dsync)
{
    uint8_t now[4];

    if (offset == 8) {
        raises += dsync;
    }

    if (offset >= (off_t)LB_RING_DATA && memchr(buf, 1, len) != NULL &&
        memmem(buf, len, "\001{", 2) != NULL &&
        (lb_io_system.read(fd, now, 4, 8) != 4 || lb_get32(now) != 2)) {
        too_early = 1;
    }

    return failing_write(fd, buf, len, offset, dsync);
}

static void
watch(void)
{
    static lb_io_calls_t calls;

    failing_io(&calls);
    calls.write = watching_write;
    raises = too_early = fail_in = fail_forever = failed = 0;
}

static void
contexts_raise_the_version(void **state)
{
    int sync;
    env_t *e = *state;
    uint8_t before[IDENTITY], after[IDENTITY];
    lb_error_t err;
    lb_reader_t *r;
    lb_record_t rec;
    lb_ring_info_t info;
    lb_writer_t *w, *first = NULL;

    for (sync = 0; sync < 2; sync++) {
        watch();
        w = env_writer(e, sync ? 8192 : 65536);
        identity(e, lb_writer_slot(w), before);
        assert_int_equal(lb_get32(before + 8), 1);

        /* events alone change nothing */
        assert_int_equal(env_append(w, "s", "{}\n", 3, 1), 0);
        assert_int_equal(env_commit(w, sync), 0);
        identity(e, lb_writer_slot(w), after);
        assert_memory_equal(before, after, IDENTITY);

        /* nor does what is staged and forgotten */
        assert_int_equal(env_append(w, "s", CONTEXT, CONTEXT_LEN, 1), 0);
        assert_int_equal(lb_writer_raises(w), 1);
        lb_writer_discard(w);
        assert_int_equal(lb_writer_raises(w), 0);
        assert_int_equal(env_append(w, "s", "{}\n", 3, 1), 0);
        assert_int_equal(env_commit(w, sync), 0);
        assert_int_equal(raises, 0);
        assert_true(old_release_takes(e, lb_writer_slot(w)));

        /* one record of a group is enough, wherever it is in it */
        assert_int_equal(env_append(w, "s", "{}\n", 3, 1), 0);
        assert_int_equal(env_append(w, "s", CONTEXT, CONTEXT_LEN, 1), 0);
        assert_int_equal(env_append(w, "s", "{}\n", 3, 1), 0);
        assert_int_equal(env_commit(w, sync), 0);
        assert_int_equal(raises, 1);
        identity(e, lb_writer_slot(w), after);
        assert_int_equal(lb_get32(after + 8), 2);
        assert_false(old_release_takes(e, lb_writer_slot(w)));

        /* of the rest nothing changes */
        assert_memory_equal(before, after, 8);
        assert_memory_equal(before + 12, after + 12, IDENTITY - 12);

        /* and once is enough */
        assert_int_equal(env_append(w, "s", CONTEXT, CONTEXT_LEN, 1), 0);
        assert_int_equal(lb_writer_raises(w), 0);
        assert_int_equal(env_commit(w, sync), 0);
        assert_int_equal(raises, 1);
        assert_false(too_early);

        /* this release reads it and goes on in it */
        r = env_reader(e, lb_writer_slot(w));
        lb_writer_close(w);
        assert_int_equal(
            lb_writer_claim_slot(e->spool, (uint32_t)sync, &w, &err), 0);
        assert_int_equal(lb_reader_info(r, &info), 0);
        assert_int_equal(info.next_seq, 6);
        assert_int_equal(lb_reader_record(r, 0, info.committed, 1, &rec), 0);
        lb_reader_close(r);

        /* it keeps its ring: the next one is another */
        first = sync ? first : w;
    }

    lb_writer_close(first);
    lb_writer_close(w);
}

/* In memory that is made elsewhere, with and without something before it. */
static void
payloads_made_elsewhere_raise_it(void **state)
{
    env_t *e = *state;
    size_t header, cap;
    uint8_t *buf;
    lb_meta_t meta = {
        .stream = (const uint8_t *)"s", .stream_len = 1, .contexts = 1};
    lb_writer_t *w;

    for (int first = 0; first < 2; first++) {
        watch();
        w = env_writer(e, first ? 8192 : 65536);
        header = lb_writer_header(&meta);
        cap = header + CONTEXT_LEN + 8;
        buf = malloc(cap);
        assert_non_null(buf);
        memcpy(buf + header, CONTEXT, CONTEXT_LEN);
        if (first) {
            assert_int_equal(env_append(w, "s", "{}\n", 3, 1), 0);
        }
        assert_int_equal(
            lb_writer_append_made(
                w, &meta, &buf, cap, CONTEXT_LEN, 1,
                lb_crc32c(0, (const uint8_t *)CONTEXT, CONTEXT_LEN)),
            0);
        free(buf);
        assert_int_equal(env_commit(w, 0), 0);
        assert_int_equal(version(e, lb_writer_slot(w)), 2);
        assert_false(too_early);
        lb_writer_close(w);
    }
}

/* Each owner says it once more: what an earlier one said may never have been
 * stored, where the disk failed. */
static void
each_writer_raises_it(void **state)
{
    env_t *e = *state;
    lb_writer_t *w;

    watch();

    for (int n = 1; n <= 2; n++) {
        w = env_writer(e, 65536);
        assert_int_equal(lb_writer_slot(w), 0);
        assert_int_equal(env_append(w, "s", CONTEXT, CONTEXT_LEN, 1), 0);
        assert_int_equal(env_commit(w, 1), 0);
        assert_int_equal(raises, n);
        lb_writer_close(w);
    }
}

/* Any of the writes fails, or the power goes with it: no context is in a ring
 * that an older release takes, nothing is confirmed, and the next owner goes
 * on. */
static void
no_context_is_there_without_it(void **state)
{
    int sync, n, rc;
    env_t *e = *state;
    uint32_t slot;
    lb_error_t err;
    lb_reader_t *r;
    lb_record_t rec;
    lb_ring_info_t good, info;
    lb_writer_t *w;

    for (sync = 0; sync < 2; sync++) {
        for (n = 1; n <= 4; n++) {
            watch();
            slot = (uint32_t)(sync * 4 + n - 1);
            assert_int_equal(lb_ring_create(e->spool, 4096, LB_SLOTS_MAX, &err),
                             slot);
            assert_int_equal(lb_writer_claim_slot(e->spool, slot, &w, &err), 0);
            r = env_reader(e, slot);
            assert_int_equal(env_append(w, "s", "{}\n", 3, 1), 0);
            assert_int_equal(env_commit(w, 1), 0);
            assert_int_equal(lb_reader_info(r, &good), 0);

            /* the version, the group, its cell; the fourth does not come */
            fail_in = n;
            fail_forever = 1;
            assert_int_equal(env_append(w, "s", CONTEXT, CONTEXT_LEN, 1), 0);
            rc = env_commit(w, sync);
            assert_int_equal(rc, n < 4 ? -EIO : 0);
            assert_int_equal(lb_writer_poisoned(w), n < 4);
            fail_in = fail_forever = 0;
            assert_false(too_early);

            assert_int_equal(lb_reader_info(r, &info), 0);
            assert_int_equal(info.committed > good.committed, n == 4);
            lb_writer_close(w);

            /* half of the failed write was stored: the version, or not */
            if (n > 1) {
                assert_int_equal(version(e, slot), 2);
            }
            if (info.flags & LB_CELL_POISONED) {
                assert_int_equal(
                    lb_reader_ack(r, info.committed, info.next_seq), 0);
            }
            assert_int_equal(lb_writer_claim_slot(e->spool, slot, &w, &err), 0);
            assert_int_equal(lb_reader_info(r, &info), 0);
            if (info.committed > good.committed) {
                assert_int_equal(version(e, slot), 2);
                assert_int_equal(lb_reader_record(r, good.committed,
                                                  info.committed, 1, &rec),
                                 0);
            }
            assert_int_equal(env_append(w, "s", CONTEXT, CONTEXT_LEN, 1), 0);
            assert_int_equal(env_commit(w, sync), 0);
            assert_int_equal(version(e, slot), 2);
            lb_reader_close(r);
            lb_writer_close(w);
        }
    }
}

/* An emptied ring that is made anew holds none. */
static void
a_ring_made_anew_has_the_first_version(void **state)
{
    env_t *e = *state;
    lb_error_t err;
    lb_reader_t *r;
    lb_writer_t *w = env_writer(e, 65536);

    assert_int_equal(env_append(w, "s", CONTEXT, CONTEXT_LEN, 1), 0);
    assert_int_equal(env_commit(w, 1), 0);
    lb_writer_close(w);
    r = env_reader(e, 0);
    env_deliver_all(e, r);
    lb_reader_close(r);
    assert_int_equal(version(e, 0), 2);

    assert_int_equal(lb_ring_resize(e->spool, 0, 8192, &err), 1);
    assert_true(old_release_takes(e, 0));

    w = env_writer(e, 8192);
    assert_int_equal(lb_writer_slot(w), 0);
    assert_int_equal(env_append(w, "s", CONTEXT, CONTEXT_LEN, 1), 0);
    assert_int_equal(env_commit(w, 1), 0);
    assert_int_equal(version(e, 0), 2);
    lb_writer_close(w);
}

static void
other_versions_are_refused(void **state)
{
    int fd;
    char path[300];
    env_t *e = *state;
    lb_error_t err;
    lb_reader_t *r;
    lb_writer_t *w = env_writer(e, 4096);

    static const struct {
        uint8_t version[5];
        const char *words;
    } others[] = {
        {"\3\0\0\0", "version 3, this program knows versions 1 to 2: use the "
                     "newer release"},
        {"\2\1\0\0", "version 258, "},
        {"\0\0\0\0", "version 0, this program knows versions 1 to 2: use the "
                     "older release"},
    };

    lb_writer_close(w);
    (void)snprintf(path, sizeof(path), "%s/ring-0000", e->dir);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(pwrite(fd, others[i].version, 4, 8), 4);
        assert_int_equal(lb_reader_open(e->spool, 0, 0, &r, &err), LB_EFOREIGN);
        assert_non_null(strstr(err.text, others[i].words));
        assert_int_equal(lb_writer_claim_slot(e->spool, 0, &w, &err),
                         LB_EFOREIGN);
    }

    close(fd);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)
    const struct CMUnitTest tests[] = {
        T(contexts_raise_the_version),
        T(payloads_made_elsewhere_raise_it),
        T(each_writer_raises_it),
        T(no_context_is_there_without_it),
        T(a_ring_made_anew_has_the_first_version),
        T(other_versions_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
