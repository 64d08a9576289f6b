/*
 * The tie between a spool and the place it is used at.
 *
 * It is stored in place, in the first sector of the identity file, so it needs
 * no room and is whole or the one before after a crash.
 */

#include "lb_tie.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb_bytes.h"
#include "lb_clock.h"
#include "lb_crc32c.h"
#include "lb_io.h"

/* The numbers of the place, and the checksum over the whole tie. */
static void
put_place(uint8_t *p, const lb_place_t *place)
{
    lb_put64(p + 16, place->inode);
    lb_put64(p + 24, place->born);
    lb_put64(p + 32, place->fs);
    lb_put64(p + 40, place->machine);
    lb_put64(p + 48, place->disk);
    lb_put32(p, lb_crc32c(0, p + 8, LB_TIE_SIZE - 8));
}

void
lb_tie_encode(lb_tie_t *tie, const char *path, int fd,
              uint8_t sector[LB_SECTOR])
{
    char real[PATH_MAX];
    uint8_t *p = sector + LB_TIE;

    lb_place_get(fd, &tie->place);

    tie->state = LB_TIE_HERE;
    tie->why = NULL;
    tie->tied_us = lb_now_us();

    memset(tie->host, 0, sizeof(tie->host));
    if (gethostname(tie->host, LB_HOST_MAX) != 0) {
        tie->host[0] = '\0';
    }

    tie->path[0] = '\0';
    if (realpath(path, real) != NULL && strlen(real) <= LB_PATH_MAX) {
        (void)snprintf(tie->path, sizeof(tie->path), "%.*s", (int)LB_PATH_MAX,
                       real);
    }

    memset(p, 0, LB_TIE_SIZE);
    lb_put64(p + 8, tie->tied_us);
    memcpy(p + 64, tie->host, strnlen(tie->host, LB_HOST_MAX));
    memcpy(p + 128, tie->path, strnlen(tie->path, LB_PATH_MAX));
    put_place(p, &tie->place);
}

/* The tie as it is stored; 1 if there is one. */
static int
decode(const uint8_t sector[LB_SECTOR], lb_tie_t *tie)
{
    const uint8_t *p = sector + LB_TIE;

    memset(tie, 0, sizeof(*tie));

    if (lb_get64(p + 8) == 0 ||
        lb_get32(p) != lb_crc32c(0, p + 8, LB_TIE_SIZE - 8)) {
        return 0;
    }

    tie->tied_us = lb_get64(p + 8);
    tie->place.inode = lb_get64(p + 16);
    tie->place.born = lb_get64(p + 24);
    tie->place.fs = lb_get64(p + 32);
    tie->place.machine = lb_get64(p + 40);
    tie->place.disk = lb_get64(p + 48);
    memcpy(tie->host, p + 64, LB_HOST_MAX);
    memcpy(tie->path, p + 128, LB_PATH_MAX);

    return 1;
}

void
lb_tie_load(lb_tie_t *tie, int fd, const uint8_t sector[LB_SECTOR])
{
    lb_place_t is;

    if (!decode(sector, tie)) {
        tie->state = LB_TIE_NONE;
        return;
    }

    lb_place_get(fd, &is);
    tie->why = lb_place_differs(&tie->place, &is);
    tie->state = tie->why != NULL ? LB_TIE_ELSEWHERE : LB_TIE_HERE;
}

/* Does the path of the tie lead to the spool in dirfd? */
static int
leads_here(const lb_tie_t *tie, int dirfd)
{
    char path[LB_PATH_MAX + 16];
    struct stat a, b;

    (void)snprintf(path, sizeof(path), "%s/spool", tie->path);

    return stat(path, &a) == 0 && fstatat(dirfd, "spool", &b, 0) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* 1 if something is known now that was not when it was tied.  What was known
 * stays: another process may be in a container, where less is known. */
static int
knows_more(const lb_tie_t *tie, int fd)
{
    lb_place_t is, was = tie->place;

    lb_place_get(fd, &is);

    return lb_place_fill(&was, &is);
}

static int
store(lb_tie_t *tie, const char *path, int fd, const uint8_t sector[LB_SECTOR])
{
    int rc;
    uint8_t buf[LB_SECTOR];
    lb_tie_t was;

    memcpy(buf, sector, sizeof(buf));
    lb_tie_encode(tie, path, fd, buf);

    if (decode(sector, &was) &&
        lb_place_differs(&was.place, &tie->place) == NULL &&
        lb_place_fill(&tie->place, &was.place)) {
        put_place(buf + LB_TIE, &tie->place);
    }

    rc = lb_io_write(fd, buf + LB_TIE, LB_TIE_SIZE, LB_TIE, 0);

    return rc != 0 ? rc : lb_io_sync(fd);
}

int
lb_tie_update(lb_tie_t *tie, int dirfd, const char *path, int moved)
{
    int fd, rc;
    uint8_t sector[LB_SECTOR];

    fd = openat(dirfd, "spool", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }

    /* several processes start at once */
    while ((rc = flock(dirfd, LOCK_EX)) != 0 && errno == EINTR) {
        /* void */
    }

    rc = rc != 0 ? -errno : lb_io_read(fd, sector, sizeof(sector), 0);

    if (rc == 0) {
        lb_tie_load(tie, fd, sector);

        if (moved || tie->state == LB_TIE_NONE ||
            (tie->state == LB_TIE_HERE &&
             ((tie->path[0] != '\0' && !leads_here(tie, dirfd)) ||
              knows_more(tie, fd)))) {
            rc = store(tie, path, fd, sector);
        }
    }

    (void)flock(dirfd, LOCK_UN);
    close(fd);

    return rc;
}

int
lb_tie_elsewhere(const lb_tie_t *tie, int dirfd,
                 const uint8_t uuid[LB_UUID_LEN])
{
    int fd, dir, there = 0;
    uint8_t buf[LB_SECTOR];
    lb_tie_t was;
    lb_place_t is;

    if (tie->path[0] != '/') {
        return 0;
    }

    dir = open(tie->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        return 0;
    }

    fd = openat(dir, "spool", O_RDONLY | O_CLOEXEC);
    close(dir);
    if (fd < 0) {
        return 0;
    }

    if (lb_io_read(fd, buf, sizeof(buf), 0) == 0 &&
        memcmp(buf + 16, uuid, LB_UUID_LEN) == 0 && decode(buf, &was)) {
        lb_place_get(fd, &is);
        there = lb_place_differs(&was.place, &is) == NULL &&
                !leads_here(tie, dirfd);
    }

    close(fd);

    return there;
}
