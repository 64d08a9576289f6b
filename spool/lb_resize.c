/*
 * Another size for an empty ring.
 *
 * Positions go on where they were: with nothing in the ring it does not matter
 * where in the data area a position lies.  A crash leaves the ring as it was,
 * or the new one, or a .new file that the next one to make this ring starts
 * over.
 */

#include "lb_resize.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lb_cell.h"
#include "lb_checkpoint.h"
#include "lb_claim.h"
#include "lb_io.h"
#include "lb_ringfile.h"
#include "lb_spool_private.h"
#include "lb_writer.h"

/* writer page, reader page, marks */
#define PAGES (LB_RING_DATA - LB_RING_WRITER)

/* 0 if everything in the open ring is acked; its pages. */
static int
read_empty(lb_spool_t *spool, const char *name, int fd, const lb_ring_id_t *id,
           uint8_t pages[PAGES], lb_error_t *err)
{
    int rc;
    lb_ack_t ack;
    lb_cell_t cell;
    lb_ckpt_ring_t *e;
    lb_ckpt_state_t ckpt;

    rc = lb_ckpt_peek(spool, &ckpt, err);
    if (rc != 0) {
        return rc;
    }

    rc = lb_io_read(fd, pages, PAGES, LB_RING_WRITER);
    if (rc == 0) {
        rc = lb_cell_decode(pages, &cell);
    }
    if (rc == 0) {
        rc = lb_ack_decode(pages + LB_RING_READER - LB_RING_WRITER, &ack);
    }
    if (rc != 0) {
        return lb_fail(err, rc, "cannot read the cells of ring \"%s/%s\"",
                       spool->path, name);
    }

    /* Both must say so: the hint is what a writer trusts for room, the
     * checkpoint is the truth.  A ring never written to has no entry. */
    e = lb_ckpt_find(&ckpt, id->uuid);

    if (ack.acked != cell.committed ||
        (e != NULL ? e->acked != cell.committed || e->end != e->acked
                   : cell.committed != 0)) {
        return lb_fail(
            err, -EBUSY,
            "ring \"%s/%s\" holds events that are not delivered: try "
            "again when its backlog is 0",
            spool->path, name);
    }

    return 0;
}

/* Puts a ring of the same identity and pages, but another size, in place of
 * the open one.  1 if done. */
static int
replace(lb_spool_t *spool, const char *name, int from, const lb_ring_id_t *id,
        uint64_t capacity, uint8_t pages[PAGES], lb_error_t *err)
{
    int fd, rc;
    char temp[LB_RING_NAME + 4];

    (void)snprintf(temp, sizeof(temp), "%s.new", name);

    rc = lb_ring_temp(spool, temp, from, &fd, err);
    if (rc == -EEXIST) {
        return lb_fail(err, LB_ELOCKED,
                       "another process is making ring \"%s/%s\"", spool->path,
                       name);
    }
    if (rc != 0) {
        return rc;
    }

    rc = lb_ring_make(spool, fd, id->slot, capacity, id, pages);

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

    return rc;
}

int
lb_ring_resize(lb_spool_t *spool, uint32_t slot, uint64_t capacity,
               lb_error_t *err)
{
    int from, rc;
    char name[LB_RING_NAME];
    uint8_t pages[PAGES];
    lb_writer_t *w;
    lb_ring_id_t id;

    rc = lb_ring_capacity_check(capacity, err);
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

    rc = lb_ring_same(spool, slot, from)
             ? read_empty(spool, name, from, &id, pages, err)
             : lb_fail(err, LB_ELOCKED, "ring \"%s/%s\" was just replaced",
                       spool->path, name);

    if (rc == 0) {
        rc = replace(spool, name, from, &id, capacity, pages, err);
    }

    lb_writer_close(w);
    close(from);

    return rc;
}
