/*
 * Delivery: one batch after another, each fixed in the checkpoint, sent,
 * judged and acked.
 *
 *            pick, fix                 done
 *   EMPTY ─────────────▶ FIXED ─────────────────▶ ack ─▶ EMPTY
 *                        │  ▲
 *    unknown, or the     ▼  │ not there: send the same
 *    process started  UNKNOWN bytes and token again
 *    with a batch        │
 *                        └── all there ──────────▶ ack ─▶ EMPTY
 *
 * A batch is never changed and never given up once it is fixed, with two
 * exceptions, both after the server has said that nothing of it is in: a batch
 * for another table than the configured one that does not exist, and a batch
 * refused because of its data, which gives way to its own first half
 * (surgery.h).
 */

#ifndef _LB_DELIVER_H_INCLUDED_
#define _LB_DELIVER_H_INCLUDED_

#include "flusher/batch.h"
#include "flusher/clickhouse.h"
#include "flusher/surgery.h"

typedef enum {
    LB_DELIVER_EMPTY,
    LB_DELIVER_FIXED,
    LB_DELIVER_UNKNOWN,
} lb_deliver_state_t;

/* How requests are made: lb_ch_* outside of tests. */
typedef struct {
    void *ctx;
    void (*insert)(void *ctx, const lb_ch_insert_t *insert,
                   lb_ch_result_t *result);
    void (*query)(void *ctx, const char *sql, lb_ch_result_t *result);
    void (*next_url)(void *ctx);
} lb_transport_t;

typedef struct {
    uint64_t batches;  /* acked */
    uint64_t requests; /* all */
    uint64_t checks;   /* queries about a batch */
    uint64_t not_sent;
    uint64_t refused;
    uint64_t unknown;
    uint64_t set_aside; /* damaged places */
    uint64_t poison;    /* rows ClickHouse cannot take, set aside */
} lb_deliver_counters_t;

typedef struct {
    lb_spool_t *spool;
    lb_ckpt_t *ckpt;
    lb_ckpt_state_t *state;
    lb_rings_t *rings;
    lb_dead_t *dead;
    const lb_options_t *options;
    const lb_transport_t *transport;
    void (*log)(int level, const char *fmt, ...)
        __attribute__((format(printf, 2, 3)));

    lb_deliver_state_t at;
    int store_pending;  /* the state in memory is not stored yet */
    int no_processes;   /* system.processes is not ours to read */
    uint64_t reads;     /* how often ClickHouse reads a row; 0: once */
    uint64_t read_rows; /* by the INSERT in doubt, 0: not told */
    uint32_t failures;  /* in a row */
    lb_surgery_t surgery;
    lb_deliver_counters_t counters;
    lb_ch_result_t result;
    char last_error[512];
    uint64_t last_error_us;
    uint64_t last_success_us;
} lb_deliver_t;

enum {
    LB_LOG_INFO,
    LB_LOG_WARN,
    LB_LOG_ERROR
};

/* Takes over what the checkpoint holds: a batch in flight is UNKNOWN.
 * 0, or an error that the flusher must not go on with. */
int lb_deliver_init(lb_deliver_t *d, lb_error_t *err);

/* 1 if a step would have something to do. */
int lb_deliver_wanted(lb_deliver_t *d);

/* Makes at most one request and does what follows from it.  Returns 1 after
 * progress, 0 after a failure that calls for backoff; errors of the spool are
 * logged and are failures too. */
int lb_deliver_step(lb_deliver_t *d);

/* Milliseconds to wait after this many failures in a row. */
int64_t lb_deliver_backoff(const lb_options_t *o, uint32_t failures);

#endif /* _LB_DELIVER_H_INCLUDED_ */
