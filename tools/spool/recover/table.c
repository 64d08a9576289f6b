/*
 * recover: what ClickHouse has.  Every request takes a second of this node.
 */

#include "recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "flusher/clickhouse/question.h"
#include "flusher/token.h"
#include "tools/spool/output.h"

static lb_ch_result_t answer;

/* Until so long before the next second of this node. */
static void
wait_but(lb_pace_t *pace, int64_t ms)
{
    int64_t wait;
    struct timespec ts;

    while ((wait = lb_pace_wait(pace, lb_mono_ms(),
                                (int64_t)(lb_now_us() / 1000)) -
                   ms) > 0) {
        ts.tv_sec = wait / 1000;
        ts.tv_nsec = wait % 1000 * 1000000;
        (void)nanosleep(&ts, NULL);
    }
}

int
lb_recover_gate(void *arg)
{
    wait_but(arg, 0);
    lb_pace_start(arg, lb_mono_ms());

    return 0;
}

/* One request, in a second of this node like any other; the answer is in
 * `answer`. */
static int
ask(lb_recover_t *r, const char *sql)
{
    uint32_t i;

    for (i = 0; i < r->options->nurls; i++) {

        /* the connection a little ahead */
        wait_but(&r->pace, 500);
        lb_ch_query(r->ch, sql, &answer);

        if (answer.outcome == LB_SINK_DONE) {
            return 0;
        }
        if (answer.outcome != LB_SINK_NOT_SENT) {
            break;
        }

        lb_ch_next_url(r->ch);
    }

    (void)snprintf(r->err.text, sizeof(r->err.text),
                   "ClickHouse did not answer: %.450s", answer.text);

    return -1;
}

/* What of these rings is there, and how many INSERTs of this spool still run:
 * what they bring is not there yet. */
int
lb_recover_ask_rows(lb_recover_t *r, int from, int to, uint64_t *running)
{
    int i, rc;
    char *sql, *line, *save, uuid[LB_UUID_TEXT], prefix[LB_TOKEN_PREFIX];
    FILE *f;
    size_t size;
    uint64_t v[5];

    f = open_memstream(&sql, &size);
    if (f == NULL) {
        return -1;
    }

    if (!r->no_processes) {
        lb_token_prefix(lb_spool_uuid(r->spool), prefix);
        fprintf(f,
                "SELECT 'running', count(), 0, 0, 0, 0 FROM system.processes "
                "WHERE startsWith(query_id, '%s') UNION ALL ",
                prefix);
    }

    fputs("SELECT toString(ring), countIf(late), uniqExactIf(seq, late), "
          "minIf(seq, late), maxIf(seq, late), uniqExactIf(seq, NOT late) "
          "FROM (SELECT ring, seq, multiIf(",
          f);
    for (i = from; i < to; i++) {
        fprintf(f, "ring = '%s', seq >= %" PRIu64 ", ", r->ring[i].uuid,
                r->ring[i].info.acked_seq);
    }
    fprintf(f, "0) AS late FROM %s WHERE ring IN (", r->table);
    for (i = from; i < to; i++) {
        fprintf(f, "%s'%s'", i > from ? ", " : "", r->ring[i].uuid);
    }
    fputs(")) GROUP BY ring FORMAT TabSeparated", f);

    if (fclose(f) != 0) {
        return -1;
    }

    rc = ask(r, sql);
    free(sql);

    if (rc != 0 && answer.code == LB_CH_ACCESS_DENIED && !r->no_processes) {
        lb_tool_say("this user may not read system.processes: make sure that "
                    "no INSERT of this spool still runs");
        r->no_processes = 1;
        return lb_recover_ask_rows(r, from, to, running);
    }

    if (rc != 0) {
        return -1;
    }

    for (line = strtok_r(answer.answer, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {

        if (sscanf(line,
                   "%36s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
                   " %" SCNu64,
                   uuid, &v[0], &v[1], &v[2], &v[3], &v[4]) != 6) {
            (void)snprintf(r->err.text, sizeof(r->err.text),
                           "not understood: \"%.200s\"", line);
            return -1;
        }

        if (strcmp(uuid, "running") == 0) {
            *running = v[0];
        }

        for (i = from; i < to; i++) {
            if (strcmp(uuid, r->ring[i].uuid) == 0) {
                r->ring[i].rows = v[0];
                r->ring[i].distinct = v[1];
                r->ring[i].min = v[2];
                r->ring[i].max = v[3];
                r->ring[i].before = v[4];
            }
        }
    }

    return 0;
}

/* The seqs between acked_seq and the last one that are not there. */
int
lb_recover_ask_holes(lb_recover_t *r, lb_recover_ring_t *ring)
{
    char sql[1024], *line, *save;
    lb_recover_range_t hole;

    (void)snprintf(
        sql, sizeof(sql),
        "SELECT p + 1, s - 1 FROM (SELECT s, lagInFrame(s, 1, "
        "toInt64(%" PRIu64 ") - 1) OVER (ORDER BY s ROWS BETWEEN 1 PRECEDING "
        "AND CURRENT ROW) AS p FROM (SELECT DISTINCT toInt64(seq) AS s FROM %s "
        "WHERE ring = '%s' AND seq >= %" PRIu64 ")) WHERE s > p + 1 "
        "ORDER BY s LIMIT %d FORMAT TabSeparated",
        ring->info.acked_seq, r->table, ring->uuid, ring->info.acked_seq,
        LB_RECOVER_HOLES + 1);

    if (ask(r, sql) != 0) {
        return -1;
    }

    for (line = strtok_r(answer.answer, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {

        if (sscanf(line, "%" SCNu64 " %" SCNu64, &hole.first, &hole.last) !=
                2 ||
            hole.first > hole.last) {
            (void)snprintf(r->err.text, sizeof(r->err.text),
                           "not understood: \"%.200s\"", line);
            return -1;
        }

        if (ring->holes == LB_RECOVER_HOLES) {
            ring->more_holes = 1;
            break;
        }
        ring->hole[ring->holes++] = hole;
    }

    return 0;
}

/* The day of the oldest row there is, in microseconds: the TTL takes whole days,
 * the oldest first. */
int
lb_recover_oldest_day(lb_recover_t *r, uint64_t *us)
{
    char sql[256];

    static uint64_t known;

    if (known == 0) {
        (void)snprintf(sql, sizeof(sql),
                       "SELECT toUnixTimestamp(min(received_at)) FROM %s "
                       "FORMAT TabSeparated",
                       r->table);
        if (ask(r, sql) != 0) {
            return -1;
        }
        known = strtoull(answer.answer, NULL, 10);
        known = known / 86400 * 86400 * 1000000;
    }

    *us = known;

    return 0;
}
