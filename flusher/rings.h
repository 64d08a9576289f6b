/*
 * The rings of a spool as the flusher sees them: opened readers and, for each,
 * its entry in the checkpoint.
 */

#ifndef _LB_RINGS_H_INCLUDED_
#define _LB_RINGS_H_INCLUDED_

#include "spool/lb_checkpoint.h"
#include "spool/lb_error.h"
#include "spool/lb_format.h"
#include "spool/lb_reader.h"
#include "spool/lb_spool.h"

typedef struct {
    lb_reader_t *reader;
    lb_ring_info_t info;   /* of the last lb_rings_look */
    int broken;            /* cannot be read now: left alone, not forgotten */
    int64_t free_since;    /* monotonic ms it was first seen unlocked, or -1 */
    uint32_t closed_epoch; /* recovered as an orphan at this epoch */
} lb_flusher_ring_t;

typedef struct {
    lb_spool_t *spool;
    lb_flusher_ring_t ring[LB_SLOTS_MAX];
    uint32_t n;
    int64_t listed; /* monotonic ms of the last listing, or -1 */

    /* What could not be listed, opened, read or written since the last
     * listing; code 0: nothing. */
    lb_error_t trouble;

    uint32_t unopened; /* rings that could not be, at the last listing */
    int unlisted;      /* the folder could not be: there may be more rings */

    int untold; /* a writer does not know yet what it may reuse */
} lb_rings_t;

/* A ring cannot be read: it looks empty until the next look. */
void lb_rings_leave(lb_rings_t *rings, lb_flusher_ring_t *r, int rc);

void lb_rings_init(lb_rings_t *rings, lb_spool_t *spool);
void lb_rings_close(lb_rings_t *rings);

/* Opens new rings, forgets replaced ones, reads what they hold now.  A ring
 * that cannot be opened or read is trouble, not an error: it is left alone
 * until it can be, the others go on; so is a folder that can be listed no
 * more.  An error: it never could. */
int lb_rings_look(lb_rings_t *rings, int64_t mono_ms, lb_error_t *err);

/* 1 if what all rings hold is not known: one of them cannot be read. */
int lb_rings_unread(const lb_rings_t *rings);

/* Makes sure every ring has an entry in the state, and drops entries of rings
 * that are gone and have nothing left to deliver.  1: something changed that
 * the next store will carry along. */
int lb_rings_enter(lb_rings_t *rings, lb_ckpt_state_t *state);

/* Orphans: a ring without a writer for LB_ORPHAN_MS is claimed once, so that
 * records behind its commit cell (after a power cut) are committed.  One that
 * cannot be is trouble and tried again as much later; what it has committed is
 * delivered all the same. */
#define LB_ORPHAN_MS 5000
void lb_rings_recover_orphans(lb_rings_t *rings, int64_t mono_ms);

/* The ring's entry in the state, made if there is none.  NULL: no room. */
lb_ckpt_ring_t *lb_rings_entry(lb_ckpt_state_t *state,
                               const lb_flusher_ring_t *r);

/* The open ring of a UUID, or NULL. */
lb_flusher_ring_t *lb_rings_find(lb_rings_t *rings,
                                 const uint8_t uuid[LB_UUID_LEN]);

typedef struct {
    uint64_t events;
    uint64_t bytes;
} lb_backlog_t;

void lb_rings_backlog(lb_rings_t *rings, lb_ckpt_state_t *state,
                      lb_backlog_t *backlog);

/* Tells the writers what they may reuse.  One that cannot be told is trouble,
 * and untold is set until a further call has told it: its ring fills up, the
 * others go on. */
void lb_rings_ack(lb_rings_t *rings, lb_ckpt_state_t *state);

#endif /* _LB_RINGS_H_INCLUDED_ */
