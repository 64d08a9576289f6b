/*
 * Delivery: one batch after another, each fixed in the checkpoint, sent,
 * judged and acked.
 *
 *            pick, fix              done, first time
 *   EMPTY ─────────────▶ FIXED ─────────────────────▶ ack ─▶ EMPTY
 *                        │  ▲
 *    unknown; done, but  ▼  │ not there: the same bytes and token again
 *    sent before; or    UNKNOWN
 *    the process         │  │
 *    started with it     │  └── there ──────────────▶ ack ─▶ EMPTY
 *                        │
 *                        └── not there, and the server has said: done
 *                            (it knows the token and not the rows)
 *                            ▶ the same range under a new token ─▶ FIXED
 *
 *   SIFT: the batch broke a constraint and is not in. The server is asked which
 *   of its rows do; they become dead letters, the others a batch ─▶ FIXED
 *
 *   DOUBT: a batch that this state does not know may be in (the checkpoint is
 *   damaged or older than the acks in the rings). What the table holds behind
 *   the acked positions is asked for and acked ─▶ EMPTY
 *
 * A server writes the token before the rows are there to see: a 200 to an
 * INSERT whose token was sent before means that the token is known and nothing
 * more.  Only the rows count then.
 *
 * A batch is never changed and never given up once it is fixed, with these
 * exceptions, all after the server has said that nothing of it is in and
 * nothing of ours runs (and kept saying so, where an attempt has no answer: see
 * LB_LATE_MS): a batch for another table than the configured one that
 * does not exist; a batch refused because of its data, which gives way to its
 * own first half (poison.h); a batch refused for its size, or whose bytes
 * cannot be made again (damage in the ring; fixed by another release) or have
 * columns that the table has lost, which is chosen anew.
 */

#ifndef _LB_DELIVER_H_INCLUDED_
#define _LB_DELIVER_H_INCLUDED_

#include "flusher/log.h"
#include "flusher/pick.h"
#include "flusher/poison.h"
#include "flusher/sink.h"
#include "flusher/size.h"

typedef enum {
    LB_DELIVER_EMPTY,
    LB_DELIVER_FIXED,
    LB_DELIVER_UNKNOWN,
    LB_DELIVER_SIFT,
    LB_DELIVER_DOUBT,
} lb_deliver_state_t;

typedef struct {
    uint64_t batches;  /* acked */
    uint64_t requests; /* all */
    uint64_t checks;   /* queries about a batch */
    uint64_t not_sent;
    uint64_t refused;
    uint64_t unknown;
    uint64_t renamed;     /* batches that went on under a new token */
    uint64_t view_misses; /* batches a materialized view did not take */
} lb_deliver_counters_t;

typedef struct {
    lb_spool_t *spool;
    lb_ckpt_t *ckpt;
    lb_ckpt_state_t *state;
    lb_rings_t *rings;
    lb_dead_t *dead;
    const lb_options_t *options;
    const lb_sink_t *sink;
    int64_t late_ms; /* how late an INSERT may come, see LB_LATE_MS */
    void (*log)(int level, const char *fmt, ...)
        __attribute__((format(printf, 2, 3)));

    lb_deliver_state_t at;
    int store_pending;               /* the state in memory is not stored yet */
    uint32_t failures;               /* since the last ack */
    lb_size_t size;                  /* of the next batch */
    uint32_t turns;                  /* batches picked */
    int64_t clock_offset_ms;         /* this clock minus ClickHouse's */
    uint32_t told_day;               /* a batch of it was said to be old */
    uint8_t table_uuid[LB_UUID_LEN]; /* when last looked at; 0: not known */
    uint32_t encoding;               /* of the next batch */
    int looked; /* the table has been looked at for it, now or before the
                   last batch */

    /* of the batch */
    int repeated;        /* its token was sent before */
    int claimed;         /* a repeat was answered with success */
    int there;           /* its rows are known to be in, views may miss it */
    int view_failed;     /* an answer blamed a materialized view */
    int views_done;      /* an answer without an error: views have it too */
    uint32_t view_turns; /* failures of a view in repeats for its sake */
    int gone;            /* there is no table of the name it was fixed for */
    int moved;           /* asked another server than it was sent to */
    int elsewhere;       /* ask in the table it was fixed for, by UUID */
    char other[LB_TABLE_MAX + 1]; /* that table's present name, or empty */
    int loose;        /* an attempt without an answer may yet come in */
    int64_t quiet_ms; /* how long the server has said that it is not in */
    int64_t quiet_at; /* monotonic ms of the last such answer, 0 */
    lb_blame_t blame;
    int64_t took_ms;   /* its INSERT, if that was the only one; else negative */
    uint32_t answered; /* INSERTs that were answered, and it was not in */

    /* Events of the batch that were set aside for a constraint of the table. */
#define LB_EXCLUDED_MAX 4096
    lb_excluded_t excluded[LB_EXCLUDED_MAX];
    uint32_t nexcluded; /* letters of its ranges; no letter is ever sent */
    int no_sift;        /* it did not help: halve this batch */

    lb_poison_t poison;
    lb_deliver_counters_t counters;
    lb_said_t said; /* by the last request */
    char last_error[512];
    uint64_t last_error_us;
    uint64_t last_success_us;
} lb_deliver_t;

/* An INSERT that was sent and not answered may be held back on its way, seen by
 * no question.  The same token protects against it; before the same rows may go
 * under another one, the server must have said for this long that they are not
 * there and nothing of ours runs.  Time in which it did not answer does not
 * count. */
#define LB_LATE_MS 20000

/* Takes over what the checkpoint holds: a batch in flight is UNKNOWN, and a
 * checkpoint that is damaged or older than the acks in the rings is DOUBT.
 * 0, or an error that the flusher must not go on with. */
int lb_deliver_init(lb_deliver_t *d, lb_error_t *err);

/* The table was looked at: the next batches are made so.  The batch in flight
 * stays as it was fixed; but one that never left is fixed so as well, and one
 * for columns that are gone will be, once nothing of it is in. */
void lb_deliver_table(lb_deliver_t *d, uint32_t encoding);

/* 1 if a step would have something to do. */
int lb_deliver_wanted(lb_deliver_t *d);

/* Makes at most one request and does what follows from it.  Returns 1 after
 * progress, 0 after a failure that calls for backoff, which grows until a batch
 * is acked; errors of the spool are logged and are failures too. */
int lb_deliver_step(lb_deliver_t *d);

/* Milliseconds to wait after this many failures in a row. */
int64_t lb_deliver_backoff(const lb_options_t *o, uint32_t failures);

#endif /* _LB_DELIVER_H_INCLUDED_ */
