/*
 * What of which ring is a dead letter, in memory: 24 bytes a letter.  Knows no
 * file.
 */

#ifndef _LB_DEAD_INDEX_H_INCLUDED_
#define _LB_DEAD_INDEX_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "lb_format.h"

/* A place of a ring; of damage the seq is 0. */
typedef struct {
    uint64_t seq;
    uint64_t position;
} lb_dead_place_t;

/* Places in order, by seq and then by position. */
typedef struct {
    uint8_t ring[LB_UUID_LEN];
    uint16_t kind; /* LB_DEAD_BITROT, LB_DEAD_ROW */
    lb_dead_place_t *place;
    size_t n;
    size_t room;
} lb_dead_places_t;

/* All zero: empty. */
typedef struct {
    lb_dead_places_t *list; /* one for each ring and kind */
    size_t nlists;
    uint64_t *letter; /* offsets in the file, in order; the lowest bit: done */
    size_t n;
    size_t room;
} lb_dead_index_t;

#define LB_DEAD_INDEX_DONE 1u

/* The next lb_dead_index_add of this ring and kind will find room.  0 or
 * -ENOMEM. */
int lb_dead_index_reserve(lb_dead_index_t *index, unsigned kind,
                          const uint8_t ring[LB_UUID_LEN]);

/* A letter behind all others of the file; room was reserved. */
void lb_dead_index_add(lb_dead_index_t *index, unsigned kind,
                       const uint8_t ring[LB_UUID_LEN], uint64_t seq,
                       uint64_t position, uint64_t offset, int done);

/* 1 if there is this letter; of damage the seq does not count. */
int lb_dead_index_has(const lb_dead_index_t *index, unsigned kind,
                      const uint8_t ring[LB_UUID_LEN], uint64_t seq,
                      uint64_t position);

/* Puts the seqs of rows of a ring in [first, end) there, each once, in order,
 * as long as there is room (max); how many there are. */
size_t lb_dead_index_rows(const lb_dead_index_t *index,
                          const uint8_t ring[LB_UUID_LEN], uint64_t first,
                          uint64_t end, uint64_t *seqs, size_t max);

/* 1 if a letter begins at this offset of the file. */
int lb_dead_index_begins(const lb_dead_index_t *index, uint64_t offset);

void lb_dead_index_clear(lb_dead_index_t *index);

#endif /* _LB_DEAD_INDEX_H_INCLUDED_ */
