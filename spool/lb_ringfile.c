/*
 * Ring files: create, open, check.
 *
 * A ring comes into being under the name ring-NNNN.new, complete and synced,
 * and gets its name by a rename that never replaces: a crash at any point
 * leaves either nothing, or a .new file that the next creator starts over, or
 * the complete ring.
 */

#include "lb_ringfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb_bytes.h"
#include "lb_cell.h"
#include "lb_clock.h"
#include "lb_crc32c.h"
#include "lb_io.h"
#include "lb_record.h"
#include "lb_spool_private.h"
#include "lb_uuid.h"

uint64_t lb_fill_slice = 8u << 20;

void
lb_ring_name(uint32_t slot, char name[LB_RING_NAME])
{
    (void)snprintf(name, LB_RING_NAME, "ring-%04u", slot % 10000);
}

int
lb_ring_same(lb_spool_t *spool, uint32_t slot, int fd)
{
    char name[LB_RING_NAME];
    struct stat a, b;

    lb_ring_name(slot, name);

    return fstat(fd, &a) == 0 && fstatat(spool->dirfd, name, &b, 0) == 0 &&
           a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int
identity_check(lb_spool_t *spool, const char *name, int fd, uint32_t slot,
               lb_ring_id_t *id, lb_error_t *err)
{
    int rc;
    uint8_t buf[96];
    struct stat st;

    rc = lb_io_read(fd, buf, sizeof(buf), LB_RING_IDENTITY);

    if (rc != 0 && rc != -ENODATA) {
        return lb_fail(err, rc, "cannot read \"%s/%s\": %s", spool->path, name,
                       strerror(-rc));
    }

    if (rc != 0 || memcmp(buf, LB_RING_MAGIC, 8) != 0) {
        return lb_fail(err, LB_EFOREIGN, "\"%s/%s\" is not a ring", spool->path,
                       name);
    }

    if (lb_get32(buf + 8) < LB_FORMAT_VERSION ||
        lb_get32(buf + 8) > LB_RING_VERSION_CONTEXTS) {
        return lb_fail(err, LB_EFOREIGN,
                       "ring \"%s/%s\" has format version %u, this program "
                       "knows versions %u to %u: use the %s release",
                       spool->path, name, lb_get32(buf + 8), LB_FORMAT_VERSION,
                       LB_RING_VERSION_CONTEXTS,
                       lb_get32(buf + 8) > LB_RING_VERSION_CONTEXTS ? "newer"
                                                                    : "older");
    }

    if (lb_get32(buf + 12) != lb_crc32c(0, buf + 16, 80)) {
        return lb_fail(err, LB_ECORRUPT,
                       "the identity of ring \"%s/%s\" is damaged: its "
                       "checksum is wrong",
                       spool->path, name);
    }

    if (memcmp(buf + 16, spool->uuid, LB_UUID_LEN) != 0) {
        return lb_fail(err, LB_EFOREIGN,
                       "ring \"%s/%s\" belongs to another spool: move it back "
                       "to where it came from",
                       spool->path, name);
    }

    memcpy(id->uuid, buf + 32, LB_UUID_LEN);
    id->capacity = lb_get64(buf + 48);
    id->created_us = lb_get64(buf + 64);
    id->slot = lb_get32(buf + 72);

    if (id->slot != slot || id->capacity < LB_RECORD_HEADER_MAX ||
        id->capacity % 8 != 0 || lb_get64(buf + 56) != LB_RING_DATA) {
        return lb_fail(err, LB_EFOREIGN,
                       "ring \"%s/%s\" was made for slot %u: give it back its "
                       "name",
                       spool->path, name, id->slot);
    }

    /* no sum that may be too large: the capacity may be any number here */
    if (fstat(fd, &st) != 0 || st.st_size < (off_t)LB_RING_DATA ||
        (uint64_t)st.st_size - LB_RING_DATA < id->capacity) {
        return lb_fail(err, LB_ECORRUPT, "ring \"%s/%s\" is cut short",
                       spool->path, name);
    }

    return 0;
}

int
lb_ring_open(lb_spool_t *spool, uint32_t slot, int flags, int *fd,
             lb_ring_id_t *id, lb_error_t *err)
{
    int rc;
    char name[LB_RING_NAME];

    lb_ring_name(slot, name);

    *fd = openat(spool->dirfd, name, flags | O_CLOEXEC);
    if (*fd < 0) {
        rc = -errno;
        return lb_fail(err, rc, "cannot open ring \"%s/%s\": %s", spool->path,
                       name, strerror(-rc));
    }

    rc = identity_check(spool, name, *fd, slot, id, err);
    if (rc != 0) {
        close(*fd);
        *fd = -1;
    }

    return rc;
}

/* Four bytes of one sector, of which one changes: there is nothing between the
 * versions.  The checksum begins behind them. */
int
lb_ring_raise(int fd)
{
    uint8_t version[4];

    lb_put32(version, LB_RING_VERSION_CONTEXTS);

    return lb_io_write(fd, version, sizeof(version), LB_RING_IDENTITY + 8, 1);
}

int
lb_ring_zero(int fd, uint64_t capacity, uint64_t from, uint64_t to)
{
    int rc = 0;
    uint64_t offset, n;

    for (; from < to && rc == 0; from += n) {
        offset = from % capacity;
        n = to - from < capacity - offset ? to - from : capacity - offset;
        rc = lb_io_zero(fd, (off_t)(LB_RING_DATA + offset), n);
    }

    return rc;
}

/* Only what is synced at the end counts, so the order inside does not matter. */
int
lb_ring_make(lb_spool_t *spool, int fd, uint32_t slot, uint64_t capacity,
             const lb_ring_id_t *old, uint8_t *pages)
{
    int i, rc;
    lb_ack_t ack;
    lb_cell_t cell;
    uint8_t buf[96], uuid[LB_UUID_LEN], raw[LB_CELL_SIZE], zeros[LB_PAGE];
    uint64_t first;

    if (ftruncate(fd, 0) != 0 ||
        lb_io->preallocate(fd, (off_t)(LB_RING_DATA + capacity)) != 0) {
        return -errno;
    }

    /* One by one: the page of the cells is written all the time, and should not
     * be part of a larger piece of the page cache. */

    memset(zeros, 0, sizeof(zeros));

    for (i = 0; i < 4; i++) {
        rc = lb_io_write(fd, zeros, sizeof(zeros), (off_t)i * LB_PAGE, 0);
        if (rc != 0) {
            return rc;
        }
    }

    memset(&cell, 0, sizeof(cell));

    if (old != NULL) {
        memcpy(uuid, old->uuid, LB_UUID_LEN);
        rc = lb_cell_decode(pages, &cell);
        if (rc != 0) {
            return rc;
        }
    } else {
        lb_uuid_new(uuid);
    }

    first = 2 * lb_fill_slice;
    if (first > capacity) {
        first = capacity;
    }

    rc = lb_ring_zero(fd, capacity, cell.committed, cell.committed + first);
    if (rc != 0) {
        return rc;
    }

    cell.generation++;
    cell.fill_end = first < capacity ? cell.committed + capacity : 0;
    lb_cell_encode(raw, &cell);

    memset(buf, 0, sizeof(buf));
    memcpy(buf, LB_RING_MAGIC, 8);
    lb_put32(buf + 8, LB_FORMAT_VERSION);
    memcpy(buf + 16, spool->uuid, LB_UUID_LEN);
    memcpy(buf + 32, uuid, LB_UUID_LEN);
    lb_put64(buf + 48, capacity);
    lb_put64(buf + 56, LB_RING_DATA);
    lb_put64(buf + 64, old != NULL ? old->created_us : lb_now_us());
    lb_put32(buf + 72, slot);
    lb_put32(buf + 12, lb_crc32c(0, buf + 16, 80));

    rc = lb_io_write(fd, buf, sizeof(buf), LB_RING_IDENTITY, 0);

    if (rc == 0 && old != NULL) {
        memcpy(pages + (cell.generation & 1) * LB_CELL_STRIDE, raw,
               sizeof(raw));
        rc = lb_io_write(fd, pages, LB_RING_DATA - LB_RING_WRITER,
                         LB_RING_WRITER, 0);
        return rc != 0 ? rc : lb_io_sync(fd);
    }

    if (rc == 0) {
        rc = lb_io_write(fd, raw, sizeof(raw), LB_RING_WRITER + LB_CELL_STRIDE,
                         0);
    }

    if (rc == 0) {
        memset(&ack, 0, sizeof(ack));
        ack.generation = 1;
        lb_ack_encode(raw, &ack);
        rc = lb_io_write(fd, raw, sizeof(raw), LB_RING_READER + LB_CELL_STRIDE,
                         0);
    }

    return rc != 0 ? rc : lb_io_sync(fd);
}

/* Ours only if we hold the lock and the name still leads to this file.  Workers
 * and flusher have to open it, root's too. */
int
lb_ring_temp(lb_spool_t *spool, const char *temp, int replaces, int *fd,
             lb_error_t *err)
{
    int rc;
    struct stat a, b, owner;

    *fd = openat(spool->dirfd, temp, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
    if (*fd < 0) {
        return lb_fail(err, -errno, "cannot create \"%s/%s\": %s", spool->path,
                       temp, strerror(errno));
    }

    if (lb_io_lock(*fd) != 0 || fstat(*fd, &a) != 0 ||
        fstatat(spool->dirfd, temp, &b, 0) != 0 || a.st_ino != b.st_ino) {
        close(*fd);
        return -EEXIST;
    }

    (void)fchmod(*fd, 0660);

    if (ftruncate(*fd, 0) == 0) {
        lb_io_in_place(*fd);
    }

    if ((replaces >= 0 || geteuid() == 0) &&
        fstat(replaces >= 0 ? replaces : spool->dirfd, &owner) == 0 &&
        (owner.st_uid != a.st_uid || owner.st_gid != a.st_gid) &&
        fchown(*fd, owner.st_uid, owner.st_gid) != 0 &&
        fchown(*fd, (uid_t)-1, owner.st_gid) != 0) {
        rc = -errno;
        (void)unlinkat(spool->dirfd, temp, 0);
        close(*fd);
        return lb_fail(err, rc,
                       "cannot give \"%s/%s\" to the ring's owner: run this as "
                       "root or as the user of nginx's workers",
                       spool->path, temp);
    }

    return 0;
}

int
lb_ring_capacity_check(uint64_t capacity, lb_error_t *err)
{
    if (capacity % 8 != 0 || capacity < LB_RECORD_HEADER_MAX ||
        capacity >= LB_POSITION_MAX) {
        return lb_fail(err, -EINVAL, "ring size %llu is not possible",
                       (unsigned long long)capacity);
    }

    return 0;
}

int
lb_ring_create(lb_spool_t *spool, uint64_t capacity, uint32_t max_rings,
               lb_error_t *err)
{
    int fd, rc;
    char name[LB_RING_NAME], temp[LB_RING_NAME + 4];
    uint32_t slot;
    struct stat st;

    rc = lb_ring_capacity_check(capacity, err);
    if (rc != 0) {
        return rc;
    }

    if (max_rings > LB_SLOTS_MAX) {
        max_rings = LB_SLOTS_MAX;
    }

    for (slot = 0; slot < max_rings; slot++) {

        lb_ring_name(slot, name);

        if (fstatat(spool->dirfd, name, &st, 0) == 0) {
            continue;
        }

        (void)snprintf(temp, sizeof(temp), "%s.new", name);

        rc = lb_ring_temp(spool, temp, -1, &fd, err);
        if (rc == -EEXIST) {
            continue;
        }
        if (rc != 0) {
            return rc;
        }

        /* another process may have finished the ring in the meantime */
        if (fstatat(spool->dirfd, name, &st, 0) == 0) {
            close(fd);
            continue;
        }

        rc = lb_ring_make(spool, fd, slot, capacity, NULL, NULL);

        if (rc == 0 && (lb_io->rename(spool->dirfd, temp, name, 0) != 0 ||
                        lb_io->sync_dir(spool->dirfd) != 0)) {
            rc = -errno;
        }

        if (rc != 0) {
            (void)unlinkat(spool->dirfd, temp, 0);
            close(fd);
            return lb_fail(
                err, rc, "cannot create ring \"%s/%s\" of %llu bytes: %s",
                spool->path, name, (unsigned long long)capacity, strerror(-rc));
        }

        close(fd);

        return (int)slot;
    }

    return lb_fail(err, LB_ENOSLOT,
                   "all %u rings of spool \"%s\" are taken: raise rings= or "
                   "wait until old workers have gone",
                   max_rings, spool->path);
}
