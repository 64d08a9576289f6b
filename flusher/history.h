/*
 * What went through the flusher in the last 24 hours, minute by minute, for the
 * plots of the status page: <spool>/history.json, read again at a start. Not
 * needed for anything else, and not durable.
 */

#ifndef _LB_HISTORY_H_INCLUDED_
#define _LB_HISTORY_H_INCLUDED_

#include <stdint.h>

#define LB_HISTORY_MINUTES 1440

/* none: the flusher did not run, or hung */
#define LB_HISTORY_NONE UINT32_MAX

enum {
    LB_HISTORY_IN,       /* events accepted in that minute */
    LB_HISTORY_OUT,      /* events confirmed, or set aside as dead letters */
    LB_HISTORY_BACKLOG,  /* events, the most there were */
    LB_HISTORY_LAG,      /* milliseconds, the longest */
    LB_HISTORY_REQUESTS, /* to ClickHouse */
    LB_HISTORY_SERIES
};

/* What there is now: totals, but for backlog and lag. */
typedef struct {
    uint64_t accepted;
    uint64_t settled;
    uint64_t backlog;
    uint64_t lag_ms;
    uint64_t requests;
} lb_history_now_t;

typedef struct {
    int64_t minute; /* that goes on, since 1970; 0: none yet */
    lb_history_now_t base;
    uint64_t most_backlog;
    uint64_t most_lag_ms;
    int64_t first; /* minute of the oldest value */
    uint32_t value[LB_HISTORY_SERIES][LB_HISTORY_MINUTES]; /* by minute */
} lb_history_t;

/* Takes over what the spool's file holds, as far as it is of the last day. */
void lb_history_load(lb_history_t *h, const char *spool, int64_t minute);

/* To be called about once a second: 1 if a minute has become complete and there
 * is something to write. */
int lb_history_note(lb_history_t *h, const lb_history_now_t *now,
                    int64_t minute);

/* The file's text, to be freed; NULL: no memory. */
char *lb_history_text(const lb_history_t *h);

#endif /* _LB_HISTORY_H_INCLUDED_ */
