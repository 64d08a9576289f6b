/*
 * The spool directory, its identity, and the slots that have a ring.
 */

#include "lb_spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb_io.h"
#include "lb_spool_private.h"

const char *
lb_spool_note(const lb_spool_t *s)
{
    return s->note[0] != '\0' ? s->note : NULL;
}

void
lb_spool_close(lb_spool_t *spool)
{
    if (spool != NULL) {
        if (spool->dirfd >= 0) {
            close(spool->dirfd);
        }
        free(spool);
    }
}

int
lb_spool_stale(const lb_spool_t *spool)
{
    int fd, renewed;
    uint8_t buf[16 + LB_UUID_LEN];
    struct stat a, b;

    if (fstat(spool->dirfd, &a) != 0 || stat(spool->path, &b) != 0 ||
        a.st_dev != b.st_dev || a.st_ino != b.st_ino) {
        return 1;
    }

    /* made anew in its place */
    fd = openat(spool->dirfd, "spool", O_RDONLY | O_CLOEXEC);
    renewed = fd >= 0 && lb_io_read(fd, buf, sizeof(buf), 0) == 0 &&
              memcmp(buf + 16, spool->uuid, LB_UUID_LEN) != 0;
    if (fd >= 0) {
        close(fd);
    }

    return renewed;
}

const char *
lb_spool_path(const lb_spool_t *spool)
{
    return spool->path;
}

const uint8_t *
lb_spool_uuid(const lb_spool_t *spool)
{
    return spool->uuid;
}

const lb_tie_t *
lb_spool_tie(const lb_spool_t *s)
{
    return &s->tie;
}

static int
compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

int
lb_spool_slots(lb_spool_t *spool, uint32_t slots[LB_SLOTS_MAX], lb_error_t *err)
{
    DIR *dir;
    int fd, rc, n = 0;
    char *end;
    unsigned long slot;
    struct dirent *e;

    fd = openat(spool->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0 || (dir = fdopendir(fd)) == NULL) {
        n = lb_fail(err, -errno, "cannot list spool \"%s\": %s", spool->path,
                    strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return n;
    }

    for (;;) {
        errno = 0;
        e = readdir(dir);

        if (e == NULL || n == (int)LB_SLOTS_MAX) {
            break;
        }

        if (strncmp(e->d_name, "ring-", 5) != 0 || e->d_name[5] < '0' ||
            e->d_name[5] > '9') {
            continue;
        }

        slot = strtoul(e->d_name + 5, &end, 10);

        /* ring-0000.new and the like are not rings yet */
        if (*end != '\0' || end != e->d_name + 9 || slot >= LB_SLOTS_MAX) {
            continue;
        }

        slots[n++] = (uint32_t)slot;
    }

    rc = e == NULL ? -errno : 0;

    closedir(dir);

    if (rc != 0) {
        return lb_fail(err, rc, "cannot list spool \"%s\": %s", spool->path,
                       strerror(-rc));
    }

    qsort(slots, (size_t)n, sizeof(slots[0]), compare);

    return n;
}
