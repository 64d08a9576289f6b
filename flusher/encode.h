/*
 * The seam between events and what a sink is sent: rows to bytes.
 *
 * A batch is fixed together with its encoding (the checkpoint has it) and is
 * always made again by the encoder of that version, with those columns: the same
 * events give the same bytes.  A change of the bytes is a new version beside
 * the old one, which stays as long as a batch of it can be in flight.
 */

#ifndef _LB_ENCODE_H_INCLUDED_
#define _LB_ENCODE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "event/lines.h"
#include "spool/lb_ring.h"

/* An encoding, as in lb_ckpt_state_t: the version, and in the upper half the
 * columns that a table may lack and this one has, as bits of the encoder's. */
#define LB_ENCODING(version, columns)                                          \
    ((uint32_t)(version) | (uint32_t)(columns) << 16)
#define LB_ENCODING_VERSION(encoding) ((encoding)&0xffffu)
#define LB_ENCODING_COLUMNS(encoding) ((encoding) >> 16)

typedef struct {
    uint32_t version;
    uint32_t columns; /* those it can make */

    /* broker: name of the node, copied; columns: those to make.  NULL: no
     * memory. */
    void *(*open)(const char *broker, uint32_t columns);
    void (*close)(void *e);

    /* The record the next events belong to: 0, or -ENOMEM. */
    int (*record)(void *e, const uint8_t ring[LB_UUID_LEN],
                  const lb_record_t *record);

    /* A context line of the record, or a piece of one, in order: it holds for
     * the events that are added after it.  0, or -ENOMEM. */
    int (*context)(void *e, const lb_line_t *line);

    /* Adds one event (without its \n): 0, or -ENOMEM.  Only while full is 0. */
    int (*add)(void *e, const uint8_t *event, size_t len, uint64_t seq);

    /* 1: the block has reached its end and must be taken out. */
    int (*full)(const void *e);

    /* Ends the block; from now on take hands out its bytes.  Nothing happens
     * for a block without rows.  0, or -ENOMEM. */
    int (*end)(void *e);

    /* Up to size bytes of the block; 0: all taken, the next may begin. */
    size_t (*take)(void *e, void *buf, size_t size);
} lb_encoder_t;

/* The encoder of an encoding in a list that ends with NULL; NULL: no such one. */
static inline const lb_encoder_t *
lb_encoder_find(const lb_encoder_t *const *list, uint32_t encoding)
{
    while (*list != NULL &&
           ((*list)->version != LB_ENCODING_VERSION(encoding) ||
            (LB_ENCODING_COLUMNS(encoding) & ~(*list)->columns) != 0)) {
        list++;
    }

    return *list;
}

#endif /* _LB_ENCODE_H_INCLUDED_ */
