#include "flusher/states/states.h"

#include <stdio.h>

/* repeats of a batch for the sake of materialized views */
#define LB_VIEW_TURNS 3

/* errors in answer to the same INSERT after which it may be its size */
#define LB_SIZE_ANSWERS 4

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
        "take it %d times; going on without it (token %s): %s",
        (unsigned long long)d->state->rows, d->state->table, LB_VIEW_TURNS,
        d->state->token, d->poison.reason);

    return lb_deliver_ack(d) == 0;
}

static lb_blame_t
blame(const lb_ch_result_t *r, const lb_source_t *source, uint32_t answered)
{
    if (lb_source_damaged(source)) {
        return LB_BLAME_BYTES;
    }

    if (lb_ch_error(r->code) & LB_CH_DATA) {
        return LB_BLAME_DATA;
    }

    /* What was not sent to its end within the time never gets in, nor does what
     * something before the server refuses again and again. */
    return lb_ch_blames_size(r->http, r->code) ||
                   (r->timed_out && !r->complete) ||
                   (r->http != 0 && answered >= LB_SIZE_ANSWERS)
               ? LB_BLAME_SIZE
               : LB_BLAME_NONE;
}

int
lb_state_fixed(lb_deliver_t *d)
{
    char table[LB_TABLE_MAX + 8];
    lb_ch_insert_t insert;
    lb_ch_result_t *r = &d->result;
    lb_source_t *source;

    source = lb_source_new(d->rings, d->state, d->excluded, d->nexcluded);
    if (source == NULL) {
        lb_deliver_trouble(d, LB_LOG_ERROR, "no memory to encode a batch");
        return 0;
    }

    lb_sift_describe(d, &insert, table, sizeof(table));
    insert.arg = source;

    d->moved = 0;
    d->counters.requests++;
    d->transport->insert(d->transport->ctx, &insert, r);

    switch (r->outcome) {
    case LB_CH_DONE:
        lb_source_free(source);
        if (!d->repeated || d->there) {
            return lb_deliver_ack(d) == 0;
        }
        /* the token is known; are the rows? */
        d->claimed = 1;
        d->view_failed = 0;
        d->at = LB_DELIVER_UNKNOWN;
        return 1;
    case LB_CH_NOT_SENT:
        d->counters.not_sent++;
        if (r->late) {
            d->log(LB_LOG_INFO, "%s", r->text);
            break;
        }
        lb_deliver_trouble(d, LB_LOG_WARN,
                           "ClickHouse cannot be reached (%s); %llu rows wait",
                           r->text, (unsigned long long)insert.rows);
        d->transport->next_url(d->transport->ctx);
        break;
    case LB_CH_REFUSED:
        d->counters.refused++;
        lb_deliver_trouble(
            d, LB_LOG_ERROR,
            "ClickHouse refused a batch of %llu rows, nothing is lost, it "
            "is sent again: %s",
            (unsigned long long)insert.rows, r->text);
        if (lb_ch_no_table(r->code) && lb_settle_other_table(d)) {
            /* it may have to go to the one that is configured now */
            d->at = LB_DELIVER_UNKNOWN;
        }
        d->transport->next_url(d->transport->ctx);
        break;
    default:
        d->counters.unknown++;
        d->repeated = 1;
        /* What is not ClickHouse's own answer is no end of the INSERT: a proxy
         * that says 504 may let it through yet. */
        if (r->complete && r->code == 0 && r->http != 413) {
            d->loose = 1;
            d->quiet_ms = 0;
        }
        d->quiet_at = 0;
        d->claimed = 0;
        d->read_rows = r->read_rows;
        d->answered += r->http != 0;
        d->blame = blame(r, source, d->answered);
        d->view_failed = lb_ch_blames_view(r->answer);
        d->views_done =
            r->http == 200 && r->code == 0 && r->read_rows >= d->state->rows;
        (void)snprintf(d->poison.reason, sizeof(d->poison.reason), "%s",
                       r->text);
        if (d->blame == LB_BLAME_DATA && !d->view_failed) {
            lb_sift_note(d, r->answer);
        }

        if (d->there) {
            lb_source_free(source);
            lb_deliver_trouble(
                d, LB_LOG_WARN,
                "a batch of %llu rows is in, its materialized views may "
                "not have it yet: %s",
                (unsigned long long)insert.rows, r->text);
            /* an answer, or none in time, is the views' doing */
            d->view_failed |= r->http != 0 || r->timed_out;
            /* reads are counted otherwise where all is deduplicated */
            return d->views_done ? lb_deliver_ack(d) == 0
                                 : lb_send_for_views(d) && 0;
        }

        d->at = LB_DELIVER_UNKNOWN;
        lb_deliver_trouble(
            d, LB_LOG_WARN,
            "outcome of a batch of %llu rows unknown, will ask for its "
            "rows: %s%s%s",
            (unsigned long long)insert.rows, r->text,
            lb_source_error(source)[0] != '\0' ? ": " : "",
            lb_source_error(source));
    }

    lb_source_free(source);

    return 0;
}
