/*
 * What the table and the server are like: can this flusher deliver into it
 * exactly once?
 */

#ifndef _LB_PREFLIGHT_H_INCLUDED_
#define _LB_PREFLIGHT_H_INCLUDED_

#include <stddef.h>

#include "flusher/clickhouse/http.h"

/* a smaller deduplication window forgets a token too soon */
#define LB_PREFLIGHT_WINDOW 100

/* room for lb_preflight_sql */
#define LB_PREFLIGHT_SQL 8192

/* The question, for one request. */
void lb_preflight_sql(const lb_options_t *o, char *sql, size_t size);

/* The verdict from the answer, or from the lack of one; pure.  What was held
 * stays held while it is not known better. */
void lb_preflight_judge(const lb_options_t *o, const lb_ch_result_t *result,
                        lb_verdict_t *p);

#endif /* _LB_PREFLIGHT_H_INCLUDED_ */
