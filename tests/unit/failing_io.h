/*
 * The system calls of the spool, of which the nth fails.
 */

#ifndef _FAILING_IO_H_INCLUDED_
#define _FAILING_IO_H_INCLUDED_

#include <errno.h>

#include "spool/lb_io.h"

/* The nth write or sync from now on fails, or all from then on. */
static int fail_in, fail_forever, failed;

static inline int
must_fail(void)
{
    if (fail_in > 0 && --fail_in == 0) {
        if (fail_forever) {
            fail_in = 1;
        }
        failed = 1;
        errno = EIO;
        return 1;
    }

    return 0;
}

static inline ssize_t
failing_write(int fd, const void *buf, size_t len, off_t offset, int dsync)
{
    /* half of the bytes may have made it */
    if (must_fail()) {
        (void)lb_io_system.write(fd, buf, len / 2, offset, 0);
        errno = EIO;
        return -1;
    }

    return lb_io_system.write(fd, buf, len, offset, dsync);
}

static inline int
failing_sync(int fd)
{
    return must_fail() ? -1 : lb_io_system.sync(fd);
}

static inline int
failing_sync_dir(int fd)
{
    return must_fail() ? -1 : lb_io_system.sync_dir(fd);
}

static inline int
failing_preallocate(int fd, off_t len)
{
    if (must_fail()) {
        errno = ENOSPC;
        return -1;
    }

    return lb_io_system.preallocate(fd, len);
}

static inline int
failing_rename(int dirfd, const char *from, const char *to, int replace)
{
    return must_fail() ? -1 : lb_io_system.rename(dirfd, from, to, replace);
}

static inline void
failing_io(lb_io_calls_t *calls)
{
    *calls = lb_io_system;
    calls->write = failing_write;
    calls->sync = failing_sync;
    calls->sync_dir = failing_sync_dir;
    calls->preallocate = failing_preallocate;
    calls->rename = failing_rename;
    lb_io = calls;
}

#endif /* _FAILING_IO_H_INCLUDED_ */
