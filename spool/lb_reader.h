/*
 * The reading side of a ring: any number of readers, without a lock.
 */

#ifndef _LB_READER_H_INCLUDED_
#define _LB_READER_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "lb_error.h"
#include "lb_format.h"
#include "lb_marks.h"
#include "lb_record.h"
#include "lb_spool.h"

typedef struct lb_reader_s lb_reader_t;

typedef struct {
    uint8_t uuid[LB_UUID_LEN];
    uint32_t slot;
    uint64_t capacity;
    uint64_t created_us;
    uint64_t committed; /* position */
    uint64_t next_seq;  /* seq of the next event to be committed */
    uint64_t durable;   /* position */
    uint64_t committed_us;
    uint32_t epoch;
    uint32_t flags;     /* LB_CELL_* */
    uint64_t acked;     /* position; hint from the reader page */
    uint64_t acked_seq; /* hint from the reader page */
    int locked;         /* a writer holds it */
    uint64_t counters[LB_COUNTERS];
} lb_ring_info_t;

/* Opens the ring of a slot for reading.  writable: acks will be stored. */
int lb_reader_open(lb_spool_t *spool, uint32_t slot, int writable,
                   lb_reader_t **reader, lb_error_t *err);
void lb_reader_close(lb_reader_t *reader);

/* The ring as it is now.  LB_ECORRUPT if no commit cell is valid. */
int lb_reader_info(lb_reader_t *reader, lb_ring_info_t *info);

/* Moves committed, next_seq and acked of info on to what is there without a
 * checkpoint: records behind a commit cell that a power cut left old, and the
 * oldest record if the ack cells are gone.  1: those were there. */
int lb_reader_scan(lb_reader_t *reader, lb_ring_info_t *info);

/* 1 if the ring file behind the slot is no longer this one (replaced). */
int lb_reader_stale(lb_reader_t *reader);

/* Puts everything up to the committed position of info on stable storage, so
 * that a batch may be fixed on it.  Sets info->durable.  Cheap if the writer
 * syncs.  On a poisoned ring, what lies behind the last durable position is
 * dropped from the page cache first, so that what is read is what is stored. */
int lb_reader_sync(lb_reader_t *reader, lb_ring_info_t *info);

/* The record at position, which must lie below end (a committed position).
 * verify: the payload's CRC too.  LB_EEND, LB_ECORRUPT, -errno. */
int lb_reader_record(lb_reader_t *reader, uint64_t position, uint64_t end,
                     int verify, lb_record_t *record);

/* When the record at position was received, microseconds since 1970 UTC: one
 * small read, for callers that ask often.  Otherwise like lb_reader_record. */
int lb_reader_received(lb_reader_t *reader, uint64_t position, uint64_t end,
                       uint64_t *received_us);

/* After LB_ECORRUPT: the next position from `position` + 8 on that holds a
 * valid record, payload included, or end. */
int lb_reader_resync(lb_reader_t *reader, uint64_t position, uint64_t end,
                     uint64_t *next);

/* The marks of the ring up to a position, ascending; returns their number. */
int lb_reader_marks(lb_reader_t *reader, uint64_t committed,
                    lb_mark_t marks[LB_MARKS]);

/* At least min (at most LB_READER_VIEW) and at most LB_READER_VIEW bytes
 * from a position, never beyond end; *len says how many.  The pointer is
 * valid until the next call on this reader.  Zero *len only at end. */
#define LB_READER_VIEW (1u << 20)
int lb_reader_view(lb_reader_t *reader, uint64_t position, uint64_t end,
                   size_t min, const uint8_t **data, size_t *len);

/* Stores the acked position, after the checkpoint that says so is durable:
 * the writer may reuse the space from now on. */
int lb_reader_ack(lb_reader_t *reader, uint64_t position, uint64_t seq);

#endif /* _LB_READER_H_INCLUDED_ */
