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
 * The first failure of a write or sync, the cell's included, poisons the ring.
 * The kernel may have marked the pages clean without storing them, so nothing
 * is tried again and nothing of the failed group is ever committed; the flag in
 * the cell tells readers to believe the disk and not the page cache, and keeps
 * writers away until the ring is drained.  The flag may not get to the disk
 * either: so every claim begins with a sync, and what is not known to be
 * durable is then read back from the disk.
 */

#include "lb_ring_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE_MIN (256u << 10)
#define STAGE_KEEP (8u << 20)

/* both cells and the counters */
#define PAGE_USED (LB_RING_COUNTERS + 8 * LB_COUNTERS)

uint64_t lb_cell_every = 64u << 20;

typedef struct {
    uint8_t *buf;
    size_t len;
    size_t cap;
    uint64_t start; /* position of buf[0] */
    uint64_t end_seq;
    uint64_t records;
    uint64_t events;
    uint64_t bytes;
} lb_group_t;

struct lb_writer_s {
    int fd;
    char *path; /* of the file */
    lb_identity_t id;
    uint8_t page[PAGE_USED]; /* as written last */
    uint64_t counters[LB_COUNTERS];
    lb_cell_t cell;
    uint64_t cell_synced; /* committed position of a cell that is durable */
    uint64_t acked;       /* last seen; only grows */
    lb_marks_t marks;

    lb_group_t pending;
    uint64_t next_seq; /* behind everything staged */

    lb_group_t flight;
    int in_flight;
    int result;

    /* of lb_writer_sync_*: up to where it makes durable, and how it went */
    int syncing;
    uint64_t sync_end;
    int sync_result;

    /* set by whoever writes or syncs, read by the staging thread */
    atomic_int poisoned;
    atomic_int dirty;

    /* counted by the staging thread */
    atomic_ullong full;

    lb_fill_t fill;
};

/* Makes cell the ring's commit cell, in the copy that does not hold the present
 * one, and the counters those of the writer: one write, of sectors that change
 * independently.  dsync: on stable storage.  After a failure the present cell
 * stays the newest that this writer knows of. */
static int
store_cell(lb_writer_t *w, const lb_cell_t *cell, int dsync)
{
    int i, rc;
    uint8_t page[PAGE_USED];
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

static void
poison(lb_writer_t *w)
{
    lb_cell_t cell = w->cell;

    cell.flags |= LB_CELL_POISONED;
    w->counters[LB_COUNTER_FAILURES]++;

    /* Where even this fails, the next owner still begins with a sync and with
     * what is on the disk. */
    (void)store_cell(w, &cell, 0);

    w->cell.flags |= LB_CELL_POISONED;
    atomic_store(&w->poisoned, 1);
}

static uint64_t
load_acked(lb_writer_t *w)
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

/* Drops positions from from on to to from the page cache. */
static void
drop_cache(lb_writer_t *w, uint64_t from, uint64_t to)
{
    uint64_t offset, n;

    while (from < to) {
        offset = from % w->id.capacity;
        n = w->id.capacity - offset;

        if (n > to - from) {
            n = to - from;
        }

        /* whole pages only are dropped: those on the edges as well */
        lb_io->drop_cache(w->fd,
                          (off_t)((LB_RING_DATA + offset) / LB_PAGE * LB_PAGE),
                          (off_t)(n + 2 * LB_PAGE));
        from += n;
    }
}

static int
sync_failed(lb_spool_t *spool, lb_writer_t *w, int rc, lb_error_t *err)
{
    poison(w);

    return lb_fail(err, rc,
                   "cannot sync ring %u of spool \"%s\": %s; it is not used "
                   "before what it holds is delivered",
                   w->id.slot, spool->path, strerror(-rc));
}

/* The ring's entry in the checkpoint; *known: there is one. */
static int
load_entry(lb_spool_t *spool, const lb_writer_t *w, lb_ckpt_ring_t *entry,
           int *known, lb_error_t *err)
{
    int rc;
    lb_ckpt_ring_t *e;
    lb_ckpt_state_t *st;

    *known = 0;

    st = malloc(sizeof(*st));
    if (st == NULL) {
        return lb_fail(err, -ENOMEM, "no memory to open a ring");
    }

    rc = lb_ckpt_peek(spool, st, err);
    if (rc == 0) {
        e = lb_ckpt_find(st, w->id.uuid);
        *known = e != NULL;
        if (e != NULL) {
            *entry = *e;
        }
    }

    free(st);

    return rc;
}

/* Goes on where lb_recover says. */
static int
resume(lb_spool_t *spool, lb_writer_t *w, uint64_t budget, lb_error_t *err)
{
    int rc, known;
    lb_cell_t cell;
    lb_recovered_t found;
    lb_ckpt_ring_t entry;

    rc = load_entry(spool, w, &entry, &known, err);
    if (rc != 0) {
        return rc;
    }

    (void)load_acked(w);
    if (known && entry.acked > w->acked) {
        w->acked = entry.acked;
    }

    /* What an earlier owner wrote becomes durable, or, if it failed to and
     * could not say so, goes from the page cache: from here on what is read is
     * what is stored. */

    rc = lb_io_sync(w->fd);
    if (rc != 0) {
        return sync_failed(spool, w, rc, err);
    }

    drop_cache(w, w->cell.durable, w->acked + w->id.capacity);

    rc = lb_recover(w->fd, &w->id, &w->cell, known ? &entry : NULL, w->acked,
                    budget, &found);

    if (rc == LB_ELONG) {
        return lb_fail(err, rc,
                       "ring %u of spool \"%s\" has much behind its commit "
                       "cell: it is left to be recovered",
                       w->id.slot, spool->path);
    }

    if (rc != 0) {
        return lb_fail(err, rc, "cannot read ring %u of spool \"%s\": %s",
                       w->id.slot, spool->path, strerror(-rc));
    }

    w->counters[LB_COUNTER_RECOVERED] += found.events;
    w->counters[LB_COUNTER_EVENTS] += found.events;

    /* The new epoch must be on disk before a record carries it. */

    cell = w->cell;
    cell.committed = found.end;
    cell.next_seq = found.seq;
    cell.durable = found.end;
    cell.epoch = found.epoch + 1;
    cell.flags = 0;

    /* the time of the last commit stays, unless there is a later one */
    if (found.events > 0) {
        cell.committed_us = lb_now_us();
    }

    rc = store_cell(w, &cell, 0);
    if (rc == 0) {
        rc = lb_io_sync(w->fd);
    }
    if (rc != 0) {
        return sync_failed(spool, w, rc, err);
    }

    w->cell_synced = w->cell.committed;
    w->next_seq = w->cell.next_seq;

    lb_marks_open(&w->marks, w->fd, w->cell.committed);

    return 0;
}

int
lb_writer_claim_slot(lb_spool_t *spool, uint32_t slot, lb_writer_t **writer,
                     lb_error_t *err)
{
    return lb_writer_claim_within(spool, slot, 0, writer, err);
}

int
lb_writer_claim_within(lb_spool_t *spool, uint32_t slot, uint64_t budget,
                       lb_writer_t **writer, lb_error_t *err)
{
    int i, rc;
    char name[LB_RING_NAME];
    lb_writer_t *w;

    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return lb_fail(err, -ENOMEM, "no memory to open a ring");
    }

    lb_ring_name(slot, name);

    if (asprintf(&w->path, "%s/%s", spool->path, name) < 0) {
        free(w);
        return lb_fail(err, -ENOMEM, "no memory to open a ring");
    }

    rc = lb_ring_open(spool, slot, O_RDWR, &w->fd, &w->id, err);
    if (rc != 0) {
        free(w->path);
        free(w);
        return rc;
    }

    w->fill.fd = -1;

    rc = lb_io_lock(w->fd);
    if (rc != 0 || !lb_ring_same(spool, slot, w->fd)) {
        rc = lb_fail(err, rc == 0 || rc == -EAGAIN ? LB_ELOCKED : rc,
                     "ring %u of spool \"%s\" is held by another process", slot,
                     spool->path);
        goto failed;
    }

    rc = lb_io_read(w->fd, w->page, sizeof(w->page), LB_RING_WRITER);
    if (rc != 0) {
        rc = lb_fail(err, rc, "cannot read ring %u of spool \"%s\": %s", slot,
                     spool->path, strerror(-rc));
        goto failed;
    }

    if (lb_cell_decode(w->page, &w->cell) != 0) {
        rc = lb_fail(err, LB_ECORRUPT,
                     "ring %u of spool \"%s\" has no valid commit cell", slot,
                     spool->path);
        goto failed;
    }

    for (i = 0; i < LB_COUNTERS; i++) {
        w->counters[i] = lb_get64(w->page + LB_RING_COUNTERS + 8 * i);
    }

    /* A poisoned ring first gives up what it holds: clearing the flag earlier
     * would make readers trust the page cache again. */

    if ((w->cell.flags & LB_CELL_POISONED) &&
        load_acked(w) < w->cell.committed) {
        rc = lb_fail(err, LB_EPOISONED,
                     "ring %u of spool \"%s\" had an I/O error and is not "
                     "drained yet",
                     slot, spool->path);
        goto failed;
    }

    /* what resume stores is still the same */
    atomic_store(&w->fill.end, w->cell.fill_end);

    rc = resume(spool, w, budget, err);
    if (rc != 0) {
        goto failed;
    }

    lb_fill_init(&w->fill, spool, slot, w->fd, w->id.capacity, &w->cell);

    *writer = w;

    return 0;

failed:

    lb_writer_close(w);

    return rc;
}

typedef struct {
    uint32_t slot;
    int matches;
    uint64_t room;
} lb_candidate_t;

static int
better(const void *a, const void *b)
{
    const lb_candidate_t *x = a, *y = b;

    if (x->matches != y->matches) {
        return y->matches - x->matches;
    }

    if (x->room != y->room) {
        return x->room > y->room ? -1 : 1;
    }

    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* need 0: any ring will do. */
static int
claim_best(lb_spool_t *spool, uint64_t capacity, uint64_t need,
           lb_writer_t **writer, lb_error_t *err)
{
    int i, n, rc, candidates = 0, held = 0;
    uint32_t slots[LB_SLOTS_MAX];
    uint64_t room, least;
    lb_reader_t *reader;
    lb_candidate_t c[LB_SLOTS_MAX];
    lb_ring_info_t info;

    n = lb_spool_slots(spool, slots, err);
    if (n < 0) {
        return n;
    }

    for (i = 0; i < n; i++) {

        if (lb_reader_open(spool, slots[i], 0, &reader, NULL) != 0) {
            continue;
        }

        rc = lb_reader_info(reader, &info);

        lb_reader_close(reader);

        if (rc != 0) {
            continue;
        }

        room = info.capacity - (info.committed - info.acked);

        if (need > 0) {
            least = info.capacity / LB_RING_WORTH;

            if (room < (need > least ? need : least) ||
                ((info.flags & LB_CELL_POISONED) && room < info.capacity)) {
                continue;
            }
        }

        if (info.locked) {
            held = 1;
            continue;
        }

        c[candidates].slot = slots[i];
        c[candidates].matches = info.capacity == capacity;
        c[candidates].room = room;
        candidates++;
    }

    qsort(c, (size_t)candidates, sizeof(c[0]), better);

    rc = lb_fail(err, LB_ENOSLOT, "no ring of spool \"%s\" is free%s",
                 spool->path, need > 0 ? " and has room" : "");

    for (i = 0; i < candidates; i++) {
        /* who looks for room has requests waiting */
        rc = lb_writer_claim_within(spool, c[i].slot,
                                    need > 0 ? LB_CLAIM_QUICK : 0, writer, err);
        if (rc == 0) {
            return 0;
        }
        held |= rc == LB_ELOCKED;
    }

    if (need > 0 && held) {
        return LB_ELOCKED;
    }

    /* taken by others in the meantime, or not usable: one more is wanted */
    return rc == LB_ELOCKED || rc == LB_EPOISONED || rc == LB_ELONG ? LB_ENOSLOT
                                                                    : rc;
}

int
lb_writer_claim(lb_spool_t *spool, uint64_t capacity, lb_writer_t **writer,
                lb_error_t *err)
{
    return claim_best(spool, capacity, 0, writer, err);
}

int
lb_writer_claim_room(lb_spool_t *spool, uint64_t capacity, uint64_t need,
                     lb_writer_t **writer, lb_error_t *err)
{
    return claim_best(spool, capacity, need > 0 ? need : 1, writer, err);
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

    /* 8 more for the padding */
    need = g->len + header + payload_max + 8;

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
    return w->id.capacity - (next_position(w) - load_acked(w));
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
        position + len - load_acked(w) > w->id.capacity) {
        /* the next cell says so */
        atomic_fetch_add(&w->full, 1);
        atomic_store(&w->dirty, 1);
        return LB_EFULL;
    }

    p = g->buf + g->len;

    lb_record_encode(p, meta, position, w->next_seq, w->cell.epoch, w->id.uuid,
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

static void
group_reset(lb_group_t *g)
{
    g->len = 0;
    g->records = 0;
    g->events = 0;
    g->bytes = 0;

    /* a body of unusual size must not stay in memory for good */
    if (g->cap > STAGE_KEEP) {
        free(g->buf);
        g->buf = NULL;
        g->cap = 0;
    }
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
    w->pending = free_group;

    w->in_flight = 1;
    w->result = -EINPROGRESS;

    return 1;
}

int
lb_writer_write(lb_writer_t *w, int sync)
{
    int rc, ranged, dsync;
    size_t n;
    uint64_t offset, end, before[LB_COUNTERS];
    lb_cell_t cell;
    lb_group_t *g = &w->flight;

    if (atomic_load(&w->poisoned)) {
        return w->result = LB_EPOISONED;
    }

    end = g->start + g->len;
    offset = g->start % w->id.capacity;
    n = g->len;

    if (n > w->id.capacity - offset) {
        n = (size_t)(w->id.capacity - offset);
    }

    lb_fill_yield(&w->fill, end);

    /* Syncing just this range is enough if everything before it is durable. */
    ranged = sync && w->cell.durable == w->cell.committed;

    rc = lb_io_write(w->fd, g->buf, n, (off_t)(LB_RING_DATA + offset), ranged);

    if (rc == 0 && n < g->len) {
        rc = lb_io_write(w->fd, g->buf + n, g->len - n, LB_RING_DATA, ranged);
    }

    if (rc == 0 && sync && !ranged) {
        rc = lb_io_sync(w->fd);
    }

    /* without sync a system call more would be felt: lb_writer_check does */
    if (rc == 0 && sync && !lb_writer_intact(w)) {
        rc = LB_EGONE;
    }

    if (rc != 0) {
        poison(w);
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

    /* so that a recovery never has much to look through */
    dsync = sync && end - w->cell_synced >= lb_cell_every;

    atomic_store(&w->dirty, !sync);

    rc = store_cell(w, &cell, dsync);
    if (rc != 0) {
        memcpy(w->counters, before, sizeof(before));
        poison(w);
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
        poison(w);
        return w->sync_result;
    }

    cell = w->cell;

    if (cell.durable < w->sync_end) {
        cell.durable = w->sync_end;
    }

    w->counters[LB_COUNTER_SYNCS]++;

    rc = store_cell(w, &cell, 0);
    if (rc != 0) {
        w->counters[LB_COUNTER_SYNCS]--;
        poison(w);
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
