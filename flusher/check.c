#include "flusher/check.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "flusher/clickhouse/http.h"
#include "flusher/pace.h"
#include "flusher/clickhouse/preflight.h"
#include "spool/lb_io.h"
#include "spool/lb_ring.h"

/* What a flusher that serves the spool has found out: its request was enough.
 * 0 if there is none. */
static int
ask_flusher(const lb_options_t *o, lb_preflight_t *p)
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
    lb_preflight_t *preflight;
    lb_pace_t pace;
    int asked; /* a flusher has come: its request is enough */
} check_t;

static int
gate(void *arg)
{
    check_t *c = arg;

    wait_but(&c->pace, 0);

    c->asked = ask_flusher(c->options, c->preflight);
    if (c->asked) {
        return 1;
    }

    lb_pace_start(&c->pace, lb_mono_ms());

    return 0;
}

int
lb_check_table(const lb_options_t *o, const volatile sig_atomic_t *abort)
{
    char sql[LB_PREFLIGHT_SQL];
    uint32_t tries = 0;
    lb_ch_t *ch;
    lb_preflight_t p;
    check_t c = {.options = o, .preflight = &p};

    static lb_ch_result_t result;

    if (!ask_flusher(o, &p)) {

        ch = lb_ch_new(o, abort);
        if (ch == NULL) {
            fputs("logbroker-flusher: cannot initialise curl\n", stderr);
            return 1;
        }

        /* in a second of this node, like any request */
        lb_pace_init(&c.pace, o->node_index, o->node_count, lb_mono_ms());
        lb_ch_set_gate(ch, gate, &c);

        lb_preflight_sql(o, sql, sizeof(sql));
        memset(&p, 0, sizeof(p));

        do {
            /* the connection a little ahead */
            wait_but(&c.pace, 500);
            lb_ch_query(ch, sql, &result);

            if (result.outcome == LB_CH_NOT_SENT) {
                lb_ch_next_url(ch);
                tries++;
            }

            /* without a setting that was refused, or another server */
        } while (!c.asked &&
                 (result.relearn ||
                  (result.outcome == LB_CH_NOT_SENT && tries < o->nurls)));

        if (!c.asked) {
            lb_preflight_judge(o, &result, &p);
        }
        lb_ch_free(ch);
    }

    fprintf(stderr, "exactly once into %s.%s: %s%s%s\n", o->database, o->table,
            p.verdict, p.reason[0] ? ", because " : "", p.reason);

    return strcmp(p.verdict, "no") == 0 ? 3 : 0;
}
