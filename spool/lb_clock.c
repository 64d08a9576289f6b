/*
 * The only place that asks the system for the time.
 */

#include "lb_clock.h"

#include <time.h>

static uint64_t
read_us(clockid_t clock)
{
    struct timespec ts;

    (void)clock_gettime(clock, &ts);

    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t
lb_now_us(void)
{
    return read_us(CLOCK_REALTIME);
}

uint64_t
lb_mono_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t
lb_mono_ms(void)
{
    return (int64_t)(lb_mono_us() / 1000);
}

uint64_t
lb_boot_us(void)
{
    return read_us(CLOCK_BOOTTIME);
}
