/*
 * On-disk format of a spool: the byte tables, and nothing else.
 *
 * Every integer is little-endian and of fixed width.  Bytes not named in a
 * table are zero and must be zero.  docs/spool-format.md is the prose version
 * of this file; both change together, and any change of meaning raises
 * LB_FORMAT_VERSION, or of rings alone LB_RING_VERSION_*.
 *
 * A spool is one directory:
 *
 *   spool          identity: which spool this is            (LB_SPOOL_*)
 *   ring-NNNN      one ring each, NNNN is the slot           (LB_RING_*)
 *   ring-NNNN.new  a ring being created; renamed when it is complete
 *   checkpoint     the flusher's durable state               (LB_CKPT_*)
 *   dead           dead letters                              (LB_DEAD_*)
 *   flusher.json   the flusher's last published figures (not durable)
 *   history.json   ... and those of the last 24 hours (likewise)
 *
 * Locks are open file description locks (fcntl F_OFD_SETLK): a writer holds
 * its ring-NNNN, the flusher holds the checkpoint.  They die with the process
 * and can be asked about without taking them.
 */

#ifndef _LB_FORMAT_H_INCLUDED_
#define _LB_FORMAT_H_INCLUDED_

#include <stdint.h>

/* Either order of bytes will do (lb_bytes.h), a narrow size_t or off_t not. */
#if SIZE_MAX < UINT64_MAX
#error "logbroker needs a 64-bit system: a ring may be larger than a size_t"
#endif

/* Of all files but rings, and of rings as they are made. */
#define LB_FORMAT_VERSION 1u

/* Of a ring from before the first context line (LB_FORMAT_NDJSON) gets into it:
 * releases that know version 1 alone would count it as an event. */
#define LB_RING_VERSION_CONTEXTS 2u

/* No position, seq or size reaches this: whatever comes from a disk is below
 * it or not believed, so that sums of two do not overflow. */
#define LB_POSITION_MAX (1ull << 62)

#define LB_PAGE 4096u
#define LB_UUID_LEN 16u

/* The file system keeps 512-byte sectors whole; nothing below relies on more
 * than that, and no cell or identity block crosses a sector. */
#define LB_SECTOR 512u

/*
 * File "spool", 4096 bytes
 *
 *   0   8  magic "LBSPOOL\n"
 *   8   4  format version
 *  12   4  CRC-32C of bytes 16..63
 *  16  16  spool UUID
 *  32   8  created, microseconds since 1970 UTC
 *  40  24  zero
 *
 * The tie: where the spool was last used, stored in place each time that
 * changes.  All zero in a spool that no release with a tie has written to.  A
 * number that is 0 was not known.
 *
 *  64   4  CRC-32C of bytes 72..511
 *  68   4  zero
 *  72   8  tied at, microseconds since 1970 UTC
 *  80   8  inode number of this file
 *  88   8  time of birth of this file, nanoseconds since 1970 UTC
 *  96   8  identity of its file system, where snapshots keep the former two
 * 104   8  hash of the machine id
 * 112   8  hash of the disk's serial number
 * 120   8  zero
 * 128  64  host name, zero-padded text
 * 192 256  path of the spool, zero-padded text; empty if it is longer
 * 448  64  zero
 */
#define LB_SPOOL_MAGIC "LBSPOOL\n"
#define LB_SPOOL_SIZE LB_PAGE
#define LB_TIE 64u
#define LB_TIE_SIZE (LB_SECTOR - LB_TIE)
#define LB_HOST_MAX 64u
#define LB_PATH_MAX 256u

/*
 * Ring file: identity page, writer page, reader page, time page, data.
 *
 * Identity (offset 0), written once at creation; the version alone is raised
 * later, in place, and never lowered
 *
 *   0   8  magic "LBRING1\n"
 *   8   4  format version: LB_FORMAT_VERSION, or LB_RING_VERSION_CONTEXTS
 *  12   4  CRC-32C of bytes 16..95
 *  16  16  spool UUID
 *  32  16  ring UUID
 *  48   8  capacity of the data area in bytes, multiple of 8
 *  56   8  offset of the data area
 *  64   8  created, microseconds since 1970 UTC
 *  72   4  slot
 *  76  20  zero
 */
#define LB_RING_MAGIC "LBRING1\n"
#define LB_RING_IDENTITY 0u
#define LB_RING_WRITER LB_PAGE
#define LB_RING_READER (2u * LB_PAGE)
#define LB_RING_DATA (4u * LB_PAGE)

/*
 * Writer page (offset 4096), stored by the lock holder alone
 *
 *    0  64  commit cell 0
 *  512  64  commit cell 1
 * 1024  ..  counters, 8 bytes each, in the order of LB_COUNTER_*
 *
 * A commit cell.  Cells are written alternately, so one of them is whole
 * whatever moment a crash picks; the valid one with the higher generation
 * counts.
 *
 *   0   8  generation, grows by one with each store
 *   8   8  committed: position behind the last committed record
 *  16   8  next seq: the seq the next event will get
 *  24   8  durable: everything before this position is on stable storage
 *  32   4  epoch of the writer, grows by one with each claim of the ring
 *  36   4  flags (LB_CELL_*)
 *  40   8  committed at, microseconds since 1970 UTC
 *  48   8  fill end: the position at which zero-filling ahead of the writer
 *          ends (lb_fill.c); 0: all is filled
 *  56   4  zero
 *  60   4  CRC-32C of bytes 0..59
 *
 * Reader page (offset 8192), stored by the flusher alone: one cell in the
 * same two-copy scheme, a hint that never runs ahead of the checkpoint
 *
 *   0   8  generation
 *   8   8  acked: the writer may reuse everything before this position
 *  16   8  acked seq: every event before this seq is acked
 *  24  36  zero
 *  60   4  CRC-32C of bytes 0..59
 */
/*
 * Time page (offset 12288), stored by the lock holder alone, never synced: 128
 * marks, all zero in rings of older releases.  A mark says that every record
 * before its position had been received by a time.  They lie in eight levels
 * of sixteen; mark n of level l is at (16 l + n mod 16) * 32.  See lb_marks.c.
 *
 *   0   8  number within the level, from 1
 *   8   8  position
 *  16   8  time, microseconds of CLOCK_BOOTTIME
 *  24   4  boot: CRC-32C of the boot id in text
 *  28   4  CRC-32C of bytes 0..27
 */
#define LB_RING_MARKS (3u * LB_PAGE)
#define LB_MARK_SIZE 32u
#define LB_MARKS 128u
#define LB_MARKS_LEVEL 16u

#define LB_CELL_SIZE 64u
#define LB_CELL_STRIDE LB_SECTOR
#define LB_RING_COUNTERS 1024u

#define LB_CELL_POISONED 0x1u /* a write or sync failed: see lb_writer.c */

enum {
    LB_COUNTER_RECORDS,   /* records committed */
    LB_COUNTER_EVENTS,    /* events committed */
    LB_COUNTER_BYTES,     /* payload bytes committed */
    LB_COUNTER_WRITES,    /* group commits */
    LB_COUNTER_SYNCS,     /* syncs that succeeded */
    LB_COUNTER_FAILURES,  /* writes or syncs that failed */
    LB_COUNTER_FULL,      /* records refused because the ring was full */
    LB_COUNTER_RECOVERED, /* events found behind the commit cell at a claim */
    LB_COUNTERS
};

/*
 * Record: header, payload, zero padding to 8 bytes.  Records lie end to end
 * in the stream of positions; position p is at file offset
 * LB_RING_DATA + p mod capacity, so a record may continue at the start of the
 * data area.  Positions start at 0 and only grow.
 *
 *   0   4  magic 0x4352424c ("LBRC")
 *   4   4  CRC-32C of bytes 8..header length-1
 *   8   8  position of this header: tells a record from a leftover of an
 *          earlier lap
 *  16   8  seq of the first event; event i of the record has seq + i
 *  24   8  received, microseconds since 1970 UTC
 *  32   4  payload length in bytes, without padding
 *  36   4  CRC-32C of the payload
 *  40   4  number of events, at least 1
 *  44   4  epoch of the writer: never decreases from record to record
 *  48   2  header length, multiple of 8
 *  50   1  payload format (LB_FORMAT_NDJSON)
 *  51   1  stream length, 1..64
 *  52   1  client address length: 0, 4 or 16
 *  53   1  key length: 0 or 16
 *  54   1  what the key is made of: LB_KEY_*
 *  55   1  zero
 *  56   8  first 8 bytes of the ring UUID
 *  64  16  client address, network order
 *  80  ..  stream, zero-padded to a multiple of 8
 *      ..  key: first 16 bytes of a SHA-1, of the stream, a zero byte and
 *          LB_KEY_GIVEN   the Idempotency-Key that the client gave
 *          LB_KEY_DIGEST  a zero byte and the request's digest
 */
#define LB_RECORD_MAGIC 0x4352424cu
#define LB_RECORD_FIXED 80u
#define LB_STREAM_MAX 64u
#define LB_KEY_LEN 16u
#define LB_KEY_GIVEN 0u
#define LB_KEY_DIGEST 1u
#define LB_RECORD_HEADER_MAX (LB_RECORD_FIXED + LB_STREAM_MAX + LB_KEY_LEN)

/* Lines, each followed by one \n: events, JSON objects without insignificant
 * white space, and contexts, which begin with the byte 1 and are not counted
 * as events. */
#define LB_FORMAT_NDJSON 1u

/*
 * File "checkpoint": two copies of LB_CKPT_COPY bytes, written alternately,
 * each time synced; the valid one with the higher generation counts.
 *
 *    0   8  magic "LBCKPT1\n"
 *    8   4  format version
 *   12   4  CRC-32C of bytes 16..(LB_CKPT_FIXED + n * LB_CKPT_RING - 1)
 *   16   8  generation
 *   24  16  spool UUID
 *   40   8  batch id: number of batches fixed so far
 *   48   8  rows of the batch in flight
 *   56   8  batch fixed at, microseconds since 1970 UTC
 *   64   8  delivered: events ClickHouse has confirmed since creation
 *   72   8  dead: events set aside as dead letters since creation
 *   80   8  lost bytes: bytes skipped as bit rot since creation
 *   88   4  number of rings n
 *   92   4  flags (LB_CKPT_*)
 *   96   4  encoding of the batch in flight, or of the last one: version, and in
 *          the upper half the columns of LB_LIFT_* that it has
 *  100   4  day of the batch in flight, days since 1970 UTC
 *  104  64  token of the batch in flight, zero-padded text
 *  168 128  target table of the batch in flight, zero-padded text
 *  296  64  broker name in the rows of the batch in flight, zero-padded text
 *  360   8  earliest time of receipt in the batch in flight, microseconds since
 *          1970 UTC; 0: not known
 *  368   8  latest time of receipt in the batch in flight
 *  376  16  UUID of the target table when the batch was fixed; 0: not known
 *  392 120  zero
 *  512  ..  n entries, one per ring
 *
 * Entry
 *
 *   0  16  ring UUID
 *  16   8  acked position: of the record that holds the acked seq
 *  24   8  acked seq: every event before it is acked
 *  32   8  end position of the batch in flight (= acked without one)
 *  40   8  end seq of the batch in flight (= acked seq without one)
 *  48   4  slot
 *  52   4  zero
 *  56   8  digest of the ring's records in the batch in flight; 0: not known
 *
 * A copy that is damaged while the other is whole may have been the newer one:
 * what the table holds behind the acked positions is then in doubt, and the
 * flusher asks before it sends.
 */
#define LB_CKPT_MAGIC "LBCKPT1\n"
#define LB_CKPT_COPY 65536u
#define LB_CKPT_SIZE (2u * LB_CKPT_COPY)
#define LB_CKPT_FIXED 512u
#define LB_CKPT_RING 64u
#define LB_CKPT_RINGS_MAX ((LB_CKPT_COPY - LB_CKPT_FIXED) / LB_CKPT_RING)
#define LB_CKPT_IN_FLIGHT 0x1u
#define LB_CKPT_DOUBT 0x2u /* a batch this state does not know may be in */
#define LB_TOKEN_MAX 64u
#define LB_TABLE_MAX 128u
#define LB_BROKER_MAX 64u

/* Slots are 0..LB_SLOTS_MAX-1; each fits into the checkpoint twice over, so
 * that rings that were replaced do not crowd out those that are. */
#define LB_SLOTS_MAX 256u

_Static_assert(LB_SLOTS_MAX * 2 < LB_CKPT_RINGS_MAX, "checkpoint too small");
_Static_assert(LB_RING_COUNTERS + LB_COUNTERS * 8 <= LB_PAGE, "counters");
_Static_assert(LB_RECORD_HEADER_MAX % 8 == 0, "records are 8-aligned");

/*
 * File "dead", preallocated: a 4096-byte header, then dead letters end to
 * end, each 8-aligned; the first that fails its CRC ends the list.
 *
 * Header
 *   0   8  magic "LBDEAD1\n"
 *   8   4  format version
 *  12   4  CRC-32C of bytes 16..47
 *  16  16  spool UUID
 *  32   8  size of the file in bytes
 *  40   8  zero
 *
 * Dead letter
 *   0   4  state: 0x4444424c ("LBDD") open, 0x5244424c ("LBDR") a replay
 *          began, 0x5844424c ("LBDX") done with; not under the CRC
 *   4   4  CRC-32C of everything from byte 8 to the end of the bytes
 *   8   8  offset of this letter in the file
 *  16  16  ring UUID
 *  32   8  position the bytes were at
 *  40   8  seq of the first event set aside
 *  48   8  number of events set aside (0: unknown)
 *  56   8  set aside at, microseconds since 1970 UTC
 *  64   4  length of the bytes
 *  68   2  length of the reason
 *  70   2  kind (LB_DEAD_*)
 *  72  ..  reason (UTF-8 text), then the bytes, then zeros to 8
 */
#define LB_DEAD_MAGIC "LBDEAD1\n"
#define LB_DEAD_OPEN 0x4444424cu
#define LB_DEAD_REPLAYING 0x5244424cu
#define LB_DEAD_DONE 0x5844424cu
#define LB_DEAD_HEADER LB_PAGE
#define LB_DEAD_FIXED 72u
#define LB_DEAD_BITROT 1u /* raw ring bytes that are not a valid record */
#define LB_DEAD_ROW                                                            \
    2u /* a record header, the context if there is one, and
                           * the event refused */

#endif /* _LB_FORMAT_H_INCLUDED_ */
