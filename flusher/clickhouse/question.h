/*
 * What is asked about a batch in doubt: the SQL, and what an answer says.
 * Pure: no requests are made here.
 *
 * One SELECT tells how many of the batch's rows are in the table; whether an
 * INSERT of this spool still runs (then they may come yet); whether this
 * replica has everything that others confirmed (else they may be elsewhere);
 * and which table it was that answered to the name.
 */

#ifndef _LB_QUESTION_H_INCLUDED_
#define _LB_QUESTION_H_INCLUDED_

#include "flusher/sink.h"

/* What the user may not look at is not asked. */
#define LB_ASK_NO_PROCESSES 0x1u
#define LB_ASK_NO_REPLICAS 0x2u

/* "db.table" of the checkpoint as SQL. */
void lb_question_table(const char *table, char *out, size_t size);

/* About the batch in flight; table is "db.table".  The caller frees it; NULL:
 * no memory. */
char *lb_question_batch(const lb_ckpt_state_t *state, const char *table,
                        const char *prefix, unsigned flags);

typedef struct {
    uint64_t found;
    uint64_t running;
    uint64_t behind; /* 1: this replica does not have everything yet */
    uint8_t table_uuid[LB_UUID_LEN];
    uint64_t views; /* materialized views on the table */
    int replicated; /* the table's engine keeps tokens together with parts */
} lb_answer_t;

/* 0, or -1: not such an answer. */
int lb_question_batch_answer(const char *text, lb_answer_t *answer);

/* What is in the table behind the acked positions, ring by ring: asked when it
 * is not known which batch was sent last.  from_us, to_us: times of receipt it
 * can have, 0: any. */
char *lb_question_beyond(const lb_ckpt_state_t *state, const char *prefix,
                         uint64_t from_us, uint64_t to_us, unsigned flags);

/* Fills at most max entries and *n; running and behind as above.  0, or -1. */
int lb_question_beyond_answer(const char *text, lb_answer_t *answer,
                              lb_beyond_t *beyond, uint32_t max, uint32_t *n);

/* Which rows of a batch that goes along as the external table "batch" break one
 * of n constraints, in the words of the server's own error: one line per ring,
 * its UUID, the first seq and the distances to the next ones.  columns: what the
 * table makes of the batch's columns, as lb_question_columns was answered, or
 * NULL.  The caller frees it; NULL: no memory. */
char *lb_question_sift(const char *const *constraints, uint32_t n,
                       const char *columns);

#define LB_COLUMNS_SQL 2048

/* The table's own columns that are made of others and that a batch with these
 * columns of LB_LIFT_* does not have, as a list for a SELECT: one line. */
void lb_question_columns(const char *table, uint32_t columns, char *sql,
                         size_t size);

/* The expression of the constraint that an error names, to be freed; NULL: it
 * names none.  It becomes part of a statement, so it must be the server's: only
 * words that stand before any value of an event are believed. */
char *lb_question_constraint(const char *error);

/* Adds the answer to *n excluded events, in their order; max: room for them.
 * The number of new ones, or -1: there are more, or it is no such answer. */
int lb_question_sift_answer(const char *text, const lb_ckpt_state_t *state,
                            lb_excluded_t *excluded, uint32_t max, uint32_t *n);

/* The present "db.table" of a table by its UUID: one line, or none. */
void lb_question_where(const uint8_t uuid[LB_UUID_LEN], char *sql, size_t size);

#endif /* _LB_QUESTION_H_INCLUDED_ */
