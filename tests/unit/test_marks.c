/*
 * Marks: what had been received by when.
 */

#include "spool_env.h"

#include <fcntl.h>
#include <unistd.h>

#include "spool/lb_bytes.h"

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
        T(marks_follow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
