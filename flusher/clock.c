#include "flusher/clock.h"

/* The measured difference as it is now: clocks that are set by steps. */
static int64_t
offset_now(const lb_clock_t *clock, int64_t mono_ms, int64_t wall_ms)
{
    return clock->offset + (wall_ms - mono_ms - clock->ahead);
}

static int64_t
distance(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

void
lb_clock_measure(lb_clock_t *clock, int64_t mono_ms, int64_t sent_ms,
                 int64_t answered_ms, int64_t server_ms)
{
    int64_t offset = (sent_ms + answered_ms) / 2 - server_ms;
    int64_t error = (answered_ms - sent_ms + 1) / 2;

    clock->doubts = 0;

    /* our clock was set while it was measured */
    if (error < 0) {
        return;
    }

    if (clock->measured && error > LB_CLOCK_TOLERANCE_MS / 2 &&
        error > clock->error &&
        distance(offset, offset_now(clock, mono_ms, answered_ms)) <=
            error + clock->error) {
        clock->offset = offset_now(clock, mono_ms, answered_ms);
        clock->ahead = answered_ms - mono_ms;
        return;
    }

    clock->measured = 1;
    clock->offset = offset;
    clock->error = error;
    clock->ahead = answered_ms - mono_ms;
}

int
lb_clock_date(lb_clock_t *clock, int64_t mono_ms, int64_t sent_ms,
              int64_t answered_ms, int64_t date)
{
    int64_t low = sent_ms - date * 1000 - 999;
    int64_t high = answered_ms - date * 1000;
    int64_t offset =
        clock->measured ? offset_now(clock, mono_ms, answered_ms) : 0;
    int64_t slack = LB_CLOCK_TOLERANCE_MS + clock->error, again;

    if (offset < low - slack || offset > high + slack) {
        clock->doubts++;
    }

    /* seldom, if a Date is why: it may be that of a proxy */

    if (clock->doubts >= LB_CLOCK_DOUBTS) {
        again = LB_CLOCK_AGAIN_MS;
    } else if (clock->measured &&
               distance(answered_ms - mono_ms, clock->ahead) >
                   LB_CLOCK_TOLERANCE_MS) {
        again = LB_CLOCK_SET_AGAIN_MS;
    } else {
        return 0;
    }

    if (clock->looked != 0 && mono_ms - clock->looked < again) {
        return 0;
    }

    clock->looked = mono_ms;

    return 1;
}

int64_t
lb_clock_offset(const lb_clock_t *clock, int64_t mono_ms, int64_t wall_ms)
{
    int64_t offset;

    if (!clock->measured) {
        return 0;
    }

    offset = offset_now(clock, mono_ms, wall_ms);

    return distance(offset, 0) > LB_CLOCK_TOLERANCE_MS &&
                   distance(offset, 0) > clock->error
               ? offset
               : 0;
}
