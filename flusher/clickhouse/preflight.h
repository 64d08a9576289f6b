/*
 * What the table and the server are like: can this flusher deliver into it
 * exactly once?  A verdict holds for the moment; lb_look_t says when to look
 * again.
 */

#ifndef _LB_PREFLIGHT_H_INCLUDED_
#define _LB_PREFLIGHT_H_INCLUDED_

#include <stddef.h>

#include "flusher/clickhouse/http.h"
#include "spool/lb_ring.h"

typedef struct {
    const char *verdict; /* "yes", "no", "unknown" */
    char reason[512];    /* empty for "yes" */
    int hold;            /* 1: rows would be lost, nothing may be sent */
    int64_t server_ms;   /* the server's wall clock, 0: not told */
    uint8_t table_uuid[LB_UUID_LEN]; /* as in its text; zeros: not told */
    int replicated; /* 1: Replicated or Shared, 0: not, -1: not known */
} lb_preflight_t;

/* a smaller deduplication window forgets a token too soon */
#define LB_PREFLIGHT_WINDOW 100

/* room for lb_preflight_sql */
#define LB_PREFLIGHT_SQL 8192

/* The question, for one request. */
void lb_preflight_sql(const lb_options_t *o, char *sql, size_t size);

/* The verdict from the answer, or from the lack of one; pure.  What was held
 * stays held while it is not known better. */
void lb_preflight_judge(const lb_options_t *o, const lb_ch_result_t *result,
                        lb_preflight_t *p);

#endif /* _LB_PREFLIGHT_H_INCLUDED_ */
