/*
 * The tie between a spool and the place it is used at, and the two ways out
 * when it is found elsewhere: it was moved, or it is made anew.
 *
 * The tie is stored in place, in the first sector of the identity file, so it
 * needs no room and is whole or the one before after a crash.  Making anew
 * deletes the rings first and the identity last: what a crash leaves is the
 * copy with less in it, or a directory without identity and rings, which the
 * next creator starts over in.
 */

#include "lb_ring_private.h"

#include "lb_dead.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

void
lb_tie_encode(lb_spool_t *s, int fd, uint8_t sector[LB_SECTOR])
{
    char path[PATH_MAX];
    uint8_t *p = sector + LB_TIE;

    lb_place_get(fd, &s->place);

    s->tie.state = LB_TIE_HERE;
    s->tie.why = NULL;
    s->tie.tied_us = lb_now_us();

    memset(s->tie.host, 0, sizeof(s->tie.host));
    if (gethostname(s->tie.host, LB_HOST_MAX) != 0) {
        s->tie.host[0] = '\0';
    }

    s->tie.path[0] = '\0';
    if (realpath(s->path, path) != NULL && strlen(path) <= LB_PATH_MAX) {
        (void)snprintf(s->tie.path, sizeof(s->tie.path), "%.*s",
                       (int)LB_PATH_MAX, path);
    }

    memset(p, 0, LB_TIE_SIZE);
    lb_put64(p + 8, s->tie.tied_us);
    lb_put64(p + 16, s->place.inode);
    lb_put64(p + 24, s->place.born);
    lb_put64(p + 32, s->place.fs);
    lb_put64(p + 40, s->place.machine);
    lb_put64(p + 48, s->place.disk);
    memcpy(p + 64, s->tie.host, strnlen(s->tie.host, LB_HOST_MAX));
    memcpy(p + 128, s->tie.path, strnlen(s->tie.path, LB_PATH_MAX));
    lb_put32(p, lb_crc32c(0, p + 8, LB_TIE_SIZE - 8));
}

/* The tie as it is stored; 1 if there is one. */
static int
decode(const uint8_t sector[LB_SECTOR], lb_tie_t *tie, lb_place_t *place)
{
    const uint8_t *p = sector + LB_TIE;

    memset(tie, 0, sizeof(*tie));
    memset(place, 0, sizeof(*place));

    if (lb_get64(p + 8) == 0 ||
        lb_get32(p) != lb_crc32c(0, p + 8, LB_TIE_SIZE - 8)) {
        return 0;
    }

    tie->tied_us = lb_get64(p + 8);
    place->inode = lb_get64(p + 16);
    place->born = lb_get64(p + 24);
    place->fs = lb_get64(p + 32);
    place->machine = lb_get64(p + 40);
    place->disk = lb_get64(p + 48);
    memcpy(tie->host, p + 64, LB_HOST_MAX);
    memcpy(tie->path, p + 128, LB_PATH_MAX);

    return 1;
}

void
lb_tie_load(lb_spool_t *s, int fd, const uint8_t sector[LB_SECTOR])
{
    lb_place_t is;

    if (!decode(sector, &s->tie, &s->place)) {
        s->tie.state = LB_TIE_NONE;
        return;
    }

    lb_place_get(fd, &is);
    s->tie.why = lb_place_differs(&s->place, &is);
    s->tie.state = s->tie.why != NULL ? LB_TIE_ELSEWHERE : LB_TIE_HERE;
}

/* Does the path of the tie lead to this spool? */
static int
leads_here(lb_spool_t *s)
{
    char path[LB_PATH_MAX + 16];
    struct stat a, b;

    (void)snprintf(path, sizeof(path), "%s/spool", s->tie.path);

    return stat(path, &a) == 0 && fstatat(s->dirfd, "spool", &b, 0) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* What is known now and was not when it was tied.  It stays: another process
 * may be in a container, where less is known. */
static int
news(lb_spool_t *s, int fd)
{
    lb_place_t is, was = s->place;

    lb_place_get(fd, &is);

    return lb_place_fill(&was, &is);
}

static int
store(lb_spool_t *s, int fd, const uint8_t sector[LB_SECTOR])
{
    int rc;
    uint8_t buf[LB_SECTOR];
    lb_tie_t tie;
    lb_place_t was;
    uint8_t *p = buf + LB_TIE;

    memcpy(buf, sector, sizeof(buf));
    lb_tie_encode(s, fd, buf);

    if (decode(sector, &tie, &was) &&
        lb_place_differs(&was, &s->place) == NULL &&
        lb_place_fill(&s->place, &was)) {
        lb_put64(p + 16, s->place.inode);
        lb_put64(p + 24, s->place.born);
        lb_put64(p + 32, s->place.fs);
        lb_put64(p + 40, s->place.machine);
        lb_put64(p + 48, s->place.disk);
        lb_put32(p, lb_crc32c(0, p + 8, LB_TIE_SIZE - 8));
    }

    rc = lb_io_write(fd, p, LB_TIE_SIZE, LB_TIE, 0);

    return rc != 0 ? rc : lb_io_sync(fd);
}

int
lb_tie_update(lb_spool_t *s, int moved)
{
    int fd, rc;
    uint8_t sector[LB_SECTOR];

    fd = openat(s->dirfd, "spool", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }

    /* several processes start at once */
    while ((rc = flock(s->dirfd, LOCK_EX)) != 0 && errno == EINTR) {
        /* void */
    }

    rc = rc != 0 ? -errno : lb_io_read(fd, sector, sizeof(sector), 0);

    if (rc == 0) {
        lb_tie_load(s, fd, sector);

        if (moved || s->tie.state == LB_TIE_NONE ||
            (s->tie.state == LB_TIE_HERE &&
             ((s->tie.path[0] != '\0' && !leads_here(s)) || news(s, fd)))) {
            rc = store(s, fd, sector);
        }
    }

    (void)flock(s->dirfd, LOCK_UN);
    close(fd);

    return rc;
}

const lb_tie_t *
lb_spool_tie(const lb_spool_t *s)
{
    return &s->tie;
}

/* Events of one ring that are not acked, also those behind the commit cell. */
static int
left_in_ring(lb_spool_t *s, uint32_t slot, lb_ckpt_state_t *ckpt,
             uint64_t *events)
{
    int fd, rc;
    uint8_t pages[2 * LB_PAGE];
    uint64_t acked = 0, seq = 0;
    lb_ack_t ack;
    lb_cell_t cell;
    lb_identity_t id;
    lb_ckpt_ring_t *e;
    lb_recovered_t found;

    rc = lb_ring_open(s, slot, O_RDONLY, &fd, &id, NULL);
    if (rc != 0) {
        return rc;
    }

    rc = lb_io_read(fd, pages, sizeof(pages), LB_RING_WRITER);
    if (rc == 0) {
        rc = lb_cell_decode(pages, &cell);
    }

    if (rc == 0) {
        if (lb_ack_decode(pages + LB_PAGE, &ack) == 0) {
            acked = ack.acked;
            seq = ack.acked_seq;
        }

        e = lb_ckpt_find(ckpt, id.uuid);
        if (e != NULL && e->acked_seq > seq) {
            acked = e->acked;
            seq = e->acked_seq;
        }

        found.end = acked > cell.committed ? acked : cell.committed;
        found.seq = seq > cell.next_seq ? seq : cell.next_seq;
        found.epoch = cell.epoch;
        found.events = 0;
        rc = lb_recover(fd, &id, acked + id.capacity, &found);
        *events = found.seq - seq;
    }

    close(fd);

    return rc;
}

void
lb_spool_left(lb_spool_t *s, lb_left_t *left)
{
    int i, n;
    uint32_t slots[LB_SLOTS_MAX];
    uint64_t events;
    lb_dead_t *dead;
    lb_error_t err;
    lb_ckpt_state_t *ckpt;

    memset(left, 0, sizeof(*left));

    n = lb_spool_slots(s, slots, NULL);
    ckpt = calloc(1, sizeof(*ckpt));

    if (n < 0 || ckpt == NULL) {
        left->unknown = 1;
        n = 0;

    } else if (n > 0 && lb_ckpt_peek(s, ckpt, NULL) != 0) {
        left->unknown = 1;
        memset(ckpt, 0, sizeof(*ckpt));
    }

    for (i = 0; i < n; i++) {
        if (left_in_ring(s, slots[i], ckpt, &events) != 0) {
            left->unreadable++;
        } else if (events > 0) {
            left->rings++;
            left->events += events;
        }
    }

    if (ckpt != NULL && (ckpt->flags & LB_CKPT_IN_FLIGHT)) {
        left->in_flight = 1;
    }

    if (lb_dead_open(s, 0, &dead, &err) == 0) {
        left->letters = lb_dead_count_open(dead);
        lb_dead_close(dead);
    } else if (err.code != -ENOENT) {
        left->unknown = 1;
    }

    free(ckpt);
}

int
lb_left_any(const lb_left_t *left)
{
    return left->events != 0 || left->letters != 0 || left->unreadable != 0 ||
           left->in_flight || left->unknown;
}

int
lb_tie_refuse(lb_spool_t *s, const lb_left_t *left, lb_error_t *err)
{
    return lb_fail(
        err, LB_ECOPY,
        "spool \"%.120s\" was copied or moved here: %s; it was last used as "
        "\"%.80s\" on \"%.40s\". It holds %s%llu events that would be "
        "delivered twice if both were served. If the original is gone: "
        "logbroker-spool move SPOOL. If it is not: logbroker-spool adopt SPOOL",
        s->path, s->tie.why, s->tie.path, s->tie.host,
        left->unknown || left->unreadable ? "at least " : "",
        (unsigned long long)(left->events + left->letters));
}

int
lb_spool_move(lb_spool_t *s, lb_error_t *err)
{
    int dirfd, fd, rc, there = 0;
    uint8_t buf[LB_SECTOR];
    lb_tie_t tie;
    lb_place_t was, is;

    if (s->tie.state == LB_TIE_HERE) {
        return 0;
    }

    /* is the spool it was tied as still there? */
    dirfd = s->tie.path[0] == '/'
                ? open(s->tie.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                : -1;

    if (dirfd >= 0) {
        fd = openat(dirfd, "spool", O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            if (lb_io_read(fd, buf, sizeof(buf), 0) == 0 &&
                memcmp(buf + 16, s->uuid, LB_UUID_LEN) == 0 &&
                decode(buf, &tie, &was)) {
                lb_place_get(fd, &is);
                there = lb_place_differs(&was, &is) == NULL && !leads_here(s);
            }
            close(fd);
        }
        close(dirfd);
    }

    if (there) {
        return lb_fail(err, -EEXIST,
                       "the spool is still at \"%s\": remove it there first, "
                       "or give this copy an identity of its own: "
                       "logbroker-spool adopt SPOOL",
                       s->tie.path);
    }

    rc = lb_tie_update(s, 1);

    return rc != 0 ? lb_fail(err, rc, "cannot write \"%s/spool\": %s", s->path,
                             strerror(-rc))
                   : 1;
}

static int
is_ours(const char *name)
{
    size_t i;

    static const char *const names[] = {
        "checkpoint",   "checkpoint.new",   "dead",
        "flusher.json", "flusher.json.new", "spool.new",
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return 1;
        }
    }

    return strncmp(name, "ring-", 5) == 0 && name[5] >= '0' && name[5] <= '9';
}

/* Locks (delete 0) or deletes whatever belongs to the spool but its identity;
 * the locks die with the descriptors in fds. */
static int
sweep(lb_spool_t *s, int delete, int *fds, size_t max, size_t *n,
      lb_error_t *err)
{
    int fd, rc = 0;
    DIR *dir;
    struct dirent *e;

    fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (dir = fdopendir(fd)) == NULL) {
        rc = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return lb_fail(err, rc, "cannot list spool \"%s\": %s", s->path,
                       strerror(-rc));
    }

    while (rc == 0 && (e = readdir(dir)) != NULL) {

        if (!is_ours(e->d_name)) {
            continue;
        }

        if (delete) {
            if (unlinkat(s->dirfd, e->d_name, 0) != 0 && errno != ENOENT) {
                rc = lb_fail(err, -errno, "cannot delete \"%s/%s\": %s",
                             s->path, e->d_name, strerror(errno));
            }
            continue;
        }

        fd = openat(s->dirfd, e->d_name, O_RDWR | O_CLOEXEC);
        if (fd < 0) {
            rc = lb_fail(err, -errno, "cannot open \"%s/%s\": %s", s->path,
                         e->d_name, strerror(errno));
        } else if (*n == max || lb_io_lock(fd) != 0) {
            close(fd);
            rc = lb_fail(err, LB_ELOCKED,
                         "\"%s/%s\" is held by another process: stop nginx "
                         "and the flusher of this spool first",
                         s->path, e->d_name);
        } else {
            fds[(*n)++] = fd;
        }
    }

    closedir(dir);

    return rc;
}

int
lb_tie_renew(lb_spool_t *s, lb_error_t *err)
{
    int fds[3 * LB_SLOTS_MAX], rc;
    size_t n = 0;

    rc = sweep(s, 0, fds, sizeof(fds) / sizeof(fds[0]), &n, err);

    if (rc == 0) {
        rc = sweep(s, 1, NULL, 0, NULL, err);
    }

    if (rc == 0 && (lb_io->sync_dir(s->dirfd) != 0 ||
                    unlinkat(s->dirfd, "spool", 0) != 0 ||
                    lb_io->sync_dir(s->dirfd) != 0)) {
        rc = lb_fail(err, -errno, "cannot delete \"%s/spool\": %s", s->path,
                     strerror(errno));
    }

    if (rc == 0) {
        rc = lb_identity_create(s, err);
    }

    while (n > 0) {
        close(fds[--n]);
    }

    return rc;
}

int
lb_spool_renew(lb_spool_t *s, lb_error_t *err)
{
    int rc;

    while ((rc = flock(s->dirfd, LOCK_EX)) != 0 && errno == EINTR) {
        /* void */
    }

    rc = rc != 0 ? lb_fail(err, -errno, "cannot lock spool \"%s\"", s->path)
                 : lb_tie_renew(s, err);

    (void)flock(s->dirfd, LOCK_UN);

    return rc;
}
