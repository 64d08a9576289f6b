/*
 * The file of a ring: created, opened, checked.
 */

#ifndef _LB_RINGFILE_H_INCLUDED_
#define _LB_RINGFILE_H_INCLUDED_

#include <stdint.h>

#include "lb_error.h"
#include "lb_format.h"
#include "lb_spool.h"

/* Creates a ring.  The file is preallocated as a whole, so that it never
 * lacks space, and zero-filled at the beginning; the rest is up to its writer
 * (lb_writer_fill_*).  Blocks for some syncs; call it from a thread.  Takes the
 * lowest slot below max_rings that has no ring and that no other process
 * is creating.  Returns the slot, or LB_ENOSLOT. */
int lb_ring_create(lb_spool_t *spool, uint64_t capacity, uint32_t max_rings,
                   lb_error_t *err);

/* The identity of a ring. */
typedef struct {
    uint8_t uuid[LB_UUID_LEN];
    uint64_t capacity;
    uint64_t created_us;
    uint32_t slot;
} lb_ring_id_t;

#define LB_RING_NAME 16
void lb_ring_name(uint32_t slot, char name[LB_RING_NAME]);

/* Opens the file of a slot and checks that it is a ring of this spool. */
int lb_ring_open(lb_spool_t *spool, uint32_t slot, int flags, int *fd,
                 lb_ring_id_t *id, lb_error_t *err);

/* 1 if the name of the slot still leads to this open file. */
int lb_ring_same(lb_spool_t *spool, uint32_t slot, int fd);

/* Makes the version of a ring LB_RING_VERSION_CONTEXTS, on stable storage: 0 or
 * -errno. */
int lb_ring_raise(int fd);

/* Zeros in the data area, from a position on: 0 or -errno. */
int lb_ring_zero(int fd, uint64_t capacity, uint64_t from, uint64_t to);

/* Bytes that are zero-filled in one go; two of them when a ring is created.
 * Tests make it small. */
extern uint64_t lb_fill_slice;

/* For lb_resize.c: the file temp that a ring is made in, locked and given to
 * the owner of the ring it replaces (fd, or -1: of the spool).  -EEXIST:
 * another process makes it. */
int lb_ring_temp(lb_spool_t *spool, const char *temp, int replaces, int *fd,
                 lb_error_t *err);

/* Preallocates it and writes identity and cells, synced: new ones, or, if old
 * is given, those of that ring, whose pages from LB_RING_WRITER on pages are. */
int lb_ring_make(lb_spool_t *spool, int fd, uint32_t slot, uint64_t capacity,
                 const lb_ring_id_t *old, uint8_t *pages);

int lb_ring_capacity_check(uint64_t capacity, lb_error_t *err);

#endif /* _LB_RINGFILE_H_INCLUDED_ */
