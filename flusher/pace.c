#include "flusher/pace.h"

void
lb_pace_init(lb_pace_t *pace, uint32_t index, uint32_t count, int64_t mono_ms)
{
    pace->index = index;
    pace->count = count;
    pace->last = mono_ms;
}

int64_t
lb_pace_wait(const lb_pace_t *pace, int64_t mono_ms, int64_t wall_ms)
{
    int64_t wait, at, slot, offset, ahead;

    wait = pace->last + LB_PACE_GAP_MS - mono_ms;
    if (wait < 0) {
        wait = 0;
    }

    if (pace->count <= 1) {
        return wait;
    }

    /* the first moment from then on that lies in a window of ours */

    at = wall_ms + wait;
    slot = at / LB_PACE_SLOT_MS;
    offset = at % LB_PACE_SLOT_MS;

    ahead = (pace->index + pace->count - slot % pace->count) % pace->count;

    if (ahead == 0) {
        if (offset < LB_PACE_WINDOW_MS) {
            return wait;
        }
        ahead = pace->count;
    }

    return wait + ahead * LB_PACE_SLOT_MS - offset;
}

void
lb_pace_start(lb_pace_t *pace, int64_t mono_ms)
{
    pace->last = mono_ms;
}

void
lb_clock_measure(lb_clock_t *clock, int64_t sent_ms, int64_t answered_ms,
                 int64_t server_ms)
{
    clock->offset = (sent_ms + answered_ms) / 2 - server_ms;
}

int
lb_clock_doubtful(const lb_clock_t *clock, int64_t sent_ms, int64_t answered_ms,
                  int64_t date)
{
    int64_t low = sent_ms - date * 1000 - 999;
    int64_t high = answered_ms - date * 1000;

    return clock->offset < low - LB_CLOCK_TOLERANCE_MS ||
           clock->offset > high + LB_CLOCK_TOLERANCE_MS;
}

int64_t
lb_clock_offset(const lb_clock_t *clock)
{
    return clock->offset > LB_CLOCK_TOLERANCE_MS ||
                   clock->offset < -LB_CLOCK_TOLERANCE_MS
               ? clock->offset
               : 0;
}
