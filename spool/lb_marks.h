/*
 * Marks: what had been received by when, without the wall clock.
 */

#ifndef _LB_MARKS_H_INCLUDED_
#define _LB_MARKS_H_INCLUDED_

#include <stdint.h>

#include "lb_format.h"

/* Everything before position had been received at this time of lb_boot_us,
 * at the latest; negative: before this boot. */
typedef struct {
    uint64_t position;
    int64_t boot_us;
} lb_mark_t;

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
 * unless now is set.  A failure is not reported: marks are a hint. */
void lb_marks_put(lb_marks_t *marks, int fd, uint64_t position, int now);

int lb_marks_read(int fd, uint64_t committed, lb_mark_t marks[LB_MARKS]);

#endif /* _LB_MARKS_H_INCLUDED_ */
