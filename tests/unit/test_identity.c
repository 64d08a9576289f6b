/*
 * The tie of a spool to its place: what differs is noticed, what is unknown is
 * not, and whatever moment a crash picks, a copy is never served under the
 * identity of its original.
 */

#include "spool_env.h"

#include <errno.h>
#include <fcntl.h>

#include "spool/lb_bytes.h"

static lb_place_t place;

static void
given(int fd, lb_place_t *p)
{
    (void)fd;

    *p = place;
}

static int
setup(void **state)
{
    lb_place_get = given;
    place = (lb_place_t){11, 12, 13, 14, 15};

    return env_setup(state);
}

static int
opened(env_t *e, unsigned flags, lb_error_t *err)
{
    int rc;

    lb_spool_close(e->spool);
    e->spool = NULL;
    rc = lb_spool_open(e->dir, flags, &e->spool, err);

    return rc;
}

static void
fill(env_t *e, uint32_t events)
{
    lb_writer_t *w = env_writer(e, 65536);

    while (events-- > 0) {
        assert_int_equal(env_append(w, "a", "{}\n", 3, 1), 0);
    }
    (void)env_commit(w, 1);
    lb_writer_close(w);
}

static void
each_difference_is_noticed(void **state)
{
    size_t i;
    env_t *e = *state;
    lb_error_t err;
    uint64_t *numbers = (uint64_t *)&place;
    const lb_tie_t *tie;

    fill(e, 3);

    for (i = 0; i < sizeof(place) / sizeof(uint64_t); i++) {
        numbers[i]++;

        assert_int_equal(opened(e, 0, &err), 0);
        tie = lb_spool_tie(e->spool);
        assert_int_equal(tie->state, LB_TIE_ELSEWHERE);
        assert_non_null(tie->why);
        assert_int_equal(opened(e, LB_SPOOL_WRITE, &err), LB_ECOPY);
        assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), LB_ECOPY);
        assert_non_null(strstr(err.text, " 3 events"));
        assert_non_null(strstr(err.text, "move"));
        assert_non_null(strstr(err.text, "adopt"));

        /* not known is no difference, and does not forget what was known */
        numbers[i] = 0;
        assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), 0);
        assert_int_equal(lb_spool_tie(e->spool)->state, LB_TIE_HERE);
        numbers[i] = 77;
        assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), LB_ECOPY);

        numbers[i] = 11 + i;
        assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), 0);
        assert_null(lb_spool_note(e->spool));
    }
}

static void
what_becomes_known_is_added(void **state)
{
    env_t *e = *state;
    lb_error_t err;

    fill(e, 1);
    place = (lb_place_t){11, 12, 0, 0, 0};
    env_remove(e->dir);
    assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), 0);
    fill(e, 1);

    /* in a container first, then on the machine, then on another one */
    place.machine = 14;
    assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), 0);
    place.machine = 0;
    assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), 0);
    place.machine = 15;
    assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), LB_ECOPY);
}

static void
an_older_release_left_no_tie(void **state)
{
    int fd;
    char path[300];
    env_t *e = *state;
    size_t i;
    uint8_t zeros[LB_TIE_SIZE] = {0}, byte;
    lb_error_t err;

    fill(e, 2);
    (void)snprintf(path, sizeof(path), "%s/spool", e->dir);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);

    assert_int_equal(pwrite(fd, zeros, sizeof(zeros), LB_TIE), sizeof(zeros));
    place.inode++;
    assert_int_equal(opened(e, 0, &err), 0);
    assert_int_equal(lb_spool_tie(e->spool)->state, LB_TIE_NONE);
    assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), 0);
    assert_int_equal(lb_spool_tie(e->spool)->state, LB_TIE_HERE);
    place.inode++;
    assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), LB_ECOPY);

    /* and a tie that is damaged is none, whichever byte it is */
    place.inode--;
    for (i = 0; i < LB_TIE_SIZE; i += i < 64 ? 1 : 29) {
        if (i >= 4 && i < 8) {
            continue;
        }
        assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), 0);
        assert_int_equal(pread(fd, &byte, 1, (off_t)(LB_TIE + i)), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)(LB_TIE + i)), 1);
        assert_int_equal(opened(e, 0, &err), 0);
        assert_int_equal(lb_spool_tie(e->spool)->state, LB_TIE_NONE);
    }

    close(fd);
}

static void
an_empty_copy_is_made_anew(void **state)
{
    uint8_t uuid[LB_UUID_LEN];
    env_t *e = *state;
    lb_error_t err;
    lb_left_t left;

    memcpy(uuid, lb_spool_uuid(e->spool), LB_UUID_LEN);
    fill(e, 0);
    place.disk++;
    assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), 0);
    assert_non_null(lb_spool_note(e->spool));
    assert_memory_not_equal(lb_spool_uuid(e->spool), uuid, LB_UUID_LEN);

    /* once */
    memcpy(uuid, lb_spool_uuid(e->spool), LB_UUID_LEN);
    assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), 0);
    assert_null(lb_spool_note(e->spool));
    assert_memory_equal(lb_spool_uuid(e->spool), uuid, LB_UUID_LEN);

    fill(e, 1);
    lb_spool_left(e->spool, &left);
    assert_int_equal(left.events, 1);
    assert_int_equal(lb_left_any(&left), 1);
}

static void
events_behind_the_commit_cell_count(void **state)
{
    int fd;
    char path[300];
    uint8_t before[LB_PAGE];
    env_t *e = *state;
    lb_error_t err;
    lb_left_t left;

    fill(e, 0);
    (void)snprintf(path, sizeof(path), "%s/ring-0000", e->dir);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, before, LB_PAGE, LB_RING_WRITER), LB_PAGE);
    fill(e, 5);
    assert_int_equal(pwrite(fd, before, LB_PAGE, LB_RING_WRITER), LB_PAGE);
    close(fd);

    lb_spool_left(e->spool, &left);
    assert_int_equal(left.events, 5);
    place.machine++;
    assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), LB_ECOPY);
}

static void
a_batch_in_flight_or_no_checkpoint_is_something(void **state)
{
    char path[300];
    env_t *e = *state;
    lb_ckpt_t *c;
    lb_error_t err;
    lb_ckpt_state_t st;

    fill(e, 0);
    assert_int_equal(lb_ckpt_open(e->spool, &c, &st, &err), 0);
    st.flags |= LB_CKPT_IN_FLIGHT;
    assert_int_equal(lb_ckpt_store(c, &st, &err), 0);
    lb_ckpt_close(c);
    place.machine++;
    assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), LB_ECOPY);

    (void)snprintf(path, sizeof(path), "%s/checkpoint", e->dir);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), LB_ECOPY);
    assert_non_null(strstr(err.text, "at least"));
    (void)unlink(path);
    assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), LB_ECOPY);

    place.machine--;
    assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), 0);
}

/* Whoever has it open still gets no ring of it, and finds out why. */
static void
made_anew_behind_ones_back(void **state)
{
    env_t *e = *state;
    lb_error_t err;
    lb_spool_t *other;
    lb_writer_t *w;

    fill(e, 0);
    assert_int_equal(lb_spool_open(e->dir, 0, &other, &err), 0);
    assert_int_equal(lb_spool_stale(e->spool), 0);
    assert_int_equal(lb_spool_renew(other, &err), 0);
    assert_int_equal(lb_spool_stale(e->spool), 1);
    assert_int_equal(lb_spool_stale(other), 0);

    assert_true(lb_ring_create(e->spool, 65536, 4, &err) >= 0);
    assert_int_equal(lb_writer_claim_slot(e->spool, 0, &w, &err), LB_EFOREIGN);

    lb_spool_close(other);
}

static int calls_left;

static int
failing_rename(int dirfd, const char *from, const char *to, int replace)
{
    if (calls_left-- <= 0) {
        errno = EIO;
        return -1;
    }

    return lb_io_system.rename(dirfd, from, to, replace);
}

static int
failing_sync_dir(int dirfd)
{
    if (calls_left-- <= 0) {
        errno = EIO;
        return -1;
    }

    return lb_io_system.sync_dir(dirfd);
}

static ssize_t
failing_write(int fd, const void *buf, size_t len, off_t offset, int dsync)
{
    if (calls_left-- <= 0) {
        errno = ENOSPC;
        return -1;
    }

    return lb_io_system.write(fd, buf, len, offset, dsync);
}

/* Stopped after any step, nobody serves the old identity, and the next one who
 * opens it completes it. */
static void
making_anew_is_taken_up_again(void **state)
{
    int n, rc;
    uint8_t old[LB_UUID_LEN];
    env_t *e = *state;
    lb_error_t err;
    lb_io_calls_t calls = lb_io_system;

    calls.rename = failing_rename;
    calls.sync_dir = failing_sync_dir;
    calls.write = failing_write;

    for (n = 0;; n++) {
        assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), 0);
        fill(e, 0);
        memcpy(old, lb_spool_uuid(e->spool), LB_UUID_LEN);
        place.disk++;

        lb_io = &calls;
        calls_left = n;
        rc = opened(e, LB_SPOOL_CREATE, &err);
        lb_io = &lb_io_system;

        if (rc == 0 && n > 30) {
            break;
        }
        if (rc != 0) {
            assert_int_equal(opened(e, LB_SPOOL_CREATE, &err), 0);
        }
        assert_memory_not_equal(lb_spool_uuid(e->spool), old, LB_UUID_LEN);
        assert_int_equal(lb_spool_tie(e->spool)->state, LB_TIE_HERE);
        fill(e, 1);
        /* start over with an empty one */
        lb_spool_close(e->spool);
        e->spool = NULL;
        env_remove(e->dir);
    }
}

static void
moved_is_tied_again(void **state)
{
    char copy[300], cmd[700];
    env_t *e = *state;
    lb_error_t err;
    lb_spool_t *moved;

    fill(e, 4);
    assert_int_equal(lb_spool_move(e->spool, &err), 0);

    (void)snprintf(copy, sizeof(copy), "%s-copy", e->dir);
    (void)snprintf(cmd, sizeof(cmd), "cp -a '%s' '%s'", e->dir, copy);
    assert_int_equal(system(cmd), 0);

    place.inode++;
    assert_int_equal(lb_spool_open(copy, 0, &moved, &err), 0);
    place.inode--;
    assert_int_equal(lb_spool_move(moved, &err), -EEXIST);
    place.inode++;

    env_remove(e->dir);
    assert_int_equal(lb_spool_move(moved, &err), 1);
    lb_spool_close(moved);

    lb_spool_close(e->spool);
    assert_int_equal(lb_spool_open(copy, LB_SPOOL_CREATE, &e->spool, &err), 0);
    assert_int_equal(lb_spool_tie(e->spool)->state, LB_TIE_HERE);
    (void)snprintf(e->dir, sizeof(e->dir), "%.255s", copy);
}

static void
network_file_systems_by_fuse(void **state)
{
    (void)state;

    assert_true(lb_place_fuse_network("fuse.sshfs", "me@host:/logs"));
    assert_true(lb_place_fuse_network("fuse.sshfs", "anything"));
    assert_true(lb_place_fuse_network("fuse.s3fs", "s3fs"));
    assert_true(lb_place_fuse_network("fuse.gcsfuse", "bucket"));
    assert_true(lb_place_fuse_network("fuse.glusterfs", "host:/volume"));
    assert_true(lb_place_fuse_network("fuse.unheard-of", "host:/volume"));
    assert_true(lb_place_fuse_network("fuse", "dav://host/x"));
    assert_false(lb_place_fuse_network("fuse.gocryptfs", "/home/me/plain"));
    assert_false(lb_place_fuse_network("fuse.mergerfs", "a:b"));
    assert_false(lb_place_fuse_network("fuseblk", "/dev/sdb1"));
    assert_false(lb_place_fuse_network("virtiofs", "share"));
    assert_false(lb_place_fuse_network("fuse.bindfs", "/a:b"));
}

/* Sizes and positions from a disk may be any number; their checksums right. */
static void
numbers_near_the_end(void **state)
{
    int fd;
    char path[300];
    env_t *e = *state;
    size_t i;
    uint8_t page[96];
    lb_error_t err;
    lb_reader_t *r;

    static const uint64_t sizes[] = {
        UINT64_MAX - 7, UINT64_MAX - LB_RING_DATA + 1,
        1ull << 63,     (1ull << 63) - 8,
        1ull << 62,     65536 + 8,
    };

    fill(e, 1);
    (void)snprintf(path, sizeof(path), "%s/ring-0000", e->dir);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(pread(fd, page, sizeof(page), 0), sizeof(page));
        lb_put64(page + 48, sizes[i]);
        lb_put32(page + 12, lb_crc32c(0, page + 16, 80));
        assert_int_equal(pwrite(fd, page, sizeof(page), 0), sizeof(page));
        assert_int_equal(lb_reader_open(e->spool, 0, 0, &r, &err), LB_ECORRUPT);
        assert_non_null(strstr(err.text, "cut short"));

        assert_int_equal(
            lb_ring_create(e->spool, sizes[i] & ~(uint64_t)7, 2, &err) >= 0,
            sizes[i] == 65536 + 8);
    }

    close(fd);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, env_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(each_difference_is_noticed),
        T(what_becomes_known_is_added),
        T(an_older_release_left_no_tie),
        T(an_empty_copy_is_made_anew),
        T(events_behind_the_commit_cell_count),
        T(a_batch_in_flight_or_no_checkpoint_is_something),
        T(making_anew_is_taken_up_again),
        T(moved_is_tied_again),
        T(made_anew_behind_ones_back),
        T(network_file_systems_by_fuse),
        T(numbers_near_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
