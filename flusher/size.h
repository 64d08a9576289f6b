/*
 * How large the next batch may be.  It begins with what one core of ClickHouse
 * takes in about a second and grows with the backlog, up to the settings, to
 * what the server takes in the time that is there:
 *
 *   a batch as large as it may be took less time: up to twice as much, if the
 *   table was looked at and the server does not cut that in two
 *   a batch took longer: less in proportion, but not less than at first
 *   an INSERT without success: as it began
 *   a batch was refused for its size: half its rows, whatever the rest says;
 *   twice that after LB_SIZE_SUCCESSES batches
 *
 * Nothing of it is stored: a flusher that starts begins anew.
 */

#ifndef _LB_SIZE_H_INCLUDED_
#define _LB_SIZE_H_INCLUDED_

#include "flusher/options.h"
#include "flusher/pick.h"

#define LB_SIZE_ROWS 500000u
#define LB_SIZE_BYTES (64u << 20)

/* The time that is there: of many nodes each has its turn (pace.h), and an INSERT
 * that takes longer costs the next one.  A node alone sends when the last one is
 * in; this is a compromise of rows a second and the wait of what comes now.
 * A fifth of the request's timeout at most. */
#define LB_SIZE_ALONE_MS 4500

#define LB_SIZE_SUCCESSES 8

typedef struct {
    uint32_t grown;     /* thousandths beyond the first size */
    uint64_t refused;   /* rows the server was able to take, 0: any */
    uint32_t successes; /* since that was set or raised */
    int may_grow;       /* larger batches stay whole */
    int full;           /* the batch took all it was allowed to */
} lb_size_t;

/* max_rows and max_bytes of the next batch. */
void lb_size_limit(const lb_size_t *s, const lb_options_t *o,
                   lb_batch_limits_t *limits);

/* A batch is in; took: ms from its first byte to the answer to its INSERT,
 * negative if that was sent again or the time is not known. */
void lb_size_done(lb_size_t *s, const lb_options_t *o, int64_t took);

/* The outcome of an INSERT is not known, or it was refused. */
void lb_size_failed(lb_size_t *s);

/* A batch of so many rows was too large. */
void lb_size_refused(lb_size_t *s, uint64_t rows);

#endif /* _LB_SIZE_H_INCLUDED_ */
