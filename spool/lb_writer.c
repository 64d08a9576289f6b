/*
 * The writing side of a ring: stage, group commit, sync.
 *
 * Order within one group: bytes into the data area (and onto stable storage
 * if asked), then the commit cell.  A crash between the two leaves whole
 * records behind the commit cell; nobody has been told about them either way,
 * and recovery keeps them.  Cells and counters are written like everything
 * else, with one call per group, and not mapped: a store into a page that the
 * file system cannot give room to, or cannot read back, would kill the process.
 * The cell is synced only every so many bytes (lb_cell_every): after a power
 * cut it may be that old, and recovery walks on from there.
 *
 * Before the first group with context lines the version of the ring is raised,
 * on stable storage even without sync: of what recovery may find, nothing is
 * for a release that does not know them.  A crash in between leaves a ring that
 * only says that it may hold some.
 *
 * The first failure of a write or sync, the cell's included, poisons the ring.
 * The kernel may have marked the pages clean without storing them, so nothing
 * is tried again and nothing of the failed group is ever committed; the flag in
 * the cell tells readers to believe the disk and not the page cache, and keeps
 * writers away until the ring is drained.  The flag may not get to the disk
 * either: so every claim (lb_claim.c) begins with a sync, and what is not known
 * to be durable is then read back from the disk.
 */

#include "lb_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb_bytes.h"
#include "lb_clock.h"
#include "lb_crc32c.h"
#include "lb_io.h"
#include "lb_writer_private.h"

#define STAGE_MIN (256u << 10)
#define STAGE_KEEP (8u << 20)

uint64_t lb_cell_every = 64u << 20;

int
lb_writer_store_cell(lb_writer_t *w, const lb_cell_t *cell, int dsync)
{
    int i, rc;
    uint8_t page[LB_WRITER_PAGE_USED];
    lb_cell_t next = *cell;

    next.generation = w->cell.generation + 1;
    next.fill_end = atomic_load(&w->fill.end);

    w->counters[LB_COUNTER_FULL] += atomic_exchange(&w->full, 0);

    memcpy(page, w->page, sizeof(page));
    lb_cell_encode(page + (next.generation & 1) * LB_CELL_STRIDE, &next);

    for (i = 0; i < LB_COUNTERS; i++) {
        lb_put64(page + LB_RING_COUNTERS + 8 * i, w->counters[i]);
    }

    rc = lb_io_write(w->fd, page, sizeof(page), LB_RING_WRITER, dsync);
    if (rc != 0) {
        return rc;
    }

    memcpy(w->page, page, sizeof(page));
    w->cell = next;

    return 0;
}

void
lb_writer_poison(lb_writer_t *w)
{
    lb_cell_t cell = w->cell;

    cell.flags |= LB_CELL_POISONED;
    w->counters[LB_COUNTER_FAILURES]++;

    /* Where even this fails, the next owner still begins with a sync and with
     * what is on the disk. */
    (void)lb_writer_store_cell(w, &cell, 0);

    w->cell.flags |= LB_CELL_POISONED;
    atomic_store(&w->poisoned, 1);
}

uint64_t
lb_writer_load_acked(lb_writer_t *w)
{
    lb_ack_t ack;
    uint8_t page[LB_CELL_STRIDE + LB_CELL_SIZE];

    if (lb_io_read(w->fd, page, sizeof(page), LB_RING_READER) == 0 &&
        lb_ack_decode(page, &ack) == 0 && ack.acked > w->acked) {
        w->acked = ack.acked;
    }

    return w->acked;
}

/* What a file that is gone, or not all there, takes is lost.  Its times are not
 * asked for: once they have been, the kernel gives the next write a time of its
 * own, whereby the inode changes with each group and has to be synced too. */
int
lb_writer_intact(lb_writer_t *w)
{
    struct statx st;

    return statx(w->fd, "", AT_EMPTY_PATH, STATX_NLINK | STATX_SIZE, &st) ==
               0 &&
           st.stx_nlink > 0 && st.stx_size >= LB_RING_DATA + w->id.capacity;
}

void
lb_writer_close(lb_writer_t *w)
{
    if (w == NULL) {
        return;
    }

    lb_fill_close(&w->fill);

    if (w->marks.number[0] != 0 && !atomic_load(&w->poisoned)) {
        lb_marks_put(&w->marks, w->fd, w->cell.committed, 1);
    }

    /* releases the lock */
    close(w->fd);

    free(w->path);
    free(w->pending.buf);
    free(w->flight.buf);
    free(w);
}

size_t
lb_writer_header(const lb_meta_t *meta)
{
    return lb_record_header_len(meta->stream_len,
                                meta->key != NULL ? LB_KEY_LEN : 0);
}

uint8_t *
lb_writer_stage(lb_writer_t *w, const lb_meta_t *meta, size_t payload_max)
{
    size_t need, cap, header;
    uint8_t *buf;
    lb_group_t *g = &w->pending;

    header = lb_writer_header(meta);

    /* more for the padding of the record, and of the group */
    need = g->len + header + payload_max + 8 + LB_PAGE;

    if (need > g->cap) {

        cap = g->cap * 2 > STAGE_MIN ? g->cap * 2 : STAGE_MIN;
        if (cap < need || cap > STAGE_KEEP) {
            cap = need;
        }

        buf = realloc(g->buf, cap);
        if (buf == NULL) {
            return NULL;
        }

        g->buf = buf;
        g->cap = cap;
    }

    return g->buf + g->len + header;
}

/* Where the next record will lie. */
static uint64_t
next_position(const lb_writer_t *w)
{
    if (w->pending.len != 0) {
        return w->pending.start + w->pending.len;
    }

    return w->in_flight ? w->flight.start + w->flight.len : w->cell.committed;
}

uint64_t
lb_writer_room(lb_writer_t *w)
{
    return w->id.capacity - (next_position(w) - lb_writer_load_acked(w));
}

static int
append(lb_writer_t *w, const lb_meta_t *meta, size_t payload_len,
       uint32_t events, const uint32_t *crc)
{
    size_t header, len;
    uint8_t *p;
    uint64_t position;
    lb_group_t *g = &w->pending;

    if (atomic_load(&w->poisoned)) {
        return LB_EPOISONED;
    }

    header = lb_writer_header(meta);
    len = (size_t)lb_align8(header + payload_len);

    if (len > w->id.capacity || payload_len > UINT32_MAX) {
        return LB_ETOOBIG;
    }

    position = next_position(w);

    if (position + len - w->acked > w->id.capacity &&
        position + len - lb_writer_load_acked(w) > w->id.capacity) {
        /* stored with the next cell */
        atomic_fetch_add(&w->full, 1);
        atomic_store(&w->dirty, 1);
        return LB_EFULL;
    }

    p = g->buf + g->len;

    lb_record_encode(p, meta, position, w->next_seq, w->epoch, w->id.uuid,
                     (uint32_t)payload_len,
                     crc != NULL ? *crc : lb_crc32c(0, p + header, payload_len),
                     events);
    memset(p + header + payload_len, 0, len - header - payload_len);

    if (g->len == 0) {
        g->start = position;
    }

    g->len += len;
    g->records++;
    g->events += events;
    g->bytes += payload_len;
    g->contexts |= meta->contexts;

    w->next_seq += events;
    g->end_seq = w->next_seq;

    return 0;
}

int
lb_writer_append(lb_writer_t *w, const lb_meta_t *meta, size_t payload_len,
                 uint32_t events)
{
    return append(w, meta, payload_len, events, NULL);
}

int
lb_writer_append_made(lb_writer_t *w, const lb_meta_t *meta, uint8_t **buf,
                      size_t cap, size_t payload_len, uint32_t events,
                      uint32_t crc)
{
    int rc;
    size_t header, old_cap;
    uint8_t *p, *old_buf;
    lb_group_t *g = &w->pending;

    header = lb_writer_header(meta);

    if (g->len != 0 || cap < header + payload_len + 8) {

        p = lb_writer_stage(w, meta, payload_len);
        if (p == NULL) {
            return -ENOMEM;
        }

        memcpy(p, *buf + header, payload_len);

        return append(w, meta, payload_len, events, &crc);
    }

    old_buf = g->buf;
    old_cap = g->cap;

    g->buf = *buf;
    g->cap = cap;

    rc = append(w, meta, payload_len, events, &crc);

    if (rc != 0) {
        g->buf = old_buf;
        g->cap = old_cap;
        return rc;
    }

    free(old_buf);
    *buf = NULL;

    return 0;
}

size_t
lb_writer_staged(const lb_writer_t *w)
{
    return w->pending.len;
}

/* A body of unusual size must not stay in memory for good. */
static void
give_back(lb_group_t *g)
{
    if (g->cap > STAGE_KEEP) {
        free(g->buf);
        g->buf = NULL;
        g->cap = 0;
    }
}

static void
group_reset(lb_group_t *g)
{
    g->len = 0;
    g->records = 0;
    g->events = 0;
    g->bytes = 0;
    g->contexts = 0;

    give_back(g);
}

void
lb_writer_discard(lb_writer_t *w)
{
    group_reset(&w->pending);
    w->next_seq = w->in_flight ? w->flight.end_seq : w->cell.next_seq;
}

int
lb_writer_begin(lb_writer_t *w)
{
    lb_group_t free_group;

    if (w->in_flight) {
        return -EBUSY;
    }

    if (w->pending.len == 0) {
        return 0;
    }

    free_group = w->flight;
    w->flight = w->pending;
    w->flight.limit = w->acked + w->id.capacity;
    w->pending = free_group;

    w->in_flight = 1;
    w->result = -EINPROGRESS;

    return 1;
}

/*
 * Zeros behind the group up to the end of its last page, unless an earlier group
 * has begun that page.  A page that is written in part is read from the disk
 * first if it is not in the page cache, and every claim drops what lies ahead
 * from there: whoever writes, the event loop even, would wait for that.
 */
static size_t
pad(lb_writer_t *w, lb_group_t *g)
{
    uint64_t offset = (g->start + g->len) % w->id.capacity;
    size_t rest = (size_t)(offset % LB_PAGE);
    size_t n = LB_PAGE - rest;

    if (rest == 0 || rest > g->len || n > w->id.capacity - offset ||
        g->start + g->len + n > g->limit || n > g->cap - g->len) {
        return 0;
    }

    memset(g->buf + g->len, 0, n);

    return n;
}

/* Once by each writer, whatever the file says: it may say what was never
 * stored, if a disk failed. */
static int
raise_version(lb_writer_t *w, const lb_group_t *g)
{
    int rc;

    if (!g->contexts || w->raised) {
        return 0;
    }

    rc = lb_ring_raise(w->fd);
    w->raised = rc == 0;

    return rc;
}

int
lb_writer_write(lb_writer_t *w, int sync)
{
    int rc, ranged, dsync;
    size_t n, len;
    uint64_t offset, end, before[LB_COUNTERS];
    lb_cell_t cell;
    lb_group_t *g = &w->flight;

    if (atomic_load(&w->poisoned)) {
        return w->result = LB_EPOISONED;
    }

    end = g->start + g->len;
    offset = g->start % w->id.capacity;
    len = g->len + pad(w, g);
    n = len;

    if (n > w->id.capacity - offset) {
        n = (size_t)(w->id.capacity - offset);
    }

    lb_fill_yield(&w->fill, end);

    /* Syncing just this range is enough if everything before it is durable. */
    ranged = sync && w->cell.durable == w->cell.committed;

    rc = raise_version(w, g);

    if (rc == 0) {
        rc = lb_io_write(w->fd, g->buf, n, (off_t)(LB_RING_DATA + offset),
                         ranged);
    }

    if (rc == 0 && n < len) {
        rc = lb_io_write(w->fd, g->buf + n, len - n, LB_RING_DATA, ranged);
    }

    /* here, where it is a thread that waits: unmapping takes milliseconds */
    give_back(g);

    if (rc == 0 && sync && !ranged) {
        rc = lb_io_sync(w->fd);
    }

    /* Without sync one more system call per group costs too much:
     * lb_writer_check looks then. */
    if (rc == 0 && sync && !lb_writer_intact(w)) {
        rc = LB_EGONE;
    }

    if (rc != 0) {
        lb_writer_poison(w);
        return w->result = rc;
    }

    cell = w->cell;
    cell.committed = end;
    cell.next_seq = g->end_seq;
    cell.committed_us = lb_now_us();

    memcpy(before, w->counters, sizeof(before));

    if (sync) {
        cell.durable = end;
        w->counters[LB_COUNTER_SYNCS]++;
    }

    w->counters[LB_COUNTER_WRITES]++;
    w->counters[LB_COUNTER_RECORDS] += g->records;
    w->counters[LB_COUNTER_EVENTS] += g->events;
    w->counters[LB_COUNTER_BYTES] += g->bytes;

    /* bounds what a recovery has to walk */
    dsync = sync && end - w->cell_synced >= lb_cell_every;

    atomic_store(&w->dirty, !sync);

    rc = lb_writer_store_cell(w, &cell, dsync);
    if (rc != 0) {
        memcpy(w->counters, before, sizeof(before));
        lb_writer_poison(w);
        return w->result = rc;
    }

    if (dsync) {
        w->cell_synced = end;
    }

    lb_marks_put(&w->marks, w->fd, end, 0);

    return w->result = 0;
}

int
lb_writer_end(lb_writer_t *w)
{
    if (!w->in_flight) {
        return 0;
    }

    w->in_flight = 0;
    group_reset(&w->flight);

    if (w->result != 0) {
        group_reset(&w->pending);
        w->next_seq = w->cell.next_seq;
    }

    return w->result;
}

int
lb_writer_fill_begin(lb_writer_t *w)
{
    if (atomic_load(&w->poisoned) || atomic_load(&w->fill.end) == 0) {
        return 0;
    }

    if (lb_fill_begin(&w->fill, next_position(w))) {
        return 1;
    }

    /* complete: the next cell says so */
    if (atomic_load(&w->fill.end) == 0) {
        atomic_store(&w->dirty, 1);
    }

    return 0;
}

void
lb_writer_fill_run(lb_writer_t *w)
{
    lb_fill_run(&w->fill);
}

int
lb_writer_fill_end(lb_writer_t *w)
{
    return lb_fill_end(&w->fill);
}

int
lb_writer_fill_busy(lb_writer_t *w)
{
    return lb_fill_busy(&w->fill, next_position(w));
}

int
lb_writer_raises(const lb_writer_t *w)
{
    return w->pending.contexts && !w->raised;
}

int
lb_writer_sync_begin(lb_writer_t *w)
{
    if (w->syncing || atomic_load(&w->poisoned) || !atomic_load(&w->dirty)) {
        return 0;
    }

    w->syncing = 1;
    w->sync_end = w->cell.committed;
    w->sync_result = -EINPROGRESS;
    atomic_store(&w->dirty, 0);

    return 1;
}

void
lb_writer_sync_run(lb_writer_t *w)
{
    w->sync_result = lb_io_sync(w->fd);
}

int
lb_writer_sync_end(lb_writer_t *w)
{
    int rc;
    lb_cell_t cell;

    if (!w->syncing) {
        return atomic_load(&w->poisoned) ? LB_EPOISONED : 0;
    }

    w->syncing = 0;

    /* a write may have failed meanwhile: nothing is said of the pages then */
    if (atomic_load(&w->poisoned)) {
        return LB_EPOISONED;
    }

    if (w->sync_result != 0) {
        lb_writer_poison(w);
        return w->sync_result;
    }

    cell = w->cell;

    if (cell.durable < w->sync_end) {
        cell.durable = w->sync_end;
    }

    w->counters[LB_COUNTER_SYNCS]++;

    rc = lb_writer_store_cell(w, &cell, 0);
    if (rc != 0) {
        w->counters[LB_COUNTER_SYNCS]--;
        lb_writer_poison(w);
        return rc;
    }

    /* the cell before this one was there when the sync began */
    if (w->cell_synced < w->sync_end) {
        w->cell_synced = w->sync_end;
    }

    return 0;
}

int
lb_writer_sync(lb_writer_t *w)
{
    if (lb_writer_sync_begin(w)) {
        lb_writer_sync_run(w);
    }

    return lb_writer_sync_end(w);
}

/* By its path, not by the directory that was opened: another file system may
 * have been mounted there. */
int
lb_writer_check(lb_writer_t *w)
{
    uint8_t identity[48];
    struct stat a, b;

    if (!lb_writer_intact(w) || fstat(w->fd, &a) != 0 ||
        stat(w->path, &b) != 0 || a.st_dev != b.st_dev ||
        a.st_ino != b.st_ino ||
        lb_io_read(w->fd, identity, sizeof(identity), LB_RING_IDENTITY) != 0 ||
        memcmp(identity + 32, w->id.uuid, LB_UUID_LEN) != 0) {
        return LB_EGONE;
    }

    return 0;
}

const char *
lb_writer_space(const lb_writer_t *w)
{
    return lb_io_space(w->fd);
}

int
lb_writer_dirty(const lb_writer_t *w)
{
    return atomic_load(&((lb_writer_t *)w)->dirty);
}

int
lb_writer_poisoned(const lb_writer_t *w)
{
    return atomic_load(&((lb_writer_t *)w)->poisoned);
}

uint32_t
lb_writer_slot(const lb_writer_t *w)
{
    return w->id.slot;
}

uint64_t
lb_writer_capacity(const lb_writer_t *w)
{
    return w->id.capacity;
}
