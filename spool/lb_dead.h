/*
 * Dead letters: what is set aside for good, with its reason, in a preallocated
 * file of the spool (layout in lb_format.h).  The flusher alone appends.  A
 * letter is synced before the checkpoint moves past what it holds; if the
 * flusher dies in between, the letter is found again by ring, position and seq
 * and not written twice.
 *
 * A letter is open until it was replayed or dropped.  When the file is full
 * and no letter is open, it starts anew.
 */

#ifndef _LB_DEAD_H_INCLUDED_
#define _LB_DEAD_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "lb_error.h"
#include "lb_format.h"
#include "lb_reader.h"
#include "lb_record.h"
#include "lb_spool.h"

typedef struct lb_dead_s lb_dead_t;

typedef enum {
    LB_DEAD_IS_OPEN,
    LB_DEAD_IS_REPLAYING, /* a replay began and has not said how it ended */
    LB_DEAD_IS_DONE,      /* replayed or dropped */
} lb_dead_state_t;

typedef struct {
    uint64_t offset; /* in the file; its name for people and programs */
    uint64_t length;
    lb_dead_state_t state;
    uint16_t kind; /* LB_DEAD_BITROT, LB_DEAD_ROW */
    uint8_t ring[LB_UUID_LEN];
    uint64_t position;
    uint64_t first_seq;
    uint64_t events; /* 0: unknown */
    uint64_t set_aside_us;
    size_t reason_len;
    size_t bytes_len;
    uint8_t seal[12]; /* CRC and offset, as they are stored */
    char *reason;     /* of lb_dead_read: zero-terminated */
    uint8_t *bytes;
} lb_dead_letter_t;

/* Opens the file, or creates it with this size; size 0: -ENOENT instead. */
int lb_dead_open(lb_spool_t *spool, uint64_t size, lb_dead_t **dead,
                 lb_error_t *err);
void lb_dead_close(lb_dead_t *dead);

/* Letters that are open or being replayed. */
uint64_t lb_dead_count_open(lb_dead_t *dead);

/* How many events of a ring with seqs in [first, end) are dead letters, done
 * or not; the first max of their seqs, in order.  0; or an error: the file was
 * removed or damaged, and it is not known what is a dead letter. */
int lb_dead_rows(lb_dead_t *dead, const uint8_t ring[LB_UUID_LEN],
                 uint64_t first, uint64_t end, uint64_t *seqs, size_t max,
                 size_t *n, lb_error_t *err);

/* The letter at *offset (0: the first), without reason and bytes; *offset
 * moves to the next.  1, or 0 at the end. */
int lb_dead_next(lb_dead_t *dead, uint64_t *offset, lb_dead_letter_t *letter);

/* Reason and bytes too, to be freed by lb_dead_free.  -ENOENT: no letter has
 * this offset. */
int lb_dead_read(lb_dead_t *dead, uint64_t offset, lb_dead_letter_t *letter);
void lb_dead_free(lb_dead_letter_t *letter);

/* The record header a letter of the kind LB_DEAD_ROW begins with; the event
 * follows it, rec->header_len bytes from the start.  0 or LB_ECORRUPT. */
int lb_dead_record(const lb_dead_letter_t *letter, lb_record_t *rec);

/* Changes the state of a letter, synced; also while a flusher serves the
 * spool. */
int lb_dead_mark(lb_dead_t *dead, const lb_dead_letter_t *letter,
                 lb_dead_state_t state);

/* Sets the raw bytes between two positions of a ring aside.  -ENOSPC: the file
 * is full, nothing was set aside. */
int lb_dead_bitrot(lb_dead_t *dead, lb_reader_t *reader,
                   const lb_ring_info_t *info, uint64_t from, uint64_t to,
                   uint64_t first_seq, uint64_t events, lb_error_t *err);

/* Sets one event of a record aside, with the record's header. */
int lb_dead_row(lb_dead_t *dead, lb_reader_t *reader,
                const lb_ring_info_t *info, const lb_record_t *rec,
                uint64_t seq, const uint8_t *event, size_t len,
                const char *reason, lb_error_t *err);

#endif /* _LB_DEAD_H_INCLUDED_ */
