/*
 * The clocks.  Intervals are measured by lb_mono_ms or lb_boot_us; lb_now_us
 * may be set at any moment, back too, and only says when something happened.
 */

#ifndef _LB_CLOCK_H_INCLUDED_
#define _LB_CLOCK_H_INCLUDED_

#include <stdint.h>

/* Wall clock, microseconds since 1970 UTC. */
uint64_t lb_now_us(void);

/* Monotonic clock: for intervals. */
uint64_t lb_mono_us(void);
int64_t lb_mono_ms(void);

/* Microseconds since the machine was started, sleep included; cannot be set. */
uint64_t lb_boot_us(void);

#endif /* _LB_CLOCK_H_INCLUDED_ */
