#include "flusher/look.h"

#include <string.h>

/* a good table is looked at every minute, or in every twentieth slot, */
#define YES_MS 60000
#define YES_SLOTS 20

/* when there is nothing else to do more often */
#define IDLE_MS 20000
#define IDLE_SLOTS 4

/* one that is not, or not known to be */
#define NO_MS 10000
#define NO_SLOTS 4

/* after an error */
#define ERROR_MS 5000

/* one that found no table, if nothing is sent before one is found */
#define RETRY_MS 1000

#define SLOT_MS 1250

static int64_t
at_least(int64_t ms, uint32_t slots, uint32_t node_count)
{
    int64_t slot = node_count > 1 ? (int64_t)node_count * SLOT_MS : 1000;

    return slot * slots > ms ? slot * slots : ms;
}

void
lb_look_init(lb_look_t *l, int64_t now, int known)
{
    l->at = now;
    l->idle = now;
    l->made = 0;
    l->need = 3;
    l->first = !known;
    l->since = 0;
}

void
lb_look_soon(lb_look_t *l, int64_t now, uint32_t requests)
{
    l->at = now;
    l->need = requests;
}

int
lb_look_due(const lb_look_t *l, int64_t now, int wanted)
{
    return wanted && !l->first ? now >= l->at && l->since >= l->need
                               : now >= l->idle;
}

void
lb_look_request(lb_look_t *l, int64_t now, uint32_t node_count,
                const lb_said_t *said)
{
    int64_t at;

    l->since++;

    if (said->hold) {
        l->at = now;
        l->idle = now;
        l->need = 0;
        return;
    }

    if (!said->suspect) {
        return;
    }

    /* not again and again while it goes on */
    at =
        l->made != 0 ? l->made + at_least(ERROR_MS, NO_SLOTS, node_count) : now;

    if (at < l->at) {
        l->at = at;
    }
    if (at < l->idle) {
        l->idle = at;
    }
    l->need = 1;
}

void
lb_look_made(lb_look_t *l, int64_t now, uint32_t node_count,
             const lb_verdict_t *p, int again)
{
    int good = strcmp(p->verdict, "yes") == 0;

    l->made = now;
    l->since = 0;

    if (again) {
        l->at = now;
        l->idle = now;
        l->need = 0;
        return;
    }

    l->at = now + (good ? at_least(YES_MS, YES_SLOTS, node_count)
                        : at_least(NO_MS, NO_SLOTS, node_count));
    l->idle = now + (good ? at_least(IDLE_MS, IDLE_SLOTS, node_count)
                          : at_least(NO_MS, NO_SLOTS, node_count));
    l->need = good ? 10 : 4;

    /* not reached, or no table yet: there is nothing else to do */
    if (l->first) {
        l->idle = now + at_least(RETRY_MS, 1, node_count);
    }
}
