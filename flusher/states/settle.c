#include "flusher/states/states.h"

#include <stdio.h>
#include <string.h>

#include "spool/lb_clock.h"

int
lb_settle_other_table(const lb_deliver_t *d)
{
    char now[LB_TABLE_MAX + 1];

    (void)snprintf(now, sizeof(now), "%s.%s", d->options->database,
                   d->options->table);

    return strcmp(now, d->state->table) != 0;
}

/* The question goes on to the next server. */
void
lb_settle_move_on(lb_deliver_t *d)
{
    d->moved = 1;
    d->quiet_at = 0;
    d->sink->next(d->sink->ctx);
}

/* 1 if an attempt that was not answered may still come in: asks on. */
int
lb_settle_may_come_late(lb_deliver_t *d)
{
    int64_t now = lb_mono_ms();

    if (!d->loose) {
        return 0;
    }

    if (d->quiet_at != 0) {
        d->quiet_ms += now - d->quiet_at;
    }

    d->quiet_at = now;

    if (d->quiet_ms >= d->late_ms) {
        return 0;
    }

    lb_deliver_trouble(
        d, LB_LOG_WARN,
        "an INSERT without an answer may still come in: asking for %lld s "
        "more",
        (long long)(d->late_ms - d->quiet_ms + 999) / 1000);

    return 1;
}

/* Nothing of the batch is in and nothing of ours runs: what next? */
static int
not_in(lb_deliver_t *d)
{
    lb_ckpt_state_t *st = d->state;
    uint64_t rows = st->rows;

    if (d->claimed) {
        /* The server keeps the token and not the rows: it died, or failed,
         * between the two.  No late INSERT can come under that token any
         * more; the same rows go under a new one. */
        d->counters.renamed++;
        lb_deliver_trouble(
            d, LB_LOG_WARN,
            "ClickHouse knows the token of a batch and does not have its %llu "
            "rows: they are sent under a new token",
            (unsigned long long)rows);
        return lb_fix_picked(d) == 0;
    }

    /* What was asked elsewhere is settled: from now on the name counts, to
     * which INSERTs go. */
    if (d->elsewhere) {
        d->elsewhere = 0;
        d->other[0] = '\0';
        memcpy(st->table_uuid, d->table_uuid, LB_UUID_LEN);
    }

    if ((d->blame != LB_BLAME_NONE || (d->gone && lb_settle_other_table(d))) &&
        lb_settle_may_come_late(d)) {
        return 0;
    }

    if (d->gone && lb_settle_other_table(d)) {
        lb_deliver_say(
            d, LB_LOG_WARN,
            "there is no table %s, so the batch of %llu rows goes to %s.%s "
            "instead",
            st->table, (unsigned long long)rows, d->options->database,
            d->options->table);
        lb_deliver_clear(d);
        return lb_deliver_store(d) == 0;
    }

    switch (d->blame) {
    case LB_BLAME_DATA:
        return lb_state_poisoned(d);
    case LB_BLAME_SIZE:
        if (rows < 2) {
            break;
        }
        lb_size_refused(&d->size, rows);
        d->failures = 0;
        lb_deliver_say(
            d, LB_LOG_WARN,
            "a batch of %llu rows was too large for the server or what is "
            "before it: going on with %llu rows at most for now",
            (unsigned long long)rows, (unsigned long long)d->size.refused);
        lb_deliver_clear(d);
        /* memory may be short there and not elsewhere */
        if (!d->moved) {
            d->sink->next(d->sink->ctx);
        }
        return lb_deliver_store(d) == 0;
    case LB_BLAME_BYTES:
        lb_deliver_say(
            d, LB_LOG_WARN,
            "a batch of %llu rows is not in the table and cannot be made "
            "again as it was (its ring is damaged, or another release fixed "
            "it): it is chosen anew",
            (unsigned long long)rows);
        lb_deliver_clear(d);
        return lb_deliver_store(d) == 0;
    case LB_BLAME_TABLE:
        lb_deliver_say(d, LB_LOG_WARN,
                       "a batch of %llu rows is not in the table, which has "
                       "lost columns of it: it is chosen anew",
                       (unsigned long long)rows);
        lb_deliver_clear(d);
        return lb_deliver_store(d) == 0;
    default:
        break;
    }

    lb_deliver_say(d, LB_LOG_INFO,
                   "the batch of %llu rows is not in, sending it again",
                   (unsigned long long)rows);
    d->at = LB_DELIVER_FIXED;

    /* The server that failed may fail again; one that had to be asked in its
     * place is another already. */
    if (!d->moved) {
        d->sink->next(d->sink->ctx);
    }

    return 1;
}

static int
judge(lb_deliver_t *d, const lb_settled_t *a)
{
    static const uint8_t none[LB_UUID_LEN];
    lb_ckpt_state_t *st = d->state;

    if (a->found >= st->rows) {
        if (a->found > st->rows) {
            lb_deliver_trouble(d, LB_LOG_ERROR,
                               "ClickHouse holds %llu rows of a batch of %llu: "
                               "duplicates, see logbroker_audit",
                               (unsigned long long)a->found,
                               (unsigned long long)st->rows);
        } else {
            lb_deliver_say(d, LB_LOG_INFO, "the batch of %llu rows is in",
                           (unsigned long long)a->found);
            if (a->note[0] != '\0') {
                lb_deliver_say(d, LB_LOG_INFO, "%s", a->note);
            }
        }
        if (!d->view_failed && (a->views == 0 || d->claimed || d->views_done)) {
            return lb_deliver_ack(d) == 0;
        }
        return d->blame == LB_BLAME_TABLE ? lb_send_past_views(d)
                                          : lb_send_for_views(d);
    }

    if (d->elsewhere && memcmp(a->table_uuid, none, LB_UUID_LEN) != 0 &&
        memcmp(a->table_uuid, st->table_uuid, LB_UUID_LEN) != 0) {
        /* it has moved on: where to? */
        d->other[0] = '\0';
        return 0;
    }

    if (a->running > 0) {
        d->quiet_ms = 0;
        d->quiet_at = 0;
        lb_deliver_trouble(d, LB_LOG_WARN, "the INSERT of %llu rows still runs",
                           (unsigned long long)st->rows);
        return 0;
    }

    if (a->behind > 0) {
        lb_deliver_trouble(
            d, LB_LOG_WARN,
            "this replica is behind the others and cannot tell whether a "
            "batch of %llu rows is in: asking again",
            (unsigned long long)st->rows);
        lb_settle_move_on(d);
        return 0;
    }

    if (a->found > 0) {
        /* Not from an INSERT of ours, which is atomic in one partition; the
         * server fills up what is missing by the token. */
        lb_deliver_trouble(
            d, LB_LOG_ERROR,
            "only part of the batch is in (%llu of %llu); check PARTITION "
            "BY, it must be toDate(received_at).%s",
            (unsigned long long)a->found, (unsigned long long)st->rows,
            d->claimed ? "" : " Sending it again");
        d->at = d->claimed ? LB_DELIVER_UNKNOWN : LB_DELIVER_FIXED;
        return 0;
    }

    if (!d->elsewhere && memcmp(st->table_uuid, none, LB_UUID_LEN) != 0 &&
        memcmp(a->table_uuid, none, LB_UUID_LEN) != 0 &&
        memcmp(a->table_uuid, st->table_uuid, LB_UUID_LEN) != 0) {
        memcpy(d->table_uuid, a->table_uuid, LB_UUID_LEN);
        d->elsewhere = 1;
        lb_deliver_say(
            d, LB_LOG_WARN,
            "another table has taken the name %s while the outcome of a "
            "batch of %llu rows was unknown: asking in the one it was sent "
            "to",
            st->table, (unsigned long long)st->rows);
        return 1;
    }

    if (d->claimed && a->blind[0] != '\0') {
        lb_deliver_trouble(d, LB_LOG_ERROR,
                           "ClickHouse knows the token of a batch and does not "
                           "show its %llu rows; whether this replica is only "
                           "behind cannot be seen: %s. Asking again",
                           (unsigned long long)st->rows, a->blind);
        return 0;
    }

    return not_in(d);
}

int
lb_settle_asked(lb_deliver_t *d, const lb_settled_t *settled)
{
    d->counters.requests += (uint64_t)d->said.made;
    d->counters.checks += (uint64_t)d->said.made;

    if (settled->as == LB_SETTLED) {
        return 0;
    }

    if (settled->as == LB_SETTLED_AGAIN) {
        lb_deliver_say(d, LB_LOG_WARN, "%s", settled->note);
        return 1;
    }

    d->counters.not_sent += d->said.outcome == LB_SINK_NOT_SENT;
    d->counters.refused += d->said.outcome == LB_SINK_REFUSED;

    return 0;
}

/* The table that the batch was fixed for has lost its name. */
static int
look_elsewhere(lb_deliver_t *d)
{
    lb_settled_t settled;

    d->sink->where(d->sink->ctx, d->state->table_uuid, d->other, &d->said,
                   &settled);

    if (lb_settle_asked(d, &settled)) {
        return 1;
    }

    if (settled.as != LB_SETTLED) {
        lb_deliver_trouble(d, LB_LOG_WARN, "cannot ask where table %s went: %s",
                           d->state->table, d->said.text);
        lb_settle_move_on(d);
        return 0;
    }

    if (d->other[0] != '\0') {
        return 1;
    }

    lb_deliver_say(
        d, LB_LOG_WARN,
        "the table that a batch of %llu rows was sent to is gone (or this "
        "user may not see it): the batch goes to %s as it is now",
        (unsigned long long)d->state->rows, d->state->table);

    return not_in(d);
}

int
lb_state_unknown(lb_deliver_t *d)
{
    lb_settled_t settled;
    const char *table = d->state->table;

    static const uint8_t none[LB_UUID_LEN];

    if (d->elsewhere) {
        if (d->other[0] == '\0') {
            return look_elsewhere(d);
        }
        table = d->other;
    }

    d->gone &= d->elsewhere;

    d->sink->settle(d->sink->ctx, d->state, lb_spool_uuid(d->spool), table,
                    &d->said, &settled);

    if (lb_settle_asked(d, &settled)) {
        return 1;
    }

    switch (settled.as) {
    case LB_SETTLED:
        return judge(d, &settled);
    case LB_SETTLED_DENIED:
        if (!d->elsewhere) {
            break;
        }
        lb_deliver_trouble(
            d, LB_LOG_ERROR,
            "a batch of %llu rows was sent to the table that is now %s, "
            "and this user may not see whether it is there: GRANT "
            "SELECT(received_at, ring, seq) ON %s, or give the table its "
            "name back. Nothing is sent until then",
            (unsigned long long)d->state->rows, table, table);
        d->other[0] = '\0';
        return 0;
    case LB_SETTLED_NO_TABLE:
        if (d->elsewhere) {
            /* it has moved on: where to? */
            d->other[0] = '\0';
            return 0;
        }

        d->gone = 1;

        if (memcmp(d->state->table_uuid, none, LB_UUID_LEN) != 0) {
            d->elsewhere = 1;
            return 1;
        }

        if (lb_settle_other_table(d)) {
            return not_in(d);
        }
        break;
    default:
        break;
    }

    lb_deliver_trouble(d, LB_LOG_WARN,
                       "cannot ask about the batch of %llu rows: %s",
                       (unsigned long long)d->state->rows, d->said.text);
    lb_settle_move_on(d);

    return 0;
}
