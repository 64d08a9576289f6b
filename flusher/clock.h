/*
 * How far this machine's clock is from ClickHouse's.  The nodes of a cluster ask
 * the same servers: when their clocks are off, slots are cut by the server's.
 * The look at the table asks for the time and measures the difference.  When
 * our clock is set afterwards, which the monotonic clock shows, the difference
 * moves with it and is measured again; when the server's is, answers have a Date
 * in whole seconds that cannot be, and after some of those it is measured again
 * too, but seldom, for a Date may be that of a proxy.
 *
 * Pure: the caller brings the time.
 */

#ifndef _LB_FLUSHER_CLOCK_H_INCLUDED_
#define _LB_FLUSHER_CLOCK_H_INCLUDED_

#include <stdint.h>

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

#endif /* _LB_FLUSHER_CLOCK_H_INCLUDED_ */
