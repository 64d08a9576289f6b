/*
 * The spool directory and its identity; errors and other small things.
 *
 * Creation happens under flock(2) on the directory.  The checkpoint is put in
 * place before the identity file, so a crash in between leaves a directory
 * without identity and without rings, which the next creator starts over in.
 */

#include "lb_ring_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int
lb_fail(lb_error_t *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (err != NULL) {
        err->code = code;
        va_start(ap, fmt);
        (void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
    }

    return code;
}

const char *
lb_strerror(int code, char *buf, size_t size)
{
    switch (code) {
    case LB_ECORRUPT:
        return "damaged: a checksum or a field is wrong";
    case LB_EFOREIGN:
        return "not part of this spool, or of another format version";
    case LB_EFULL:
        return "the ring is full";
    case LB_EPOISONED:
        return "an earlier write or sync of the ring failed";
    case LB_ENOSLOT:
        return "no ring is free";
    case LB_ELOCKED:
        return "held by another process";
    case LB_ENETFS:
        return "on a network file system, whose locks cannot be relied on";
    case LB_ETOOBIG:
        return "larger than the whole ring";
    case LB_EEND:
        return "no further record";
    case LB_ELONG:
        return "it would take long to recover";
    case LB_EGONE:
        return "its file was deleted, replaced or cut short";
    case LB_ECOPY:
        return "a copy of a spool";
    default:
        return strerror_r(code < 0 ? -code : code, buf, size);
    }
}

void
lb_uuid_format(const uint8_t uuid[LB_UUID_LEN], char text[LB_UUID_TEXT])
{
    size_t i, n = 0;
    static const char hex[] = "0123456789abcdef";

    for (i = 0; i < LB_UUID_LEN; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            text[n++] = '-';
        }
        text[n++] = hex[uuid[i] >> 4];
        text[n++] = hex[uuid[i] & 15];
    }

    text[n] = '\0';
}

int
lb_uuid_parse(const char *text, uint8_t uuid[LB_UUID_LEN])
{
    size_t i, n = 0;
    int digit;

    for (i = 0; text[i] != '\0'; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-') {
                return -EINVAL;
            }
            continue;
        }

        if (text[i] >= '0' && text[i] <= '9') {
            digit = text[i] - '0';
        } else if (text[i] >= 'a' && text[i] <= 'f') {
            digit = text[i] - 'a' + 10;
        } else if (text[i] >= 'A' && text[i] <= 'F') {
            digit = text[i] - 'A' + 10;
        } else {
            return -EINVAL;
        }

        if (n == 2 * LB_UUID_LEN) {
            return -EINVAL;
        }

        uuid[n / 2] = (uint8_t)(n % 2 ? uuid[n / 2] | digit : digit << 4);
        n++;
    }

    return n == 2 * LB_UUID_LEN ? 0 : -EINVAL;
}

uint64_t
lb_now_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);

    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

int64_t
lb_mono_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);

    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int
lb_random(void *buf, size_t len)
{
    return getrandom(buf, len, 0) == (ssize_t)len ? 0 : -EIO;
}

void
lb_new_uuid(uint8_t uuid[LB_UUID_LEN])
{
    uint64_t t;

    if (lb_random(uuid, LB_UUID_LEN) != 0) {
        t = lb_now_us() ^ (uint64_t)getpid() << 44;
        memcpy(uuid, &t, 8);
        memcpy(uuid + 8, &t, 8);
    }

    /* version 4, variant 1 (RFC 9562) */
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

static int
identity_load(lb_spool_t *s, lb_error_t *err)
{
    int fd, rc;
    uint8_t buf[LB_PAGE];

    fd = openat(s->dirfd, "spool", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        rc = -errno;
        if (rc != -ENOENT) {
            lb_fail(err, rc, "cannot open \"%s/spool\": %s", s->path,
                    strerror(-rc));
        }
        return rc;
    }

    rc = lb_io_read(fd, buf, sizeof(buf), 0);
    if (rc == 0) {
        lb_tie_load(s, fd, buf);
    }
    close(fd);

    if (rc != 0) {
        return lb_fail(err, rc == -ENODATA ? LB_EFOREIGN : rc,
                       "cannot read \"%s/spool\": %s", s->path,
                       rc == -ENODATA ? "it is too short" : strerror(-rc));
    }

    if (memcmp(buf, LB_SPOOL_MAGIC, 8) != 0) {
        return lb_fail(err, LB_EFOREIGN,
                       "\"%s/spool\" is not a spool identity: choose another "
                       "directory",
                       s->path);
    }

    if (lb_get32(buf + 8) != LB_FORMAT_VERSION) {
        return lb_fail(err, LB_EFOREIGN,
                       "\"%s\" has spool format version %u, this program "
                       "knows version %u: use the %s release",
                       s->path, lb_get32(buf + 8), LB_FORMAT_VERSION,
                       lb_get32(buf + 8) > LB_FORMAT_VERSION ? "newer"
                                                             : "older");
    }

    if (lb_get32(buf + 12) != lb_crc32c(0, buf + 16, 48)) {
        return lb_fail(err, LB_ECORRUPT,
                       "\"%s/spool\" is damaged: its checksum is wrong",
                       s->path);
    }

    memcpy(s->uuid, buf + 16, LB_UUID_LEN);

    return 0;
}

/* Anything that looks like a spool although its identity is gone? */
static int
has_rings(lb_spool_t *s)
{
    DIR *dir;
    int fd, found = 0;
    struct dirent *e;

    fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (dir = fdopendir(fd)) == NULL) {
        return 0;
    }

    while ((e = readdir(dir)) != NULL) {
        if (strncmp(e->d_name, "ring-", 5) == 0) {
            found = 1;
        }
    }

    closedir(dir);

    return found;
}

int
lb_identity_create(lb_spool_t *s, lb_error_t *err)
{
    int fd, rc;
    uint8_t buf[LB_SPOOL_SIZE];

    if (has_rings(s)) {
        return lb_fail(err, LB_EFOREIGN,
                       "\"%s\" holds rings but no file \"spool\": restore it "
                       "or choose another directory",
                       s->path);
    }

    /* checkpoint and dead letters inherit it */
    lb_io_in_place(s->dirfd);

    lb_new_uuid(s->uuid);

    rc = lb_ckpt_create(s->dirfd, "checkpoint.new", s->uuid, err);
    if (rc != 0) {
        return rc;
    }

    memset(buf, 0, sizeof(buf));
    memcpy(buf, LB_SPOOL_MAGIC, 8);
    lb_put32(buf + 8, LB_FORMAT_VERSION);
    memcpy(buf + 16, s->uuid, LB_UUID_LEN);
    lb_put64(buf + 32, lb_now_us());
    lb_put32(buf + 12, lb_crc32c(0, buf + 16, 48));

    fd = openat(s->dirfd, "spool.new", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
                0660);
    if (fd < 0) {
        rc = -errno;
        goto failed;
    }

    (void)fchmod(fd, 0660);

    /* it keeps inode and time of birth when it gets its name */
    lb_tie_encode(s, fd, buf);

    rc = lb_io_write(fd, buf, sizeof(buf), 0, 0);
    if (rc == 0) {
        rc = lb_io_sync(fd);
    }
    close(fd);

    if (rc == 0 &&
        (lb_io->rename(s->dirfd, "checkpoint.new", "checkpoint", 1) != 0 ||
         lb_io->sync_dir(s->dirfd) != 0 ||
         lb_io->rename(s->dirfd, "spool.new", "spool", 1) != 0 ||
         lb_io->sync_dir(s->dirfd) != 0)) {
        rc = -errno;
    }

    if (rc == 0) {
        return 0;
    }

failed:

    return lb_fail(err, rc, "cannot create a spool in \"%s\": %s", s->path,
                   strerror(-rc));
}

/* Loads the identity, and creates it or makes a copy anew where that is
 * wanted; nobody else does at the same time. */
static int
settle(lb_spool_t *s, unsigned flags, lb_error_t *err)
{
    int rc;
    lb_left_t left;
    const char *why;

    rc = identity_load(s, err);

    if (rc == -ENOENT) {
        return flags & LB_SPOOL_CREATE ? lb_identity_create(s, err) : rc;
    }

    if (rc != 0 || s->tie.state != LB_TIE_ELSEWHERE) {
        return rc;
    }

    lb_spool_left(s, &left);

    if (!(flags & LB_SPOOL_CREATE) || lb_left_any(&left)) {
        return lb_tie_refuse(s, &left, err);
    }

    why = s->tie.why;
    rc = lb_tie_renew(s, err);

    if (rc == 0) {
        (void)snprintf(s->note, sizeof(s->note),
                       "spool \"%.120s\" was copied or moved here (%s) with "
                       "nothing left to deliver: it has a new identity",
                       s->path, why);
    }

    return rc;
}

int
lb_spool_open(const char *path, unsigned flags, lb_spool_t **spool,
              lb_error_t *err)
{
    int rc;
    char name[320];
    const char *fs;
    lb_spool_t *s;

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return lb_fail(err, -ENOMEM, "no memory for spool \"%s\"", path);
    }

    if (snprintf(s->path, sizeof(s->path), "%s", path) >=
        (int)sizeof(s->path)) {
        free(s);
        return lb_fail(err, -ENAMETOOLONG, "spool path is too long");
    }

    s->dirfd = -1;

    if ((flags & LB_SPOOL_CREATE) && mkdir(path, 0770) != 0 &&
        errno != EEXIST) {
        rc = lb_fail(err, -errno, "cannot create directory \"%s\": %s", path,
                     strerror(errno));
        goto failed;
    }

    s->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dirfd < 0) {
        rc = lb_fail(err, -errno, "cannot open spool \"%s\": %s", path,
                     strerror(errno));
        goto failed;
    }

    fs = lb_place_network(s->dirfd, name, sizeof(name));
    if (fs != NULL) {
        rc = lb_fail(err, LB_ENETFS,
                     "spool \"%s\" is on a network file system (%s): locks "
                     "there do not protect it, use a local disk",
                     path, fs);
        goto failed;
    }

    rc = identity_load(s, err);

    if ((rc == -ENOENT && (flags & LB_SPOOL_CREATE)) ||
        (rc == 0 && s->tie.state == LB_TIE_ELSEWHERE && flags != 0)) {

        while ((rc = flock(s->dirfd, LOCK_EX)) != 0 && errno == EINTR) {
            /* void */
        }

        /* somebody may have been faster */
        rc = rc == 0 ? settle(s, flags, err)
                     : lb_fail(err, -errno, "cannot lock spool \"%s\": %s",
                               path, strerror(errno));

        (void)flock(s->dirfd, LOCK_UN);

    } else if (rc == -ENOENT) {
        lb_fail(err, rc, "\"%s\" is not a spool: it has no file \"spool\"",
                path);
    }

    if (rc == 0) {
        /* A spool that cannot be tied, for want of rights perhaps, is served
         * as it is; stat says that it is not tied. */
        if (flags != 0) {
            (void)lb_tie_update(s, 0);
        }

        *spool = s;
        return 0;
    }

failed:

    lb_spool_close(s);

    return rc;
}

const char *
lb_spool_note(const lb_spool_t *s)
{
    return s->note[0] != '\0' ? s->note : NULL;
}

void
lb_spool_close(lb_spool_t *spool)
{
    if (spool != NULL) {
        if (spool->dirfd >= 0) {
            close(spool->dirfd);
        }
        free(spool);
    }
}

int
lb_spool_stale(const lb_spool_t *spool)
{
    int fd, renewed;
    uint8_t buf[16 + LB_UUID_LEN];
    struct stat a, b;

    if (fstat(spool->dirfd, &a) != 0 || stat(spool->path, &b) != 0 ||
        a.st_dev != b.st_dev || a.st_ino != b.st_ino) {
        return 1;
    }

    /* made anew in its place */
    fd = openat(spool->dirfd, "spool", O_RDONLY | O_CLOEXEC);
    renewed = fd >= 0 && lb_io_read(fd, buf, sizeof(buf), 0) == 0 &&
              memcmp(buf + 16, spool->uuid, LB_UUID_LEN) != 0;
    if (fd >= 0) {
        close(fd);
    }

    return renewed;
}

const char *
lb_spool_path(const lb_spool_t *spool)
{
    return spool->path;
}

const uint8_t *
lb_spool_uuid(const lb_spool_t *spool)
{
    return spool->uuid;
}
