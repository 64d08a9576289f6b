/*
 * Preloaded into the ClickHouse server: something happens at a named point of
 * an INSERT.  $LB_CHFAULT_DIR/point holds "NAME N ACTION TIMES TABLE":
 *
 *   NAME    one of the points below, a part of it is enough: "insert" is all
 *   N       the first matching call it happens at
 *   ACTION  kill or stop (SIGKILL, SIGSTOP to the server), an errno (the call
 *           fails, only at points before), or wait:MS (this thread alone)
 *   TIMES   how many calls in a row, 0: until the file is gone
 *   TABLE   the table's UUID, a part of the path of its files
 *
 * The points, in the order an INSERT of one part comes to them, each with
 * .before and .after:
 *
 *   insert.write    a write to a file of the part under its temporary name
 *   insert.sync     its syncs, of files and of the folder
 *   insert.log      the token is written to the deduplication log
 *   insert.rename   the part gets its name: from here on it has rows
 *   insert.dirsync  the folder under the new name is synced
 *   insert.answer   the answer to the first request that is answered then
 *
 * When it happens the file reached is written, with "PID NAME" in it, and
 * before that the file point removed if TIMES is over.  Without the file
 * nothing is changed.  The file trace, if there is one, gets a line "NAME PATH"
 * for each point passed.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    char name[64];
    int first;
    char action[32];
    int times;
    char table[64];
    struct stat file;
} spec_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ino_t known; /* the file the calls are counted for */
static struct timespec since;
static int seen;
static atomic_int renamed; /* a part got its name, its answer has not begun */

static int
path_in(const char *name, char *path, size_t size)
{
    const char *dir = getenv("LB_CHFAULT_DIR");

    if (dir == NULL) {
        return -1;
    }

    snprintf(path, size, "%s/%s", dir, name);

    return 0;
}

static int
spec(spec_t *s)
{
    int fields;
    FILE *f;
    char path[512];

    if (path_in("point", path, sizeof(path)) != 0) {
        return -1;
    }

    f = fopen(path, "re");
    if (f == NULL) {
        return -1;
    }

    fields = fscanf(f, "%63s %d %31s %d %63s", s->name, &s->first, s->action,
                    &s->times, s->table);
    fstat(fileno(f), &s->file);
    fclose(f);

    return fields == 5 ? 0 : -1;
}

static void
note(const char *file, const char *mode, const char *format, const char *name,
     const char *detail)
{
    FILE *f;
    char path[512], temp[540];

    if (path_in(file, path, sizeof(path)) != 0) {
        return;
    }

    snprintf(temp, sizeof(temp), "%s%s", path, mode[0] == 'w' ? ".new" : "");
    f = fopen(temp, mode);
    if (f != NULL) {
        fprintf(f, format, (int)getpid(), name, detail);
        fclose(f);
        if (mode[0] == 'w') {
            rename(temp, path);
        }
    }
}

static int
number(const char *action)
{
    size_t i;

    static const struct {
        const char *name;
        int value;
    } errors[] = {{"ENOSPC", ENOSPC}, {"EIO", EIO}, {"EDQUOT", EDQUOT}};

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (strcmp(action, errors[i].name) == 0) {
            return errors[i].value;
        }
    }

    return 0;
}

/* 0, or the errno to fail with */
static int
point(const char *call, const char *when, const char *path)
{
    int saved = errno, error = 0, happens, ms = 0;
    char name[64], file[512];
    spec_t s;
    struct timespec ts;

    snprintf(name, sizeof(name), "insert.%s.%s", call, when);

    if (path_in("trace", file, sizeof(file)) == 0 && access(file, F_OK) == 0) {
        note("trace", "ae", "%d %s %s\n", name, path);
    }

    if (spec(&s) != 0 || (path[0] == '/' && strstr(path, s.table) == NULL)) {
        errno = saved;
        return 0;
    }

    if (strcmp(call, "rename") == 0) {
        atomic_store(&renamed, 1);
    }

    if (strstr(name, s.name) == NULL) {
        errno = saved;
        return 0;
    }

    pthread_mutex_lock(&lock);

    if (s.file.st_ino != known ||
        memcmp(&s.file.st_mtim, &since, sizeof(since)) != 0) {
        known = s.file.st_ino;
        since = s.file.st_mtim;
        seen = 0;
    }

    seen++;
    happens = seen >= s.first && (s.times == 0 || seen < s.first + s.times) &&
              (number(s.action) == 0 || strcmp(when, "before") == 0);

    if (happens) {
        if (s.times != 0 && seen == s.first + s.times - 1 &&
            path_in("point", file, sizeof(file)) == 0) {
            unlink(file);
        }
        note("reached", "we", "%d %s\n", name, "");
        if (strcmp(s.action, "kill") == 0) {
            kill(getpid(), SIGKILL);
        } else if (strcmp(s.action, "stop") == 0) {
            kill(getpid(), SIGSTOP);
        } else if (strncmp(s.action, "wait:", 5) == 0) {
            ms = atoi(s.action + 5);
        } else {
            error = number(s.action);
        }
    }

    pthread_mutex_unlock(&lock);

    if (ms > 0) {
        ts.tv_sec = ms / 1000;
        ts.tv_nsec = ms % 1000 * 1000000L;
        nanosleep(&ts, NULL);
    }

    errno = saved;

    return error;
}

static int
armed(void)
{
    char path[512];

    return (path_in("point", path, sizeof(path)) == 0 &&
            access(path, F_OK) == 0) ||
           (path_in("trace", path, sizeof(path)) == 0 &&
            access(path, F_OK) == 0);
}

/* The path behind a descriptor, if anybody wants to know. */
static int
path_of(int fd, char *path, size_t size)
{
    int saved = errno;
    ssize_t n = -1;
    char link[64];

    if (armed()) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, size - 1);
    }

    errno = saved;
    path[n > 0 ? n : 0] = '\0';

    return n > 0;
}

/* What a call on a file is, by the file's place; NULL: none of ours. */
static const char *
file_call(const char *path, const char *call)
{
    const char *p = strstr(path, "/store/"), *name;

    if (p == NULL) {
        return NULL;
    }
    if (strstr(p, "/deduplication_log_") != NULL) {
        return strcmp(call, "write") == 0 ? "log" : NULL;
    }
    if (strstr(p, "/tmp_insert_") != NULL) {
        return call;
    }

    /* "20261126_1_1_0" */
    name = strrchr(p, '/') + 1;

    return strcmp(call, "sync") == 0 && name[0] == '2' && name[1] == '0' &&
                   strchr(name, '_') != NULL
               ? "dirsync"
               : NULL;
}

#define NEXT(name)                                                             \
    static __typeof__(name) *next;                                             \
    if (next == NULL) {                                                        \
        *(void **)&next = dlsym(RTLD_NEXT, #name);                             \
    }

/* A call between its two points. */
#define AROUND(type, what, path, call)                                         \
    do {                                                                       \
        type rc_;                                                              \
        int error_ = (what) != NULL ? point(what, "before", path) : 0;         \
        if (error_ != 0) {                                                     \
            errno = error_;                                                    \
            return -1;                                                         \
        }                                                                      \
        rc_ = (call);                                                          \
        if ((what) != NULL) {                                                  \
            (void)point(what, "after", path);                                  \
        }                                                                      \
        return rc_;                                                            \
    } while (0)

ssize_t
write(int fd, const void *buf, size_t len)
{
    const char *what = NULL;
    char path[1024];

    NEXT(write)

    if (path_of(fd, path, sizeof(path))) {
        what = file_call(path, "write");
    }

    AROUND(ssize_t, what, path, next(fd, buf, len));
}

int
fsync(int fd)
{
    const char *what = NULL;
    char path[1024];

    NEXT(fsync)

    if (path_of(fd, path, sizeof(path))) {
        what = file_call(path, "sync");
    }

    AROUND(int, what, path, next(fd));
}

int
fdatasync(int fd)
{
    const char *what = NULL;
    char path[1024];

    NEXT(fdatasync)

    if (path_of(fd, path, sizeof(path))) {
        what = file_call(path, "sync");
    }

    AROUND(int, what, path, next(fd));
}

int
rename(const char *from, const char *to)
{
    const char *what;

    NEXT(rename)

    what =
        strstr(from, "/store/") != NULL && strstr(from, "/tmp_insert_") != NULL
            ? "rename"
            : NULL;

    AROUND(int, what, from, next(from, to));
}

ssize_t
send(int fd, const void *buf, size_t len, int flags)
{
    const char *what = NULL;

    NEXT(send)

    if (atomic_load(&renamed) && len > 6 && memcmp(buf, "HTTP/1", 6) == 0 &&
        atomic_exchange(&renamed, 0)) {
        what = "answer";
    }

    AROUND(ssize_t, what, "the answer", next(fd, buf, len, flags));
}
