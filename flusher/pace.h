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

/*
 * How far this machine's clock is from ClickHouse's.  The nodes of a cluster ask
 * the same servers: when their clocks are off, slots are cut by the server's.
 * The look at the table asks for the time and measures the difference.  When
 * our clock is set afterwards, which the monotonic clock shows, the difference
 * moves with it and is measured again; when the server's is, answers have a Date
 * in whole seconds that cannot be, and after some of those it is measured again
 * too, but seldom, for a Date may be that of a proxy.
 */

#define LB_CLOCK_TOLERANCE_MS 50
#define LB_CLOCK_DOUBTS 3
#define LB_CLOCK_AGAIN_MS 600000
#define LB_CLOCK_SET_AGAIN_MS 60000

typedef struct {
    int measured;
    int64_t offset; /* our clock minus the server's, ms, when measured */
    int64_t error;  /* how wrong that may be */
    int64_t ahead;  /* our clock minus the monotonic one, then */
    int doubts;     /* Dates that cannot be since the last measure */
    int64_t looked; /* monotonic ms another one was last asked for */
} lb_clock_t;

/* A request sent and answered at these moments of our wall clock was told this
 * time, all in ms.  One that took long does not say much: the better measure
 * stays unless both cannot be right. */
void lb_clock_measure(lb_clock_t *clock, int64_t mono_ms, int64_t sent_ms,
                      int64_t answered_ms, int64_t server_ms);

/* An answer with this Date (seconds): 1 if it is time for another measure. */
int lb_clock_date(lb_clock_t *clock, int64_t mono_ms, int64_t sent_ms,
                  int64_t answered_ms, int64_t date);

/* What to take from our clock: 0 while both agree within the tolerance, or
 * nothing is known. */
int64_t lb_clock_offset(const lb_clock_t *clock, int64_t mono_ms,
                        int64_t wall_ms);

#endif /* _LB_PACE_H_INCLUDED_ */
