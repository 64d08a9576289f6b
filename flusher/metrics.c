#include "flusher/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/lb_clock.h"

/* The file's time tells the status and health checks that the flusher is alive,
 * also when there is nothing new to write: a fraction of the time after which
 * the status calls it frozen. */
#define TOUCH_MS 4000

void
lb_metrics_request(lb_metrics_t *m, int64_t mono_ms)
{
    m->request_ms[m->request_at++ % 128] = mono_ms;
}

static json_int_t
last_minute(const lb_metrics_t *m, int64_t mono_ms)
{
    json_int_t n = 0;
    uint32_t i, used = m->request_at < 128 ? m->request_at : 128;

    for (i = 0; i < used; i++) {
        n += mono_ms - m->request_ms[i] < 60000;
    }

    return n;
}

static json_t *
seconds(uint64_t us)
{
    return us != 0 ? json_real((double)us / 1e6) : json_null();
}

/* Words of the server are cut at a size, within a letter if need be: what is
 * not UTF-8 becomes "?". */
static json_t *
words(const char *text)
{
    char copy[512], *p;
    json_t *v = json_string(text);

    if (v == NULL) {
        (void)snprintf(copy, sizeof(copy), "%s", text);
        for (p = copy; *p != '\0'; p++) {
            *p = (unsigned char)*p < 0x80 ? *p : '?';
        }
        v = json_string(copy);
    }

    return v;
}

/* Accepted = delivered + dead letters + backlog: what is acked is one of the
 * first two.  Anything but 0 is a defect of ours. */
static int64_t
unaccounted(const lb_ckpt_state_t *state)
{
    uint32_t i;
    uint64_t acked = 0;

    for (i = 0; i < state->nrings; i++) {
        acked += state->rings[i].acked_seq;
    }

    return (int64_t)(acked - state->delivered - state->dead);
}

uint64_t
lb_metrics_settled(const lb_deliver_t *d)
{
    return d->state->delivered + d->state->dead;
}

int
lb_metrics_replace(const char *spool, const char *name, const char *text)
{
    int fd, rc = 0;
    char path[4200], temp[4200];
    size_t len = strlen(text);

    (void)snprintf(path, sizeof(path), "%s/%s", spool, name);
    (void)snprintf(temp, sizeof(temp), "%s/%s.new", spool, name);

    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0664);
    if (fd < 0) {
        return -errno;
    }

    (void)fchmod(fd, 0664);

    if (write(fd, text, len) != (ssize_t)len) {
        rc = errno != 0 ? -errno : -ENOSPC;
    }

    close(fd);

    if (rc == 0 && rename(temp, path) != 0) {
        rc = -errno;
    }

    return rc;
}

static int
touch_file(const char *spool)
{
    char path[4200];

    (void)snprintf(path, sizeof(path), "%s/flusher.json", spool);

    return utimensat(AT_FDCWD, path, NULL, 0) != 0 ? -errno : 0;
}

/* What flusher.json holds; NULL: no memory. */
static json_t *
figures(const lb_metrics_t *m, const lb_deliver_t *d, int64_t mono_ms)
{
    size_t i;
    json_t *root, *in_flight = json_null(), *error = json_null();
    uint64_t now = lb_now_us();
    const lb_ckpt_state_t *st = d->state;
    const lb_deliver_counters_t *c = &d->counters;

    static const char *const states[] = {"empty", "fixed", "unknown", "sift",
                                         "doubt"};
    const struct {
        const char *name;
        int64_t value;
    } counts[] = {
        {"delivered_events", (int64_t)st->delivered},
        {"dead_events", (int64_t)st->dead},
        {"lost_bytes", (int64_t)st->lost_bytes},
        {"unaccounted_events", unaccounted(st)},
        {"batches", (int64_t)c->batches},
        {"dead_letters", (int64_t)lb_dead_count_open(d->dead)},
        {"requests", (int64_t)c->requests},
        {"checks", (int64_t)c->checks},
        {"not_sent", (int64_t)c->not_sent},
        {"refused", (int64_t)c->refused},
        {"unknown", (int64_t)c->unknown},
        {"new_tokens", (int64_t)c->renamed},
        {"view_misses", (int64_t)c->view_misses},
    };

    root = json_pack("{s:s, s:i, s:o, s:s, s:{s:I, s:I}}", "version",
                     LB_VERSION, "pid", (int)getpid(), "started",
                     seconds(m->started_us), "broker", d->options->broker,
                     "node", "index", (json_int_t)d->options->node_index,
                     "count", (json_int_t)d->options->node_count);

    for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        json_object_set_new(root, counts[i].name,
                            json_integer(counts[i].value));
    }

    if (st->flags & LB_CKPT_IN_FLIGHT) {
        in_flight = json_pack("{s:s, s:I, s:o, s:s}", "token", st->token,
                              "rows", (json_int_t)st->rows, "since",
                              seconds(st->fixed_us), "state", states[d->at]);
    }

    if (d->last_error_us != 0) {
        error = json_pack("{s:o, s:o}", "text", words(d->last_error), "time",
                          seconds(d->last_error_us));
    }

    json_object_set_new(root, "in_flight", in_flight);
    json_object_set_new(root, "last_error", error);
    json_object_set_new(root, "last_success", seconds(d->last_success_us));
    json_object_set_new(root, "asking_since", seconds(m->asked_us));
    json_object_set_new(root, "backlog_events",
                        json_integer((json_int_t)m->backlog.events));
    json_object_set_new(root, "backlog_bytes",
                        json_integer((json_int_t)m->backlog.bytes));
    json_object_set_new(
        root, "lag_seconds",
        json_real(m->oldest_us != 0 && now > m->oldest_us
                      ? (double)((now - m->oldest_us) / 100000) / 10
                      : 0.0));
    json_object_set_new(root, "requests_last_minute",
                        json_integer(last_minute(m, mono_ms)));
    json_object_set_new(root, "clock_offset_seconds",
                        json_real((double)(m->clock_offset_ms / 100) / 10));

    json_object_set_new(
        root, "exactly_once",
        json_pack("{s:s, s:o, s:o}", "verdict", m->preflight.verdict, "reason",
                  words(m->preflight.reason), "looked", seconds(m->looked_us)));

    return root;
}

int
lb_metrics_publish(lb_metrics_t *m, lb_deliver_t *d, int64_t mono_ms)
{
    int rc;
    char *text;
    json_t *root = figures(m, d, mono_ms);

    if (root == NULL) {
        return -EINVAL;
    }

    text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);

    if (text == NULL) {
        return -ENOMEM;
    }

    if (m->written != NULL && strcmp(m->written, text) == 0) {
        free(text);

        if (mono_ms - m->touched_at < TOUCH_MS) {
            return 0;
        }

        m->touched_at = mono_ms;

        rc = touch_file(lb_spool_path(d->spool));
        if (rc != 0) {
            free(m->written);
            m->written = NULL;
        }

        return rc;
    }

    rc = lb_metrics_replace(lb_spool_path(d->spool), "flusher.json", text);

    m->touched_at = mono_ms;
    free(m->written);
    m->written = rc == 0 ? text : NULL;
    if (rc != 0) {
        free(text);
    }

    return rc;
}
