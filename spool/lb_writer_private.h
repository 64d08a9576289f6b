/*
 * The inside of a writer, for lb_writer.c and lb_claim.c alone.
 */

#ifndef _LB_WRITER_PRIVATE_H_INCLUDED_
#define _LB_WRITER_PRIVATE_H_INCLUDED_

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "lb_cell.h"
#include "lb_fill.h"
#include "lb_format.h"
#include "lb_marks.h"
#include "lb_ringfile.h"
#include "lb_writer.h"

/* both cells and the counters */
#define LB_WRITER_PAGE_USED (LB_RING_COUNTERS + 8 * LB_COUNTERS)

typedef struct {
    uint8_t *buf;
    size_t len;
    size_t cap;
    uint64_t start; /* position of buf[0] */
    uint64_t limit; /* of the one in flight: up to here the ring is free */
    uint64_t end_seq;
    uint64_t records;
    uint64_t events;
    uint64_t bytes;
    int contexts; /* a payload of it holds some */
} lb_group_t;

struct lb_writer_s {
    int fd;
    char *path; /* of the file */
    lb_ring_id_t id;
    uint8_t page[LB_WRITER_PAGE_USED]; /* as written last */
    uint64_t counters[LB_COUNTERS];
    lb_cell_t cell;       /* of who writes or syncs, while it does */
    uint32_t epoch;       /* the cell's, which stays, for records */
    uint64_t cell_synced; /* committed position of a cell that is durable */
    uint64_t acked;       /* last seen; only grows */
    lb_marks_t marks;

    lb_group_t pending;
    uint64_t next_seq; /* behind everything staged */

    lb_group_t flight;
    int in_flight;
    int result;
    int raised; /* by this writer: the version allows contexts */

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
int lb_writer_store_cell(lb_writer_t *w, const lb_cell_t *cell, int dsync);

/* Says in the cell that a write or sync failed; the ring is not written to any
 * more. */
void lb_writer_poison(lb_writer_t *w);

/* The acked position as the ring says now; only grows. */
uint64_t lb_writer_load_acked(lb_writer_t *w);

#endif /* _LB_WRITER_PRIVATE_H_INCLUDED_ */
