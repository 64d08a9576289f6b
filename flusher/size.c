#include "flusher/size.h"

#include "flusher/pace.h"

static uint64_t
least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t
scaled(const lb_size_t *s, uint64_t first)
{
    return first * (1000 + (s->may_grow ? (uint64_t)s->grown : 0)) / 1000;
}

void
lb_size_limit(const lb_size_t *s, const lb_options_t *o,
              lb_batch_limits_t *limits)
{
    limits->max_rows = least(o->max_rows, scaled(s, LB_SIZE_ROWS));
    limits->max_bytes = least(o->max_bytes, scaled(s, LB_SIZE_BYTES));

    if (s->refused > 0) {
        limits->max_rows = least(limits->max_rows, s->refused);
    }
}

static uint64_t
time_there(const lb_options_t *o)
{
    uint64_t ms = o->node_count > 1 ? (uint64_t)o->node_count * LB_PACE_SLOT_MS
                                    : LB_SIZE_ALONE_MS;

    return least(ms, (uint64_t)o->request_timeout_ms / 5);
}

/* Could a batch be larger, if this were the only bound? */
static int
may_grow(const lb_size_t *s, const lb_options_t *o)
{
    if (!s->may_grow ||
        (s->refused > 0 && s->refused <= scaled(s, LB_SIZE_ROWS))) {
        return 0;
    }

    return scaled(s, LB_SIZE_ROWS) < o->max_rows ||
           scaled(s, LB_SIZE_BYTES) < o->max_bytes;
}

void
lb_size_done(lb_size_t *s, const lb_options_t *o, int64_t took)
{
    uint64_t ms, goal, thousandths;

    if (s->refused > 0 && ++s->successes >= LB_SIZE_SUCCESSES) {
        s->successes = 0;
        s->refused *= 2;
        if (s->refused >= o->max_rows) {
            s->refused = 0;
        }
    }

    if (took < 0) {
        return;
    }

    /* with room for an INSERT that takes a little longer than the last one */

    ms = took > 0 ? (uint64_t)took : 1;
    goal = time_there(o) * 9 / 10;
    thousandths = 1000 + (uint64_t)s->grown;

    if (ms > time_there(o)) {
        thousandths = thousandths * goal / ms;
    } else if (ms < goal && s->full && may_grow(s, o)) {
        thousandths = least(thousandths * 2, thousandths * goal / ms);
    }

    s->grown = thousandths > 1000 ? (uint32_t)(thousandths - 1000) : 0;
}

void
lb_size_failed(lb_size_t *s)
{
    s->grown = 0;
}

void
lb_size_refused(lb_size_t *s, uint64_t rows)
{
    s->refused = rows / 2;
    s->successes = 0;
    s->grown = 0;
}
