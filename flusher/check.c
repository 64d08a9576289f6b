#include "flusher/check.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "flusher/clickhouse/clickhouse.h"
#include "flusher/pace.h"
#include "spool/lb_io.h"
#include "spool/lb_clock.h"

/* What a flusher that serves the spool has found out: its request was enough.
 * 0 if there is none. */
static int
ask_flusher(const lb_options_t *o, lb_verdict_t *p)
{
    int fd, locked;
    char path[4200];
    json_t *root;
    const char *verdict, *reason;

    (void)snprintf(path, sizeof(path), "%s/checkpoint", o->spool);

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    locked = lb_io_locked(fd);
    close(fd);

    if (!locked) {
        return 0;
    }

    p->verdict = "unknown";
    (void)snprintf(p->reason, sizeof(p->reason),
                   "the flusher that serves the spool has not looked yet");

    (void)snprintf(path, sizeof(path), "%s/flusher.json", o->spool);
    root = json_load_file(path, 0, NULL);

    if (root != NULL &&
        json_unpack(root, "{s:{s:s, s:s}}", "exactly_once", "verdict", &verdict,
                    "reason", &reason) == 0) {
        p->verdict = strcmp(verdict, "yes") == 0  ? "yes"
                     : strcmp(verdict, "no") == 0 ? "no"
                                                  : "unknown";
        (void)snprintf(p->reason, sizeof(p->reason), "%s", reason);
    }

    json_decref(root);

    return 1;
}

/* Until a request may be sent, but for so long. */
static void
wait_but(const lb_pace_t *pace, int64_t ms)
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

typedef struct {
    const lb_options_t *options;
    lb_verdict_t *verdict;
    lb_pace_t pace;
    int asked; /* a flusher has come: its request is enough */
} check_t;

static int
gate(void *arg)
{
    check_t *c = arg;

    wait_but(&c->pace, 0);

    c->asked = ask_flusher(c->options, c->verdict);
    if (c->asked) {
        return 1;
    }

    lb_pace_start(&c->pace, lb_mono_ms());

    return 0;
}

int
lb_check_table(const lb_options_t *o, const volatile sig_atomic_t *abort)
{
    uint32_t tries = 0;
    lb_sink_t *sink;
    lb_said_t said;
    lb_verdict_t p;
    check_t c = {.options = o, .verdict = &p};

    if (!ask_flusher(o, &p)) {

        sink = lb_clickhouse_new(o, abort);
        if (sink == NULL) {
            fputs("logbroker-flusher: cannot initialise curl\n", stderr);
            return 1;
        }

        /* in a second of this node, like any request */
        lb_pace_init(&c.pace, o->node_index, o->node_count, lb_mono_ms());
        sink->set_gate(sink->ctx, gate, &c);
        memset(&p, 0, sizeof(p));

        do {
            /* the connection a little ahead */
            wait_but(&c.pace, 500);
            sink->check(sink->ctx, &p, &said);

            if (said.outcome == LB_SINK_NOT_SENT) {
                sink->next(sink->ctx);
                tries++;
            }

            /* without a setting that was refused, or another server */
        } while (!c.asked && (said.again || (said.outcome == LB_SINK_NOT_SENT &&
                                             tries < o->nurls)));

        sink->free(sink->ctx);
    }

    fprintf(stderr, "exactly once into %s.%s: %s%s%s\n", o->database, o->table,
            p.verdict, p.reason[0] ? ", because " : "", p.reason);

    return strcmp(p.verdict, "yes") == 0  ? 0
           : strcmp(p.verdict, "no") == 0 ? 3
                                          : 4;
}
