/*
 * Slots: which rings there are.
 */

#include "lb_ring_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

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
    int fd, n = 0;
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

    while ((e = readdir(dir)) != NULL && n < (int)LB_SLOTS_MAX) {

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

    closedir(dir);

    qsort(slots, (size_t)n, sizeof(slots[0]), compare);

    return n;
}
