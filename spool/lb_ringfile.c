/*
 * Ring files: create, open, identity, cells.
 *
 * A ring comes into being under the name ring-NNNN.new, complete and synced,
 * and gets its name by a rename that never replaces: a crash at any point
 * leaves either nothing, or a .new file that the next creator starts over, or
 * the complete ring.
 */

#include "lb_ring_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void
lb_ring_name(uint32_t slot, char name[LB_RING_NAME])
{
    (void)snprintf(name, LB_RING_NAME, "ring-%04u", slot % 10000);
}

void
lb_cell_encode(uint8_t buf[LB_CELL_SIZE], const lb_cell_t *cell)
{
    memset(buf, 0, LB_CELL_SIZE);
    lb_put64(buf, cell->generation);
    lb_put64(buf + 8, cell->committed);
    lb_put64(buf + 16, cell->next_seq);
    lb_put64(buf + 24, cell->durable);
    lb_put32(buf + 32, cell->epoch);
    lb_put32(buf + 36, cell->flags);
    lb_put64(buf + 40, cell->committed_us);
    lb_put64(buf + 48, cell->fill_end);
    lb_put32(buf + 60, lb_crc32c(0, buf, 60));
}

void
lb_ack_encode(uint8_t buf[LB_CELL_SIZE], const lb_ack_t *ack)
{
    memset(buf, 0, LB_CELL_SIZE);
    lb_put64(buf, ack->generation);
    lb_put64(buf + 8, ack->acked);
    lb_put64(buf + 16, ack->acked_seq);
    lb_put32(buf + 60, lb_crc32c(0, buf, 60));
}

/* Both kinds of cell have a position at 8 and a seq at 16: a right checksum
 * over what no ring can reach is not believed either. */
static int
plausible(const uint8_t *cell)
{
    return lb_get64(cell + 8) % 8 == 0 &&
           lb_get64(cell + 8) < LB_POSITION_MAX &&
           lb_get64(cell + 16) < LB_POSITION_MAX;
}

/* Of the two copies on a page: the valid one with the higher generation, or
 * NULL.  The page may be mapped and change under us: work on a copy. */
static const uint8_t *
newest(const uint8_t *page, uint8_t copy[2][LB_CELL_SIZE])
{
    int i, valid[2];

    for (i = 0; i < 2; i++) {
        memcpy(copy[i], page + i * LB_CELL_STRIDE, LB_CELL_SIZE);
        valid[i] = lb_get64(copy[i]) != 0 && plausible(copy[i]) &&
                   lb_get32(copy[i] + 60) == lb_crc32c(0, copy[i], 60);
    }

    if (valid[0] && valid[1]) {
        return lb_get64(copy[0]) > lb_get64(copy[1]) ? copy[0] : copy[1];
    }

    return valid[0] ? copy[0] : valid[1] ? copy[1] : NULL;
}

int
lb_cell_decode(const uint8_t *page, lb_cell_t *cell)
{
    const uint8_t *p;
    uint8_t copy[2][LB_CELL_SIZE];

    p = newest(page, copy);
    if (p == NULL) {
        return LB_ECORRUPT;
    }

    cell->generation = lb_get64(p);
    cell->committed = lb_get64(p + 8);
    cell->next_seq = lb_get64(p + 16);
    cell->durable = lb_get64(p + 24);
    cell->epoch = lb_get32(p + 32);
    cell->flags = lb_get32(p + 36);
    cell->committed_us = lb_get64(p + 40);
    cell->fill_end = lb_get64(p + 48);

    return 0;
}

int
lb_ack_decode(const uint8_t *page, lb_ack_t *ack)
{
    const uint8_t *p;
    uint8_t copy[2][LB_CELL_SIZE];

    p = newest(page, copy);
    if (p == NULL) {
        return LB_ECORRUPT;
    }

    ack->generation = lb_get64(p);
    ack->acked = lb_get64(p + 8);
    ack->acked_seq = lb_get64(p + 16);

    return 0;
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
               lb_identity_t *id, lb_error_t *err)
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

    if (lb_get32(buf + 8) != LB_FORMAT_VERSION) {
        return lb_fail(err, LB_EFOREIGN,
                       "ring \"%s/%s\" has format version %u, this program "
                       "knows version %u: use the %s release",
                       spool->path, name, lb_get32(buf + 8), LB_FORMAT_VERSION,
                       lb_get32(buf + 8) > LB_FORMAT_VERSION ? "newer"
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
             lb_identity_t *id, lb_error_t *err)
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

/* Preallocates, zero-fills the beginning, and writes identity and cells: new
 * ones, or, if old is given, those of that ring, whose pages pages are.  Only
 * what is synced at the end counts, so the order inside does not matter. */
static int
ring_fill(lb_spool_t *spool, int fd, uint32_t slot, uint64_t capacity,
          const lb_identity_t *old, uint8_t *pages)
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

    rc = lb_fill_zero(fd, capacity, cell.committed, cell.committed + first);
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

/* The file a ring is made in; -EEXIST: somebody else is at it.  Ours only if
 * we hold the lock and the name still leads to this file.  It belongs to whom
 * the ring it replaces belongs to, or, made by root, the spool: workers and
 * flusher have to open it. */
static int
temp_open(lb_spool_t *spool, const char *temp, int replaces, int *fd,
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

static int
capacity_check(uint64_t capacity, lb_error_t *err)
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

    rc = capacity_check(capacity, err);
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

        rc = temp_open(spool, temp, -1, &fd, err);
        if (rc == -EEXIST) {
            continue;
        }
        if (rc != 0) {
            return rc;
        }

        /* somebody may have finished the ring in the meantime */
        if (fstatat(spool->dirfd, name, &st, 0) == 0) {
            close(fd);
            continue;
        }

        rc = ring_fill(spool, fd, slot, capacity, NULL, NULL);

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

/* Positions go on where they were: with nothing in the ring it does not matter
 * where in the data area a position lies. */
int
lb_ring_resize(lb_spool_t *spool, uint32_t slot, uint64_t capacity,
               lb_error_t *err)
{
    int fd, from, rc;
    char name[LB_RING_NAME], temp[LB_RING_NAME + 4];
    uint8_t pages[LB_RING_DATA - LB_RING_WRITER];
    lb_ack_t ack;
    lb_cell_t cell;
    lb_writer_t *w;
    lb_identity_t id;
    lb_ckpt_ring_t *e;
    lb_ckpt_state_t ckpt;

    rc = capacity_check(capacity, err);
    if (rc != 0) {
        return rc;
    }

    rc = lb_ring_open(spool, slot, O_RDONLY, &from, &id, err);
    if (rc != 0) {
        return rc;
    }

    if (id.capacity == capacity) {
        close(from);
        return 0;
    }

    /* the lock keeps workers out, recovery shows what is really there */
    rc = lb_writer_claim_within(spool, slot, LB_CLAIM_QUICK, &w, err);
    if (rc != 0) {
        close(from);
        return rc;
    }

    lb_ring_name(slot, name);
    (void)snprintf(temp, sizeof(temp), "%s.new", name);

    if (!lb_ring_same(spool, slot, from)) {
        rc = lb_fail(err, LB_ELOCKED, "ring \"%s/%s\" was just replaced",
                     spool->path, name);
        goto done;
    }

    rc = lb_ckpt_peek(spool, &ckpt, err);
    if (rc != 0) {
        goto done;
    }

    rc = lb_io_read(from, pages, sizeof(pages), LB_RING_WRITER);
    if (rc == 0) {
        rc = lb_cell_decode(pages, &cell);
    }
    if (rc == 0) {
        rc = lb_ack_decode(pages + LB_RING_READER - LB_RING_WRITER, &ack);
    }
    if (rc != 0) {
        (void)lb_fail(err, rc, "cannot read the cells of ring \"%s/%s\"",
                      spool->path, name);
        goto done;
    }

    /* Both must say so: the hint is what a writer trusts for room, the
     * checkpoint is the truth.  A ring never written to has no entry. */
    e = lb_ckpt_find(&ckpt, id.uuid);

    if (ack.acked != cell.committed ||
        (e != NULL ? e->acked != cell.committed || e->end != e->acked
                   : cell.committed != 0)) {
        rc = lb_fail(err, -EBUSY,
                     "ring \"%s/%s\" holds events that are not delivered: try "
                     "again when its backlog is 0",
                     spool->path, name);
        goto done;
    }

    rc = temp_open(spool, temp, from, &fd, err);
    if (rc != 0) {
        if (rc == -EEXIST) {
            rc = lb_fail(err, LB_ELOCKED,
                         "another process is making ring \"%s/%s\"",
                         spool->path, name);
        }
        goto done;
    }

    rc = ring_fill(spool, fd, slot, capacity, &id, pages);

    if (rc == 0 && (lb_io->rename(spool->dirfd, temp, name, 1) != 0 ||
                    lb_io->sync_dir(spool->dirfd) != 0)) {
        rc = -errno;
    }

    if (rc != 0) {
        (void)unlinkat(spool->dirfd, temp, 0);
        rc = lb_fail(err, rc, "cannot make ring \"%s/%s\" %llu bytes large: %s",
                     spool->path, name, (unsigned long long)capacity,
                     strerror(-rc));
    } else {
        rc = 1;
    }

    close(fd);

done:

    lb_writer_close(w);
    close(from);

    return rc;
}
