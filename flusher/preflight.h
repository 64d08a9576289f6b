/*
 * What the table is like: can this flusher deliver into it exactly once?
 */

#ifndef _LB_PREFLIGHT_H_INCLUDED_
#define _LB_PREFLIGHT_H_INCLUDED_

#include <stddef.h>

#include "flusher/clickhouse.h"
#include "spool/lb_ring.h"

typedef struct {
    const char *verdict;             /* "yes", "no", "unknown" */
    char reason[512];                /* empty for "yes" */
    int64_t server_ms;               /* the server's wall clock, 0: not told */
    uint8_t table_uuid[LB_UUID_LEN]; /* as in its text; zeros: not told */
    int replicated; /* 1: Replicated or Shared, 0: not, -1: not known */
} lb_preflight_t;

/* The question, for one request. */
void lb_preflight_sql(const lb_options_t *o, char *sql, size_t size);

/* The verdict from the answer (tab-separated engine and columns), or from the
 * lack of one; pure. */
void lb_preflight_judge(const lb_ch_result_t *result, lb_preflight_t *p);

#endif /* _LB_PREFLIGHT_H_INCLUDED_ */
