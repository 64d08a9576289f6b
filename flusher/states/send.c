#include "flusher/states/states.h"

#include <stdio.h>

/* repeats of a batch for the sake of materialized views */
#define LB_VIEW_TURNS 3

/* errors in answer to the same INSERT after which it may be its size */
#define LB_SIZE_ANSWERS 4

lb_source_t *
lb_send_source(lb_deliver_t *d, lb_sink_batch_t *batch)
{
    lb_source_t *source;
    const lb_encoder_t *encoder;

    /* One that is not known here is only repeated if rows of it are in: then
     * the token counts and not the bytes. */
    encoder = lb_encoder_find(d->sink->encoders, d->state->encoding);
    if (encoder == NULL) {
        encoder = d->sink->encoders[0];
    }

    source =
        lb_source_new(encoder, d->rings, d->state, d->excluded, d->nexcluded);

    batch->state = d->state;
    batch->read = lb_source_read;
    batch->arg = source;

    return source;
}

/* The rows are in the table, but a materialized view threw, or it is not known
 * whether the INSERT came as far as the views: the same token again, which the
 * table deduplicates and the views take if they have not.  Not for ever: a view
 * that always throws must not stop the table. */
int
lb_send_for_views(lb_deliver_t *d)
{
    d->there = 1;

    if (!d->view_failed || d->view_turns++ < LB_VIEW_TURNS) {
        d->at = LB_DELIVER_FIXED;
        return !d->view_failed;
    }

    d->counters.view_misses++;
    lb_deliver_trouble(
        d, LB_LOG_ERROR,
        "a batch of %llu rows is in %s, but a materialized view did not "
        "take it %d times; going on without it: %s",
        (unsigned long long)d->state->rows, d->state->table, LB_VIEW_TURNS,
        d->poison.reason);

    return lb_deliver_ack(d) == 0;
}

/* It can never be sent again: the table has lost columns of it. */
int
lb_send_past_views(lb_deliver_t *d)
{
    d->counters.view_misses++;
    lb_deliver_trouble(
        d, LB_LOG_ERROR,
        "a batch of %llu rows is in %s, which has lost columns of it since: "
        "materialized views that do not have it yet go without it",
        (unsigned long long)d->state->rows, d->state->table);

    return lb_deliver_ack(d) == 0;
}

static lb_blame_t
blame(const lb_sent_t *sent, const lb_source_t *source, uint32_t answered)
{
    if (lb_source_damaged(source)) {
        return LB_BLAME_BYTES;
    }

    /* Something before the server may refuse it again and again. */
    return sent->blame == LB_BLAME_NONE && sent->answered &&
                   answered >= LB_SIZE_ANSWERS
               ? LB_BLAME_SIZE
               : sent->blame;
}

/* It is not known whether the batch is in. */
static int
unknown(lb_deliver_t *d, const lb_sent_t *sent, const lb_source_t *source)
{
    const lb_said_t *said = &d->said;

    d->counters.unknown++;
    d->repeated = 1;
    lb_size_failed(&d->size);

    if (sent->loose) {
        d->loose = 1;
        d->quiet_ms = 0;
    }

    d->quiet_at = 0;
    d->claimed = 0;
    d->answered += sent->answered;
    d->blame = blame(sent, source, d->answered);
    d->view_failed = sent->view_failed;
    d->views_done = sent->views_done;
    (void)snprintf(d->poison.reason, sizeof(d->poison.reason), "%s",
                   said->text);

    if (d->blame == LB_BLAME_DATA && !d->view_failed) {
        d->no_sift |= !sent->siftable;
    }

    if (!d->there) {
        d->at = LB_DELIVER_UNKNOWN;
        lb_deliver_trouble(
            d, LB_LOG_WARN,
            "outcome of a batch of %llu rows unknown, will ask for its rows: "
            "%s%s%s",
            (unsigned long long)d->state->rows, said->text,
            lb_source_error(source)[0] != '\0' ? ": " : "",
            lb_source_error(source));
        return 0;
    }

    lb_deliver_trouble(d, LB_LOG_WARN,
                       "a batch of %llu rows is in, its materialized views may "
                       "not have it yet: %s",
                       (unsigned long long)d->state->rows, said->text);

    /* an answer, or none in time, is the views' doing */
    d->view_failed |= sent->answered || sent->timed_out;

    /* reads are counted otherwise where all is deduplicated */
    return d->views_done ? lb_deliver_ack(d) == 0 : lb_send_for_views(d) && 0;
}

int
lb_state_fixed(lb_deliver_t *d)
{
    int rc = 0;
    lb_sent_t sent;
    lb_source_t *source;
    lb_sink_batch_t batch;
    const lb_said_t *said = &d->said;

    source = lb_send_source(d, &batch);
    if (source == NULL) {
        lb_deliver_trouble(d, LB_LOG_ERROR, "no memory to encode a batch");
        return 0;
    }

    d->moved = 0;
    d->sink->send(d->sink->ctx, &batch, &d->said, &sent);
    d->counters.requests += (uint64_t)said->made;
    d->took_ms = -1;

    switch (said->outcome) {
    case LB_SINK_DONE:
        if (!d->repeated && said->sent_ms != 0) {
            d->took_ms = said->dated_ms - said->sent_ms;
        }
        if (!d->repeated || d->there) {
            rc = lb_deliver_ack(d) == 0;
            break;
        }
        /* the token is known; are the rows? */
        d->claimed = 1;
        d->view_failed = 0;
        d->at = LB_DELIVER_UNKNOWN;
        rc = 1;
        break;
    case LB_SINK_NOT_SENT:
        d->counters.not_sent++;
        if (said->late) {
            lb_deliver_say(d, LB_LOG_INFO, "%s", said->text);
            break;
        }
        lb_deliver_trouble(d, LB_LOG_WARN,
                           "ClickHouse cannot be reached (%s); %llu rows wait",
                           said->text, (unsigned long long)d->state->rows);
        d->sink->next(d->sink->ctx);
        break;
    case LB_SINK_REFUSED:
        d->counters.refused++;
        lb_size_failed(&d->size);
        lb_deliver_trouble(
            d, LB_LOG_ERROR,
            "ClickHouse refused a batch of %llu rows, which is sent again: %s",
            (unsigned long long)d->state->rows, said->text);
        if (sent.no_table && lb_settle_other_table(d)) {
            /* it may have to go to the one that is configured now */
            d->at = LB_DELIVER_UNKNOWN;
        }
        d->sink->next(d->sink->ctx);
        break;
    default:
        rc = unknown(d, &sent, source);
    }

    lb_source_free(source);

    return rc;
}
