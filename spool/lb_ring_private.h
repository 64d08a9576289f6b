/*
 * Shared by the files of spool/ (and its tests), by nobody else.
 */

#ifndef _LB_RING_PRIVATE_H_INCLUDED_
#define _LB_RING_PRIVATE_H_INCLUDED_

#include <pthread.h>
#include <stdatomic.h>

#include "lb_bytes.h"
#include "lb_io.h"
#include "lb_ring.h"

/* No position, seq or size reaches this: whatever comes from a disk is below
 * it or not believed, so that sums of two do not overflow. */
#define LB_POSITION_MAX (1ull << 62)

static inline uint64_t
lb_align8(uint64_t n)
{
    return (n + 7) & ~(uint64_t)7;
}

/* Where a file is; 0: not known.  See lb_place.c. */
typedef struct {
    uint64_t inode;
    uint64_t born; /* nanoseconds since 1970 UTC */
    uint64_t fs;
    uint64_t machine;
    uint64_t disk;
} lb_place_t;

struct lb_spool_s {
    int dirfd;
    uint8_t uuid[LB_UUID_LEN];
    lb_tie_t tie;
    lb_place_t place; /* the one it is tied to */
    char note[256];
    char path[4096];
};

typedef struct {
    uint8_t uuid[LB_UUID_LEN];
    uint64_t capacity;
    uint64_t created_us;
    uint32_t slot;
} lb_identity_t;

/* The commit cell in memory. */
typedef struct {
    uint64_t generation;
    uint64_t committed;
    uint64_t next_seq;
    uint64_t durable;
    uint64_t committed_us;
    uint64_t fill_end;
    uint32_t epoch;
    uint32_t flags;
} lb_cell_t;

/* The ack cell in memory. */
typedef struct {
    uint64_t generation;
    uint64_t acked;
    uint64_t acked_seq;
} lb_ack_t;

/* lb_marks.c */

typedef struct {
    uint64_t position; /* of the newest mark */
    uint64_t put;      /* when that was */
    uint64_t since[LB_MARKS / LB_MARKS_LEVEL];
    uint64_t number[LB_MARKS / LB_MARKS_LEVEL];
    uint32_t boot;
} lb_marks_t;

/* For the holder of the ring: reads the marks, and puts one if something is
 * committed that none knows of. */
void lb_marks_open(lb_marks_t *marks, int fd, uint64_t committed);

/* Everything before position has been received by now.  At most once a second
 * unless now is set.  Nobody is told if it fails. */
void lb_marks_put(lb_marks_t *marks, int fd, uint64_t position, int now);

int lb_marks_read(int fd, uint64_t committed, lb_mark_t marks[LB_MARKS]);

/* lb_record.c: pure */

/* Header of a record into buf; returns its length. */
size_t lb_record_header_len(size_t stream_len, size_t key_len);
size_t lb_record_encode(uint8_t *buf, const lb_meta_t *meta, uint64_t position,
                        uint64_t first_seq, uint32_t epoch,
                        const uint8_t ring[LB_UUID_LEN], uint32_t payload_len,
                        uint32_t payload_crc, uint32_t events);

/* The length the header at buf claims, from its first LB_RECORD_FIXED bytes:
 * 0 if it cannot be a header. */
size_t lb_record_probe(const uint8_t *buf);

/* Decodes and checks a header of len bytes (what lb_record_probe said).
 * 0 or LB_ECORRUPT.  The payload is not looked at. */
int lb_record_decode(const uint8_t *buf, size_t len, uint64_t position,
                     const uint8_t ring[LB_UUID_LEN], lb_record_t *record);

/* lb_ring.c */

void lb_cell_encode(uint8_t buf[LB_CELL_SIZE], const lb_cell_t *cell);

/* The newest valid of the two cells of a writer page, or LB_ECORRUPT. */
int lb_cell_decode(const uint8_t *page, lb_cell_t *cell);
void lb_ack_encode(uint8_t buf[LB_CELL_SIZE], const lb_ack_t *ack);
int lb_ack_decode(const uint8_t *page, lb_ack_t *ack);

#define LB_RING_NAME 16
void lb_ring_name(uint32_t slot, char name[LB_RING_NAME]);

/* Opens the file of a slot and checks that it is a ring of this spool. */
int lb_ring_open(lb_spool_t *spool, uint32_t slot, int flags, int *fd,
                 lb_identity_t *id, lb_error_t *err);

/* 1 if the name of the slot still leads to this open file. */
int lb_ring_same(lb_spool_t *spool, uint32_t slot, int fd);

/* lb_view.c: a window on the data area, by position */

typedef struct {
    int fd;
    uint64_t capacity;
    uint8_t ring[LB_UUID_LEN];
    uint64_t start; /* position of buf[0] */
    size_t len;     /* bytes of buf that are filled */
    uint8_t *buf;   /* LB_READER_VIEW bytes */
} lb_view_t;

int lb_view_init(lb_view_t *view, int fd, const lb_identity_t *id);
void lb_view_free(lb_view_t *view);

/* Contracts of lb_reader_view and lb_reader_record. */
int lb_view_get(lb_view_t *view, uint64_t position, uint64_t end, size_t min,
                const uint8_t **data, size_t *len);
int lb_view_record(lb_view_t *view, uint64_t position, uint64_t end, int verify,
                   lb_record_t *record);

/* lb_writer.c: bytes after which a commit cell is synced along with the data;
 * tests make it small. */
extern uint64_t lb_cell_every;

/* Like lb_writer_claim_slot; LB_ELONG if recovery has more than budget bytes
 * to look through (0: as many as there are). */
int lb_writer_claim_within(lb_spool_t *spool, uint32_t slot, uint64_t budget,
                           lb_writer_t **writer, lb_error_t *err);

/* A claim that does not take long: what a recovery finds behind a cell that
 * this release has written, and some more. */
#define LB_CLAIM_QUICK (128u << 20)

/* lb_fill.c */

/* Bytes that are zero-filled in one go; tests make it small. */
extern uint64_t lb_fill_slice;

typedef struct {
    int fd; /* a description of its own; -1: nothing to fill */
    uint64_t capacity;
    uint64_t filled;    /* position; up to here it has been done */
    atomic_ullong end;  /* as in the cell; read by whoever writes it */
    atomic_ullong from; /* of the slice under way; UINT64_MAX: none */
    uint64_t to;        /* under the lock */
    pthread_mutex_t lock;
    int result;
} lb_fill_t;

/* Zeros in a ring's data area, from a position on. */
int lb_fill_zero(int fd, uint64_t capacity, uint64_t from, uint64_t to);

void lb_fill_init(lb_fill_t *fill, lb_spool_t *spool, uint32_t slot, int fd,
                  uint64_t capacity, const lb_cell_t *cell);
void lb_fill_close(lb_fill_t *fill);

/* next: behind everything staged.  1: there is a slice to be run. */
int lb_fill_begin(lb_fill_t *fill, uint64_t next);
void lb_fill_run(lb_fill_t *fill);
int lb_fill_end(lb_fill_t *fill);

/* Records up to end are about to be written: no slice may come after them. */
void lb_fill_yield(lb_fill_t *fill, uint64_t end);

/* lb_recovery.c */

typedef struct {
    uint64_t end;    /* position behind the last valid record */
    uint64_t seq;    /* seq behind its last event */
    uint32_t epoch;  /* highest seen */
    uint64_t events; /* found by this scan */
} lb_recovered_t;

/* Walks valid records from found's end and seq on, but never past limit, and
 * moves found along. */
int lb_recover(int fd, const lb_identity_t *id, uint64_t limit,
               lb_recovered_t *found);

/* The same with so many bytes to be looked through at most; what of them is
 * left is stored back.  LB_ELONG: there are more. */
int lb_recover_within(int fd, const lb_identity_t *id, uint64_t limit,
                      uint64_t *budget, lb_recovered_t *found);

/* lb_spool.c */

int lb_identity_create(lb_spool_t *spool, lb_error_t *err);

/* lb_tie.c */

/* Ties the spool to fd, its identity file, and puts that into the first sector
 * of it. */
void lb_tie_encode(lb_spool_t *spool, int fd, uint8_t sector[LB_SECTOR]);

/* What the first sector says, and whether it is true. */
void lb_tie_load(lb_spool_t *spool, int fd, const uint8_t sector[LB_SECTOR]);

/* Stores the tie if there is none, if more is known now, or if moved. */
int lb_tie_update(lb_spool_t *spool, int moved);

/* LB_ECOPY, and what to do about it. */
int lb_tie_refuse(lb_spool_t *spool, const lb_left_t *left, lb_error_t *err);

/* lb_spool_renew, by whoever holds the lock of the directory. */
int lb_tie_renew(lb_spool_t *spool, lb_error_t *err);

/* lb_place.c */

/* The network file system that fd is on, named in buf or by a literal, or
 * NULL. */
const char *lb_place_network(int fd, char *buf, size_t size);

/* The same of one line of mountinfo; pure. */
int lb_place_fuse_network(const char *type, const char *source);

/* Tests put a function of their own here. */
extern void (*lb_place_get)(int fd, lb_place_t *place);

/* In words what tells two places apart, or NULL. */
const char *lb_place_differs(const lb_place_t *was, const lb_place_t *is);

/* Takes over what was not known; 1 if there was something. */
int lb_place_fill(lb_place_t *to, const lb_place_t *from);

/* lb_checkpoint.c: an empty checkpoint for a new spool, complete and synced
 * under the given temporary name. */
int lb_ckpt_create(int dirfd, const char *name, const uint8_t uuid[LB_UUID_LEN],
                   lb_error_t *err);

#endif /* _LB_RING_PRIVATE_H_INCLUDED_ */
