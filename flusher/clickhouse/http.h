/*
 * Requests to ClickHouse over HTTP, and what their outcome means.  With
 * connect.h the only part that knows curl.
 */

#ifndef _LB_HTTP_H_INCLUDED_
#define _LB_HTTP_H_INCLUDED_

#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "flusher/clickhouse/errors.h"
#include "flusher/options.h"
#include "flusher/sink.h"

typedef struct {
    lb_sink_outcome_t outcome;
    int code;           /* ClickHouse's exception code, 0: none */
    long http;          /* status, 0: no answer */
    char text[512];     /* for people, one line; empty if DONE */
    int64_t sent_ms;    /* wall clock when the request left, 0: it did not, */
    int64_t dated_ms;   /* and when the answer's headers came; */
    int64_t dated_mono; /* the same by the monotonic clock */
    int64_t left_mono;  /* monotonic, when its first byte left at the latest */
    int64_t date; /* its Date, seconds since 1970; 0: none of ClickHouse */
    int repeated; /* its first packet was: it came later than it was sent */
    int late;     /* NOT_SENT, for this node's turn was over */
    uint64_t read_rows; /* of an INSERT without an error; 0: not told */
    int relearn; /* 1: a setting may not be changed and was left out from now
                    on: look at the server before anything else is sent */
    int new_password; /* clickhouse.password_file had another: it is used now */
    int timed_out;    /* within request_timeout_ms there was no answer */
    int complete;     /* 0: the end of the request's body was surely not sent,
                           so that an INSERT can never be in, now or later */
    char answer[65536]; /* of a query, cut at the size */
} lb_ch_result_t;

typedef struct lb_ch_s lb_ch_t;

/* abort: a request ends as UNKNOWN soon after *abort becomes nonzero. */
lb_ch_t *lb_ch_new(const lb_options_t *options,
                   const volatile sig_atomic_t *abort);
void lb_ch_free(lb_ch_t *ch);

/* Called when the connection to the server stands and nothing of the request
 * has left: waits until it may.  Nonzero: not now, it is not sent. */
void lb_ch_set_gate(lb_ch_t *ch, int (*gate)(void *arg), void *arg);

/* The next request goes to the next URL of the list. */
void lb_ch_next_url(lb_ch_t *ch);
const char *lb_ch_url(const lb_ch_t *ch);

/* read fills up to size bytes, 0 at the end, negative on failure. */
typedef struct {
    const char *table; /* `db`.`table` */
    const char *columns;
    const char *token; /* deduplication token and query id */
    uint64_t rows;
    uint64_t reads; /* how often ClickHouse reads each of them, see judge */
    long (*read)(void *arg, void *buf, size_t size);
    void *arg;
} lb_ch_insert_t;

void lb_ch_insert(lb_ch_t *ch, const lb_ch_insert_t *insert,
                  lb_ch_result_t *result);
/* sql ends with its FORMAT; the settings come behind it */
void lb_ch_query(lb_ch_t *ch, const char *sql, lb_ch_result_t *result);

/* A query, with the rows of an INSERT as the external table "batch"; structure
 * names their columns and types. */
void lb_ch_query_rows(lb_ch_t *ch, const char *sql, const char *structure,
                      const lb_ch_insert_t *rows, lb_ch_result_t *result);

/* Tries all settings again, also those a server refused. */
void lb_ch_forget_settings(lb_ch_t *ch);

/* Judges an answer to an INSERT; pure, for tests.  summary: the value of
 * X-ClickHouse-Summary or NULL; body: the start of the answer.  reads is 1, or
 * more if materialized views read the rows too and are counted with them;
 * *read_rows is what was counted. */
lb_sink_outcome_t lb_ch_judge(long http, int code, const char *summary,
                              const char *body, uint64_t rows, uint64_t reads,
                              uint64_t *read_rows);

#endif /* _LB_HTTP_H_INCLUDED_ */
