/*
 * The spool library: rings, slots, recovery and checkpoint.
 *
 * Used by the nginx module (writer), the flusher (reader) and the tools.
 * Knows neither nginx nor curl, never logs, never exits.  Functions return 0
 * or a positive result on success and on failure -errno or one of LB_E*; where
 * they take an lb_error_t, it then says in words what failed, on which file,
 * and what to do.  Nothing here is thread-safe unless its comment says so.
 *
 * Positions are 64-bit logical byte offsets that only grow; acked <= durable
 * <= committed always holds for one ring.
 */

#ifndef _LB_RING_H_INCLUDED_
#define _LB_RING_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "lb_clock.h"
#include "lb_crc32c.h"
#include "lb_error.h"
#include "lb_format.h"
#include "lb_uuid.h"

/*
 * Spool
 */

typedef struct lb_spool_s lb_spool_t;

/* Create what is missing: directory, identity, checkpoint. */
#define LB_SPOOL_CREATE 0x1u
/* Something will be changed. */
#define LB_SPOOL_WRITE 0x2u

/* Opens the spool at path.  Refuses network file systems and anything that is
 * not a spool of this format version; creates nothing without
 * LB_SPOOL_CREATE.  Several processes may create at once.
 *
 * With either flag the spool is tied to where it is, and a copy (see
 * lb_spool_tie) is refused with LB_ECOPY, unless LB_SPOOL_CREATE is given and
 * there is nothing in it to deliver: then it is made anew, and lb_spool_note
 * says so. */
int lb_spool_open(const char *path, unsigned flags, lb_spool_t **spool,
                  lb_error_t *err);
void lb_spool_close(lb_spool_t *spool);
const char *lb_spool_path(const lb_spool_t *spool);

/* 1 if the path no longer leads to this spool: the directory was deleted or
 * replaced, something was mounted there, or the spool was made anew. */
int lb_spool_stale(const lb_spool_t *spool);
const uint8_t *lb_spool_uuid(const lb_spool_t *spool);

/* What opening it did that somebody should know, or NULL. */
const char *lb_spool_note(const lb_spool_t *spool);

typedef enum {
    LB_TIE_NONE,      /* not tied yet: from a release that did not */
    LB_TIE_HERE,      /* this is where it was last used */
    LB_TIE_ELSEWHERE, /* a copy, or it was moved */
} lb_tie_state_t;

/* Where a spool was last used. */
typedef struct {
    lb_tie_state_t state;
    uint64_t tied_us;
    char host[LB_HOST_MAX + 1];
    char path[LB_PATH_MAX + 1];
    const char *why; /* elsewhere: what differs */
} lb_tie_t;

const lb_tie_t *lb_spool_tie(const lb_spool_t *spool);

/* What a spool still holds for ClickHouse, as far as it can be read. */
typedef struct {
    uint64_t events;     /* not acked */
    uint64_t letters;    /* dead letters, neither replayed nor dropped */
    uint32_t rings;      /* with such events */
    uint32_t unreadable; /* rings */
    int in_flight;       /* a batch is */
    int unknown;         /* the checkpoint cannot be read */
} lb_left_t;

void lb_spool_left(lb_spool_t *spool, lb_left_t *left);

/* 1 if there is anything. */
int lb_left_any(const lb_left_t *left);

/* Calls fn for each other spool near this one that holds something and that no
 * flusher serves: the old one, if the path was changed. */
typedef void (*lb_other_pt)(void *arg, const char *path, const lb_left_t *left);
void lb_spool_others(lb_spool_t *spool, lb_other_pt fn, void *arg);

/* Ties a spool that was moved to where it is now.  1: done, 0: it was tied
 * here before; -EEXIST: it is still where it was, too. */
int lb_spool_move(lb_spool_t *spool, lb_error_t *err);

/* Throws away everything in a spool and makes it anew, under a new identity.
 * LB_ELOCKED: somebody uses it. */
int lb_spool_renew(lb_spool_t *spool, lb_error_t *err);

/* Slots that have a ring, ascending; returns their number. */
int lb_spool_slots(lb_spool_t *spool, uint32_t slots[LB_SLOTS_MAX],
                   lb_error_t *err);

/*
 * Rings: creation.  The file is preallocated as a whole, so that it never
 * lacks space, and zero-filled at the beginning; the rest is up to its writer
 * (lb_writer_fill_*).  Blocks for some syncs; call it from a thread.  Takes the
 * lowest slot below max_rings that has no ring and that nobody else is
 * creating.  Returns the slot, or LB_ENOSLOT.
 */
int lb_ring_create(lb_spool_t *spool, uint64_t capacity, uint32_t max_rings,
                   lb_error_t *err);

/* Gives an empty ring that nobody holds another capacity: the file is replaced
 * as a whole; identity, positions, seqs and counters go on.  1: done, 0: it has
 * that capacity; LB_ELOCKED: in use; -EBUSY: something in it is not delivered.
 * Blocks like lb_ring_create, and needs room for both files. */
int lb_ring_resize(lb_spool_t *spool, uint32_t slot, uint64_t capacity,
                   lb_error_t *err);

/*
 * Writer: one per ring, holds the ring's lock.
 *
 * Records are staged in memory by lb_writer_stage + lb_writer_append; the
 * staged records become one group by lb_writer_begin; lb_writer_write puts the
 * group on disk and commits it; lb_writer_end says how it went.  While one
 * group is being written (in another thread if wanted) the next is staged.
 * Only lb_writer_write and lb_writer_sync_run may run in another thread, one of
 * them at a time; all other calls belong to one thread.  While
 * lb_writer_sync_run runs there, that thread may write groups without sync.
 */

typedef struct lb_writer_s lb_writer_t;

typedef struct {
    uint64_t received_us;
    const uint8_t *stream; /* 1..LB_STREAM_MAX bytes */
    size_t stream_len;
    const uint8_t *client; /* network order */
    size_t client_len;     /* 0, 4 or 16 */
    const uint8_t *key;    /* LB_KEY_LEN bytes, or NULL */
} lb_meta_t;

/* Claims an existing ring: one of the given capacity if there is one, the one
 * with most room first.  Runs recovery from the commit cell on (usually
 * nothing to scan).  Fast enough for the start of a worker.  LB_ENOSLOT: none
 * is free, create one. */
int lb_writer_claim(lb_spool_t *spool, uint64_t capacity, lb_writer_t **writer,
                    lb_error_t *err);

/* Claims a ring to go on in when the own one is full: only one that has room
 * for `need` bytes, and so much that the change is worth it (LB_RING_WORTH).
 * LB_ENOSLOT: no ring has, held or not; LB_ELOCKED: one has, but another
 * writer holds it. */
#define LB_RING_WORTH 16u /* at least this part of a ring, 1/n */
int lb_writer_claim_room(lb_spool_t *spool, uint64_t capacity, uint64_t need,
                         lb_writer_t **writer, lb_error_t *err);

/*
 * Whatever it takes to get a ring of this capacity, in this order: claim one
 * that is free, change the size of one that is free and empty, create one (at
 * most max_rings; 0: neither change nor create), claim any, however long it
 * takes to recover.  LB_ENOSLOT: none is free, and no more may be made.  Call it
 * from a thread.
 */
typedef struct {
    uint64_t capacity;
    uint32_t max_rings;
    uint64_t keep_us; /* what was written within this time stays in its ring,
                       * delivered or not: it tells repeated requests */
} lb_wanted_t;

typedef struct {
    int created;     /* 1: made just now */
    int resized;     /* 1: it was of another size just now */
    lb_error_t kept; /* code: 0, or why it is still of another size */
} lb_acquired_t;

int lb_writer_acquire(lb_spool_t *spool, const lb_wanted_t *wanted,
                      lb_writer_t **writer, lb_acquired_t *got,
                      lb_error_t *err);

/* A ring of this capacity for whoever comes next: changes or creates one as
 * above.  Returns its slot. */
int lb_ring_spare(lb_spool_t *spool, const lb_wanted_t *wanted,
                  lb_error_t *err);

/* Like lb_writer_claim for one slot; LB_ELOCKED if somebody has it.  The
 * flusher closes orphan rings with it: claim, recover, commit, release. */
int lb_writer_claim_slot(lb_spool_t *spool, uint32_t slot, lb_writer_t **writer,
                         lb_error_t *err);

/* Releases the lock.  Staged records that were not written are gone. */
void lb_writer_close(lb_writer_t *writer);

/* Room for a payload of up to payload_max bytes behind what is staged
 * already: the caller writes the payload there and calls lb_writer_append, or
 * forgets it.  Of meta only the length of the stream counts, and whether there
 * is a key.  The pointer is valid until the next call.  NULL: no memory. */
uint8_t *lb_writer_stage(lb_writer_t *writer, const lb_meta_t *meta,
                         size_t payload_max);

/* Makes the payload just placed by lb_writer_stage a record of the pending
 * group.  meta must match that of lb_writer_stage.  LB_EFULL: no room in
 * the ring now, LB_ETOOBIG: never, LB_EPOISONED; nothing is appended then. */
int lb_writer_append(lb_writer_t *writer, const lb_meta_t *meta,
                     size_t payload_len, uint32_t events);

/* The same for a payload that was made elsewhere: it lies in *buf (of cap
 * bytes, from malloc()) behind lb_writer_header() bytes for the header, with 8
 * bytes of room behind it; crc is its lb_crc32c().  If nothing is staged the
 * memory becomes the writer's and *buf is set to NULL, else the payload is
 * copied.  Also -ENOMEM. */
size_t lb_writer_header(const lb_meta_t *meta);
int lb_writer_append_made(lb_writer_t *writer, const lb_meta_t *meta,
                          uint8_t **buf, size_t cap, size_t payload_len,
                          uint32_t events, uint32_t crc);

/* Bytes staged and not yet begun. */
size_t lb_writer_staged(const lb_writer_t *writer);

/* Forgets what is staged and not yet begun. */
void lb_writer_discard(lb_writer_t *writer);

/* Turns the staged records into the group in flight.  1: there is one now;
 * 0: nothing is staged; -EBUSY: the last one has not ended. */
int lb_writer_begin(lb_writer_t *writer);

/* Writes the group in flight and commits it; with sync, the bytes are on
 * stable storage before they are committed.  A failure poisons the ring: it
 * is never tried again.  Errors: -errno. */
int lb_writer_write(lb_writer_t *writer, int sync);

/* Ends the group in flight: the result of lb_writer_write once more.  After
 * a failure whatever is staged is discarded as well. */
int lb_writer_end(lb_writer_t *writer);

/* Zero-fills a slice of what lies ahead in a new ring: a sync into blocks that
 * were only allocated costs twice as much.  Slices are small, so that others
 * get their turn in between; lb_writer_fill_run may run in a thread of its own,
 * beside lb_writer_write, and the writer stays open meanwhile.
 * lb_writer_fill_begin: 0 if there is nothing to fill (any more), then the
 * others are not called.  After an error nothing more is filled, and the ring
 * is as good, but slower. */
int lb_writer_fill_begin(lb_writer_t *writer);
void lb_writer_fill_run(lb_writer_t *writer);
int lb_writer_fill_end(lb_writer_t *writer);

/* Syncs what has been committed without sync; a failure poisons the ring. */
int lb_writer_sync(lb_writer_t *writer);

/* The same in three steps.  What is committed when it begins is durable when
 * it ends; what is written between the two is not.  lb_writer_sync_begin: 0 if
 * there is nothing to sync, then the others are not called.
 * lb_writer_sync_end: 0, or why the ring is poisoned now. */
int lb_writer_sync_begin(lb_writer_t *writer);
void lb_writer_sync_run(lb_writer_t *writer);
int lb_writer_sync_end(lb_writer_t *writer);

/* 0, or LB_EGONE: the file is no longer the ring of its slot, because it, or
 * the spool, was deleted, replaced or cut short.  Nothing written from now on
 * counts.  lb_writer_write with sync notices all but another path by itself. */
int lb_writer_check(lb_writer_t *writer);

/* Words about where the ring lies, if it is not known that a full disk leaves
 * it its space, else NULL. */
const char *lb_writer_space(const lb_writer_t *writer);

/* 1 if something is committed and not yet durable, or a refusal counted. */
int lb_writer_dirty(const lb_writer_t *writer);
int lb_writer_poisoned(const lb_writer_t *writer);
uint32_t lb_writer_slot(const lb_writer_t *writer);

/* Bytes that can still be appended before something more is acked. */
uint64_t lb_writer_room(lb_writer_t *writer);
uint64_t lb_writer_capacity(const lb_writer_t *writer);

/*
 * Reader: any number per ring, needs no lock.
 */

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

typedef struct {
    uint64_t position;
    uint64_t first_seq;
    uint64_t received_us;
    uint32_t payload_len;
    uint32_t payload_crc;
    uint32_t events;
    uint32_t epoch;
    uint32_t header_len;
    uint32_t format;
    uint64_t payload; /* position of the payload */
    uint64_t next;    /* position of the next record */
    uint8_t client[16];
    uint32_t client_len;
    uint8_t key[LB_KEY_LEN];
    uint32_t key_len; /* 0 or LB_KEY_LEN */
    uint32_t stream_len;
    char stream[LB_STREAM_MAX + 1]; /* zero-terminated */
} lb_record_t;

/* Everything before position had been received at this time of lb_boot_us,
 * at the latest; negative: before this boot. */
typedef struct {
    uint64_t position;
    int64_t boot_us;
} lb_mark_t;

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
 * small read, for whoever asks often.  Otherwise like lb_reader_record. */
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

/*
 * Checkpoint
 */

typedef struct {
    uint8_t uuid[LB_UUID_LEN];
    uint32_t slot;
    uint64_t acked;     /* position of the record that holds acked_seq */
    uint64_t acked_seq; /* every event before this seq is acked */
    uint64_t end;       /* batch in flight: [acked_seq, end_seq); */
    uint64_t end_seq;   /* equal to acked, acked_seq if not in it */
    uint64_t digest;    /* of the batch's records, 0: not known */
} lb_ckpt_ring_t;

typedef struct {
    uint64_t generation;
    uint64_t batch_id;
    uint64_t rows;
    uint64_t fixed_us;
    uint64_t delivered;
    uint64_t dead;
    uint64_t lost_bytes;
    uint64_t from_us; /* times of receipt in the batch, first and last; */
    uint64_t to_us;   /* 0: not known */
    uint8_t table_uuid[LB_UUID_LEN];
    uint32_t flags; /* LB_CKPT_IN_FLIGHT, LB_CKPT_DOUBT */
    uint32_t encoding;
    uint32_t day;
    char token[LB_TOKEN_MAX + 1];
    char table[LB_TABLE_MAX + 1];
    char broker[LB_BROKER_MAX + 1];
    uint32_t nrings;
    lb_ckpt_ring_t rings[LB_CKPT_RINGS_MAX];
} lb_ckpt_state_t;

typedef struct lb_ckpt_s lb_ckpt_t;

/* Opens and locks the checkpoint for the flusher.  LB_ELOCKED: another
 * flusher serves this spool.  Sets LB_CKPT_DOUBT if one copy is damaged, for
 * it may have been the newer one. */
int lb_ckpt_open(lb_spool_t *spool, lb_ckpt_t **ckpt, lb_ckpt_state_t *state,
                 lb_error_t *err);

/* Stores a state durably and advances its generation.  After a failure a
 * restart may read the previous state or this one: the caller must treat both
 * as possible, and store again before it goes on. */
int lb_ckpt_store(lb_ckpt_t *ckpt, lb_ckpt_state_t *state, lb_error_t *err);
void lb_ckpt_close(lb_ckpt_t *ckpt);

/* For repair: locks the checkpoint as a flusher does, whatever is in it, even
 * if there is none; nothing is read. */
int lb_ckpt_repair(lb_spool_t *spool, lb_ckpt_t **ckpt, lb_error_t *err);

/* Puts a new file in place of the checkpoint, with this state in both copies. */
int lb_ckpt_replace(lb_ckpt_t *ckpt, lb_ckpt_state_t *state, lb_error_t *err);

/* The newest durable state, without a lock; any process. */
int lb_ckpt_peek(lb_spool_t *spool, lb_ckpt_state_t *state, lb_error_t *err);

/* The entry of a ring, or NULL. */
lb_ckpt_ring_t *lb_ckpt_find(lb_ckpt_state_t *state,
                             const uint8_t uuid[LB_UUID_LEN]);

#endif /* _LB_RING_H_INCLUDED_ */
