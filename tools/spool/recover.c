/*
 * logbroker-spool recover: a checkpoint that is lost or damaged in both copies,
 * written anew from the rings, the dead letters and ClickHouse.
 *
 * A ring is delivered in order, one batch at a time, and a batch is in ClickHouse
 * as a whole or not at all. So what is delivered ends behind the last event of
 * the ring that ClickHouse has, and never before what the ring's own ack cell
 * says, which follows the checkpoint. An event before that end that is not in
 * ClickHouse is a dead letter, or was removed by the TTL, or is lost there: that
 * is for a person to decide on.
 */

#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "flusher/clickhouse/http.h"
#include "flusher/options.h"
#include "flusher/pace.h"
#include "flusher/clickhouse/question.h"
#include "spool/lb_dead.h"

/* rings asked about in one request: the answer has to fit */
#define ASK 64

/* holes of a ring that are named one by one */
#define HOLES 100

/* where waiting for an INSERT that still runs is given up */
#define PATIENCE 60

typedef struct {
    uint64_t first; /* both included */
    uint64_t last;
} range_t;

typedef struct {
    lb_reader_t *reader;
    lb_ring_info_t info; /* acked, acked_seq: where the search begins */
    char uuid[LB_UUID_TEXT];
    int hinted; /* the ring's ack cells say so */

    uint64_t rows; /* in ClickHouse, from acked_seq on: */
    uint64_t distinct;
    uint64_t min;
    uint64_t max;
    uint64_t before; /* distinct ones before acked_seq */

    uint64_t dead;    /* dead letters before the end of what is delivered */
    uint64_t removed; /* by the TTL, as far as can be told */
    uint64_t missing; /* neither of the two */
    range_t hole[HOLES];
    int holes;
    int more_holes;
    const char *impossible;

    uint64_t position; /* what the new checkpoint says */
    uint64_t seq;
} ring_t;

typedef struct {
    range_t seqs;
    uint8_t ring[LB_UUID_LEN];
    uint64_t bytes; /* of damage */
} letter_t;

typedef struct {
    const lb_tool_recover_t *o;
    lb_options_t *options;
    lb_spool_t *spool;
    lb_ch_t *ch;
    lb_pace_t pace;
    ring_t *ring;
    int n;
    int unreadable;
    int no_processes;
    letter_t *letter;
    size_t letters;
    char table[LB_TABLE_MAX + 8];
    lb_error_t err;
} recover_t;

static lb_ch_result_t answer;

/* The settings of the flusher, with what the command line says instead, through
 * the same checks. */
static lb_options_t *
settings(const lb_tool_recover_t *o, const char *spool, char *text, size_t size)
{
    int fd, rc;
    char path[64], *dump;
    json_t *root, *clickhouse;
    json_error_t err;
    const char *dot;
    lb_options_t *options;

    root = o->config != NULL
               ? json_load_file(o->config, 0, &err)
               : json_pack("{s:s, s:{}}", "spool", spool, "clickhouse");
    if (root == NULL) {
        (void)snprintf(text, size, "\"%s\": %s", o->config, err.text);
        return NULL;
    }

    clickhouse = json_object_get(root, "clickhouse");

    if (o->url != NULL) {
        json_object_set_new(clickhouse, "urls", json_pack("[s]", o->url));
    }
    if (o->user != NULL) {
        json_object_set_new(clickhouse, "user", json_string(o->user));
    }
    if (o->password_file != NULL) {
        json_object_set_new(clickhouse, "password_file",
                            json_string(o->password_file));
    }
    if (o->table != NULL) {
        dot = strchr(o->table, '.');
        if (dot != NULL) {
            json_object_set_new(
                clickhouse, "database",
                json_stringn(o->table, (size_t)(dot - o->table)));
        }
        json_object_set_new(clickhouse, "table",
                            json_string(dot != NULL ? dot + 1 : o->table));
    }

    dump = json_dumps(root, 0);
    json_decref(root);

    fd = memfd_create("settings", MFD_CLOEXEC);
    rc = fd >= 0 && dump != NULL &&
         write(fd, dump, strlen(dump)) == (ssize_t)strlen(dump);
    free(dump);

    if (!rc) {
        (void)snprintf(text, size, "no memory for the settings");
        options = NULL;
    } else {
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        options = lb_options_load(path, text, size);
    }

    if (fd >= 0) {
        close(fd);
    }

    return options;
}

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

static int
gate(void *arg)
{
    wait_but(arg, 0);
    lb_pace_start(arg, lb_mono_ms());

    return 0;
}

/* One request, in a second of this node like any other; the answer is in
 * `answer`. */
static int
ask(recover_t *r, const char *sql)
{
    uint32_t i;

    for (i = 0; i < r->options->nurls; i++) {

        /* the connection a little ahead */
        wait_but(&r->pace, 500);
        lb_ch_query(r->ch, sql, &answer);

        if (answer.outcome == LB_CH_DONE) {
            return 0;
        }
        if (answer.outcome != LB_CH_NOT_SENT) {
            break;
        }

        lb_ch_next_url(r->ch);
    }

    (void)snprintf(r->err.text, sizeof(r->err.text),
                   "ClickHouse did not answer: %.450s", answer.text);

    return -1;
}

static int
open_rings(recover_t *r)
{
    int i, n, rc;
    char buf[128];
    uint32_t slots[LB_SLOTS_MAX];
    ring_t *ring;

    n = lb_spool_slots(r->spool, slots, &r->err);
    if (n < 0) {
        return -1;
    }

    r->ring = calloc((size_t)n + 1, sizeof(*r->ring));
    if (r->ring == NULL) {
        (void)snprintf(r->err.text, sizeof(r->err.text), "no memory");
        return -1;
    }

    for (i = 0; i < n; i++) {
        ring = &r->ring[r->n];

        if (lb_reader_open(r->spool, slots[i], 0, &ring->reader, &r->err) !=
            0) {
            fprintf(stderr, "logbroker-spool: %s\n", r->err.text);
            r->unreadable++;
            continue;
        }

        rc = lb_reader_info(ring->reader, &ring->info);
        if (rc == 0) {
            rc = lb_reader_scan(ring->reader, &ring->info);
        }

        if (rc < 0) {
            fprintf(stderr, "logbroker-spool: ring %u: %s\n", slots[i],
                    lb_strerror(rc, buf, sizeof(buf)));
            lb_reader_close(ring->reader);
            ring->reader = NULL;
            r->unreadable++;
            continue;
        }

        ring->hinted = rc;
        lb_uuid_format(ring->info.uuid, ring->uuid);
        r->n++;
    }

    return 0;
}

static int
read_letters(recover_t *r)
{
    void *more;
    uint64_t at = 0;
    letter_t *to;
    lb_dead_t *dead;
    lb_dead_letter_t l;

    if (lb_dead_open(r->spool, 0, &dead, &r->err) != 0) {
        return r->err.code == -ENOENT ? 0 : -1;
    }

    while (lb_dead_next(dead, &at, &l)) {

        more = realloc(r->letter, (r->letters + 1) * sizeof(*r->letter));
        if (more == NULL) {
            (void)snprintf(r->err.text, sizeof(r->err.text), "no memory");
            lb_dead_close(dead);
            return -1;
        }

        r->letter = more;
        to = &r->letter[r->letters++];
        memcpy(to->ring, l.ring, LB_UUID_LEN);
        to->seqs.first = l.first_seq;
        to->seqs.last = l.events != 0 && l.events <= UINT64_MAX - l.first_seq
                            ? l.first_seq + l.events - 1
                            : l.first_seq;
        to->bytes = l.kind == LB_DEAD_BITROT ? l.bytes_len : 0;
    }

    lb_dead_close(dead);

    return 0;
}

/* What of these rings is there, and how many INSERTs of this spool still run:
 * what they bring is not there yet. */
static int
ask_rows(recover_t *r, int from, int to, uint64_t *running)
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
        lb_question_prefix(lb_spool_uuid(r->spool), prefix);
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
        fputs("logbroker-spool: this user may not read system.processes: make "
              "sure that no INSERT of this spool still runs\n",
              stderr);
        r->no_processes = 1;
        return ask_rows(r, from, to, running);
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
static int
ask_holes(recover_t *r, ring_t *ring)
{
    char sql[1024], *line, *save;
    range_t hole;

    (void)snprintf(
        sql, sizeof(sql),
        "SELECT p + 1, s - 1 FROM (SELECT s, lagInFrame(s, 1, "
        "toInt64(%" PRIu64 ") - 1) OVER (ORDER BY s ROWS BETWEEN 1 PRECEDING "
        "AND CURRENT ROW) AS p FROM (SELECT DISTINCT toInt64(seq) AS s FROM %s "
        "WHERE ring = '%s' AND seq >= %" PRIu64 ")) WHERE s > p + 1 "
        "ORDER BY s LIMIT %d FORMAT TabSeparated",
        ring->info.acked_seq, r->table, ring->uuid, ring->info.acked_seq,
        HOLES + 1);

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

        if (ring->holes == HOLES) {
            ring->more_holes = 1;
            break;
        }
        ring->hole[ring->holes++] = hole;
    }

    return 0;
}

/* The record that holds a seq, or the one behind it: 0; its position, or that
 * of the damage it lies in.  At the end of the ring: LB_EEND. */
static int
find_seq(ring_t *ring, uint64_t seq, uint64_t *position, lb_record_t *rec)
{
    int rc;
    uint64_t p = ring->info.acked, next;

    for (*position = p;; p = rec->next) {

        rc = lb_reader_record(ring->reader, p, ring->info.committed, 0, rec);
        *position = p;

        if (rc == LB_ECORRUPT) {
            rc = lb_reader_resync(ring->reader, p, ring->info.committed, &next);
            if (rc == 0) {
                rc = lb_reader_record(ring->reader, next, ring->info.committed,
                                      0, rec);
            }
            if (rc == 0 && rec->first_seq <= seq) {
                *position = next;
            }
        }

        if (rc != 0 || seq < rec->first_seq + rec->events) {
            return rc;
        }
    }
}

/* Takes the seqs of dead letters out of a hole; what is left of it goes to the
 * holes of the ring. */
static void
explain(recover_t *r, ring_t *ring, range_t hole)
{
    size_t i;
    uint64_t at = hole.first, to;
    range_t left;
    const letter_t *l;
    int found;

    while (at <= hole.last) {

        found = 0;
        left.first = at;
        left.last = hole.last;

        for (i = 0; i < r->letters; i++) {
            l = &r->letter[i];
            if (memcmp(l->ring, ring->info.uuid, LB_UUID_LEN) != 0) {
                continue;
            }
            if (l->seqs.first <= at && at <= l->seqs.last) {
                to = l->seqs.last < hole.last ? l->seqs.last : hole.last;
                ring->dead += to - at + 1;
                at = to + 1;
                found = 1;
                break;
            }
            if (l->seqs.first > at && l->seqs.first <= left.last) {
                left.last = l->seqs.first - 1;
            }
        }

        if (found) {
            continue;
        }

        ring->missing += left.last - left.first + 1;
        if (ring->holes < HOLES) {
            ring->hole[ring->holes++] = left;
        } else {
            ring->more_holes = 1;
        }
        at = left.last + 1;
    }
}

/* The day of the oldest row there is, in microseconds: the TTL takes whole days,
 * the oldest first. */
static int
oldest_day(recover_t *r, uint64_t *us)
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

/* Where the ring goes on. */
static int
decide(recover_t *r, ring_t *ring)
{
    int i, n, rc;
    uint64_t day;
    range_t holes[HOLES];
    lb_record_t rec;

    if (ring->rows == 0) {
        ring->position = ring->info.acked;
        ring->seq = ring->info.acked_seq;
        return 0;
    }

    if (ring->max >= ring->info.next_seq) {
        ring->impossible =
            "ClickHouse has events of this ring that the ring never had: the "
            "ring is older than that, restored from a backup perhaps, and "
            "would use their seqs again";
        return 0;
    }

    ring->seq = ring->max + 1;

    if (ring->distinct < ring->seq - ring->info.acked_seq) {
        if (ask_holes(r, ring) != 0) {
            return -1;
        }

        n = ring->holes;
        memcpy(holes, ring->hole, sizeof(holes));
        ring->holes = 0;

        for (i = 0; i < n; i++) {
            /* What is missing at the beginning, and is older than any row
             * there is, went with its day. */
            if (i == 0 && holes[0].first == ring->info.acked_seq &&
                find_seq(ring, holes[0].last, &day, &rec) == 0) {
                if (oldest_day(r, &day) != 0) {
                    return -1;
                }
                if (rec.received_us < day) {
                    ring->removed = holes[0].last - holes[0].first + 1;
                    continue;
                }
            }
            explain(r, ring, holes[i]);
        }
    }

    rc = find_seq(ring, ring->seq, &ring->position, &rec);

    if (rc == LB_EEND) {
        /* or the damage at the end, if the seq lies in that */
        if (ring->seq == ring->info.next_seq) {
            ring->position = ring->info.committed;
        }
    } else if (rc != 0) {
        ring->impossible = "the ring cannot be read";
    }

    return 0;
}

static void
json_ring(const ring_t *ring, int first)
{
    int i;

    printf("%s\n  {\"slot\": %u, \"ring\": \"%s\", \"hinted\": %s, "
           "\"looked_from\": %" PRIu64 ", \"acked_seq\": %" PRIu64
           ", \"acked\": %" PRIu64 ", \"next_seq\": %" PRIu64
           ", \"to_deliver\": %" PRIu64 ", \"rows\": %" PRIu64
           ", \"distinct\": %" PRIu64 ", \"before\": %" PRIu64
           ", \"dead\": %" PRIu64 ", \"removed\": %" PRIu64
           ", \"missing\": %" PRIu64 ", \"more_holes\": %s, \"impossible\": ",
           first ? "" : ",", ring->info.slot, ring->uuid,
           ring->hinted ? "true" : "false", ring->info.acked_seq, ring->seq,
           ring->position, ring->info.next_seq,
           ring->impossible != NULL ? 0 : ring->info.next_seq - ring->seq,
           ring->rows, ring->distinct, ring->before, ring->dead, ring->removed,
           ring->missing, ring->more_holes ? "true" : "false");

    if (ring->impossible != NULL) {
        lb_tool_json_text(stdout, ring->impossible);
    } else {
        fputs("null", stdout);
    }

    fputs(", \"holes\": [", stdout);
    for (i = 0; i < ring->holes; i++) {
        printf("%s[%" PRIu64 ", %" PRIu64 "]", i > 0 ? ", " : "",
               ring->hole[i].first, ring->hole[i].last);
    }
    fputs("]}", stdout);
}

static void
print_ring(const ring_t *ring)
{
    int i;

    if (ring->impossible != NULL) {
        printf("%4u  %s  %s\n", ring->info.slot, ring->uuid, ring->impossible);
        return;
    }

    printf("%4u  %s  %12" PRIu64 "  %12" PRIu64 "  %12" PRIu64 "  %12" PRIu64
           "\n",
           ring->info.slot, ring->uuid, ring->info.acked_seq, ring->seq,
           ring->info.next_seq, ring->info.next_seq - ring->seq);

    if (!ring->hinted && ring->info.acked_seq > 0) {
        printf("      its ack cells are damaged; looked from its oldest event, "
               "seq %" PRIu64 ", on\n",
               ring->info.acked_seq);
    }
    if (ring->hinted && ring->before < ring->info.acked_seq) {
        printf("      %" PRIu64 " of the %" PRIu64 " events it says were acked "
               "are not in the table: removed by the TTL, dead letters, or "
               "lost there\n",
               ring->info.acked_seq - ring->before, ring->info.acked_seq);
    }
    if (ring->dead > 0) {
        printf("      %" PRIu64 " dead letters\n", ring->dead);
    }
    if (ring->removed > 0) {
        printf("      %" PRIu64 " events from seq %" PRIu64
               " on are older than "
               "every row of the table: removed by the TTL\n",
               ring->removed, ring->info.acked_seq);
    }
    if (ring->rows > ring->distinct) {
        printf("      %" PRIu64 " rows are there more than once\n",
               ring->rows - ring->distinct);
    }
    if (ring->missing > 0) {
        printf("      %" PRIu64 " events before seq %" PRIu64 " are NOT in the "
               "table and no dead letters. To have them again, afterwards:\n",
               ring->missing, ring->seq);
    }
    for (i = 0; i < ring->holes; i++) {
        printf("        logbroker-spool replay --ring %u --seq %" PRIu64
               "-%" PRIu64 " SPOOL\n",
               ring->info.slot, ring->hole[i].first, ring->hole[i].last);
    }
    if (ring->more_holes) {
        puts("        ... and more");
    }
}

/* What the new checkpoint says. */
static void
compose(const recover_t *r, lb_ckpt_state_t *st)
{
    int i;
    size_t k;
    uint64_t acked = 0, dead = 0;
    const ring_t *ring;
    const letter_t *l;
    lb_ckpt_ring_t *e;

    memset(st, 0, sizeof(*st));

    for (i = 0; i < r->n; i++) {
        ring = &r->ring[i];
        e = &st->rings[st->nrings++];
        memcpy(e->uuid, ring->info.uuid, LB_UUID_LEN);
        e->slot = ring->info.slot;
        e->acked = e->end = ring->position;
        e->acked_seq = e->end_seq = ring->seq;
        acked += ring->seq;

        for (k = 0; k < r->letters; k++) {
            l = &r->letter[k];
            if (memcmp(l->ring, ring->info.uuid, LB_UUID_LEN) == 0 &&
                l->seqs.last < ring->seq) {
                dead += l->seqs.last - l->seqs.first + 1;
                st->lost_bytes += l->bytes;
            }
        }
    }

    st->dead = dead < acked ? dead : acked;
    st->delivered = acked - st->dead;

    /* above every number there was: no token is used twice */
    st->batch_id = lb_now_us() / 1000;

    /* An INSERT of the flusher's last life may still be on its way, and a
     * replica behind the others: the flusher asks once more, and for long
     * enough, before it sends anything. */
    st->flags = LB_CKPT_DOUBT;
}

static int
plan(recover_t *r)
{
    int i, to, tries = 0;
    uint64_t running = 0;

    if (open_rings(r) != 0 || read_letters(r) != 0) {
        return -1;
    }

    for (i = 0; i < r->n; i = to) {

        to = i + ASK < r->n ? i + ASK : r->n;

        if (ask_rows(r, i, to, &running) != 0) {
            return -1;
        }

        if (running > 0) {
            if (++tries == PATIENCE) {
                (void)snprintf(r->err.text, sizeof(r->err.text),
                               "an INSERT of this spool still runs: try again "
                               "when it has ended");
                return -1;
            }
            to = 0;
        }
    }

    for (i = 0; i < r->n; i++) {
        if (decide(r, &r->ring[i]) != 0) {
            return -1;
        }
    }

    return 0;
}

/* What stands in the way: 0 nothing, 3 a person has to decide, 1 no way. */
static int
doubts(const recover_t *r, char *text, size_t size)
{
    int i, impossible = 0;
    uint64_t missing = 0, acked = 0, rows = 0;

    for (i = 0; i < r->n; i++) {
        impossible += r->ring[i].impossible != NULL;
        missing += r->ring[i].missing;
        acked += r->ring[i].info.acked_seq;
        rows += r->ring[i].rows + r->ring[i].before;
    }

    if (impossible > 0) {
        (void)snprintf(text, size,
                       "%d rings do not fit what ClickHouse has: no "
                       "checkpoint can be made for them",
                       impossible);
        return 1;
    }

    if (missing > 0) {
        (void)snprintf(text, size,
                       "%" PRIu64 " events are missing in the middle of what "
                       "is in the table: with --force they count as delivered",
                       missing);
        return 3;
    }

    if (rows == 0 && acked > 0) {
        (void)snprintf(text, size,
                       "%s has no event of this spool although %" PRIu64
                       " were delivered: is it the right table? With --force "
                       "the rings are believed",
                       r->table, acked);
        return 3;
    }

    if (r->unreadable > 0) {
        (void)snprintf(text, size,
                       "%d rings cannot be read; with --force the checkpoint "
                       "is made without them, and what they hold and was "
                       "delivered comes twice if they can be read again",
                       r->unreadable);
        return 3;
    }

    return 0;
}

static int
execute(recover_t *r, lb_ckpt_t *ckpt)
{
    int i, rc, done = 0;
    char text[512] = "", table[LB_TABLE_MAX + 8];
    uint64_t to_deliver = 0;
    lb_ckpt_state_t *st;

    (void)snprintf(table, sizeof(table), "%s.%s", r->options->database,
                   r->options->table);

    st = malloc(sizeof(*st));
    if (st == NULL || plan(r) != 0) {
        free(st);
        return -1;
    }

    rc = doubts(r, text, sizeof(text));
    compose(r, st);

    if (r->o->yes && (rc == 0 || (rc == 3 && r->o->force))) {
        if (lb_ckpt_replace(ckpt, st, &r->err) != 0) {
            free(st);
            return -1;
        }
        done = 1;
    }

    if (r->o->json) {
        fputs("{\"table\": ", stdout);
        lb_tool_json_text(stdout, table);
        fputs(", \"rings\": [", stdout);
    } else {
        printf("compared with table %s\n", table);
        puts("slot  ring                                    acked by it     "
             "then acked      next seq    to deliver");
    }

    for (i = 0; i < r->n; i++) {
        if (r->ring[i].impossible == NULL) {
            to_deliver += r->ring[i].info.next_seq - r->ring[i].seq;
        }
        if (r->o->json) {
            json_ring(&r->ring[i], i == 0);
        } else {
            print_ring(&r->ring[i]);
        }
    }

    if (r->o->json) {
        printf("\n], \"unreadable\": %d, \"delivered\": %" PRIu64
               ", \"dead\": %" PRIu64 ", \"to_deliver\": %" PRIu64
               ", \"doubt\": ",
               r->unreadable, st->delivered, st->dead, to_deliver);
        if (rc != 0) {
            lb_tool_json_text(stdout, text);
        } else {
            fputs("null", stdout);
        }
        printf(", \"done\": %s}\n", done ? "true" : "false");
    } else {
        printf("%" PRIu64 " events are delivered, %" PRIu64 " are dead "
               "letters, %" PRIu64 " will be delivered\n",
               st->delivered, st->dead, to_deliver);
        puts(
            done
                ? "the checkpoint was written: start the flusher. For a minute "
                  "it asks whether anything else comes in, then it goes on"
            : rc == 0   ? "nothing was changed: repeat with --yes"
            : r->o->yes ? "nothing was changed"
                        : "nothing would be changed");
    }

    free(st);

    if (rc != 0 && !done) {
        fprintf(stderr, "logbroker-spool: %s\n", text);
        return rc;
    }

    return 0;
}

int
lb_spool_tool_recover(const lb_tool_recover_t *o, const char *path)
{
    int rc = -1;
    recover_t r;
    lb_ckpt_t *ckpt = NULL;
    lb_ckpt_state_t *state;

    static volatile sig_atomic_t abort_request;

    memset(&r, 0, sizeof(r));
    r.o = o;

    r.options = settings(o, path, r.err.text, sizeof(r.err.text));
    if (r.options == NULL) {
        fprintf(stderr, "logbroker-spool: %s\n", r.err.text);
        return 2;
    }

    (void)snprintf(r.table, sizeof(r.table), "`%s`.`%s`", r.options->database,
                   r.options->table);

    curl_global_init(CURL_GLOBAL_DEFAULT);
    state = malloc(sizeof(*state));
    r.ch = lb_ch_new(r.options, &abort_request);

    if (state == NULL || r.ch == NULL) {
        (void)snprintf(r.err.text, sizeof(r.err.text), "no memory");

    } else if (lb_spool_open(path, LB_SPOOL_WRITE, &r.spool, &r.err) == 0 &&
               lb_ckpt_repair(r.spool, &ckpt, &r.err) == 0) {

        rc = lb_ckpt_peek(r.spool, state, &r.err);

        if (rc == 0) {
            puts(o->json ? "{\"done\": false, \"whole\": true}"
                         : "the checkpoint can be read: there is nothing to "
                           "recover");

        } else if (rc == LB_EFOREIGN ||
                   (rc != LB_ECORRUPT && rc != -ENOENT && rc != -ENODATA)) {
            rc = -1;

        } else {
            lb_pace_init(&r.pace, r.options->node_index, r.options->node_count,
                         lb_mono_ms());
            lb_ch_set_gate(r.ch, gate, &r.pace);
            rc = execute(&r, ckpt);
        }
    }

    if (rc < 0) {
        fprintf(stderr, "logbroker-spool: %s\n", r.err.text);
        rc = 1;
    }

    while (r.n > 0) {
        lb_reader_close(r.ring[--r.n].reader);
    }
    free(r.ring);
    free(r.letter);
    free(state);
    lb_ckpt_close(ckpt);
    lb_spool_close(r.spool);
    lb_ch_free(r.ch);
    lb_options_free(r.options);
    curl_global_cleanup();

    return rc;
}
