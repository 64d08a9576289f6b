#include "flusher/states/states.h"

#include <stdio.h>
#include <string.h>

#include "spool/lb_uuid.h"

/* Acks what is in the table behind the acked positions.  0, or -1: it does not
 * look like batches of ours. */
static int
take_over(lb_deliver_t *d, const lb_beyond_t *beyond, uint32_t n)
{
    int rc;
    char uuid[LB_UUID_TEXT];
    uint32_t i;
    size_t dead;
    uint64_t position, rows = 0;
    lb_error_t err;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    for (i = 0; i < n; i++) {
        e = lb_ckpt_find(d->state, beyond[i].ring);
        r = e != NULL ? lb_rings_find(d->rings, e->uuid) : NULL;
        lb_uuid_format(beyond[i].ring, uuid);

        if (r == NULL) {
            lb_deliver_trouble(
                d, LB_LOG_ERROR,
                "ClickHouse holds rows of ring %s, which is gone: put its "
                "file back",
                uuid);
            return -1;
        }

        /* a batch goes without its dead letters */
        rc = lb_dead_rows(d->dead, beyond[i].ring, beyond[i].first_seq,
                          beyond[i].last_seq + 1, NULL, 0, &dead, &err);
        if (rc != 0) {
            lb_deliver_trouble(d, LB_LOG_ERROR, "%s", err.text);
            return -1;
        }

        if (beyond[i].first_seq < e->acked_seq ||
            beyond[i].last_seq - beyond[i].first_seq + 1 !=
                beyond[i].rows + dead) {
            lb_deliver_trouble(
                d, LB_LOG_ERROR,
                "ClickHouse holds %llu rows of ring %s from seq %llu to "
                "%llu, behind the acked seq %llu: not one batch. Nothing is "
                "sent; check that no other flusher delivers the same ring",
                (unsigned long long)beyond[i].rows, uuid,
                (unsigned long long)beyond[i].first_seq,
                (unsigned long long)beyond[i].last_seq,
                (unsigned long long)e->acked_seq);
            return -1;
        }

        rc = lb_batch_locate(r, e, beyond[i].last_seq + 1, &position);
        if (rc != 0) {
            lb_deliver_trouble(
                d, LB_LOG_ERROR,
                "ClickHouse holds rows of ring %s up to seq %llu, which "
                "are not in its file: put the right file back. Nothing is "
                "sent",
                uuid, (unsigned long long)beyond[i].last_seq);
            return -1;
        }
    }

    for (i = 0; i < n; i++) {
        e = lb_ckpt_find(d->state, beyond[i].ring);
        r = lb_rings_find(d->rings, e->uuid);
        (void)lb_batch_locate(r, e, beyond[i].last_seq + 1, &position);

        /* what lies between was set aside before that batch, or of it */
        d->state->dead +=
            beyond[i].last_seq + 1 - e->acked_seq - beyond[i].rows;
        d->state->delivered += beyond[i].rows;
        rows += beyond[i].rows;
        e->acked = position;
        e->acked_seq = beyond[i].last_seq + 1;
    }

    lb_deliver_say(
        d, LB_LOG_WARN,
        "%llu rows behind the checkpoint were in ClickHouse already; going "
        "on behind them",
        (unsigned long long)rows);

    return 0;
}

int
lb_state_doubt(lb_deliver_t *d)
{
    uint32_t i, n;
    uint64_t from_us, to_us;
    lb_settled_t settled;

    static lb_beyond_t beyond[LB_SLOTS_MAX];

    for (i = 0; i < d->rings->n; i++) {
        if (!d->rings->ring[i].broken) {
            /* an older checkpoint may not know of it */
            (void)lb_rings_entry(d->state, &d->rings->ring[i]);
        }
    }

    if (d->rings->trouble.code != 0) {
        lb_deliver_trouble(
            d, LB_LOG_ERROR,
            "nothing is sent until every ring can be read, for it is not "
            "known what of them is in ClickHouse: %s",
            d->rings->trouble.text);
        return 0;
    }

    if (d->state->table[0] == '\0') {
        (void)snprintf(d->state->table, sizeof(d->state->table), "%s.%s",
                       d->options->database, d->options->table);
    }

    lb_batch_span(d->rings, d->state, &from_us, &to_us);
    d->sink->beyond(d->sink->ctx, d->state, lb_spool_uuid(d->spool), from_us,
                    to_us, beyond, LB_SLOTS_MAX, &n, &d->said, &settled);

    if (lb_settle_asked(d, &settled)) {
        return 1;
    }

    if (settled.as != LB_SETTLED &&
        !(settled.as == LB_SETTLED_NO_TABLE && lb_settle_other_table(d))) {
        lb_deliver_trouble(
            d, LB_LOG_WARN,
            "cannot ask what ClickHouse holds behind the checkpoint: %s",
            d->said.text);
        lb_settle_move_on(d);
        return 0;
    }

    if (settled.running > 0 || settled.behind > 0) {
        d->quiet_ms = 0;
        d->quiet_at = 0;
        lb_deliver_trouble(
            d, LB_LOG_WARN,
            settled.running > 0
                ? "an INSERT of this spool still runs: waiting for it"
                : "this replica is behind the others: waiting for it");
        return 0;
    }

    if (n == 0 && lb_settle_may_come_late(d)) {
        return 0;
    }

    if (n > 0 && take_over(d, beyond, n) != 0) {
        return 0;
    }

    /* The lost state may have used the next number. */
    d->state->batch_id++;
    d->state->flags &= ~LB_CKPT_DOUBT;
    d->failures = 0;
    lb_deliver_clear(d);

    return lb_deliver_store_and_tell(d) == 0;
}
