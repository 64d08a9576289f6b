/*
 * How fast the flusher's own work is: a spool full of real log lines, moved
 * batch by batch, checkpoint and all, to where nothing happens to it.
 *
 *   bench_flusher SPOOL fill LOG MEGABYTES    events of LOG's lines, 20 KB a
 *                                             record, into two rings
 *   bench_flusher SPOOL encode                thrown away as they are encoded
 *   bench_flusher SPOOL http | zstd           by HTTP to a thread that reads
 *                                             and answers like ClickHouse
 *
 * encode, http and zstd begin at the start again each time, print one line of
 * JSON, and leave out the second between two requests.
 */

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "event/lift.h"
#include "flusher/clickhouse/clickhouse.h"
#include "flusher/clickhouse/native.h"
#include "flusher/deliver.h"
#include "spool/lb_ring.h"

#define RECORD 20000

static volatile sig_atomic_t never;

/* of the batch that is being sent, for the sink's answer */
static volatile uint64_t batch_rows;
static volatile uint64_t sent_bytes, sent_rows;

static void
die(const char *what, const char *why)
{
    fprintf(stderr, "bench_flusher: %s: %s\n", what, why);
    exit(1);
}

static double
seconds(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);

    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* filling */

static size_t
event(const char *line, size_t len, uint64_t n, char *out)
{
    size_t i, o;
    static const char *const levels[] = {"info", "info", "warn", "error"};

    o = (size_t)sprintf(out,
                        "{\"timestamp\":%llu.%06llu,\"level\":\"%s\","
                        "\"service\":\"service-%llu\",\"status\":%llu,"
                        "\"message\":\"",
                        1795428000ull + (unsigned long long)n / 100000,
                        (unsigned long long)n % 1000000, levels[n % 4],
                        (unsigned long long)n % 20,
                        200 + (unsigned long long)n % 5);

    for (i = 0; i < len; i++) {
        if (line[i] == '"' || line[i] == '\\') {
            out[o++] = '\\';
        }
        out[o++] = line[i];
    }

    memcpy(out + o, "\"}\n", 3);

    return o + 3;
}

static void
fill(const char *path, const char *log, uint64_t megabytes)
{
    FILE *f;
    char line[4096], text[3 * sizeof(line)], *lines[4096];
    size_t len, used, count = 0;
    uint8_t *room;
    uint64_t n = 0, records = 0, total = megabytes << 20, written = 0;
    uint32_t events;
    lb_meta_t meta = {0, (const uint8_t *)"default", 7, NULL, 0, NULL, 0, 0};
    lb_error_t err;
    lb_spool_t *spool;
    lb_writer_t *w[2], *to;

    f = fopen(log, "r");
    if (f == NULL) {
        die(log, strerror(errno));
    }
    while (count < 4096 && fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        lines[count++] = strdup(line);
    }
    fclose(f);

    if (lb_spool_open(path, LB_SPOOL_CREATE, &spool, &err) != 0) {
        die("spool", err.text);
    }

    for (int i = 0; i < 2; i++) {
        if (lb_ring_create(spool, total / 2 + (64 << 20), 2, &err) < 0 ||
            lb_writer_claim(spool, 0, &w[i], &err) != 0) {
            die("ring", err.text);
        }
    }

    while (written < total) {
        to = w[records++ % 2];
        meta.received_us = lb_now_us();
        room = lb_writer_stage(to, &meta, RECORD + sizeof(text));
        for (used = 0, events = 0; used < RECORD; n++, events++) {
            len = event(lines[n % count], strlen(lines[n % count]), n, text);
            memcpy(room + used, text, len);
            used += len;
        }
        if (lb_writer_append(to, &meta, used, events) != 0 ||
            lb_writer_begin(to) != 1 || lb_writer_write(to, 0) != 0 ||
            lb_writer_end(to) != 0) {
            die("append", "the ring takes no more");
        }
        written += used;
    }

    for (int i = 0; i < 2; i++) {
        (void)lb_writer_sync(w[i]);
        lb_writer_close(w[i]);
    }

    lb_spool_close(spool);
    printf("{\"events\": %llu, \"bytes\": %llu}\n", (unsigned long long)n,
           (unsigned long long)written);
}

/* sinks */

static void
discard(void *ctx, const lb_ch_insert_t *insert, lb_ch_result_t *r)
{
    long n;
    static char buf[1 << 20];

    (void)ctx;

    while ((n = insert->read(insert->arg, buf, sizeof(buf))) > 0) {
        sent_bytes += (uint64_t)n;
    }

    sent_rows += insert->rows;
    memset(r, 0, offsetof(lb_ch_result_t, answer));
    r->outcome = n == 0 ? LB_SINK_DONE : LB_SINK_UNKNOWN;
}

static void
by_http(void *ctx, const lb_ch_insert_t *insert, lb_ch_result_t *r)
{
    batch_rows = insert->rows;
    lb_ch_insert(ctx, insert, r);
    if (r->outcome != LB_SINK_DONE) {
        die("insert", r->text);
    }
    sent_rows += insert->rows;
}

static void
no_query(void *ctx, const char *sql, lb_ch_result_t *r)
{
    (void)ctx;
    (void)r;
    die("unexpected query", sql);
}

static void
no_next(void *ctx)
{
    (void)ctx;
}

/* Reads to the last chunk and answers; the connection then ends. */
static void *
serve(void *arg)
{
    int fd, listener = *(int *)arg;
    char answer[256], tail[8];
    ssize_t n;
    size_t keep;
    static char buf[1 << 20];

    for (;;) {
        fd = accept(listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        memset(tail, 0, sizeof(tail));

        while ((n = read(fd, buf, sizeof(buf))) > 0) {
            sent_bytes += (uint64_t)n;
            keep = n < 7 ? (size_t)n : 7;
            memmove(tail, tail + keep, 7 - keep);
            memcpy(tail + 7 - keep, buf + n - keep, keep);
            if (memcmp(tail, "\r\n0\r\n\r\n", 7) == 0) {
                break;
            }
        }

        (void)snprintf(answer, sizeof(answer),
                       "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
                       "Connection: close\r\nX-ClickHouse-Summary: "
                       "{\"read_rows\":\"%llu\"}\r\n\r\n",
                       (unsigned long long)batch_rows);
        if (write(fd, answer, strlen(answer)) < 0) {
            perror("bench_flusher: write");
        }
        close(fd);
    }
}

static int
listen_on_loopback(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);

    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 ||
        listen(fd, 8) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
        die("sink", strerror(errno));
    }

    *port = ntohs(a.sin_port);

    return fd;
}

__attribute__((format(printf, 2, 3))) static void
log_line(int level, const char *fmt, ...)
{
    va_list ap;

    if (level == LB_LOG_INFO) {
        return;
    }

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

static void
drain(const char *path, const char *mode)
{
    int listener;
    char url[64];
    double wall, cpu;
    uint32_t i;
    uint16_t port;
    pthread_t thread;
    lb_error_t err;
    lb_rings_t rings;
    lb_deliver_t d;
    lb_options_t o;
    lb_transport_t transport = {NULL, discard, no_query, no_next, NULL};
    struct rusage usage;
    static lb_ckpt_state_t state;

    memset(&o, 0, sizeof(o));
    memset(&d, 0, sizeof(d));
    o.broker = "bench";
    o.database = "logbroker";
    o.table = "logs";
    o.user = "";
    o.connect_timeout_ms = 5000;
    o.request_timeout_ms = 60000;
    o.max_rows = 500000;
    o.max_bytes = 64 << 20;
    o.zstd = strcmp(mode, "zstd") == 0;

    if (strcmp(mode, "encode") != 0) {
        listener = listen_on_loopback(&port);
        (void)snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
        o.urls[0] = url;
        o.nurls = 1;
        if (pthread_create(&thread, NULL, serve, &listener) != 0) {
            die("sink", "no thread");
        }
        transport.insert = by_http;
        transport.ctx = lb_ch_new(&o, &never);
    }

    if (lb_spool_open(path, 0, &d.spool, &err) != 0 ||
        lb_ckpt_open(d.spool, &d.ckpt, &state, &err) != 0) {
        die("spool", err.text);
    }

    /* from the start: what is there was never delivered */
    memset(state.rings, 0, sizeof(state.rings));
    state.nrings = 0;
    state.delivered = 0;
    state.flags = 0;

    lb_rings_init(&rings, d.spool);
    if (lb_rings_look(&rings, 0, &err) != 0) {
        die("spool", err.text);
    }
    for (i = 0; i < rings.n; i++) {
        rings.ring[i].info.acked = 0;
        rings.ring[i].info.acked_seq = 0;
    }
    if (lb_dead_open(d.spool, 1 << 20, &d.dead, &err) != 0) {
        die("spool", err.text);
    }

    d.state = &state;
    d.rings = &rings;
    d.options = &o;
    d.sink = lb_clickhouse_over(&transport, &o);
    if (d.sink == NULL) {
        die("sink", "no memory");
    }
    d.log = log_line;

    if (lb_deliver_init(&d, &err) != 0) {
        die("deliver", err.text);
    }
    lb_deliver_table(&d, LB_ENCODING(LB_NATIVE_VERSION, LB_LIFT_ALL));

    wall = seconds(CLOCK_MONOTONIC);
    cpu = seconds(CLOCK_THREAD_CPUTIME_ID);

    while (lb_deliver_wanted(&d)) {
        if (!lb_deliver_step(&d)) {
            die("deliver", d.last_error);
        }
    }

    wall = seconds(CLOCK_MONOTONIC) - wall;
    cpu = seconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
    getrusage(RUSAGE_SELF, &usage);

    printf("{\"mode\": \"%s\", \"events\": %llu, \"batches\": %llu, "
           "\"sent_bytes\": %llu, \"seconds\": %.3f, \"cpu_seconds\": %.3f, "
           "\"max_rss_kb\": %ld}\n",
           mode, (unsigned long long)sent_rows,
           (unsigned long long)d.counters.batches,
           (unsigned long long)sent_bytes, wall, cpu, usage.ru_maxrss);
}

int
main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);

    if (argc == 5 && strcmp(argv[2], "fill") == 0) {
        fill(argv[1], argv[3], strtoull(argv[4], NULL, 10));
        return 0;
    }

    if (argc == 3 &&
        (strcmp(argv[2], "encode") == 0 || strcmp(argv[2], "http") == 0 ||
         strcmp(argv[2], "zstd") == 0)) {
        drain(argv[1], argv[2]);
        return 0;
    }

    fputs("usage: bench_flusher SPOOL fill LOG MEGABYTES\n"
          "       bench_flusher SPOOL encode|http|zstd\n",
          stderr);

    return 2;
}
