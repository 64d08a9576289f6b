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

/* The file's time tells health checks that the flusher is alive, also when there
 * is nothing new to write. */
#define TOUCH_MS 20000

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

static int
replace_file(const char *spool, const char *text)
{
    int fd, rc = 0;
    char path[4200], temp[4200];
    size_t len = strlen(text);

    (void)snprintf(path, sizeof(path), "%s/flusher.json", spool);
    (void)snprintf(temp, sizeof(temp), "%s/flusher.json.new", spool);

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

int
lb_metrics_publish(lb_metrics_t *m, lb_deliver_t *d, int64_t mono_ms)
{
    int rc;
    char *text;
    json_t *root, *in_flight = json_null(), *error = json_null();
    uint64_t now = lb_now_us();
    const lb_deliver_counters_t *c = &d->counters;

    static const char *const states[] = {"empty", "fixed", "unknown", "sift",
                                         "doubt"};

    if (d->state->flags & LB_CKPT_IN_FLIGHT) {
        in_flight =
            json_pack("{s:s, s:I, s:o, s:s}", "token", d->state->token, "rows",
                      (json_int_t)d->state->rows, "since",
                      seconds(d->state->fixed_us), "state", states[d->at]);
    }

    if (d->last_error_us != 0) {
        error = json_pack(
            "{s:o, s:o}", "text",
            json_stringn_nocheck(d->last_error, strlen(d->last_error)), "time",
            seconds(d->last_error_us));
    }

    root = json_pack(
        "{s:s, s:i, s:o, s:s, s:{s:I, s:I}, "
        "s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:o, s:o, s:o, s:I, s:I, s:f, s:I, s:f, s:{s:s, s:s, s:o}}",
        "version", LB_VERSION, "pid", (int)getpid(), "started",
        seconds(m->started_us), "broker", d->options->broker, "node", "index",
        (json_int_t)d->options->node_index, "count",
        (json_int_t)d->options->node_count,
        /* events */
        "delivered_events", (json_int_t)d->state->delivered, "dead_events",
        (json_int_t)d->state->dead, "lost_bytes",
        (json_int_t)d->state->lost_bytes, "unaccounted_events",
        (json_int_t)unaccounted(d->state), "batches", (json_int_t)c->batches,
        "dead_letters", (json_int_t)lb_dead_count_open(d->dead), "requests",
        (json_int_t)c->requests, "checks", (json_int_t)c->checks, "not_sent",
        (json_int_t)c->not_sent, "refused", (json_int_t)c->refused, "unknown",
        (json_int_t)c->unknown, "new_tokens", (json_int_t)c->renamed,
        "view_misses", (json_int_t)c->view_misses,
        /* now */
        "in_flight", in_flight, "last_error", error, "last_success",
        seconds(d->last_success_us), "backlog_events",
        (json_int_t)m->backlog.events, "backlog_bytes",
        (json_int_t)m->backlog.bytes, "lag_seconds",
        m->oldest_us != 0 && now > m->oldest_us
            ? (double)((now - m->oldest_us) / 100000) / 10
            : 0.0,
        "requests_last_minute", last_minute(m, mono_ms), "clock_offset_seconds",
        (double)(m->clock_offset_ms / 100) / 10, "exactly_once", "verdict",
        m->preflight.verdict, "reason", m->preflight.reason, "looked",
        seconds(m->looked_us));

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

    rc = replace_file(lb_spool_path(d->spool), text);

    m->touched_at = mono_ms;
    free(m->written);
    m->written = rc == 0 ? text : NULL;
    if (rc != 0) {
        free(text);
    }

    return rc;
}
