/*
 * The seam between events and what a sink is sent: rows to bytes.
 *
 * A batch is fixed together with the version of its encoding (the checkpoint
 * has it) and is always made again by the encoder of that version: the same
 * events give the same bytes.  A change of the bytes is a new version beside
 * the old one, which stays as long as a batch of it can be in flight.
 */

#ifndef _LB_ENCODE_H_INCLUDED_
#define _LB_ENCODE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "event/lines.h"
#include "spool/lb_ring.h"

typedef struct {
    uint32_t version; /* lb_ckpt_state_t.encoding */

    /* broker: name of the node, copied.  NULL: no memory. */
    void *(*open)(const char *broker);
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

/* The encoder of a version in a list that ends with NULL; NULL: no such one. */
static inline const lb_encoder_t *
lb_encoder_find(const lb_encoder_t *const *list, uint32_t version)
{
    while (*list != NULL && (*list)->version != version) {
        list++;
    }

    return *list;
}

#endif /* _LB_ENCODE_H_INCLUDED_ */
