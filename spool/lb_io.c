/*
 * The only file of the spool that writes, syncs, renames or locks.
 */

#include "lb_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static ssize_t
sys_write(int fd, const void *buf, size_t len, off_t offset, int dsync)
{
    ssize_t n;
    struct iovec iov;

    if (!dsync) {
        return pwrite(fd, buf, len, offset);
    }

    /* One call that writes and syncs this range alone.  Where the file system
     * does not know the flag: the same promise in two calls. */

    iov.iov_base = (void *)buf;
    iov.iov_len = len;

    n = pwritev2(fd, &iov, 1, offset, RWF_DSYNC);

    if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL)) {
        return n;
    }

    n = pwrite(fd, buf, len, offset);

    if (n >= 0 && fdatasync(fd) != 0) {
        return -1;
    }

    return n;
}

static ssize_t
sys_read(int fd, void *buf, size_t len, off_t offset)
{
    return pread(fd, buf, len, offset);
}

static int
sys_preallocate(int fd, off_t len)
{
    int rc;

    /* returns the error instead of setting errno */
    rc = posix_fallocate(fd, 0, len);
    if (rc != 0) {
        errno = rc;
        return -1;
    }

    return 0;
}

static int
sys_rename(int dirfd, const char *from, const char *to, int replace)
{
    if (replace) {
        return renameat(dirfd, from, dirfd, to);
    }

    if (renameat2(dirfd, from, dirfd, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }

    if (errno != EINVAL && errno != ENOSYS) {
        return -1;
    }

    if (linkat(dirfd, from, dirfd, to, 0) != 0) {
        return -1;
    }

    return unlinkat(dirfd, from, 0);
}

static void
sys_drop_cache(int fd, off_t offset, off_t len)
{
    (void)posix_fadvise(fd, offset, len, POSIX_FADV_DONTNEED);
}

const lb_io_calls_t lb_io_system = {
    sys_write,  sys_read, fdatasync,      sys_preallocate,
    sys_rename, fsync,    sys_drop_cache,
};

const lb_io_calls_t *lb_io = &lb_io_system;

int
lb_io_write(int fd, const void *buf, size_t len, off_t offset, int dsync)
{
    ssize_t n;
    const uint8_t *p = buf;

    while (len > 0) {
        n = lb_io->write(fd, p, len, offset, dsync);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }

            return -errno;
        }

        if (n == 0) {
            return -ENOSPC;
        }

        p += n;
        offset += n;
        len -= (size_t)n;
    }

    return 0;
}

int
lb_io_read(int fd, void *buf, size_t len, off_t offset)
{
    ssize_t n;
    uint8_t *p = buf;

    while (len > 0) {
        n = lb_io->read(fd, p, len, offset);

        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }

            return -errno;
        }

        if (n == 0) {
            return -ENODATA;
        }

        p += n;
        offset += n;
        len -= (size_t)n;
    }

    return 0;
}

int
lb_io_sync(int fd)
{
    /* Never repeated, not even after EINTR: a sync that failed may have marked
     * the pages clean, and the next one would lie. */

    return lb_io->sync(fd) == 0 ? 0 : -errno;
}

int
lb_io_zero(int fd, off_t offset, uint64_t len)
{
    int rc = 0;
    size_t n, size = 1u << 20;
    uint8_t *zeros;

    zeros = calloc(1, size);
    if (zeros == NULL) {
        return -ENOMEM;
    }

    while (len > 0 && rc == 0) {
        n = len < size ? (size_t)len : size;
        rc = lb_io_write(fd, zeros, n, offset, 0);
        offset += (off_t)n;
        len -= n;
    }

    free(zeros);

    return rc;
}

int
lb_io_lock(int fd)
{
    struct flock fl;

    memset(&fl, 0, sizeof(fl));
    fl.l_type = F_WRLCK;
    fl.l_whence = SEEK_SET;

    if (fcntl(fd, F_OFD_SETLK, &fl) == 0) {
        return 0;
    }

    return errno == EACCES ? -EAGAIN : -errno;
}

int
lb_io_locked(int fd)
{
    struct flock fl;

    memset(&fl, 0, sizeof(fl));
    fl.l_type = F_WRLCK;
    fl.l_whence = SEEK_SET;

    return fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
}
