/*
 * Preloaded into nginx by tests: makes writes and syncs of ring files slow or
 * fail, and reads of request bodies slow.  In $LB_FAULT_DIR the files delay
 * (both), sync_delay (fdatasync alone) and read_delay hold milliseconds, fail
 * holds an errno; without these files nothing is changed.
 */

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

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

/* 0, or -1 with errno set */
static int
fault(int fd, const char *delay)
{
    int err;

    if (!is(fd, "/ring-", ".new")) {
        return 0;
    }

    wait_ms(setting("delay"));

    if (delay != NULL) {
        wait_ms(setting(delay));
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

    return fault(fd, NULL) ? -1 : next(fd, buf, len, offset);
}

ssize_t
pwrite64(int fd, const void *buf, size_t len, off_t offset)
{
    return pwrite(fd, buf, len, offset);
}

ssize_t
pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    static ssize_t (*next)(int, const struct iovec *, int, off_t, int);

    if (next == NULL) {
        next = dlsym(RTLD_NEXT, "pwritev2");
    }

    return fault(fd, NULL) ? -1 : next(fd, iov, n, offset, flags);
}

ssize_t
pwritev64v2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
    return pwritev2(fd, iov, n, offset, flags);
}

int
fdatasync(int fd)
{
    static int (*next)(int);

    if (next == NULL) {
        next = dlsym(RTLD_NEXT, "fdatasync");
    }

    return fault(fd, "sync_delay") ? -1 : next(fd);
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
