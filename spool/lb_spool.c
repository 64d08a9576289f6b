/*
 * The spool directory and its identity.
 *
 * Creation happens under flock(2) on the directory.  The checkpoint is put in
 * place before the identity file, so a crash in between leaves a directory
 * without identity and without rings, which the next creator starts over in.
 */

#include "lb_ring_private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

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

    lb_uuid_new(s->uuid);

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
