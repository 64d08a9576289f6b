/*
 * What a spool still holds for ClickHouse.
 */

#ifndef _LB_LEFT_H_INCLUDED_
#define _LB_LEFT_H_INCLUDED_

#include <stdint.h>

#include "lb_spool.h"

/* As far as it can be read. */
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

#endif /* _LB_LEFT_H_INCLUDED_ */
