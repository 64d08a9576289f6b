#include "flusher/states/states.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Keeps what an error says of a constraint. */
void
lb_sift_note(lb_deliver_t *d, const char *error)
{
    char *text = lb_question_constraint(error);
    uint32_t i;

    if (text == NULL) {
        d->no_sift = 1;
        return;
    }

    for (i = 0; i < d->nconstraints; i++) {
        if (strcmp(d->constraint[i], text) == 0) {
            free(text);
            return;
        }
    }

    if (d->nconstraints == LB_CONSTRAINTS_MAX) {
        /* the oldest may be gone from the table */
        free(d->constraint[0]);
        memmove(&d->constraint[0], &d->constraint[1],
                (LB_CONSTRAINTS_MAX - 1) * sizeof(d->constraint[0]));
        d->nconstraints--;
    }

    d->constraint[d->nconstraints++] = text;
}

void
lb_sift_forget(lb_deliver_t *d)
{
    while (d->nconstraints > 0) {
        free(d->constraint[--d->nconstraints]);
    }
}

void
lb_sift_describe(lb_deliver_t *d, lb_ch_insert_t *insert, char *table,
                 size_t size)
{
    lb_question_table(d->state->table, table, size);
    insert->table = table;
    insert->columns = lb_native_columns;
    insert->token = d->state->token;
    insert->rows = d->state->rows;
    insert->reads = d->reads != 0 ? d->reads : 1;
    insert->read = lb_source_read;
}

/* Nothing of the batch is in, and the server blames its data. */
int
lb_state_poisoned(lb_deliver_t *d)
{
    lb_error_t err;
    lb_ckpt_state_t *st = d->state;

    if (!d->no_sift && d->nconstraints > 0 && st->rows > 1 && !d->view_failed &&
        d->transport->query_rows != NULL) {
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

    d->counters.poison++;
    lb_deliver_trouble(
        d, LB_LOG_ERROR,
        "an event that ClickHouse cannot take was set aside as a dead "
        "letter: %s",
        d->poison.reason);

    lb_deliver_clear(d);

    return lb_deliver_store_and_tell(d) == 0;
}

/* Which rows of the batch break a constraint?  They are set aside at once, and
 * the others are a batch of their own. */
int
lb_state_sift(lb_deliver_t *d)
{
    int added;
    char *sql, table[LB_TABLE_MAX + 8], structure[512];
    uint32_t before = d->nexcluded;
    lb_error_t err;
    lb_ch_insert_t insert;
    lb_ch_result_t *r = &d->result;
    lb_ckpt_state_t *st = d->state;
    lb_source_t *source;

    sql = lb_question_sift((const char *const *)d->constraint, d->nconstraints);
    source = lb_source_new(d->rings, st, d->excluded, d->nexcluded);

    if (sql == NULL || source == NULL) {
        free(sql);
        lb_source_free(source);
        lb_deliver_trouble(d, LB_LOG_ERROR, "no memory to sift a batch");
        return 0;
    }

    lb_sift_describe(d, &insert, table, sizeof(table));
    insert.arg = source;
    lb_native_structure(structure, sizeof(structure));

    d->counters.requests++;
    d->counters.checks++;
    d->transport->query_rows(d->transport->ctx, sql, structure, &insert, r);
    lb_source_free(source);
    free(sql);

    if (r->outcome == LB_CH_NOT_SENT) {
        d->counters.not_sent++;
        lb_deliver_trouble(d, LB_LOG_WARN,
                           "cannot ask which rows break a constraint: %s",
                           r->text);
        d->transport->next_url(d->transport->ctx);
        return 0;
    }

    added = r->outcome == LB_CH_DONE
                ? lb_question_sift_answer(r->answer, st, d->excluded,
                                          LB_EXCLUDED_MAX, &d->nexcluded)
                : 0;

    if ((added < 0 || (r->http == 200 && r->code == 0 && added == 0 &&
                       r->outcome != LB_CH_DONE)) &&
        st->rows > LB_EXCLUDED_MAX) {
        d->log(LB_LOG_WARN,
               "too many of %llu rows break a constraint for one list: going "
               "on with %d rows at most for now",
               (unsigned long long)st->rows, LB_EXCLUDED_MAX);
        d->poison.limit = LB_EXCLUDED_MAX;
        lb_deliver_clear(d);
        return lb_deliver_store(d) == 0;
    }

    if (added <= 0) {
        d->nexcluded = before;
        d->log(LB_LOG_WARN,
               "ClickHouse cannot say which rows of the batch break a "
               "constraint (%s): searching by halves",
               r->outcome == LB_CH_DONE ? added < 0 ? "too many" : "none"
                                        : r->text);
        d->no_sift = 1;
        lb_sift_forget(d);
        return lb_state_poisoned(d);
    }

    if (lb_poison_exclude(&d->poison, d->rings, st, d->excluded, d->nexcluded,
                          d->dead, &err) != 0) {
        d->nexcluded = before;
        lb_deliver_trouble(d, LB_LOG_ERROR, "%s", err.text);
        return 0;
    }

    d->counters.poison += (uint64_t)added;
    lb_deliver_trouble(
        d, LB_LOG_ERROR,
        "%d of %llu events, which break a constraint, were set aside as "
        "dead letters: %s",
        added, (unsigned long long)st->rows, d->poison.reason);

    /* The list is at hand: a letter that was dropped meanwhile may have made
     * room for another. */
    st->rows -= (uint64_t)added;

    if (st->rows == 0) {
        return lb_deliver_ack(d) == 0;
    }

    return lb_fix_measure(d) == 0 && lb_fix_picked(d) == 0;
}
