/*
 * The flusher at work: look at the rings, wait until a request may start, make
 * one step of delivery, publish the figures.
 */

#ifndef _LB_SERVICE_H_INCLUDED_
#define _LB_SERVICE_H_INCLUDED_

#include <signal.h>

#include "flusher/clock.h"
#include "flusher/deliver.h"
#include "flusher/history.h"
#include "flusher/look.h"
#include "flusher/metrics.h"
#include "flusher/pace.h"

/* What signals have asked for. */
typedef struct {
    volatile sig_atomic_t terminations;
    volatile sig_atomic_t hangups;
    volatile sig_atomic_t abort; /* the request under way too */
} lb_signals_t;

typedef struct {
    const char *config;
    lb_signals_t *signals;
    lb_options_t *options;
    lb_spool_t *spool;
    lb_ckpt_t *ckpt;
    lb_ckpt_state_t state;
    lb_rings_t rings;
    lb_dead_t *dead;
    lb_sink_t *sink;
    lb_deliver_t deliver;
    lb_pace_t pace;
    lb_clock_t clock;
    int clock_told;
    lb_metrics_t metrics;
    lb_history_t history;
    lb_look_t look;
    int64_t retry_at;     /* monotonic ms, for backoff */
    int64_t begun_at;     /* monotonic ms of the last step */
    int64_t prepare_ms;   /* from there until its request is ready */
    uint32_t unreachable; /* servers in a row without a connection */
    int64_t published_at; /* monotonic ms */
    int64_t told_at;      /* monotonic ms the writers were told again */
} lb_service_t;

/* Opens what the options name: 0, or -1, which is in the log. */
int lb_service_start(lb_service_t *f);

/* Serves until a signal says otherwise; the exit code. */
int lb_service_run(lb_service_t *f);

/* Closes and frees what was opened, also after a start that failed. */
void lb_service_stop(lb_service_t *f);

#endif /* _LB_SERVICE_H_INCLUDED_ */
