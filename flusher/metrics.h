/*
 * The flusher's figures for the status page: <spool>/flusher.json.
 */

#ifndef _LB_METRICS_H_INCLUDED_
#define _LB_METRICS_H_INCLUDED_

#include "flusher/deliver.h"

typedef struct {
    uint64_t started_us;
    lb_verdict_t preflight;
    uint64_t looked_us;      /* when that was judged, 0: not yet */
    int64_t clock_offset_ms; /* ours minus ClickHouse's, 0: they agree */
    lb_backlog_t backlog;
    uint64_t oldest_us;      /* receive time of the oldest unacked event */
    int64_t request_ms[128]; /* monotonic starts, a ring buffer */
    uint32_t request_at;
    uint64_t asked_us;  /* since when a request is under way, 0: none is */
    char *written;      /* what is in the file */
    int64_t touched_at; /* monotonic ms: when the file's time was set */
} lb_metrics_t;

/* A request was started. */
void lb_metrics_request(lb_metrics_t *m, int64_t mono_ms);

/* Writes the file if its content changed (temporary file and rename, without
 * a sync: it may be lost), or renews its time.  Also while a request is under
 * way.  0 or -errno. */
int lb_metrics_publish(lb_metrics_t *m, lb_deliver_t *d, int64_t mono_ms);

/* Events that are acked: delivered, or dead letters. */
uint64_t lb_metrics_settled(const lb_deliver_t *d);

/* A file in the spool is replaced by this text, likewise. */
int lb_metrics_replace(const char *spool, const char *name, const char *text);

#endif /* _LB_METRICS_H_INCLUDED_ */
