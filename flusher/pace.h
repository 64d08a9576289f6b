/*
 * When a request to ClickHouse may be sent.
 *
 * What counts is when its first byte leaves: names are looked up, connections
 * made and batches fixed before.
 *
 * Alone, a node sends a request at least LB_PACE_GAP_MS after the last one.  In
 * a cluster of N nodes time is cut into slots of LB_PACE_SLOT_MS by the wall
 * clock; slot k belongs to node k mod N, and a request may be sent only in the
 * first LB_PACE_WINDOW_MS of an own slot.  Two in neighbouring slots are then
 * at least SLOT - WINDOW = 1200 ms apart by their own clocks: LB_PACE_SPARE_MS
 * are left for clocks that differ and for the time requests are on their way.
 *
 * Pure: the caller brings the time.
 */

#ifndef _LB_PACE_H_INCLUDED_
#define _LB_PACE_H_INCLUDED_

#include <stdint.h>

#define LB_PACE_GAP_MS 1010 /* some are faster on their way than others */
#define LB_PACE_SLOT_MS 1250
#define LB_PACE_WINDOW_MS 50
#define LB_PACE_SPARE_MS (LB_PACE_SLOT_MS - LB_PACE_WINDOW_MS - 1000)

typedef struct {
    uint32_t index;
    uint32_t count;
    int64_t last; /* monotonic ms of the last request */
} lb_pace_t;

/* A process does not know when the one before it sent: it counts its own
 * start as a request. */
void lb_pace_init(lb_pace_t *pace, uint32_t index, uint32_t count,
                  int64_t mono_ms);

/* Milliseconds until a request may be sent; 0: now.  Ask again after waiting:
 * the wall clock may have been set. */
int64_t lb_pace_wait(const lb_pace_t *pace, int64_t mono_ms, int64_t wall_ms);

/* A request is sent now, or may have come as late as now. */
void lb_pace_start(lb_pace_t *pace, int64_t mono_ms);

#endif /* _LB_PACE_H_INCLUDED_ */
