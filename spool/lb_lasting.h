/*
 * For how long a spool takes events while nothing is delivered, if as much
 * comes as on the last day.
 */

#ifndef _LB_LASTING_H_INCLUDED_
#define _LB_LASTING_H_INCLUDED_

#include <stdint.h>

#include "lb_reader.h"

/* Sums over the rings of a spool; begins as zeros. */
typedef struct {
    uint64_t room;      /* bytes of rings that can be written to */
    uint64_t backlog;   /* bytes that are not delivered */
    uint64_t received;  /* bytes that came within window_us */
    uint64_t window_us; /* up to a day; less if the rings are younger */
} lb_lasting_t;

/* One more ring; acked: its position, by the checkpoint.  What came when is
 * told by its marks, in time for which the machine was on. */
void lb_lasting_ring(lb_lasting_t *lasting, lb_reader_t *reader,
                     const lb_ring_info_t *info, uint64_t acked);

/* The same by its marks, at this time of lb_boot_us; age_us: of the ring. */
void lb_lasting_marks(lb_lasting_t *lasting, const lb_mark_t *marks, int n,
                      uint64_t committed, uint64_t age_us, int64_t now);

/* Seconds from now on until requests are refused (empty: if all had been
 * delivered), or UINT64_MAX: nothing has come, or there is no ring. */
uint64_t lb_lasting_seconds(const lb_lasting_t *lasting, int empty);

#endif /* _LB_LASTING_H_INCLUDED_ */
