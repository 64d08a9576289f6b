/*
 * The checkpoint survives a crash at every byte of every store.
 */

#include "spool_env.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

static void
fill(lb_ckpt_state_t *st, uint64_t n)
{
    st->batch_id = n;
    st->rows = 100 + n;
    st->delivered = 1000 * n;
    st->encoding = 1;
    st->day = 20000;
    st->flags = LB_CKPT_IN_FLIGHT;
    (void)snprintf(st->token, sizeof(st->token), "token-%llu",
                   (unsigned long long)n);
    (void)snprintf(st->table, sizeof(st->table), "logbroker.logs");
    (void)snprintf(st->broker, sizeof(st->broker), "broker-0");
    st->nrings = 2;
    memset(st->rings[0].uuid, 'a', LB_UUID_LEN);
    memset(st->rings[1].uuid, 'b', LB_UUID_LEN);
    st->rings[0].acked = 8 * n;
    st->rings[0].end = 8 * n + 80;
    st->rings[1].acked_seq = n;
    st->rings[1].end_seq = n + 5;
    st->rings[1].slot = 7;
}

static void
stored_is_loaded(void **state)
{
    uint64_t n;
    env_t *e = *state;
    lb_ckpt_t *c, *second;
    lb_error_t err;
    lb_ckpt_state_t *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));

    assert_int_equal(lb_ckpt_open(e->spool, &c, a, &err), 0);
    assert_int_equal(a->nrings, 0);
    assert_int_equal(a->flags, 0);

    for (n = 1; n < 5; n++) {
        fill(a, n);
        assert_int_equal(lb_ckpt_store(c, a, &err), 0);
        assert_int_equal(lb_ckpt_peek(e->spool, b, &err), 0);
        assert_memory_equal(a, b, sizeof(*a));
    }

    assert_non_null(lb_ckpt_find(a, (const uint8_t *)"bbbbbbbbbbbbbbbb"));
    assert_null(lb_ckpt_find(a, (const uint8_t *)"cccccccccccccccc"));

    /* one flusher per spool */
    assert_int_equal(lb_ckpt_open(e->spool, &second, b, &err), LB_ELOCKED);
    assert_non_null(strstr(err.text, "another flusher"));

    lb_ckpt_close(c);
    assert_int_equal(lb_ckpt_open(e->spool, &c, b, &err), 0);
    assert_string_equal(b->token, "token-4");
    lb_ckpt_close(c);

    free(a);
    free(b);
}

static int cut_at;

static ssize_t
cut_write(int fd, const void *buf, size_t len, off_t offset, int dsync)
{
    (void)dsync;

    if (cut_at > 0) {
        (void)lb_io_system.write(fd, buf, (size_t)cut_at, offset, 0);
    }
    (void)len;
    errno = EIO;

    return -1;
}

/* A store that is cut anywhere leaves the state before it (or, when only zero
 * bytes are missing, the new one), and the next store is good. */
static void
a_cut_store_leaves_a_whole_state(void **state)
{
    env_t *e = *state;
    lb_ckpt_t *c;
    lb_error_t err;
    static lb_io_calls_t calls;
    lb_ckpt_state_t *a = calloc(1, sizeof(*a)), *b = calloc(1, sizeof(*b));

    calls = lb_io_system;
    calls.write = cut_write;

    assert_int_equal(lb_ckpt_open(e->spool, &c, a, &err), 0);
    fill(a, 1);
    assert_int_equal(lb_ckpt_store(c, a, &err), 0);

    for (cut_at = 0; cut_at < 640; cut_at++) {
        fill(a, 2);
        lb_io = &calls;
        assert_int_equal(lb_ckpt_store(c, a, &err), -EIO);
        /* again, still failing: must not touch the good copy */
        assert_int_equal(lb_ckpt_store(c, a, &err), -EIO);
        lb_io = &lb_io_system;

        assert_int_equal(lb_ckpt_peek(e->spool, b, &err), 0);
        assert_true(b->batch_id == 1 || b->batch_id == 2);
        if (b->batch_id == 2) {
            assert_memory_equal(a->rings, b->rings, sizeof(a->rings));
        }

        fill(a, 1);
        assert_int_equal(lb_ckpt_store(c, a, &err), 0);
        assert_int_equal(lb_ckpt_peek(e->spool, b, &err), 0);
        assert_int_equal(b->batch_id, 1);
    }

    lb_ckpt_close(c);
    free(a);
    free(b);
}

static void
damage_is_refused_in_words(void **state)
{
    int fd;
    char path[300];
    env_t *e = *state;
    lb_ckpt_t *c;
    lb_error_t err;
    lb_ckpt_state_t *a = calloc(1, sizeof(*a));

    assert_int_equal(lb_ckpt_open(e->spool, &c, a, &err), 0);
    fill(a, 1);
    assert_int_equal(lb_ckpt_store(c, a, &err), 0);
    lb_ckpt_close(c);

    (void)snprintf(path, sizeof(path), "%s/checkpoint", e->dir);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "?", 1, 300), 1);
    assert_int_equal(pwrite(fd, "?", 1, LB_CKPT_COPY + 300), 1);
    assert_int_equal(lb_ckpt_open(e->spool, &c, a, &err), LB_ECORRUPT);
    assert_non_null(strstr(err.text, "damaged"));

    assert_int_equal(ftruncate(fd, 100), 0);
    assert_int_equal(lb_ckpt_open(e->spool, &c, a, &err), -ENODATA);
    close(fd);

    assert_int_equal(unlink(path), 0);
    assert_int_equal(lb_ckpt_open(e->spool, &c, a, &err), -ENOENT);
    assert_non_null(strstr(err.text, "logbroker-spool recover"));

    free(a);
}

static int calls_left;

static ssize_t
write_or_not(int fd, const void *buf, size_t len, off_t offset, int dsync)
{
    if (calls_left-- <= 0) {
        errno = ENOSPC;
        return -1;
    }

    return lb_io_system.write(fd, buf, len, offset, dsync);
}

static int
sync_or_not(int fd)
{
    if (calls_left-- <= 0) {
        errno = EIO;
        return -1;
    }

    return lb_io_system.sync(fd);
}

static int
rename_or_not(int dirfd, const char *from, const char *to, int replace)
{
    if (calls_left-- <= 0) {
        errno = EIO;
        return -1;
    }

    return lb_io_system.rename(dirfd, from, to, replace);
}

/* Whatever fails, there is the old file or the whole new one, with two copies. */
static void
replaced_as_a_whole(void **state)
{
    int n, rc = -1;
    char path[300];
    env_t *e = *state;
    lb_ckpt_t *c, *other;
    lb_error_t err;
    lb_io_calls_t calls = lb_io_system;
    static lb_ckpt_state_t st, found;

    calls.write = write_or_not;
    calls.sync = sync_or_not;
    calls.rename = rename_or_not;
    (void)snprintf(path, sizeof(path), "%s/checkpoint", e->dir);

    for (n = 0; rc != 0; n++) {
        assert_int_equal(truncate(path, 100), 0);
        assert_int_equal(lb_ckpt_repair(e->spool, &c, &err), 0);
        assert_int_equal(lb_ckpt_repair(e->spool, &other, &err), LB_ELOCKED);
        memset(&st, 0, sizeof(st));
        st.delivered = 77;

        lb_io = &calls;
        calls_left = n;
        rc = lb_ckpt_replace(c, &st, &err);
        lb_io = &lb_io_system;

        assert_int_equal(lb_ckpt_peek(e->spool, &found, &err),
                         rc == 0 ? 0 : -ENODATA);
        if (rc == 0) {
            /* under the lock of the new file */
            assert_int_equal(lb_ckpt_repair(e->spool, &other, &err),
                             LB_ELOCKED);
        }
        lb_ckpt_close(c);
    }

    assert_true(n > 4);
    assert_int_equal(found.delivered, 77);

    /* each copy is enough */
    for (n = 0; n < 2; n++) {
        int fd = open(path, O_RDWR);
        char saved, changed;

        assert_int_equal(pread(fd, &saved, 1, n * LB_CKPT_COPY + 70), 1);
        changed = (char)(saved ^ 1);
        assert_int_equal(pwrite(fd, &changed, 1, n * LB_CKPT_COPY + 70), 1);
        assert_int_equal(lb_ckpt_peek(e->spool, &found, &err), 0);
        assert_int_equal(found.delivered, 77);
        assert_int_equal(pwrite(fd, &saved, 1, n * LB_CKPT_COPY + 70), 1);
        close(fd);
    }

    /* where there was none */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(lb_ckpt_repair(e->spool, &c, &err), 0);
    assert_int_equal(lb_ckpt_replace(c, &st, &err), 0);
    assert_int_equal(lb_ckpt_peek(e->spool, &found, &err), 0);
    lb_ckpt_close(c);
}

/* A newer release lays it out in another way: not damaged, not to be rebuilt. */
static void
another_version_is_not_damage(void **state)
{
    int fd, rc;
    char path[300];
    env_t *e = *state;
    lb_error_t err;
    static lb_ckpt_state_t found;

    (void)snprintf(path, sizeof(path), "%s/checkpoint", e->dir);
    fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "LBCKPT1\n\2\0\0\0xxxx", 16, LB_CKPT_COPY), 16);
    close(fd);
    rc = lb_ckpt_peek(e->spool, &found, &err);
    assert_int_equal(rc, LB_EFOREIGN);
    assert_non_null(strstr(err.text, "another format version"));
    assert_null(strstr(err.text, "recover"));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, env_setup, env_teardown)
    const struct CMUnitTest tests[] = {
        T(stored_is_loaded),
        T(a_cut_store_leaves_a_whole_state),
        T(damage_is_refused_in_words),
        T(replaced_as_a_whole),
        T(another_version_is_not_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
