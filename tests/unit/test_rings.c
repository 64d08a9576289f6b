/*
 * One ring that cannot be read, claimed or written does not stop the others.
 */

#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "flusher/pick.h"
#include "flusher/rings.h"
#include "spool/lb_io.h"
#include "tests/unit/spool_env.h"

/* The file whose reads, writes and syncs fail. */
static ino_t sick;

static int
is_sick(int fd)
{
    struct stat st;

    return sick != 0 && fstat(fd, &st) == 0 && st.st_ino == sick;
}

static ssize_t
sick_write(int fd, const void *buf, size_t len, off_t offset, int dsync)
{
    if (is_sick(fd)) {
        errno = EIO;
        return -1;
    }

    return lb_io_system.write(fd, buf, len, offset, dsync);
}

static ssize_t
sick_read(int fd, void *buf, size_t len, off_t offset)
{
    if (is_sick(fd)) {
        errno = EIO;
        return -1;
    }

    return lb_io_system.read(fd, buf, len, offset);
}

static int
sick_sync(int fd)
{
    if (is_sick(fd)) {
        errno = EIO;
        return -1;
    }

    return lb_io_system.sync(fd);
}

static lb_io_calls_t calls;

static void
sicken(env_t *e, uint32_t slot)
{
    char path[300];
    struct stat st;

    (void)snprintf(path, sizeof(path), "%s/ring-%04u", e->dir, slot);
    assert_int_equal(stat(path, &st), 0);
    sick = st.st_ino;

    calls = lb_io_system;
    calls.write = sick_write;
    calls.read = sick_read;
    calls.sync = sick_sync;
    lb_io = &calls;
}

/* Rings 0 and 1, with an event each, that nobody holds; then the flusher. */
static void
two_orphans(env_t *e, lb_rings_t *rings, lb_ckpt_state_t *state)
{
    int i;
    lb_error_t err;
    lb_writer_t *w[2];

    sick = 0;

    for (i = 0; i < 2; i++) {
        w[i] = env_writer(e, 65536);
        assert_int_equal(env_append(w[i], "s", "{}", 2, 1), 0);
        assert_int_equal(env_commit(w[i], 1), 0);
    }
    for (i = 0; i < 2; i++) {
        lb_writer_close(w[i]);
    }

    memset(state, 0, sizeof(*state));
    lb_rings_init(rings, e->spool);
    assert_int_equal(lb_rings_look(rings, 0, &err), 0);
    assert_int_equal(rings->n, 2);
    (void)lb_rings_enter(rings, state);
}

static void
an_orphan_that_cannot_be_claimed(void **arg)
{
    uint32_t i, epoch[2];
    lb_error_t err;
    lb_rings_t rings;
    lb_batch_limits_t limits = {.max_rows = 100, .max_bytes = 1 << 20};

    static lb_ckpt_state_t state;

    two_orphans(*arg, &rings, &state);
    for (i = 0; i < 2; i++) {
        epoch[i] = rings.ring[i].info.epoch;
    }

    sicken(*arg, rings.ring[0].info.slot);
    lb_rings_recover_orphans(&rings, LB_ORPHAN_MS);
    assert_int_equal(rings.trouble.code, -EIO);
    assert_non_null(strstr(rings.trouble.text, "the other rings go on"));

    /* the other one was claimed, and is delivered */
    assert_int_equal(lb_rings_look(&rings, 1000, &err), 0);
    assert_true(rings.ring[1].info.epoch > epoch[1]);
    assert_int_equal(lb_batch_pick(&rings, &state, &limits), 1);
    assert_int_equal(rings.ring[1].broken, 0);
    assert_true(state.rows >= 1);

    /* the disk is well again: not at once, but soon */
    sick = 0;
    assert_int_equal(lb_rings_look(&rings, LB_ORPHAN_MS + 1, &err), 0);
    lb_rings_recover_orphans(&rings, LB_ORPHAN_MS + 1);
    assert_int_equal(rings.ring[0].info.epoch, epoch[0]);

    /* seen free again, and as long after that */
    for (i = 1; i <= 3; i++) {
        assert_int_equal(lb_rings_look(&rings, i * LB_ORPHAN_MS + 2, &err), 0);
        lb_rings_recover_orphans(&rings, i * LB_ORPHAN_MS + 2);
    }
    assert_true(rings.ring[0].info.epoch > epoch[0]);
    assert_int_equal(rings.trouble.code, 0);

    lb_rings_close(&rings);
}

static void
an_ack_that_cannot_be_stored(void **arg)
{
    uint32_t i;
    lb_error_t err;
    lb_rings_t rings;
    lb_batch_limits_t limits = {.max_rows = 100, .max_bytes = 1 << 20};

    static lb_ckpt_state_t state;

    two_orphans(*arg, &rings, &state);
    assert_int_equal(lb_batch_pick(&rings, &state, &limits), 1);
    assert_int_equal(state.rows, 2);
    for (i = 0; i < state.nrings; i++) {
        state.rings[i].acked = state.rings[i].end;
        state.rings[i].acked_seq = state.rings[i].end_seq;
    }

    sicken(*arg, rings.ring[0].info.slot);
    lb_rings_ack(&rings, &state);
    assert_int_equal(rings.untold, 1);
    assert_int_equal(rings.trouble.code, -EIO);
    assert_int_equal(rings.ring[0].info.acked_seq, 0);
    assert_int_equal(rings.ring[1].info.acked_seq, 1);

    sick = 0;
    lb_rings_ack(&rings, &state);
    assert_int_equal(rings.untold, 0);
    assert_int_equal(lb_rings_look(&rings, 5000, &err), 0);
    assert_int_equal(rings.ring[0].info.acked_seq, 1);

    lb_rings_close(&rings);
}

/* Damage that cannot be looked at: the ring is left alone. */
static void
damage_that_cannot_be_read(void **arg)
{
    char path[300];
    FILE *f;
    env_t *e = *arg;
    lb_dead_t *dead;
    lb_error_t err;
    lb_rings_t rings;
    lb_batch_limits_t limits = {.max_rows = 100, .max_bytes = 1 << 20};

    static lb_ckpt_state_t state;

    two_orphans(e, &rings, &state);
    assert_int_equal(lb_dead_open(e->spool, 1 << 20, &dead, &err), 0);

    (void)snprintf(path, sizeof(path), "%s/ring-%04u", e->dir,
                   rings.ring[0].info.slot);
    f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, LB_RING_DATA, SEEK_SET), 0);
    assert_int_equal(fputc('?', f), '?');
    assert_int_equal(fclose(f), 0);

    sicken(e, rings.ring[0].info.slot);
    assert_int_equal(lb_batch_set_aside(&rings, &state, dead, &err), 0);
    assert_int_equal(rings.ring[0].broken, 1);
    assert_int_equal(lb_batch_pick(&rings, &state, &limits), 1);
    assert_int_equal(state.rows, 1);

    lb_dead_close(dead);
    lb_rings_close(&rings);
}

/* The folder cannot be listed any more: the rings that are open go on. */
static void
a_folder_that_cannot_be_listed(void **arg)
{
    lb_error_t err;
    lb_rings_t rings;
    struct rlimit before, none;

    static lb_ckpt_state_t state;

    two_orphans(*arg, &rings, &state);

    /* no file can be opened */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);

    assert_int_equal(lb_rings_look(&rings, 2000, &err), 0);
    assert_int_equal(rings.trouble.code, -EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);

    assert_int_equal(rings.n, 2);
    assert_int_equal(rings.ring[0].info.next_seq, 1);
    assert_int_equal(lb_rings_look(&rings, 4000, &err), 0);
    assert_int_equal(rings.trouble.code, 0);

    lb_rings_close(&rings);
}

#define ON_A_SPOOL(f)                                                          \
    cmocka_unit_test_setup_teardown(f, env_setup, env_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        ON_A_SPOOL(an_orphan_that_cannot_be_claimed),
        ON_A_SPOOL(an_ack_that_cannot_be_stored),
        ON_A_SPOOL(damage_that_cannot_be_read),
        ON_A_SPOOL(a_folder_that_cannot_be_listed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
