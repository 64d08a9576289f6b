/*
 * The only file of the spool that writes, syncs, renames or locks files (the
 * directory is locked by flock(2) in lb_open.c, lb_tie.c and lb_renew.c).
 */

#include "lb_io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/vfs.h>
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

/* From linux/magic.h and the file systems' own sources. */
#define BTRFS 0x9123683eu

void
lb_io_in_place(int fd)
{
    int flags;
    struct statfs st;

    if (fstatfs(fd, &st) == 0 && (uint32_t)st.f_type == BTRFS &&
        ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && !(flags & FS_NOCOW_FL)) {
        flags |= FS_NOCOW_FL;
        (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
}

const char *
lb_io_space(int fd)
{
    int flags;
    size_t i;
    uint32_t type;
    struct statfs st;
    static const struct {
        uint32_t magic;
        const char *words;
    } known[] = {
        {0xef53, NULL},     /* ext4 */
        {0x58465342, NULL}, /* XFS */
        {BTRFS, "it is on btrfs and was made without NOCOW (chattr +C)"},
        {0x2fc12fc1, "it is on ZFS, which writes each block to a new place"},
        {0xca451a4e, "it is on bcachefs, which writes to new places"},
        {0xf2f52010, "it is on F2FS, which writes to new places"},
        {0x01021994, "it is on tmpfs, in memory: a restart of the machine "
                     "loses it"},
        {0x858458f6, "it is on ramfs, in memory: a restart of the machine "
                     "loses it"},
        {0x794c7630, "it is on overlayfs, a container's own file system, and "
                     "goes with the container: mount a volume"},
        {0x65735546, "it is on FUSE, whose locks and syncs are those of the "
                     "program behind it"},
    };

    if (fstatfs(fd, &st) != 0) {
        return NULL;
    }

    type = (uint32_t)st.f_type;

    if (type == BTRFS && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 &&
        (flags & FS_NOCOW_FL)) {
        return NULL;
    }

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (type == known[i].magic) {
            return known[i].words;
        }
    }

    return "its file system is none of ext4, XFS and btrfs";
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
