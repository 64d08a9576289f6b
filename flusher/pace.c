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
