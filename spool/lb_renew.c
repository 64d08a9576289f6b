/*
 * The two ways out when a spool is found elsewhere than it was tied to: it was
 * moved, or it is made anew.
 *
 * Making anew deletes the rings first and the identity last: what a crash leaves
 * is the copy with less in it, or a directory without identity and rings, which
 * the next creator starts over in.
 */

#include "lb_renew.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "lb_identity.h"
#include "lb_io.h"
#include "lb_spool_private.h"
#include "lb_tie.h"

int
lb_spool_move(lb_spool_t *s, lb_error_t *err)
{
    int rc;

    if (s->tie.state == LB_TIE_HERE) {
        return 0;
    }

    if (lb_tie_elsewhere(&s->tie, s->dirfd, s->uuid)) {
        return lb_fail(err, -EEXIST,
                       "the spool is still at \"%s\": remove it there first, "
                       "or give this copy an identity of its own: "
                       "logbroker-spool adopt SPOOL",
                       s->tie.path);
    }

    rc = lb_tie_update(&s->tie, s->dirfd, s->path, 1);

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
        "history.json", "history.json.new",
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return 1;
        }
    }

    return strncmp(name, "ring-", 5) == 0 && name[5] >= '0' && name[5] <= '9';
}

/* Locks (delete 0) or deletes all files of the spool but its identity; closing
 * the descriptors in fds releases the locks. */
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
lb_renew_locked(lb_spool_t *s, lb_error_t *err)
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
                 : lb_renew_locked(s, err);

    (void)flock(s->dirfd, LOCK_UN);

    return rc;
}
