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

#ifndef _LB_WRITER_H_INCLUDED_
#define _LB_WRITER_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "lb_error.h"
#include "lb_record.h"
#include "lb_spool.h"

typedef struct lb_writer_s lb_writer_t;

/* Releases the lock.  Staged records that were not written are gone. */
void lb_writer_close(lb_writer_t *writer);

/* Room for a payload of up to payload_max bytes behind what is staged
 * already: the caller writes the payload there and calls lb_writer_append, or
 * forgets it.  Of meta only the length of the stream counts, and whether there
 * is a key.  The pointer is valid until the next call.  NULL: no memory. */
uint8_t *lb_writer_stage(lb_writer_t *writer, const lb_meta_t *meta,
                         size_t payload_max);

/* Makes the payload just placed by lb_writer_stage a record of the pending
 * group.  meta must match that of lb_writer_stage, but for contexts, which has
 * to be right only here.  LB_EFULL: no room in the ring now, LB_ETOOBIG: never,
 * LB_EPOISONED; nothing is appended then. */
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

/* 1: what is staged comes so close that to write it now is to wait until the
 * zeros of the slice under way are written. */
int lb_writer_fill_busy(lb_writer_t *writer);

/* 1: what is staged is the first with context lines, before which the ring's
 * version is raised: to write it is to wait for the disk, with sync or not. */
int lb_writer_raises(const lb_writer_t *writer);

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

/* 1 if the file still has a name, whichever, and is all there: what was written
 * to it is in it.  One cheap call. */
int lb_writer_intact(lb_writer_t *writer);

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

/* Bytes after which a commit cell is synced along with the data;
 * tests make it small. */
extern uint64_t lb_cell_every;

#endif /* _LB_WRITER_H_INCLUDED_ */
