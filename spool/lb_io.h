/*
 * System calls of the spool, in one place, behind a table that tests replace
 * to fail the Nth call, to record what was written and synced, or to tear it.
 */

#ifndef _LB_IO_H_INCLUDED_
#define _LB_IO_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct {
    /* dsync: the bytes are on stable storage when the call returns */
    ssize_t (*write)(int fd, const void *buf, size_t len, off_t offset,
                     int dsync);
    ssize_t (*read)(int fd, void *buf, size_t len, off_t offset);
    int (*sync)(int fd); /* data, and what is needed to find it */
    int (*preallocate)(int fd, off_t len);
    int (*rename)(int dirfd, const char *from, const char *to, int replace);
    int (*sync_dir)(int dirfd);
    void (*drop_cache)(int fd, off_t offset, off_t len);
} lb_io_calls_t;

extern const lb_io_calls_t lb_io_system;

/* What all spool code calls.  Tests set it before any thread runs. */
extern const lb_io_calls_t *lb_io;

/* All of len or an error: 0 or -errno.  A file that takes no more bytes
 * without an error counts as -ENOSPC. */
int lb_io_write(int fd, const void *buf, size_t len, off_t offset, int dsync);

/* All of len: 0; -ENODATA if the file ends before; -errno. */
int lb_io_read(int fd, void *buf, size_t len, off_t offset);

int lb_io_sync(int fd);

/* Zeros from offset on: 0 or -errno. */
int lb_io_zero(int fd, off_t offset, uint64_t len);

/* Copy-on-write file systems (btrfs) write each block to a new place, which a
 * full disk does not have, preallocated or not: asks for writes in place, for
 * an empty file or all that a directory will hold. */
void lb_io_in_place(int fd);

/* NULL if preallocated bytes of the file can be written when the disk is full;
 * else, in words, why that is not certain. */
const char *lb_io_space(int fd);

/* Locks, never waiting.  0; -EAGAIN if another description holds it. */
int lb_io_lock(int fd);

/* 1 if another description holds the lock, else 0. */
int lb_io_locked(int fd);

#endif /* _LB_IO_H_INCLUDED_ */
