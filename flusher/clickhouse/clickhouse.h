/*
 * ClickHouse as a sink: what the rest of the flusher sees of this folder.
 */

#ifndef _LB_CLICKHOUSE_H_INCLUDED_
#define _LB_CLICKHOUSE_H_INCLUDED_

#include <signal.h>

#include "flusher/clickhouse/http.h"
#include "flusher/sink.h"

/* How requests are made: lb_ch_* outside of tests. */
typedef struct {
    void *ctx;
    void (*insert)(void *ctx, const lb_ch_insert_t *insert,
                   lb_ch_result_t *result);
    void (*query)(void *ctx, const char *sql, lb_ch_result_t *result);
    void (*next_url)(void *ctx);
    void (*query_rows)(void *ctx, const char *sql, const char *structure,
                       const lb_ch_insert_t *rows,
                       lb_ch_result_t *result); /* NULL: cannot sift */
} lb_transport_t;

/* By HTTP.  options must stay where they are; a request ends as UNKNOWN soon
 * after *abort becomes nonzero.  NULL: no memory, or curl does not work. */
lb_sink_t *lb_clickhouse_new(const lb_options_t *options,
                             const volatile sig_atomic_t *abort);

/* By a transport of one's own, which is copied; no gate, and options stay as
 * they are. */
lb_sink_t *lb_clickhouse_over(const lb_transport_t *transport,
                              const lb_options_t *options);

/* What a result tells delivery, whatever the request was for. */
void lb_clickhouse_said(const lb_ch_result_t *result, lb_said_t *said);

#endif /* _LB_CLICKHOUSE_H_INCLUDED_ */
