/*
 * Preloaded into nginx by tests: makes writes and syncs of ring files slow or
 * fail, and reads of request bodies slow.  In $LB_FAULT_DIR the files delay
 * (both), sync_delay (fdatasync alone), large_delay (unsynced writes of 1 MB,
 * as zeros are) and read_delay hold milliseconds, fail holds an errno; without
 * these files nothing is changed.  What is made slow by sync_delay or
 * large_delay writes the file syncing first.  Commit cells are spared,
 * so that a ring can say that it was poisoned, but for fail_cells, an errno too.
 * fail_open and fail_list, errnos as well: rings cannot be opened for reading
 * alone, and the spool cannot be listed.
 * While the file hold_sync holds 1 no fdatasync comes back; syncing says that
 * one has begun.
 * While the file hang holds 1 writes and syncs do not come back; the file
 * hanging then says so.  hang_large: only writes of more than 1 MB.  The file clock holds seconds by which the wall clock
 * is wrong.
 *
 * Also into the flusher: the file point holds "NAME N SIGNAL".  The process
 * that comes to the point NAME (a part of it is enough) for the Nth time
 * removes the file, writes its pid into the file reached and sends itself the
 * signal.  Points are {ring,checkpoint,dead}.{write,sync}.{before,after} and
 * net.{send,recv}.{before,after}.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define RING_DATA 16384
#define LARGE (1 << 20)

static int
setting(const char *name)
{
    int value = 0;
    FILE *f;
    char path[512];
    const char *dir = getenv("LB_FAULT_DIR");

    if (dir == NULL) {
        return 0;
    }

    snprintf(path, sizeof(path), "%s/%s", dir, name);

    f = fopen(path, "re");
    if (f == NULL) {
        return 0;
    }

    if (fscanf(f, "%d", &value) != 1) {
        value = 0;
    }

    fclose(f);

    return value;
}

static void
wait_ms(int ms)
{
    struct timespec ts;

    ts.tv_sec = ms / 1000;
    ts.tv_nsec = ms % 1000 * 1000000L;
    nanosleep(&ts, NULL);
}

static int
is(int fd, const char *part, const char *without)
{
    ssize_t n;
    char link[64], path[512];

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);

    n = readlink(link, path, sizeof(path) - 1);
    if (n < 0) {
        return 0;
    }

    path[n] = '\0';

    return strstr(path, part) != NULL && strstr(path, without) == NULL;
}

/* A file for the test to see, with our pid in it. */
static void
mark(const char *name)
{
    FILE *f;
    char path[512], temp[540];

    snprintf(path, sizeof(path), "%s/%s", getenv("LB_FAULT_DIR"), name);
    snprintf(temp, sizeof(temp), "%s.new", path);
    f = fopen(temp, "we");
    if (f != NULL) {
        fprintf(f, "%d\n", (int)getpid());
        fclose(f);
        rename(temp, path);
    }
}

static void
point(const char *name)
{
    int n, sig, fields;
    FILE *f;
    char path[512], wanted[64];
    const char *dir = getenv("LB_FAULT_DIR");

    static int seen;

    if (dir == NULL) {
        return;
    }

    snprintf(path, sizeof(path), "%s/point", dir);
    f = fopen(path, "re");
    if (f == NULL) {
        return;
    }
    fields = fscanf(f, "%63s %d %d", wanted, &n, &sig);
    fclose(f);

    if (fields != 3 || strstr(name, wanted) == NULL || ++seen < n) {
        return;
    }

    /* one process only */
    if (unlink(path) != 0) {
        return;
    }
    seen = 0;

    mark("reached");
    kill(getpid(), sig);
}

static void
file_point(int fd, const char *call, const char *when)
{
    int saved = errno;
    size_t i;
    char name[64];

    static const char *const files[] = {"ring", "checkpoint", "dead"};
    static const char *const paths[] = {"/ring-", "/checkpoint", "/dead"};

    for (i = 0; i < 3; i++) {
        if (is(fd, paths[i], ".new")) {
            snprintf(name, sizeof(name), "%s.%s.%s", files[i], call, when);
            point(name);
        }
    }

    errno = saved;
}

/* 0, or -1 with errno set; offset is -1 for a sync */
static int
fault(int fd, off_t offset, const char *delay)
{
    int ms, err;

    if (!is(fd, "/ring-", ".new")) {
        return 0;
    }

    if (offset >= 0 && offset < RING_DATA) {
        err = setting("fail_cells");
        if (err != 0) {
            errno = err;
            return -1;
        }

        return 0;
    }

    wait_ms(setting("delay"));

    while (setting("hang")) {
        mark("hanging");
        wait_ms(20);
    }

    while (offset < 0 && setting("hold_sync")) {
        mark("syncing");
        wait_ms(20);
    }

    ms = delay != NULL ? setting(delay) : 0;
    if (ms > 0) {
        mark("syncing");
        wait_ms(ms);
    }

    err = setting("fail");
    if (err != 0) {
        errno = err;
        return -1;
    }

    return 0;
}

ssize_t
pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    static ssize_t (*next)(int, const void *, size_t, off_t);

    if (next == NULL) {
        next = dlsym(RTLD_NEXT, "pwrite");
    }

    ssize_t rc;

    file_point(fd, "write", "before");
    rc = fault(fd, offset, len == LARGE ? "large_delay" : NULL)
             ? -1
             : next(fd, buf, len, offset);
    file_point(fd, "write", "after");

    return rc;
}

ssize_t
pwrite64(int fd, const void *buf, size_t len, off_t offset)
{
    return pwrite(fd, buf, len, offset);
}

static void
hang_large(int fd, const struct iovec *iov, int n)
{
    int i;
    size_t len = 0;

    for (i = 0; i < n; i++) {
        len += iov[i].iov_len;
    }

    while (len > LARGE && is(fd, "/ring-", ".new") && setting("hang_large")) {
        mark("hanging");
        wait_ms(20);
    }
}

ssize_t
pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    static ssize_t (*next)(int, const struct iovec *, int, off_t, int);

    if (next == NULL) {
        next = dlsym(RTLD_NEXT, "pwritev2");
    }

    ssize_t rc;

    hang_large(fd, iov, n);
    file_point(fd, "write", "before");
    rc = fault(fd, offset, NULL) ? -1 : next(fd, iov, n, offset, flags);
    file_point(fd, "write", "after");

    return rc;
}

ssize_t
pwritev64v2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    return pwritev2(fd, iov, n, offset, flags);
}

int
openat(int fd, const char *path, int flags, ...)
{
    static int (*next)(int, const char *, int, mode_t);
    int err = 0;
    mode_t mode = 0;
    va_list args;

    if (next == NULL) {
        next = dlsym(RTLD_NEXT, "openat");
    }

    if (flags & (O_CREAT | O_TMPFILE)) {
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }

    if (strncmp(path, "ring-", 5) == 0 && (flags & O_ACCMODE) == O_RDONLY) {
        err = setting("fail_open");
    } else if (strcmp(path, ".") == 0) {
        err = setting("fail_list");
    }

    if (err != 0) {
        errno = err;
        return -1;
    }

    return next(fd, path, flags, mode);
}

int
openat64(int fd, const char *path, int flags, ...)
{
    mode_t mode = 0;
    va_list args;

    if (flags & (O_CREAT | O_TMPFILE)) {
        va_start(args, flags);
        mode = va_arg(args, mode_t);
        va_end(args);
    }

    return openat(fd, path, flags, mode);
}

/* what a fortified program calls where no mode is given */
int __openat_2(int fd, const char *path, int flags);
int __openat64_2(int fd, const char *path, int flags);

int
__openat_2(int fd, const char *path, int flags)
{
    return openat(fd, path, flags);
}

int
__openat64_2(int fd, const char *path, int flags)
{
    return openat(fd, path, flags);
}

int
fdatasync(int fd)
{
    static int (*next)(int);

    if (next == NULL) {
        next = dlsym(RTLD_NEXT, "fdatasync");
    }

    int rc;

    file_point(fd, "sync", "before");
    rc = fault(fd, -1, "sync_delay") ? -1 : next(fd);
    file_point(fd, "sync", "after");

    return rc;
}

int
clock_gettime(clockid_t clock, struct timespec *ts)
{
    static int (*next)(clockid_t, struct timespec *);
    int rc;

    if (next == NULL) {
        next = dlsym(RTLD_NEXT, "clock_gettime");
    }

    rc = next(clock, ts);

    if (clock == CLOCK_REALTIME) {
        ts->tv_sec += setting("clock");
    }

    return rc;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;

    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;

    return 0;
}

ssize_t
send(int fd, const void *buf, size_t len, int flags)
{
    static ssize_t (*next)(int, const void *, size_t, int);
    ssize_t rc;
    int saved;

    if (next == NULL) {
        next = dlsym(RTLD_NEXT, "send");
    }

    point("net.send.before");
    rc = next(fd, buf, len, flags);
    saved = errno;
    point("net.send.after");
    errno = saved;

    return rc;
}

ssize_t
recv(int fd, void *buf, size_t len, int flags)
{
    static ssize_t (*next)(int, void *, size_t, int);
    ssize_t rc;
    int saved;

    if (next == NULL) {
        next = dlsym(RTLD_NEXT, "recv");
    }

    point("net.recv.before");
    rc = next(fd, buf, len, flags);
    saved = errno;
    point("net.recv.after");
    errno = saved;

    return rc;
}

ssize_t
pread(int fd, void *buf, size_t len, off_t offset)
{
    static ssize_t (*next)(int, void *, size_t, off_t);

    if (next == NULL) {
        next = dlsym(RTLD_NEXT, "pread");
    }

    if (is(fd, "/body/", "/ring-")) {
        wait_ms(setting("read_delay"));
    }

    return next(fd, buf, len, offset);
}

ssize_t
pread64(int fd, void *buf, size_t len, off_t offset)
{
    return pread(fd, buf, len, offset);
}
