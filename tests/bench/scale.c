/*
 * What a cluster does under a load that no machine here can make: nodes that
 * share the one request per second by the flusher's own rules (flusher/pace.h),
 * with batches that grow by its own (flusher/size.h), in simulated time, with the speeds docs/performance.md has measured.
 *
 *   bench_scale
 *
 * prints a table: how long until an event can be seen, how large batches get,
 * and whether the nodes keep up.  Fails if two requests come within a second,
 * or if what is said to keep up does not.
 */

#include "flusher/pace.h"
#include "flusher/size.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Measured: one INSERT is the work of one core. */
#define INSERT_PER_MS 190.0 /* events */
#define EVENT_BYTES 327.0
#define ANSWER_MS 30 /* of an INSERT, however small */

/* The largest batch one may set. */
#define MAX_ROWS 4000000u
#define MAX_BYTES (512u << 20)
#define TIMEOUT_MS 60000 /* of an INSERT */

#define CLOCK_MS 170 /* nodes' clocks differ by up to that */
#define WAY_MS 10    /* a request is on its way up to that long */
#define NODES_MAX 64
#define RUN_MS (40 * 60 * 1000)
#define WARM_MS (10 * 60 * 1000)
#define DELAY_MAX_MS (30 * 60 * 1000)

typedef struct {
    lb_pace_t pace;
    lb_size_t size;
    int64_t clock; /* how far its clock is off */
    double taken;  /* events delivered or in flight */
    double batch;  /* in flight */
    int64_t sent;
    int64_t done; /* when the batch is in; 0: nothing in flight */
} node_t;

typedef struct {
    int64_t p50, p99, max; /* from 204 to visible, ms */
    int64_t gap;           /* least between two starts, ms */
    double per_s;          /* requests */
    double largest;        /* batch, events */
    double behind;         /* at the end, seconds of load */
} result_t;

static uint64_t dice = 88172645463325252u;

static int64_t
roll(int64_t n)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (int64_t)(dice >> 20) % n;
}

/* Events that came from begin to end are seen at now. */
static void
seen(uint32_t *delays, double begin_ms, double end_ms, int64_t now)
{
    for (int64_t at = (int64_t)begin_ms; at < (int64_t)end_ms; at++) {
        int64_t d = now - at;

        if (at >= WARM_MS) {
            delays[d < DELAY_MAX_MS ? d : DELAY_MAX_MS - 1]++;
        }
    }
}

static int64_t
percentile(const uint32_t *delays, double share)
{
    uint64_t all = 0, sum = 0;

    for (int64_t d = 0; d < DELAY_MAX_MS; d++) {
        all += delays[d];
    }
    for (int64_t d = 0; d < DELAY_MAX_MS; d++) {
        sum += delays[d];
        if ((double)sum >= share * (double)all) {
            return d;
        }
    }
    return DELAY_MAX_MS;
}

/* Events that the next batch may have. */
static double
most(const lb_size_t *size, const lb_options_t *options)
{
    lb_batch_limits_t limits;
    double fit;

    lb_size_limit(size, options, &limits);
    fit = (double)limits.max_bytes / EVENT_BYTES;

    return fit < (double)limits.max_rows ? fit : (double)limits.max_rows;
}

/* events_per_ms: of each node. */
static result_t
simulate(uint32_t nodes, double events_per_ms)
{
    static uint32_t delays[DELAY_MAX_MS];
    static node_t node[NODES_MAX];
    lb_options_t options = {.max_rows = MAX_ROWS,
                            .max_bytes = MAX_BYTES,
                            .node_count = nodes,
                            .request_timeout_ms = TIMEOUT_MS};
    int64_t last = INT64_MIN / 2, requests = 0;
    result_t r = {0, 0, 0, INT64_MAX, 0, 0, 0};

    memset(delays, 0, sizeof(delays));
    memset(node, 0, sizeof(node));
    for (uint32_t i = 0; i < nodes; i++) {
        lb_pace_init(&node[i].pace, i, nodes, 0);
        node[i].size.may_grow = 1;
        node[i].clock = roll(CLOCK_MS + 1) - CLOCK_MS / 2;
    }

    for (int64_t now = 1; now <= RUN_MS; now++) {
        for (uint32_t i = 0; i < nodes; i++) {
            node_t *n = &node[i];
            double here, limit;
            int64_t came;

            if (n->done != 0 && now >= n->done) {
                seen(delays, (n->taken - n->batch) / events_per_ms,
                     n->taken / events_per_ms, now);
                lb_size_done(&n->size, &options, now - n->sent);
                n->done = 0;
            }
            here = events_per_ms * (double)now - n->taken;
            if (n->done != 0 || here < 1 ||
                lb_pace_wait(&n->pace, now, now + 1000000 + n->clock) > 0) {
                continue;
            }

            lb_pace_start(&n->pace, now);
            limit = most(&n->size, &options);
            n->size.full = here > limit;
            n->batch = n->size.full ? limit : here;
            n->sent = now;
            n->taken += n->batch;
            n->done = now + ANSWER_MS + (int64_t)(n->batch / INSERT_PER_MS);
            came = now + roll(WAY_MS);
            if (came - last < r.gap) {
                r.gap = came - last;
            }
            last = came;
            if (now >= WARM_MS) {
                requests++;
                r.largest = n->batch > r.largest ? n->batch : r.largest;
            }
        }
    }

    for (uint32_t i = 0; i < nodes; i++) {
        double here = events_per_ms * RUN_MS - node[i].taken + node[i].batch;

        if (here / events_per_ms / 1000 > r.behind) {
            r.behind = here / events_per_ms / 1000;
        }
    }
    r.p50 = percentile(delays, 0.5);
    r.p99 = percentile(delays, 0.99);
    r.per_s = (double)requests * 1000 / (RUN_MS - WARM_MS);
    return r;
}

int
main(void)
{
    static const struct {
        uint32_t nodes;
        double per_s; /* events, of all nodes together */
        int keeps_up;
    } rows[] = {
        {1, 10e3, 1},  {1, 100e3, 1},  {1, 180e3, 1},  {1, 250e3, 0},
        {2, 10e3, 1},  {2, 300e3, 1},  {6, 10e3, 1},   {6, 1e6, 1},
        {4, 1e6, 0},   {12, 10e3, 1},  {12, 1.2e6, 1}, {12, 2e6, 0},
        {30, 10e3, 1}, {30, 1.2e6, 1},
    };
    int rc = 0;

    printf("| nodes | events/s | seen after, s: median | 99 %% | requests/s | "
           "largest batch | |\n|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        result_t r =
            simulate(rows[i].nodes, rows[i].per_s / rows[i].nodes / 1000);
        int keeps_up = r.behind < 2 * 2.5 * (rows[i].nodes + 1);

        printf(rows[i].per_s < 1e6 ? "| %u | %.0f,000 | "
                                   : "| %u | %.1f million | ",
               rows[i].nodes,
               rows[i].per_s / (rows[i].per_s < 1e6 ? 1e3 : 1e6));
        if (keeps_up) {
            printf("%.1f | %.1f | %.2f | %.0f MB | |\n", (double)r.p50 / 1000,
                   (double)r.p99 / 1000, r.per_s,
                   r.largest * EVENT_BYTES / 1e6);
        } else {
            printf("| | %.2f | %.0f MB | falls behind |\n", r.per_s,
                   r.largest * EVENT_BYTES / 1e6);
        }
        if (r.gap < 1000 || keeps_up != rows[i].keeps_up) {
            fprintf(stderr,
                    "bench_scale: %u nodes, %.0f events/s: %lld ms between "
                    "two requests, %.0f s behind\n",
                    rows[i].nodes, rows[i].per_s, (long long)r.gap, r.behind);
            rc = 1;
        }
    }
    return rc;
}
