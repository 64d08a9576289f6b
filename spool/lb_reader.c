/*
 * The reading side of a ring, for the flusher, the status page and tools.
 *
 * A reader stores nothing but the ack cell, and that only after the checkpoint
 * is durable: if the cell is lost the writer merely waits longer for room.
 */

#include "lb_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lb_bytes.h"
#include "lb_cell.h"
#include "lb_io.h"
#include "lb_recovery.h"
#include "lb_ringfile.h"
#include "lb_view.h"

_Static_assert(LB_READER_VIEW == LB_VIEW_SIZE, "the view of a reader");

struct lb_reader_s {
    lb_spool_t *spool;
    int fd;
    int writable;
    lb_ring_id_t id;
    lb_view_t view;
    uint64_t synced; /* what this reader has put on stable storage */
    uint64_t doubt;  /* a sync failed: up to here bytes are read from the disk,
                      * past the page cache */
};

int
lb_reader_open(lb_spool_t *spool, uint32_t slot, int writable,
               lb_reader_t **reader, lb_error_t *err)
{
    int rc;
    lb_reader_t *r;

    r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return lb_fail(err, -ENOMEM, "no memory to open a ring");
    }

    r->spool = spool;
    r->writable = writable;

    rc = lb_ring_open(spool, slot, writable ? O_RDWR : O_RDONLY, &r->fd, &r->id,
                      err);
    if (rc != 0) {
        free(r);
        return rc;
    }

    rc = lb_view_init(&r->view, r->fd, &r->id);
    if (rc != 0) {
        lb_reader_close(r);
        return lb_fail(err, rc, "no memory to open a ring");
    }

    *reader = r;

    return 0;
}

void
lb_reader_close(lb_reader_t *r)
{
    if (r != NULL) {
        lb_view_free(&r->view);
        close(r->fd);
        free(r);
    }
}

int
lb_reader_info(lb_reader_t *r, lb_ring_info_t *info)
{
    int rc, tries;
    size_t i;
    uint8_t pages[2 * LB_PAGE];
    lb_ack_t ack;
    lb_cell_t cell;

    /* One copy may be read half stored, and then the other: read both again. */

    for (tries = 0;; tries++) {

        rc = lb_io_read(r->fd, pages, sizeof(pages), LB_RING_WRITER);
        if (rc != 0) {
            return rc;
        }

        if (lb_cell_decode(pages, &cell) == 0 &&
            lb_ack_decode(pages + LB_PAGE, &ack) == 0) {
            break;
        }

        if (tries == 100) {
            if (lb_cell_decode(pages, &cell) != 0) {
                return LB_ECORRUPT;
            }
            /* The ack cells are gone.  They are only a hint: the checkpoint
             * says what is acked. */
            memset(&ack, 0, sizeof(ack));
            break;
        }
    }

    memset(info, 0, sizeof(*info));
    memcpy(info->uuid, r->id.uuid, LB_UUID_LEN);
    info->slot = r->id.slot;
    info->capacity = r->id.capacity;
    info->created_us = r->id.created_us;
    info->committed = cell.committed;
    info->next_seq = cell.next_seq;
    info->durable = cell.durable;
    info->committed_us = cell.committed_us;
    info->epoch = cell.epoch;
    info->flags = cell.flags;
    info->acked = ack.acked;
    info->acked_seq = ack.acked_seq;
    info->locked = lb_io_locked(r->fd);

    for (i = 0; i < LB_COUNTERS; i++) {
        info->counters[i] = lb_get64(pages + LB_RING_COUNTERS + 8 * i);
    }

    if (r->synced > info->durable && !(info->flags & LB_CELL_POISONED)) {
        info->durable =
            r->synced < info->committed ? r->synced : info->committed;
    }

    return 0;
}

int
lb_reader_scan(lb_reader_t *r, lb_ring_info_t *info)
{
    int rc, hint;
    uint64_t oldest;
    lb_cell_t cell;
    lb_record_t record;
    lb_recovered_t found;
    lb_ckpt_ring_t acked;

    hint = info->acked != 0 || info->acked_seq != 0;

    if (!(info->flags & LB_CELL_POISONED) && !info->locked) {
        memset(&cell, 0, sizeof(cell));
        cell.committed = info->committed;
        cell.next_seq = info->next_seq;
        cell.epoch = info->epoch;

        memset(&acked, 0, sizeof(acked));
        acked.acked = acked.end = info->acked;
        acked.acked_seq = acked.end_seq = info->acked_seq;

        rc = lb_recover(r->fd, &r->id, &cell, &acked, info->acked, 0, &found);
        if (rc != 0) {
            return rc;
        }

        info->committed = found.end;
        info->next_seq = found.seq;
    }

    /* Nothing is overwritten before the first lap ends: such a ring starts
     * with seq 0, acked or not. */

    if (hint || info->committed <= info->capacity) {
        return hint;
    }

    oldest = lb_align8(info->committed - info->capacity);
    rc = lb_view_record(&r->view, oldest, info->committed, 1, &record);

    if (rc == LB_ECORRUPT) {
        rc = lb_reader_resync(r, oldest, info->committed, &oldest);
        if (rc == 0) {
            rc = lb_view_record(&r->view, oldest, info->committed, 1, &record);
        }
    }

    if (rc != 0) {
        return rc == LB_EEND ? LB_ECORRUPT : rc;
    }

    info->acked = oldest;
    info->acked_seq = record.first_seq;

    return 0;
}

int
lb_reader_stale(lb_reader_t *r)
{
    return !lb_ring_same(r->spool, r->id.slot, r->fd);
}

int
lb_reader_sync(lb_reader_t *r, lb_ring_info_t *info)
{
    int rc;

    if (info->durable >= info->committed) {
        return 0;
    }

    if (!(info->flags & LB_CELL_POISONED) && r->doubt < info->committed) {

        rc = lb_io_sync(r->fd);

        if (rc == 0) {
            r->synced = info->committed;
            info->durable = info->committed;
            return 0;
        }

        /* The kernel reports it once; the next sync would claim success.  From
         * now on the bytes in doubt are read from the disk. */

        r->doubt = info->committed;
        r->view.len = 0;

        return rc;
    }

    lb_io->drop_cache(r->fd, LB_RING_DATA, (off_t)r->id.capacity);
    r->view.len = 0;
    info->durable = info->committed;

    return 0;
}

int
lb_reader_record(lb_reader_t *r, uint64_t position, uint64_t end, int verify,
                 lb_record_t *record)
{
    return lb_view_record(&r->view, position, end, verify, record);
}

int
lb_reader_received(lb_reader_t *r, uint64_t position, uint64_t end,
                   uint64_t *received_us)
{
    int rc;
    size_t len, n, want;
    uint8_t buf[LB_RECORD_HEADER_MAX];
    uint64_t offset;
    lb_record_t record;

    if (position >= end) {
        return LB_EEND;
    }

    want =
        end - position < sizeof(buf) ? (size_t)(end - position) : sizeof(buf);
    offset = position % r->id.capacity;
    n = want < r->id.capacity - offset ? want
                                       : (size_t)(r->id.capacity - offset);

    rc = lb_io_read(r->fd, buf, n, (off_t)(LB_RING_DATA + offset));
    if (rc == 0 && n < want) {
        rc = lb_io_read(r->fd, buf + n, want - n, LB_RING_DATA);
    }
    if (rc != 0) {
        return rc;
    }

    len = want < LB_RECORD_FIXED ? 0 : lb_record_probe(buf);

    if (len == 0 || len > want ||
        lb_record_decode(buf, len, position, r->id.uuid, &record) != 0) {
        return LB_ECORRUPT;
    }

    *received_us = record.received_us;

    return 0;
}

int
lb_reader_resync(lb_reader_t *r, uint64_t position, uint64_t end,
                 uint64_t *next)
{
    int rc;
    size_t n;
    uint64_t p;
    lb_record_t record;
    const uint8_t *data;

    /* A client cannot plant a record here: a payload holds no NUL bytes, a
     * header does. */

    p = position + 8;

    /* What lies further back has been overwritten. */
    if (end > r->id.capacity && p < end - r->id.capacity) {
        p = lb_align8(end - r->id.capacity);
    }

    for (; p > position && p < end && end - p >= LB_RECORD_FIXED; p += 8) {

        rc = lb_view_get(&r->view, p, end, 8, &data, &n);
        if (rc != 0) {
            return rc;
        }

        if (lb_get32(data) != LB_RECORD_MAGIC) {
            continue;
        }

        rc = lb_view_record(&r->view, p, end, 1, &record);

        if (rc == 0) {
            *next = p;
            return 0;
        }

        if (rc != LB_ECORRUPT) {
            return rc;
        }
    }

    *next = end;

    return 0;
}

int
lb_reader_marks(lb_reader_t *r, uint64_t committed, lb_mark_t marks[LB_MARKS])
{
    return lb_marks_read(r->fd, committed, marks);
}

int
lb_reader_view(lb_reader_t *r, uint64_t position, uint64_t end, size_t min,
               const uint8_t **data, size_t *len)
{
    return lb_view_get(&r->view, position, end, min, data, len);
}

int
lb_reader_ack(lb_reader_t *r, uint64_t position, uint64_t seq)
{
    int rc;
    uint8_t page[LB_PAGE], raw[LB_CELL_SIZE];
    lb_ack_t ack;

    if (!r->writable) {
        return -EBADF;
    }

    rc = lb_io_read(r->fd, page, sizeof(page), LB_RING_READER);
    if (rc != 0) {
        return rc;
    }

    if (lb_ack_decode(page, &ack) != 0) {
        memset(&ack, 0, sizeof(ack));
    }

    if (ack.generation > 0 && ack.acked == position && ack.acked_seq == seq) {
        return 0;
    }

    ack.generation++;
    ack.acked = position;
    ack.acked_seq = seq;
    lb_ack_encode(raw, &ack);

    return lb_io_write(
        r->fd, raw, sizeof(raw),
        (off_t)(LB_RING_READER + (ack.generation & 1) * LB_CELL_STRIDE), 0);
}
