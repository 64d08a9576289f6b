/*
 * When a request to ClickHouse may start.
 *
 * Alone, a node starts a request at least LB_PACE_GAP_MS after the last one.
 * In a cluster of N nodes time is cut into slots of LB_PACE_SLOT_MS by the
 * wall clock; slot k belongs to node k mod N, and a request may start only in
 * the first LB_PACE_WINDOW_MS of an own slot.  Two starts in neighbouring
 * slots are then at least SLOT - WINDOW = 1150 ms apart by their own clocks:
 * 150 ms are left for clocks that differ and for requests on their way.
 *
 * Pure: the caller brings the time.
 */

#ifndef _LB_PACE_H_INCLUDED_
#define _LB_PACE_H_INCLUDED_

#include <stdint.h>

#define LB_PACE_GAP_MS 1000
#define LB_PACE_SLOT_MS 1250
#define LB_PACE_WINDOW_MS 100

typedef struct {
    uint32_t index;
    uint32_t count;
    int64_t last; /* monotonic ms of the last start */
} lb_pace_t;

/* A process does not know when the one before it sent: it counts its own
 * start as a request. */
void lb_pace_init(lb_pace_t *pace, uint32_t index, uint32_t count,
                  int64_t mono_ms);

/* Milliseconds until a request may start; 0: now.  Ask again after waiting:
 * the wall clock may have been set. */
int64_t lb_pace_wait(const lb_pace_t *pace, int64_t mono_ms, int64_t wall_ms);

/* A request starts now. */
void lb_pace_start(lb_pace_t *pace, int64_t mono_ms);

/*
 * How far this machine's clock is from ClickHouse's.  The nodes of a cluster ask
 * the same server: when their clocks are off, slots are cut by its clock.  The
 * look at the table asks for the time and measures the difference; every answer
 * has a Date, in whole seconds, which shows when the measure no longer holds.
 */

#define LB_CLOCK_TOLERANCE_MS 100

typedef struct {
    int64_t offset; /* our clock minus the server's, ms */
} lb_clock_t;

/* A request begun and answered at these moments of our wall clock was told
 * this time, in ms. */
void lb_clock_measure(lb_clock_t *clock, int64_t sent_ms, int64_t answered_ms,
                      int64_t server_ms);

/* 1 if an answer with this Date (seconds) cannot be if the measure is right
 * within the tolerance. */
int lb_clock_doubtful(const lb_clock_t *clock, int64_t sent_ms,
                      int64_t answered_ms, int64_t date);

/* What to take from our clock: 0 while both agree within the tolerance. */
int64_t lb_clock_offset(const lb_clock_t *clock);

#endif /* _LB_PACE_H_INCLUDED_ */
