/*
 * The writing side of a ring: stage, group commit, sync.
 *
 * Order within one group: bytes into the data area (and onto stable storage
 * if asked), then the commit cell.  A crash between the two leaves whole
 * records behind the commit cell; nobody has been told about them either way,
 * and recovery keeps them.  The cell is a store into a mapped page and is not
 * synced: after a power cut it may be old, and recovery walks on from there.
 *
 * The first failure of a write or sync poisons the ring.  The kernel may have
 * marked the pages clean without storing them, so nothing is tried again and
 * nothing of the failed group is ever committed; the flag in the cell tells
 * readers to believe the disk and not the page cache, and keeps writers away
 * until the ring is drained.
 */

#include "lb_ring_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define STAGE_MIN (256u << 10)
#define STAGE_KEEP (8u << 20)

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
    lb_identity_t id;
    uint8_t *map; /* the pages before the data area */
    lb_cell_t cell;
    uint64_t acked; /* last seen; only grows */

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
};

static void
count(lb_writer_t *w, unsigned which, uint64_t n)
{
    uint8_t raw[8], *p;

    p = w->map + LB_RING_WRITER + LB_RING_COUNTERS + 8 * which;
    lb_put64(raw, lb_get64(p) + n);
    memcpy(p, raw, 8);
}

static void
store_cell(lb_writer_t *w)
{
    uint8_t raw[LB_CELL_SIZE];

    w->cell.generation++;
    lb_cell_encode(raw, &w->cell);

    /* the copy that does not hold the present state */
    lb_io->store(w->fd, w->map,
                 LB_RING_WRITER + (w->cell.generation & 1) * LB_CELL_STRIDE,
                 raw, sizeof(raw));
}

static void
poison(lb_writer_t *w)
{
    count(w, LB_COUNTER_FAILURES, 1);
    w->cell.flags |= LB_CELL_POISONED;
    store_cell(w);
    atomic_store(&w->poisoned, 1);
}

static uint64_t
load_acked(lb_writer_t *w)
{
    lb_ack_t ack;

    if (lb_ack_decode(w->map + LB_RING_READER, &ack) == 0 &&
        ack.acked > w->acked) {
        w->acked = ack.acked;
    }

    return w->acked;
}

/* Nothing behind the commit cell of a poisoned ring is believed. */
static int
scan(lb_writer_t *w, lb_recovered_t *found)
{
    return w->cell.flags & LB_CELL_POISONED
               ? 0
               : lb_recover(w->fd, &w->id, w->acked + w->id.capacity, found);
}

/* Where to go on: behind everything that is valid, acked or in a batch. */
static int
resume(lb_spool_t *spool, lb_writer_t *w, lb_error_t *err)
{
    int rc;
    uint64_t seq;
    lb_recovered_t found;
    lb_ckpt_ring_t *r;
    lb_ckpt_state_t *st;

    st = malloc(sizeof(*st));
    if (st == NULL) {
        return lb_fail(err, -ENOMEM, "no memory to open a ring");
    }

    rc = lb_ckpt_peek(spool, st, err);
    if (rc != 0) {
        free(st);
        return rc;
    }

    r = lb_ckpt_find(st, w->id.uuid);

    (void)load_acked(w);
    if (r != NULL && r->acked > w->acked) {
        w->acked = r->acked;
    }

    found.end = w->cell.committed;
    found.seq = w->cell.next_seq;
    found.epoch = w->cell.epoch;
    found.events = 0;

    /*
     * Three places to start from, each further on than the last valid record
     * before it. The commit cell may be so old, after a power cut, that what
     * it points at has been overwritten a lap later: the acked position is
     * then the first that is known. And where the batch in flight can no longer
     * be read, its positions and seqs are taken all the same.
     */

    rc = scan(w, &found);

    if (rc == 0 && r != NULL && r->acked > found.end) {
        found.end = r->acked;
        found.seq = r->acked_seq;
        rc = scan(w, &found);
    }

    if (rc == 0 && r != NULL && r->end > found.end) {
        found.end = r->end;
        found.seq = r->end_seq;
        rc = scan(w, &found);
    }

    if (rc != 0) {
        free(st);
        return lb_fail(err, rc, "cannot read ring %u of spool \"%s\": %s",
                       w->id.slot, spool->path, strerror(-rc));
    }

    /* a batch may end inside a record */
    seq = found.seq;
    if (r != NULL && r->end_seq > seq) {
        seq = r->end_seq;
    }

    free(st);

    if (found.events > 0) {
        count(w, LB_COUNTER_RECOVERED, found.events);
        count(w, LB_COUNTER_EVENTS, found.events);
    }

    w->cell.committed = found.end;
    w->cell.next_seq = seq;
    w->cell.epoch = found.epoch + 1;
    w->cell.flags = 0;
    w->cell.committed_us = lb_now_us();

    /* The new epoch must be on disk before a record carries it, and what was
     * recovered before it counts as durable. */

    store_cell(w);

    rc = lb_io_sync(w->fd);
    if (rc != 0) {
        return lb_fail(err, rc, "cannot sync ring %u of spool \"%s\": %s",
                       w->id.slot, spool->path, strerror(-rc));
    }

    w->cell.durable = w->cell.committed;
    store_cell(w);

    w->next_seq = w->cell.next_seq;

    return 0;
}

int
lb_writer_claim_slot(lb_spool_t *spool, uint32_t slot, lb_writer_t **writer,
                     lb_error_t *err)
{
    int rc;
    lb_writer_t *w;

    w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return lb_fail(err, -ENOMEM, "no memory to open a ring");
    }

    rc = lb_ring_open(spool, slot, O_RDWR, &w->fd, &w->id, err);
    if (rc != 0) {
        free(w);
        return rc;
    }

    rc = lb_io_lock(w->fd);
    if (rc != 0 || !lb_ring_same(spool, slot, w->fd)) {
        rc = lb_fail(err, rc == 0 || rc == -EAGAIN ? LB_ELOCKED : rc,
                     "ring %u of spool \"%s\" is held by another process", slot,
                     spool->path);
        goto failed;
    }

    w->map = mmap(NULL, LB_RING_DATA, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_POPULATE, w->fd, 0);
    if (w->map == MAP_FAILED) {
        w->map = NULL;
        rc = lb_fail(err, -errno, "cannot map ring %u of spool \"%s\": %s",
                     slot, spool->path, strerror(errno));
        goto failed;
    }

    /* a page that cannot be read back would kill the process */
    (void)mlock(w->map, LB_RING_DATA);

    if (lb_cell_decode(w->map + LB_RING_WRITER, &w->cell) != 0) {
        rc = lb_fail(err, LB_ECORRUPT,
                     "ring %u of spool \"%s\" has no valid commit cell", slot,
                     spool->path);
        goto failed;
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

    rc = resume(spool, w, err);
    if (rc != 0) {
        goto failed;
    }

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

int
lb_writer_claim(lb_spool_t *spool, uint64_t capacity, lb_writer_t **writer,
                lb_error_t *err)
{
    int i, n, rc, candidates = 0;
    uint32_t slots[LB_SLOTS_MAX];
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

        if (lb_reader_info(reader, &info) == 0 && !info.locked) {
            c[candidates].slot = slots[i];
            c[candidates].matches = info.capacity == capacity;
            c[candidates].room = info.capacity - (info.committed - info.acked);
            candidates++;
        }

        lb_reader_close(reader);
    }

    qsort(c, (size_t)candidates, sizeof(c[0]), better);

    rc = lb_fail(err, LB_ENOSLOT, "no ring of spool \"%s\" is free",
                 spool->path);

    for (i = 0; i < candidates; i++) {
        rc = lb_writer_claim_slot(spool, c[i].slot, writer, err);
        if (rc == 0) {
            return 0;
        }
    }

    /* taken by others in the meantime, or not usable: one more is wanted */
    return rc == LB_ELOCKED || rc == LB_EPOISONED ? LB_ENOSLOT : rc;
}

void
lb_writer_close(lb_writer_t *w)
{
    if (w == NULL) {
        return;
    }

    if (w->map != NULL) {
        munmap(w->map, LB_RING_DATA);
    }

    /* releases the lock */
    close(w->fd);

    free(w->pending.buf);
    free(w->flight.buf);
    free(w);
}

uint8_t *
lb_writer_stage(lb_writer_t *w, const lb_meta_t *meta, size_t payload_max)
{
    size_t need, cap, header;
    uint8_t *buf;
    lb_group_t *g = &w->pending;

    header = lb_record_header_len(meta->stream_len,
                                  meta->key != NULL ? LB_KEY_LEN : 0);

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

int
lb_writer_append(lb_writer_t *w, const lb_meta_t *meta, size_t payload_len,
                 uint32_t events)
{
    size_t header, len;
    uint8_t *p;
    uint64_t start, position;
    lb_group_t *g = &w->pending;

    if (atomic_load(&w->poisoned)) {
        return LB_EPOISONED;
    }

    header = lb_record_header_len(meta->stream_len,
                                  meta->key != NULL ? LB_KEY_LEN : 0);
    len = (size_t)lb_align8(header + payload_len);

    if (len > w->id.capacity || payload_len > UINT32_MAX) {
        return LB_ETOOBIG;
    }

    if (g->len != 0) {
        start = g->start;
    } else if (w->in_flight) {
        start = w->flight.start + w->flight.len;
    } else {
        start = w->cell.committed;
    }

    position = start + g->len;

    if (position + len - w->acked > w->id.capacity &&
        position + len - load_acked(w) > w->id.capacity) {
        count(w, LB_COUNTER_FULL, 1);
        return LB_EFULL;
    }

    p = g->buf + g->len;

    lb_record_encode(p, meta, position, w->next_seq, w->cell.epoch, w->id.uuid,
                     (uint32_t)payload_len,
                     lb_crc32c(0, p + header, payload_len), events);
    memset(p + header + payload_len, 0, len - header - payload_len);

    g->start = start;
    g->len += len;
    g->records++;
    g->events += events;
    g->bytes += payload_len;

    w->next_seq += events;
    g->end_seq = w->next_seq;

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
    int rc, ranged;
    size_t n;
    uint64_t offset, end;
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

    /* Syncing just this range is enough if everything before it is durable. */
    ranged = sync && w->cell.durable == w->cell.committed;

    rc = lb_io_write(w->fd, g->buf, n, (off_t)(LB_RING_DATA + offset), ranged);

    if (rc == 0 && n < g->len) {
        rc = lb_io_write(w->fd, g->buf + n, g->len - n, LB_RING_DATA, ranged);
    }

    if (rc == 0 && sync && !ranged) {
        rc = lb_io_sync(w->fd);
    }

    if (rc != 0) {
        poison(w);
        return w->result = rc;
    }

    w->cell.committed = end;
    w->cell.next_seq = g->end_seq;
    w->cell.committed_us = lb_now_us();

    if (sync) {
        w->cell.durable = end;
        count(w, LB_COUNTER_SYNCS, 1);
    }

    atomic_store(&w->dirty, !sync);

    count(w, LB_COUNTER_WRITES, 1);
    count(w, LB_COUNTER_RECORDS, g->records);
    count(w, LB_COUNTER_EVENTS, g->events);
    count(w, LB_COUNTER_BYTES, g->bytes);

    store_cell(w);

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

    if (w->cell.durable < w->sync_end) {
        w->cell.durable = w->sync_end;
    }

    count(w, LB_COUNTER_SYNCS, 1);
    store_cell(w);

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
