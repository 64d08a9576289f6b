#include "flusher/states/states.h"

/* Nothing of the batch is in, and the server blames its data. */
int
lb_state_poisoned(lb_deliver_t *d)
{
    lb_error_t err;
    lb_ckpt_state_t *st = d->state;

    if (!d->no_sift && st->rows > 1 && !d->view_failed) {
        d->at = LB_DELIVER_SIFT;
        return 1;
    }

    if (lb_batch_events(st) > 1) {
        st->rows = lb_batch_events(st);
        if (lb_poison_halve(&d->poison, d->rings, st, &err) != 0) {
            lb_deliver_trouble(d, LB_LOG_ERROR, "%s", err.text);
            return 0;
        }
        return lb_fix_ranges(d) == 0;
    }

    if (lb_poison_set_aside(&d->poison, d->rings, st, d->dead, &err) != 0) {
        lb_deliver_trouble(d, LB_LOG_ERROR, "%s", err.text);
        return 0;
    }

    lb_deliver_trouble(
        d, LB_LOG_ERROR,
        "an event that ClickHouse cannot take was set aside as a dead "
        "letter: %s",
        d->poison.reason);

    lb_deliver_clear(d);

    return lb_deliver_store_and_tell(d) == 0;
}

/* Asks which rows of the batch break a constraint: they are set aside at once,
 * and the others are a batch of their own. */
int
lb_state_sift(lb_deliver_t *d)
{
    uint32_t before = d->nexcluded, added;
    lb_error_t err;
    lb_sifted_t sifted;
    lb_source_t *source;
    lb_ckpt_state_t *st = d->state;
    lb_sink_batch_t batch;

    source = lb_send_source(d, &batch);
    if (source == NULL) {
        lb_deliver_trouble(d, LB_LOG_ERROR, "no memory to sift a batch");
        return 0;
    }

    sifted = d->sink->sift(d->sink->ctx, &batch, d->excluded, LB_EXCLUDED_MAX,
                           &d->nexcluded, &d->said);
    lb_source_free(source);
    d->counters.requests += (uint64_t)d->said.made;
    d->counters.checks += (uint64_t)d->said.made;

    if (!d->said.made) {
        lb_deliver_trouble(d, LB_LOG_ERROR, "%s", d->said.text);
        return 0;
    }

    if (d->said.outcome == LB_SINK_NOT_SENT) {
        d->counters.not_sent++;
        lb_deliver_trouble(d, LB_LOG_WARN,
                           "cannot ask which rows break a constraint: %s",
                           d->said.text);
        d->sink->next(d->sink->ctx);
        return 0;
    }

    switch (sifted) {
    case LB_SIFTED_AGAIN:
        return 1;
    case LB_SIFTED_MANY:
        lb_deliver_say(
            d, LB_LOG_WARN,
            "too many of %llu rows break a constraint for one list: going "
            "on with %d rows at most for now",
            (unsigned long long)st->rows, LB_EXCLUDED_MAX);
        d->poison.limit = LB_EXCLUDED_MAX;
        lb_deliver_clear(d);
        return lb_deliver_store(d) == 0;
    case LB_SIFTED_NOT:
        lb_deliver_say(d, LB_LOG_WARN,
                       "ClickHouse cannot say which rows of the batch break a "
                       "constraint (%s): searching by halves",
                       d->said.text);
        d->no_sift = 1;
        return lb_state_poisoned(d);
    default:
        break;
    }

    added = d->nexcluded - before;

    if (lb_poison_exclude(&d->poison, d->rings, st, d->excluded, d->nexcluded,
                          d->dead, &err) != 0) {
        d->nexcluded = before;
        lb_deliver_trouble(d, LB_LOG_ERROR, "%s", err.text);
        return 0;
    }

    lb_deliver_trouble(
        d, LB_LOG_ERROR,
        "%u of %llu events, which break a constraint, were set aside as "
        "dead letters: %s",
        added, (unsigned long long)st->rows, d->poison.reason);

    /* The list is at hand: a letter that was dropped meanwhile may have made
     * room for another. */
    st->rows -= added;

    if (st->rows == 0) {
        return lb_deliver_ack(d) == 0;
    }

    return lb_fix_measure(d) == 0 && lb_fix_picked(d) == 0;
}
