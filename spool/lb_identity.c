/*
 * The identity of a spool: load, create.
 *
 * Creation happens under flock(2) on the directory.  The checkpoint is put in
 * place before the identity file, so a crash in between leaves a directory
 * without identity and without rings, which the next creator starts over in.
 */

#include "lb_identity.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb_bytes.h"
#include "lb_checkpoint.h"
#include "lb_clock.h"
#include "lb_crc32c.h"
#include "lb_io.h"
#include "lb_spool_private.h"
#include "lb_uuid.h"

int
lb_identity_load(lb_spool_t *s, lb_error_t *err)
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
        lb_tie_load(&s->tie, fd, buf);
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
    lb_tie_encode(&s->tie, s->path, fd, buf);

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
