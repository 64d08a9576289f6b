#undef NDEBUG /* the checks are what this is for */

#include "disk_model.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/lb_io.h"

#define SECTOR 512u
#define PAGE_SECTORS 8u
#define FILES_MAX 64

typedef struct {
    char name[256];
    dev_t dev;
    ino_t ino;
    size_t size;
    uint8_t *base;    /* at dm_start */
    uint8_t *durable; /* at the present moment */
    uint8_t *touched; /* per sector: written to at some moment */
} file_t;

enum {
    WRITE,
    DURABLE_RANGE,
    DURABLE_FILE,
    MARK
};

typedef struct {
    int what;
    int file;
    uint64_t offset; /* mark: the value */
    size_t len;      /* mark: the kind */
    uint8_t *data;
} op_t;

static file_t files[FILES_MAX];
static int nfiles;
static op_t *ops;
static size_t nops, ops_cap;

static size_t now;      /* ops before it have happened */
static size_t *pending; /* writes that are not durable yet */
static size_t npending, pending_cap;

static int
file_of(int fd)
{
    int i;
    struct stat st;

    assert(fstat(fd, &st) == 0);

    for (i = 0; i < nfiles; i++) {
        if (files[i].dev == st.st_dev && files[i].ino == st.st_ino) {
            return i;
        }
    }

    return -1;
}

static void
record(int what, int file, uint64_t offset, size_t len, const void *data)
{
    op_t *op;

    if (nops == ops_cap) {
        ops_cap = ops_cap ? 2 * ops_cap : 1024;
        ops = realloc(ops, ops_cap * sizeof(*ops));
        assert(ops != NULL);
    }

    op = &ops[nops++];
    op->what = what;
    op->file = file;
    op->offset = offset;
    op->len = len;
    op->data = NULL;

    if (data != NULL) {
        op->data = malloc(len);
        assert(op->data != NULL);
        memcpy(op->data, data, len);
    }
}

static ssize_t
recorded_write(int fd, const void *buf, size_t len, off_t offset, int dsync)
{
    int file = file_of(fd);
    ssize_t n;

    if (file >= 0) {
        record(WRITE, file, (uint64_t)offset, len, buf);
    }

    n = lb_io_system.write(fd, buf, len, offset, 0);
    assert(n == (ssize_t)len);

    if (dsync && file >= 0) {
        record(DURABLE_RANGE, file, (uint64_t)offset, len, NULL);
    }

    return n;
}

static int
recorded_sync(int fd)
{
    int file = file_of(fd);

    if (file >= 0) {
        record(DURABLE_FILE, file, 0, 0, NULL);
    }

    return 0;
}

static const lb_io_calls_t *
recorder(void)
{
    static lb_io_calls_t calls;

    calls = lb_io_system;
    calls.write = recorded_write;
    calls.sync = recorded_sync;

    return &calls;
}

void
dm_start(const char *dir)
{
    DIR *d;
    int fd;
    file_t *f;
    ssize_t n;
    struct stat st;
    struct dirent *e;

    d = opendir(dir);
    assert(d != NULL);

    while ((e = readdir(d)) != NULL) {

        fd = openat(dirfd(d), e->d_name, O_RDONLY);
        assert(fd >= 0 && fstat(fd, &st) == 0);

        if (!S_ISREG(st.st_mode)) {
            close(fd);
            continue;
        }

        assert(nfiles < FILES_MAX);
        f = &files[nfiles++];
        (void)snprintf(f->name, sizeof(f->name), "%s", e->d_name);
        f->dev = st.st_dev;
        f->ino = st.st_ino;
        f->size = (size_t)st.st_size;
        f->base = malloc(f->size + 1);
        f->durable = malloc(f->size + 1);
        f->touched = calloc(1, f->size / SECTOR + 1);
        assert(f->base && f->durable && f->touched);
        n = pread(fd, f->base, f->size, 0);
        assert(n == (ssize_t)f->size);
        close(fd);
    }

    closedir(d);
    dm_rewind();
    lb_io = recorder();
}

void
dm_stop(void)
{
    lb_io = &lb_io_system;

    while (nfiles > 0) {
        nfiles--;
        free(files[nfiles].base);
        free(files[nfiles].durable);
        free(files[nfiles].touched);
    }

    while (nops > 0) {
        free(ops[--nops].data);
    }

    free(ops);
    ops = NULL;
    ops_cap = 0;
    free(pending);
    pending = NULL;
    npending = 0;
    pending_cap = 0;
}

void
dm_mark(int kind, uint64_t value)
{
    record(MARK, -1, value, (size_t)kind, NULL);
}

size_t
dm_moments(void)
{
    return nops + 1;
}

void
dm_rewind(void)
{
    int i;

    for (i = 0; i < nfiles; i++) {
        memcpy(files[i].durable, files[i].base, files[i].size);
    }

    now = 0;
    npending = 0;
}

static void
apply(uint8_t *image, const op_t *op, uint64_t from, uint64_t to)
{
    uint64_t a = op->offset > from ? op->offset : from;
    uint64_t b = op->offset + op->len < to ? op->offset + op->len : to;

    if (a < b) {
        memcpy(image + a, op->data + (a - op->offset), b - a);
    }
}

/* Sectors [from, to) of a file become durable in their present version. */
static void
settle(int file, uint64_t from, uint64_t to)
{
    size_t i, kept = 0;
    op_t *op;

    from = from / SECTOR * SECTOR;
    to = (to + SECTOR - 1) / SECTOR * SECTOR;

    for (i = 0; i < npending; i++) {
        op = &ops[pending[i]];

        if (op->file == file) {
            apply(files[file].durable, op, from, to);

            /* fully covered: nothing of it is in doubt any more; what is
             * only partly covered is applied again, which changes nothing */
            if (op->offset >= from && op->offset + op->len <= to) {
                continue;
            }
        }

        pending[kept++] = pending[i];
    }

    npending = kept;
}

void
dm_goto(size_t n, void (*seen)(void *arg, int kind, uint64_t value), void *arg)
{
    op_t *op;
    uint64_t s;

    for (; now < n; now++) {

        op = &ops[now];

        switch (op->what) {
        case WRITE:
            if (npending == pending_cap) {
                pending_cap = pending_cap ? 2 * pending_cap : 256;
                pending = realloc(pending, pending_cap * sizeof(*pending));
                assert(pending != NULL);
            }
            pending[npending++] = now;
            for (s = op->offset / SECTOR;
                 s <= (op->offset + op->len - 1) / SECTOR; s++) {
                files[op->file].touched[s] = 1;
            }
            break;
        case DURABLE_RANGE:
            settle(op->file, op->offset, op->offset + op->len);
            break;
        case DURABLE_FILE:
            settle(op->file, 0, UINT64_MAX / 2);
            break;
        default:
            seen(arg, (int)op->len, op->offset);
        }
    }
}

static uint32_t
roll(uint64_t *rng, uint32_t n)
{
    *rng ^= *rng << 13;
    *rng ^= *rng >> 7;
    *rng ^= *rng << 17;

    return (uint32_t)(*rng >> 33) % n;
}

void
dm_materialise(const char *dir, int mode, uint64_t *rng)
{
    int i, fd;
    char path[PATH_MAX];
    size_t s, j, versions = 0;
    ssize_t n;
    file_t *f;
    uint8_t *image;
    uint32_t page;

    for (i = 0; i < nfiles; i++) {
        f = &files[i];

        image = malloc(f->size + 1);
        assert(image != NULL);
        memcpy(image, f->durable, f->size);
        page = UINT32_MAX;

        for (s = 0; s * SECTOR < f->size; s++) {

            if (!f->touched[s]) {
                continue;
            }

            /* how many of the pending writes this sector has seen */
            switch (mode) {
            case DM_NONE:
                versions = 0;
                break;
            case DM_ALL:
                versions = npending;
                break;
            case DM_PAGES:
                if (page != s / PAGE_SECTORS) {
                    page = (uint32_t)(s / PAGE_SECTORS);
                    versions = roll(rng, (uint32_t)npending + 1);
                }
                break;
            default:
                versions = roll(rng, (uint32_t)npending + 1);
            }

            for (j = 0; j < versions; j++) {
                if (ops[pending[j]].file == i) {
                    apply(image, &ops[pending[j]], s * SECTOR,
                          (s + 1) * SECTOR);
                }
            }
        }

        j = (size_t)snprintf(path, sizeof(path), "%s/%s", dir, f->name);
        assert(j < sizeof(path));

        fd = open(path, O_WRONLY);
        assert(fd >= 0);
        n = pwrite(fd, image, f->size, 0);
        assert(n == (ssize_t)f->size);
        close(fd);
        free(image);
    }
}
