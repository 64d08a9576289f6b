/*
 * Power cuts: a worker and a flusher (the real writer, batch and delivery code)
 * run on a recorded disk with tiny rings; then the power is cut at every
 * moment of that run, the disk is left in every way the model allows, and the
 * service starts again on it. Each time must hold:
 *
 *   - what was acknowledged with sync is delivered, exactly once;
 *   - what was acknowledged without sync is delivered at most once;
 *   - nothing is delivered twice or with other content;
 *   - a batch that was sent before the cut is resent, if at all, with the
 *     same token and the same bytes.
 *
 * ClickHouse is a model too: rows by (ring, seq), tokens it has seen. It
 * survives the cut and may have committed the request that was under way; after
 * the cut either its deduplication window may have passed or its answers to
 * questions may lag behind.
 *
 *   powercut [--seed N] [--seconds N] [--steps N]
 */

#undef NDEBUG /* the checks are what this is for */
#include <assert.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "disk_model.h"
#include "flusher/clickhouse/clickhouse.h"
#include "flusher/deliver.h"
#include "spool/lb_io.h"
#include "spool/lb_ring.h"

#define RINGS 2
#define CAPACITY 2048
#define EVENTS_MAX 4096
#define CONTEXT "\001{\"stream\":\"power\"}\n"

enum {
    SYNCED = 1,
    UNSYNCED,
    SENT,
    ANSWERED
};

static uint64_t rng;
static int verbose;

static uint32_t
roll(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;

    return (uint32_t)(rng >> 33) % n;
}

/*
 * The server
 */

typedef struct {
    char token[LB_TOKEN_MAX + 1];
    uint32_t crc;
    uint64_t first[RINGS], end[RINGS]; /* seqs, per ring */
    int committed;
    int known; /* its token is */
} request_t;

typedef struct {
    request_t *request;
    size_t n, cap;
    uint8_t uuid[RINGS][LB_UUID_LEN];

    /* of this life of the flusher */
    lb_ckpt_state_t *state;
    int chaos; /* outcomes are rolled */
    int mark;  /* requests are marked in the recording */

    /* Token and question back each other up: one of them may fail. */
    int forgets; /* the token's window has passed */
    int lags;    /* the next questions go to a replica that is behind */
} server_t;

static server_t server;

static void __attribute__((noreturn, format(printf, 1, 2)))
broken(const char *fmt, ...)
{
    va_list ap;

    fputs("BROKEN: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

static int
ring_index(const uint8_t uuid[LB_UUID_LEN])
{
    int i;

    for (i = 0; i < RINGS; i++) {
        if (memcmp(server.uuid[i], uuid, LB_UUID_LEN) == 0) {
            return i;
        }
    }

    broken("a row of an unknown ring");
}

/* Is this seq in the table? */
static int
stored(int ring, uint64_t seq)
{
    int n = 0;
    size_t i;

    for (i = 0; i < server.n; i++) {
        n += server.request[i].committed &&
             seq >= server.request[i].first[ring] &&
             seq < server.request[i].end[ring];
    }

    return n;
}

static void
serve_insert(void *ctx, const lb_ch_insert_t *insert, lb_ch_result_t *result)
{
    int ring;
    long n;
    char buf[4096];
    size_t i;
    uint32_t k, crc = 0, dice;
    uint64_t seq;
    request_t *r;

    (void)ctx;

    memset(result, 0, offsetof(lb_ch_result_t, answer) + 1);

    while ((n = insert->read(insert->arg, buf, sizeof(buf))) > 0) {
        crc = lb_crc32c(crc, buf, (size_t)n);
    }

    if (n < 0) {
        /* the batch cannot be read: the request is cut, nothing gets in */
        result->outcome = LB_SINK_UNKNOWN;
        return;
    }

    for (i = 0; i < server.n; i++) {
        if (strcmp(server.request[i].token, insert->token) == 0) {
            break;
        }
    }

    if (i < server.n) {
        if (server.request[i].crc != crc) {
            broken("token %s was sent again with other bytes", insert->token);
        }

    } else {
        if (server.n == server.cap) {
            server.cap = server.cap ? 2 * server.cap : 64;
            server.request =
                realloc(server.request, server.cap * sizeof(request_t));
            assert(server.request != NULL);
        }

        r = &server.request[server.n++];
        memset(r, 0, sizeof(*r));
        (void)snprintf(r->token, sizeof(r->token), "%s", insert->token);
        r->crc = crc;

        for (k = 0; k < server.state->nrings; k++) {
            if (server.state->rings[k].end_seq >
                server.state->rings[k].acked_seq) {
                ring = ring_index(server.state->rings[k].uuid);
                r->first[ring] = server.state->rings[k].acked_seq;
                r->end[ring] = server.state->rings[k].end_seq;
            }
        }
    }

    r = &server.request[i];

    if (server.mark) {
        dm_mark(SENT, i);
    }

    dice = server.chaos ? roll(8) : 7;

    if (dice == 0) {
        result->outcome = LB_SINK_NOT_SENT;
        return;
    }

    if (dice == 1) {
        result->outcome = LB_SINK_REFUSED;
        return;
    }

    if (dice == 2) {
        result->outcome = LB_SINK_UNKNOWN;
        return;
    }

    if (r->committed && server.forgets) {
        broken("token %s was sent again without asking, its window had passed",
               r->token);
    }

    /* The server dies between the token and the rows: a repeat is answered
     * with success, and nothing is in. */
    if (!r->committed && !r->known && server.chaos && roll(6) == 0) {
        r->known = 1;
        result->outcome = LB_SINK_UNKNOWN;
        return;
    }

    if (!r->committed && !r->known) {
        for (ring = 0; ring < RINGS; ring++) {
            for (seq = r->first[ring]; seq < r->end[ring]; seq++) {
                if (stored(ring, seq)) {
                    broken("ring %d seq %llu is delivered twice (token %s)",
                           ring, (unsigned long long)seq, r->token);
                }
            }
        }
        r->committed = 1;
        r->known = 1;
    }

    result->outcome = dice < 5 ? LB_SINK_UNKNOWN : LB_SINK_DONE;

    if (server.mark && result->outcome == LB_SINK_DONE && r->committed) {
        dm_mark(ANSWERED, i);
    }
}

/* What is in the table behind the acked positions. */
static void
serve_beyond(lb_ch_result_t *result)
{
    int ring, some = 0;
    char uuid[LB_UUID_TEXT], list[RINGS * 128] = "";
    uint32_t k;
    size_t i, len = 0;
    uint64_t rows, first, last, seq;
    const lb_ckpt_ring_t *e;

    for (k = 0; k < server.state->nrings; k++) {
        e = &server.state->rings[k];
        ring = ring_index(e->uuid);
        rows = first = last = 0;

        for (i = 0; i < server.n; i++) {
            for (seq = server.request[i].first[ring];
                 server.request[i].committed &&
                 seq < server.request[i].end[ring];
                 seq++) {
                if (seq >= e->acked_seq) {
                    first = rows == 0 || seq < first ? seq : first;
                    last = rows == 0 || seq > last ? seq : last;
                    rows++;
                }
            }
        }

        if (rows > 0) {
            lb_uuid_format(e->uuid, uuid);
            len += (size_t)snprintf(
                list + len, sizeof(list) - len, "%s%s %llu %llu %llu",
                some++ ? "," : "", uuid, (unsigned long long)rows,
                (unsigned long long)first, (unsigned long long)last);
        }
    }

    (void)snprintf(result->answer, sizeof(result->answer), "%d\t0\t0\t%s\n",
                   some, list);
}

static void
serve_query(void *ctx, const char *sql, lb_ch_result_t *result)
{
    int ring, behind = 0;
    uint32_t k;
    uint64_t n = 0, seq;
    const lb_ckpt_ring_t *e;

    (void)ctx;

    memset(result, 0, offsetof(lb_ch_result_t, answer) + 1);

    if (server.chaos && roll(5) == 0) {
        result->outcome = LB_SINK_UNKNOWN;
        return;
    }

    if (strstr(sql, "GROUP BY ring") != NULL) {
        serve_beyond(result);
        result->outcome = LB_SINK_DONE;
        return;
    }

    for (k = 0; k < server.state->nrings; k++) {
        e = &server.state->rings[k];
        if (e->end_seq == e->acked_seq) {
            continue;
        }
        ring = ring_index(e->uuid);
        for (seq = e->acked_seq; seq < e->end_seq; seq++) {
            n += (uint64_t)stored(ring, seq);
        }
    }

    if (server.lags > 0) {
        server.lags--;
        behind = 1;
        n = 0;
    }

    (void)snprintf(result->answer, sizeof(result->answer), "%llu\t0\t%d\n",
                   (unsigned long long)n, behind);
    result->outcome = LB_SINK_DONE;

    if (server.mark && n > 0) {
        dm_mark(ANSWERED, server.n - 1);
    }
}

static void
serve_next_url(void *ctx)
{
    (void)ctx;
}

static const lb_transport_t transport = {NULL, serve_insert, serve_query,
                                         serve_next_url, NULL};

/*
 * The flusher
 */

typedef struct {
    lb_spool_t *spool;
    lb_ckpt_t *ckpt;
    lb_ckpt_state_t *state;
    lb_rings_t rings;
    lb_dead_t *dead;
    lb_deliver_t deliver;
    int64_t clock;
} node_t;

static lb_options_t options;

__attribute__((format(printf, 2, 3))) static void
quiet(int level, const char *fmt, ...)
{
    va_list ap;

    if (verbose || level > LB_LOG_ERROR) {
        va_start(ap, fmt);
        vfprintf(stderr, fmt, ap);
        va_end(ap);
        fputc('\n', stderr);
    }
}

/* Nothing fails here that the rings could live with. */
static void
sound(const node_t *n)
{
    if (n->rings.trouble.code != 0 || n->rings.untold) {
        broken("%s", n->rings.trouble.text);
    }
}

static void
node_start(node_t *n, const char *dir)
{
    lb_error_t err;

    memset(n, 0, sizeof(*n));
    n->state = calloc(1, sizeof(*n->state));
    assert(n->state != NULL);

    if (lb_spool_open(dir, 0, &n->spool, &err) != 0 ||
        lb_ckpt_open(n->spool, &n->ckpt, n->state, &err) != 0 ||
        lb_dead_open(n->spool, 65536, &n->dead, &err) != 0) {
        broken("%s", err.text);
    }

    lb_rings_init(&n->rings, n->spool);

    if (lb_rings_look(&n->rings, n->clock, &err) != 0) {
        broken("%s", err.text);
    }

    n->deliver.spool = n->spool;
    n->deliver.ckpt = n->ckpt;
    n->deliver.state = n->state;
    n->deliver.rings = &n->rings;
    n->deliver.dead = n->dead;
    n->deliver.options = &options;
    n->deliver.sink = lb_clickhouse_over(&transport, &options);
    assert(n->deliver.sink != NULL);
    n->deliver.log = quiet;
    server.state = n->state;

    if (lb_deliver_init(&n->deliver, &err) != 0) {
        broken("%s", err.text);
    }
    /* nothing is held back between this flusher and this server */
    n->deliver.late_ms = 0;
    lb_rings_ack(&n->rings, n->state);
    sound(n);
}

static void
node_turn(node_t *n)
{
    lb_error_t err;

    n->clock += 1000;

    if (lb_rings_look(&n->rings, n->clock, &err) != 0) {
        broken("%s", err.text);
    }
    lb_rings_recover_orphans(&n->rings, n->clock);
    sound(n);

    if (lb_deliver_wanted(&n->deliver)) {
        (void)lb_deliver_step(&n->deliver);
    }
}

static void
node_stop(node_t *n)
{
    n->deliver.sink->free(n->deliver.sink->ctx);
    lb_rings_close(&n->rings);
    lb_dead_close(n->dead);
    lb_ckpt_close(n->ckpt);
    lb_spool_close(n->spool);
    free(n->state);
}

/*
 * The recorded run
 */

typedef struct {
    uint64_t seq; /* behind the last event acknowledged */
    uint64_t synced;
} promise_t;

static promise_t promise[RINGS];

static int
append(lb_writer_t *w, uint64_t *next)
{
    int rc, len;
    char text[256];
    uint8_t *p;
    uint32_t i, events = 1 + roll(3);
    lb_meta_t meta = {0, (const uint8_t *)"s", 1, NULL, 0, NULL, 0, 0};
    static const uint8_t key[LB_KEY_LEN] = "idempotency key";

    /* now and then the day changes */
    meta.received_us = 1700000000000000u + *next / 40 * LB_DAY_US;

    /* few, so that many a ring has none yet when the power goes */
    meta.contexts = roll(40) == 0;
    len = meta.contexts ? snprintf(text, sizeof(text), CONTEXT) : 0;

    for (i = 0; i < events; i++) {
        len += snprintf(text + len, sizeof(text) - (size_t)len,
                        "{\"n\":%llu,\"pad\":\"%.*s\"}\n",
                        (unsigned long long)*next + i, (int)roll(30),
                        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    }

    /* headers of both lengths */
    if (roll(2)) {
        meta.key = key;
    }

    p = lb_writer_stage(w, &meta, (size_t)len);
    assert(p != NULL);
    memcpy(p, text, (size_t)len);
    rc = lb_writer_append(w, &meta, (size_t)len, events);

    if (rc == 0) {
        *next += events;
    }

    return rc;
}

static void
record_run(const char *dir, uint32_t steps)
{
    int rc, i, sync;
    node_t node;
    uint64_t next[RINGS] = {0}, begun;
    lb_spool_t *spool;
    lb_error_t err;
    lb_writer_t *w[RINGS];

    if (lb_spool_open(dir, 0, &spool, &err) != 0) {
        broken("%s", err.text);
    }

    for (i = 0; i < RINGS; i++) {
        rc = lb_writer_claim_slot(spool, (uint32_t)i, &w[i], &err);
        if (rc != 0) {
            broken("%s", err.text);
        }
    }

    node_start(&node, dir);

    while (steps-- > 0) {
        i = (int)roll(RINGS);

        if (roll(3) == 0) {
            node_turn(&node);
            continue;
        }

        if (roll(6) == 0 && lb_writer_fill_begin(w[i])) {
            lb_writer_fill_run(w[i]);
            rc = lb_writer_fill_end(w[i]);
            assert(rc == 0);
            continue;
        }

        if (roll(20) == 0) {
            /* groups without sync may be written while one is synced */
            begun = next[i];
            sync = lb_writer_sync_begin(w[i]);
            if (sync) {
                lb_writer_sync_run(w[i]);
            }
            if (roll(2)) {
                (void)append(w[i], &next[i]);
            }
            if (lb_writer_begin(w[i]) == 1) {
                rc = lb_writer_write(w[i], 0);
                assert(rc == 0);
                rc = lb_writer_end(w[i]);
                assert(rc == 0);
                dm_mark(UNSYNCED, (uint64_t)i << 32 | next[i]);
            }
            rc = sync ? lb_writer_sync_end(w[i]) : 0;
            assert(rc == 0);
            dm_mark(SYNCED, (uint64_t)i << 32 | begun);
            continue;
        }

        if (roll(40) == 0) {
            node_stop(&node);
            node_start(&node, dir);
            continue;
        }

        if (roll(40) == 0) {
            /* the worker dies and another one comes */
            lb_writer_close(w[i]);
            if (lb_writer_claim_slot(spool, (uint32_t)i, &w[i], &err) != 0) {
                broken("%s", err.text);
            }
            continue;
        }

        for (uint32_t k = 1 + roll(3); k > 0; k--) {
            (void)append(w[i], &next[i]);
        }

        begun = next[i];

        if (lb_writer_begin(w[i]) == 1) {
            sync = roll(4) != 0;
            rc = lb_writer_write(w[i], sync);
            assert(rc == 0);
            rc = lb_writer_end(w[i]);
            assert(rc == 0);
            dm_mark(sync ? SYNCED : UNSYNCED, (uint64_t)i << 32 | begun);
        }
    }

    node_stop(&node);

    for (i = 0; i < RINGS; i++) {
        lb_writer_close(w[i]);
    }

    lb_spool_close(spool);
}

/*
 * After the cut
 */

static size_t sent_requests;     /* that had been sent at this moment */
static size_t answered_requests; /* that the flusher knew to be in */

static void
seen(void *arg, int kind, uint64_t value)
{
    int ring = (int)(value >> 32);
    uint64_t seq = value & 0xffffffffu;

    (void)arg;

    switch (kind) {
    case SYNCED:
        promise[ring].synced = seq;
        if (promise[ring].seq < seq) {
            promise[ring].seq = seq;
        }
        break;
    case UNSYNCED:
        promise[ring].seq = seq;
        break;
    case SENT:
        if (value + 1 > sent_requests) {
            sent_requests = (size_t)value + 1;
        }
        break;
    default:
        answered_requests = (size_t)value + 1;
    }
}

/* A ring of the first version, which an older release takes, has no byte of a
 * context. */
static void
check_versions(const char *dir)
{
    int i;
    FILE *f;
    char path[512];
    static uint8_t ring[LB_RING_DATA + CAPACITY];

    for (i = 0; i < RINGS; i++) {
        (void)snprintf(path, sizeof(path), "%s/ring-%04d", dir, i);
        f = fopen(path, "r");
        if (f == NULL || fread(ring, sizeof(ring), 1, f) != 1) {
            broken("ring %d cannot be read", i);
        }
        fclose(f);
        if (ring[8] == LB_FORMAT_VERSION &&
            memmem(ring + LB_RING_DATA, CAPACITY, CONTEXT, strlen(CONTEXT)) !=
                NULL) {
            broken("ring %d has a context and still version 1", i);
        }
    }
}

static void
survive(const char *dir)
{
    int i, turns;
    node_t node;
    uint32_t n;
    uint64_t seq;
    lb_spool_t *spool;
    lb_error_t err;
    lb_writer_t *w[RINGS];
    uint64_t next = 0;

    check_versions(dir);

    /* workers come first, or the flusher, or no worker ever for a ring */
    if (lb_spool_open(dir, 0, &spool, &err) != 0) {
        broken("%s", err.text);
    }

    for (i = 0; i < RINGS; i++) {
        w[i] = NULL;
        if (roll(3) != 0 &&
            lb_writer_claim_slot(spool, (uint32_t)i, &w[i], &err) != 0) {
            broken("%s", err.text);
        }
        for (n = roll(16); w[i] != NULL && n > 0; n--) {
            (void)append(w[i], &next);
        }
        if (w[i] != NULL && lb_writer_begin(w[i]) == 1) {
            if (lb_writer_write(w[i], 1) != 0 || lb_writer_end(w[i]) != 0) {
                broken("the first write after the cut failed");
            }
        }
    }

    node_start(&node, dir);

    for (turns = 0;; turns++) {
        node_turn(&node);
        if (turns > 8 && !lb_deliver_wanted(&node.deliver)) {
            break;
        }
        if (turns > 200) {
            broken("delivery does not come to an end: %s",
                   node.deliver.last_error);
        }
    }

    node_stop(&node);

    for (i = 0; i < RINGS; i++) {
        for (seq = 0; seq < promise[i].synced; seq++) {
            if (stored(i, seq) != 1) {
                broken("ring %d seq %llu was acknowledged with sync and is "
                       "there %d times",
                       i, (unsigned long long)seq, stored(i, seq));
            }
        }
        lb_writer_close(w[i]);
    }

    lb_spool_close(spool);
}

static void
make_spool(const char *dir)
{
    int i;
    lb_spool_t *spool;
    lb_reader_t *reader;
    lb_ring_info_t info;
    lb_error_t err;
    lb_dead_t *dead;

    if (lb_spool_open(dir, LB_SPOOL_CREATE, &spool, &err) != 0) {
        broken("%s", err.text);
    }

    for (i = 0; i < RINGS; i++) {
        if (lb_ring_create(spool, CAPACITY, RINGS, &err) != i ||
            lb_reader_open(spool, (uint32_t)i, 0, &reader, &err) != 0) {
            broken("%s", err.text);
        }
        if (lb_reader_info(reader, &info) != 0) {
            broken("a new ring cannot be read");
        }
        memcpy(server.uuid[i], info.uuid, LB_UUID_LEN);
        lb_reader_close(reader);
    }

    if (lb_dead_open(spool, 65536, &dead, &err) != 0) {
        broken("%s", err.text);
    }

    lb_dead_close(dead);
    lb_spool_close(spool);
}

static void
run(const char *command, const char *a, const char *b)
{
    char line[4096];

    (void)snprintf(line, sizeof(line), command, a, b);
    if (system(line) != 0) {
        broken("%s", line);
    }
}

/* One recorded run, cut everywhere; returns the number of states. */
static uint64_t
round_of(const char *base, uint32_t steps, time_t until, uint64_t *moments)
{
    int mode, again;
    char live[512], cut[512];
    size_t m;
    uint64_t states = 0;
    request_t *at_end;
    size_t n_at_end;

    (void)snprintf(live, sizeof(live), "%s/live", base);
    (void)snprintf(cut, sizeof(cut), "%s/cut", base);

    server.n = 0;
    server.chaos = 1;
    server.mark = 1;
    server.forgets = 0;
    server.lags = 0;
    memset(promise, 0, sizeof(promise));

    make_spool(live);
    run("cp -r '%s' '%s'", live, cut);

    dm_start(live);
    record_run(live, steps);
    lb_io = &lb_io_system;

    at_end = malloc((server.n + 1) * sizeof(request_t));
    assert(at_end != NULL);
    memcpy(at_end, server.request, server.n * sizeof(request_t));
    n_at_end = server.n;
    *moments += dm_moments();

    dm_rewind();
    memset(promise, 0, sizeof(promise));
    sent_requests = 0;
    answered_requests = 0;
    server.mark = 0;

    for (m = 0; m < dm_moments() - 1 && time(NULL) < until; m++) {
        dm_goto(m, seen, NULL);

        for (mode = 0; mode < DM_MODES; mode++) {
            for (again = 0; again < (mode < DM_PAGES ? 1 : 3); again++) {

                /* The server at that moment: of the last request, unless it
                 * was answered, nobody knows. */
                memcpy(server.request, at_end, n_at_end * sizeof(request_t));
                server.n = sent_requests;
                if (sent_requests > answered_requests) {
                    server.request[sent_requests - 1].committed = (int)roll(2);
                }

                server.chaos = 0;
                server.forgets = roll(3) == 0;
                server.lags = server.forgets ? 0 : (int)roll(3);
                dm_materialise(cut, mode, &rng);
                survive(cut);
                states++;
            }
        }
    }

    free(at_end);
    dm_stop();
    run("rm -rf '%s' '%s'", live, cut);

    return states;
}

int
main(int argc, char **argv)
{
    int c, rounds = 0;
    char base[256];
    time_t until;
    uint64_t seed = 20261123, states = 0, moments = 0;
    uint32_t steps = 150, seconds = 20;
    const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : P_tmpdir;
    static const struct option longopts[] = {
        {"seed", required_argument, NULL, 's'},
        {"seconds", required_argument, NULL, 't'},
        {"steps", required_argument, NULL, 'n'},
        {"verbose", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };

    while ((c = getopt_long(argc, argv, "s:t:n:v", longopts, NULL)) != -1) {
        switch (c) {
        case 's':
            seed = strtoull(optarg, NULL, 10);
            break;
        case 't':
            seconds = (uint32_t)atoi(optarg);
            break;
        case 'n':
            steps = (uint32_t)atoi(optarg);
            break;
        case 'v':
            verbose = 1;
            break;
        default:
            fputs("usage: powercut [--seed N] [--seconds N] [--steps N]\n",
                  stderr);
            return 2;
        }
    }

    lb_cell_every = 1000;
    lb_fill_slice = 200;

    options.database = "db";
    options.table = "logs";
    options.broker = "broker";
    options.max_rows = 25;
    options.max_bytes = 1024;
    options.backoff_min_ms = 1000;
    options.backoff_max_ms = 1000;

    until = time(NULL) + seconds;

    do {
        (void)snprintf(base, sizeof(base), "%s/lb-powercut-XXXXXX", tmp);
        if (mkdtemp(base) == NULL) {
            broken("no temporary directory");
        }
        rng = (seed + (uint64_t)rounds) * 0x9e3779b97f4a7c15u | 1;
        fprintf(stderr, "seed %llu\n", (unsigned long long)seed + rounds);
        states += round_of(base, steps, until, &moments);
        run("rm -rf '%s'%s", base, "");
        rounds++;
    } while (time(NULL) < until);

    printf("%llu states of the disk after power cuts at %llu moments of %d "
           "runs: acknowledged events lost 0, duplicated 0\n",
           (unsigned long long)states, (unsigned long long)moments, rounds);

    return 0;
}
