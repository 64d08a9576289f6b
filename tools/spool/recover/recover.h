/*
 * Shared by the files of logbroker-spool recover.
 */

#ifndef _LB_RECOVER_H_INCLUDED_
#define _LB_RECOVER_H_INCLUDED_

#include "flusher/clickhouse/http.h"
#include "flusher/options.h"
#include "flusher/pace.h"
#include "spool/lb_ring.h"
#include "tools/spool/options.h"

/* holes of a ring that are named one by one */
#define LB_RECOVER_HOLES 100

typedef struct {
    uint64_t first; /* both included */
    uint64_t last;
} lb_recover_range_t;

typedef struct {
    lb_reader_t *reader;
    lb_ring_info_t info; /* acked, acked_seq: where the search begins */
    char uuid[LB_UUID_TEXT];
    int hinted; /* the ring's ack cells say so */

    uint64_t rows; /* in ClickHouse, from acked_seq on: */
    uint64_t distinct;
    uint64_t min;
    uint64_t max;
    uint64_t before; /* distinct ones before acked_seq */

    uint64_t dead;    /* dead letters before the end of what is delivered */
    uint64_t removed; /* by the TTL, as far as can be told */
    uint64_t missing; /* neither of the two */
    lb_recover_range_t hole[LB_RECOVER_HOLES];
    int holes;
    int more_holes;
    const char *impossible;

    uint64_t position; /* what the new checkpoint says */
    uint64_t seq;
} lb_recover_ring_t;

typedef struct {
    lb_recover_range_t seqs;
    uint8_t ring[LB_UUID_LEN];
    uint64_t bytes; /* of damage */
} lb_recover_letter_t;

typedef struct {
    const lb_tool_options_t *o;
    lb_options_t *options;
    lb_spool_t *spool;
    lb_ch_t *ch;
    lb_pace_t pace;
    lb_recover_ring_t *ring;
    int n;
    int unreadable;
    int no_processes;
    lb_recover_letter_t *letter;
    size_t letters;
    char table[LB_TABLE_MAX + 8];
    lb_error_t err;
} lb_recover_t;

/* Functions that can fail return 0, or -1 with the reason in r->err.  rings.c:
 * what the spool has. */

/* Opens the rings; one that cannot be read is counted and reported. */
int lb_recover_rings(lb_recover_t *r);

int lb_recover_letters(lb_recover_t *r);

/* The record that holds a seq, or the one behind it: 0; its position, or that
 * of the damage it lies in.  At the end of the ring: LB_EEND. */
int lb_recover_find(lb_recover_ring_t *ring, uint64_t seq, uint64_t *position,
                    lb_record_t *rec);

/* table.c: what ClickHouse has. */

/* Called by the connection before each request; arg: the lb_pace_t. */
int lb_recover_gate(void *arg);

/* Of the rings [from, to): rows, distinct, min, max, before; and how many
 * INSERTs of this spool still run. */
int lb_recover_ask_rows(lb_recover_t *r, int from, int to, uint64_t *running);

/* The seqs between acked_seq and the last one that are not there. */
int lb_recover_ask_holes(lb_recover_t *r, lb_recover_ring_t *ring);

/* When the day of the oldest row began, in microseconds. */
int lb_recover_oldest_day(lb_recover_t *r, uint64_t *us);

/* plan.c: where each ring goes on. */

int lb_recover_plan(lb_recover_t *r);

/* What the new checkpoint says. */
void lb_recover_compose(const lb_recover_t *r, lb_ckpt_state_t *st);

/* What stands in the way: 0 nothing, 3 a person has to decide, 1 no way. */
int lb_recover_doubts(const lb_recover_t *r, char *text, size_t size);

/* print.c: the plan; doubt: what stands in its way, or NULL; done: it was
 * carried out. */
void lb_recover_print(const lb_recover_t *r, const lb_ckpt_state_t *st,
                      const char *table, const char *doubt, int done);

/* settings.c: NULL, the reason is in text. */
lb_options_t *lb_recover_settings(const lb_tool_options_t *o, const char *spool,
                                  char *text, size_t size);

#endif /* _LB_RECOVER_H_INCLUDED_ */
