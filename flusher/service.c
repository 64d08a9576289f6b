#include "flusher/service.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "flusher/clickhouse/clickhouse.h"
#include "flusher/log.h"
#include "flusher/notify.h"
#include "spool/lb_clock.h"
#include "spool/lb_left.h"
#include "spool/lb_open.h"
#include "spool/lb_others.h"

/* how often the rings are looked at: part of the time until an event is in */
#define LOOK_MS 50

/* A request is begun before it may be sent, by the time that its batch and its
 * connection took at most of late, half as much again, and this. */
#define EARLY_MS 5

/* Time for two packets that get lost. */
#define PREPARE_MAX_MS 3000

/* A request that is ready waits so long at most: if its turn is over, something
 * else may have to be done until the next. */
#define GATE_MAX_MS 5000

/* Milliseconds until a request that is ready so much later may be sent. */
static int64_t
pace_wait(const lb_service_t *f, int64_t now, int64_t later)
{
    int64_t wall = (int64_t)(lb_now_us() / 1000);

    return lb_pace_wait(&f->pace, now + later,
                        wall + later - lb_clock_offset(&f->clock, now, wall));
}

static int64_t
slowest_of_late(int64_t slowest, int64_t took)
{
    return took >= slowest ? took : slowest - (slowest - took + 3) / 4;
}

/* Every request comes through here, whatever it is: see lb_ch_set_gate. */
static int
gate(void *arg)
{
    int64_t wait, now = lb_mono_ms();
    lb_service_t *f = arg;
    sigset_t none;
    struct timespec ts;

    sigemptyset(&none);

    f->prepare_ms = slowest_of_late(f->prepare_ms, now - f->begun_at);
    if (f->prepare_ms > PREPARE_MAX_MS) {
        f->prepare_ms = PREPARE_MAX_MS;
    }

    while ((wait = pace_wait(f, now, 0)) > 0) {

        if (wait > GATE_MAX_MS || f->signals->abort) {
            return -1;
        }

        lb_notify_alive();

        wait = wait < 100 ? wait : 100;
        ts.tv_sec = 0;
        ts.tv_nsec = wait * 1000000;
        (void)ppoll(NULL, 0, &ts, &none);
        now = lb_mono_ms();
    }

    lb_pace_start(&f->pace, now);
    lb_metrics_request(&f->metrics, now);
    f->metrics.asked_us = lb_now_us();

    return 0;
}

/* In the midst of a request too: only what does not change then is read. */
static void
show_alive(void *arg)
{
    lb_service_t *f = arg;

    (void)lb_metrics_publish(&f->metrics, &f->deliver, lb_mono_ms());
}

static void
name_other(void *arg, const char *path, const lb_left_t *left)
{
    (void)arg;

    lb_log(LB_LOG_WARN,
           "another spool, \"%.300s\", holds %llu events that no flusher "
           "delivers: if the path was changed, let a flusher with the old "
           "one deliver them",
           path, (unsigned long long)(left->events + left->letters));
}

int
lb_service_start(lb_service_t *f)
{
    int64_t now = lb_mono_ms();
    lb_error_t err;

    static const uint8_t none[LB_UUID_LEN];

    if (lb_spool_open(f->options->spool, LB_SPOOL_CREATE, &f->spool, &err) !=
            0 ||
        lb_ckpt_open(f->spool, &f->ckpt, &f->state, &err) != 0) {
        lb_log(LB_LOG_ERROR, "%s", err.text);
        return -1;
    }

    if (lb_spool_note(f->spool) != NULL) {
        lb_log(LB_LOG_WARN, "%s", lb_spool_note(f->spool));
    }

    lb_rings_init(&f->rings, f->spool);

    if (lb_rings_look(&f->rings, now, &err) != 0 ||
        lb_dead_open(f->spool, f->options->dead_bytes, &f->dead, &err) != 0) {
        lb_log(LB_LOG_ERROR, "%s", err.text);
        return -1;
    }

    f->sink = lb_clickhouse_new(f->options, &f->signals->abort);
    if (f->sink == NULL) {
        lb_log(LB_LOG_ERROR, "cannot initialise curl");
        return -1;
    }

    f->sink->set_gate(f->sink->ctx, gate, f);

    f->deliver.spool = f->spool;
    f->deliver.ckpt = f->ckpt;
    f->deliver.state = &f->state;
    f->deliver.rings = &f->rings;
    f->deliver.dead = f->dead;
    f->deliver.options = f->options;
    f->deliver.sink = f->sink;
    f->deliver.log = lb_log;

    if (lb_deliver_init(&f->deliver, &err) != 0) {
        lb_log(LB_LOG_ERROR, "%s", err.text);
        return -1;
    }

    /* The page of a ring may be behind the checkpoint. */
    lb_rings_ack(&f->rings, &f->state);

    lb_pace_init(&f->pace, f->options->node_index, f->options->node_count, now);
    f->metrics.started_us = lb_now_us();
    f->metrics.preflight.verdict = "unknown";
    lb_look_init(&f->look, now,
                 memcmp(f->state.table_uuid, none, LB_UUID_LEN) != 0);
    if (!f->deliver.looked) {
        lb_look_soon(&f->look, now, 0);
    }

    lb_history_load(&f->history, f->options->spool,
                    (int64_t)(lb_now_us() / 60000000));
    lb_notify_show(show_alive, f);

    lb_log(LB_LOG_INFO, "serving spool \"%s\" as broker \"%s\", node %u of %u",
           f->options->spool, f->options->broker, f->options->node_index,
           f->options->node_count);

    lb_spool_others(f->spool, name_other, NULL);

    return 0;
}

void
lb_service_stop(lb_service_t *f)
{
    if (f->sink != NULL) {
        f->sink->free(f->sink->ctx);
    }
    lb_dead_close(f->dead);
    lb_rings_close(&f->rings);
    lb_ckpt_close(f->ckpt);
    lb_spool_close(f->spool);
    lb_options_free(f->options);
    free(f->metrics.written);
}

static void
reload(lb_service_t *f)
{
    char text[512];
    int other;
    lb_options_t *o;

    o = lb_options_load(f->config, text, sizeof(text));

    if (o == NULL) {
        lb_log(LB_LOG_ERROR,
               "configuration not reloaded, still using the old one: %s", text);
        return;
    }

    if (strcmp(o->spool, f->options->spool) != 0) {
        lb_log(LB_LOG_ERROR,
               "configuration not reloaded, still using the old one: another "
               "spool needs a restart");
        lb_options_free(o);
        return;
    }

    if (f->sink->configure(f->sink->ctx, o) != 0) {
        lb_log(
            LB_LOG_ERROR,
            "configuration not reloaded, still using the old one: no memory");
        lb_options_free(o);
        return;
    }

    other = strcmp(o->database, f->options->database) != 0 ||
            strcmp(o->table, f->options->table) != 0;
    lb_options_free(f->options);
    f->options = o;
    f->deliver.options = o;
    f->deliver.size.may_grow = 0;
    f->pace.index = o->node_index;
    f->pace.count = o->node_count;
    lb_look_init(&f->look, lb_mono_ms(), 1);
    f->retry_at = 0;

    /* what is known is of another table: nothing is sent before the look */
    if (other) {
        f->deliver.encoding = f->sink->encoders[0]->version;
        memset(&f->metrics.preflight, 0, sizeof(f->metrics.preflight));
        f->metrics.preflight.verdict = "unknown";
        f->metrics.preflight.replicated = -1;
        f->metrics.preflight.hold = 1;
        memset(f->deliver.table_uuid, 0, sizeof(f->deliver.table_uuid));
    }

    lb_log(LB_LOG_INFO, "configuration reloaded");
}

/* The look has told what the table has columns for. */
static void
note_columns(lb_service_t *f, const lb_verdict_t *p)
{
    if (!f->deliver.looked || p->encoding != f->deliver.encoding) {
        lb_log(LB_LOG_INFO,
               p->lacks[0] == '\0'
                   ? "the table %s.%s has every column there is something for%s"
                   : "the table %s.%s has no columns %s that can be filled: "
                     "what is for them stays in attributes "
                     "(03-upgrade.sql adds them)",
               f->options->database, f->options->table, p->lacks);
    }

    lb_deliver_table(&f->deliver, p->encoding);
    f->deliver.size.may_grow = p->whole;
}

/* The look at the table. */
static void
preflight(lb_service_t *f)
{
    int missing;
    lb_said_t *said = &f->deliver.said;
    lb_verdict_t *p = &f->metrics.preflight, before = *p;

    f->sink->check(f->sink->ctx, p, said);
    f->deliver.counters.requests++;

    /* It goes on while there is nobody, or no table, to be looked at; what this
     * user may not look at stops nothing. */
    missing = said->outcome == LB_SINK_DONE && p->replicated < 0 &&
              strcmp(p->verdict, "no") == 0;
    if (!said->again && !said->late && !missing &&
        said->outcome != LB_SINK_NOT_SENT) {
        f->look.first = 0;
    }

    /* it says nothing that it was not this node's turn any more */
    lb_look_made(&f->look, lb_mono_ms(), f->options->node_count, p,
                 said->again || said->late);

    if (said->again || said->late) {
        return;
    }

    if (p->encoding != 0) {
        note_columns(f, p);
    } else if (said->outcome != LB_SINK_NOT_SENT) {
        f->deliver.looked = 1;
    } else if (!f->deliver.looked) {
        lb_look_soon(&f->look, lb_mono_ms(), 1);
    }

    if (said->outcome != LB_SINK_DONE) {
        f->deliver.counters.not_sent += said->outcome == LB_SINK_NOT_SENT;
        if (f->look.first) {
            lb_log(LB_LOG_WARN,
                   "ClickHouse cannot be reached (%s); nothing is sent before "
                   "the table was looked at",
                   said->text);
        }
        f->sink->next(f->sink->ctx);
        f->deliver.moved = 1;
    }

    if (p->replicated >= 0) {
        memcpy(f->deliver.table_uuid, p->table_uuid, LB_UUID_LEN);
    }
    f->metrics.looked_us = lb_now_us();

    if (p->hold || f->look.first || strcmp(p->verdict, "unknown") == 0) {
        (void)snprintf(f->deliver.last_error, sizeof(f->deliver.last_error),
                       "%.511s", p->reason);
        f->deliver.last_error_us = lb_now_us();
    } else if (strcmp(p->verdict, before.verdict) != 0) {
        f->retry_at = 0;
    }

    if (strcmp(p->verdict, before.verdict) != 0 ||
        (strcmp(p->reason, before.reason) != 0 &&
         strcmp(p->verdict, "unknown") != 0)) {
        lb_log(strcmp(p->verdict, "yes") == 0 ? LB_LOG_INFO : LB_LOG_ERROR,
               "exactly once into %s.%s: %s%s%s", f->options->database,
               f->options->table, p->verdict, p->reason[0] ? ", because " : "",
               p->reason);
    }
}

/* The receive time of the oldest unacked event, 0 without one. */
static uint64_t
oldest(lb_service_t *f)
{
    uint32_t i;
    uint64_t us = 0;
    lb_record_t rec;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    for (i = 0; i < f->rings.n; i++) {
        r = &f->rings.ring[i];
        e = lb_ckpt_find(&f->state, r->info.uuid);

        if (lb_reader_record(r->reader, e != NULL ? e->acked : 0,
                             r->info.committed, 0, &rec) == 0 &&
            (us == 0 || rec.received_us < us)) {
            us = rec.received_us;
        }
    }

    return us;
}

/* A minute more in history.json; without room for it, none is missed by anything
 * but the plots. */
static void
remember(lb_service_t *f)
{
    char *text;
    uint64_t us = lb_now_us(), oldest_us = f->metrics.oldest_us;
    uint64_t settled = lb_metrics_settled(&f->deliver);
    lb_history_now_t now = {
        .accepted = settled + f->metrics.backlog.events,
        .settled = settled,
        .backlog = f->metrics.backlog.events,
        .lag_ms =
            oldest_us != 0 && us > oldest_us ? (us - oldest_us) / 1000 : 0,
        .requests = f->deliver.counters.requests,
    };

    if (!lb_history_note(&f->history, &now, (int64_t)(us / 60000000))) {
        return;
    }

    text = lb_history_text(&f->history);
    if (text != NULL) {
        (void)lb_metrics_replace(f->options->spool, "history.json", text);
        free(text);
    }
}

static void
publish(lb_service_t *f, int64_t now)
{
    int rc;
    char buf[128];

    if (now - f->published_at < 1000 && f->published_at != 0) {
        return;
    }

    f->published_at = now;
    lb_rings_backlog(&f->rings, &f->state, &f->metrics.backlog);
    f->metrics.oldest_us = oldest(f);

    rc = lb_metrics_publish(&f->metrics, &f->deliver, now);
    if (rc != 0) {
        lb_log(LB_LOG_WARN, "cannot write flusher.json: %s",
               lb_strerror(rc, buf, sizeof(buf)));
    }

    remember(f);
}

/* What the last answer says about our clock. */
static void
look_at_clock(lb_service_t *f)
{
    int off;
    int64_t now;
    lb_said_t *r = &f->deliver.said;

    if (r->date == 0 && f->metrics.preflight.server_ms == 0) {
        return;
    }

    now = r->dated_mono;

    if (f->metrics.preflight.server_ms != 0) {
        lb_clock_measure(&f->clock, now, r->sent_ms, r->dated_ms,
                         f->metrics.preflight.server_ms);
        f->metrics.preflight.server_ms = 0;

    } else if (lb_clock_date(&f->clock, now, r->sent_ms, r->dated_ms,
                             r->date)) {
        f->look.at = f->look.idle = now;
        f->look.need = 0;
    }

    r->date = 0;

    f->metrics.clock_offset_ms = lb_clock_offset(&f->clock, now, r->dated_ms);
    f->deliver.clock_offset_ms = f->metrics.clock_offset_ms;
    off = f->metrics.clock_offset_ms != 0;

    if (off != f->clock_told) {
        f->clock_told = off;
        if (off) {
            lb_log(LB_LOG_WARN,
                   "the clock of this machine is %+.1f s from ClickHouse's: "
                   "synchronise both; requests are timed by ClickHouse's",
                   (double)f->metrics.clock_offset_ms / 1000);
        } else {
            lb_log(LB_LOG_INFO,
                   "the clock of this machine agrees with ClickHouse's");
        }
    }
}

/* Without a connection the next server is asked at once; after all of them
 * there is a pause. */
static void
reached(lb_service_t *f, int look)
{
    const lb_said_t *r = &f->deliver.said;

    if (r->outcome != LB_SINK_NOT_SENT || r->late) {
        f->unreachable = 0;
        return;
    }

    if (++f->unreachable % f->options->nurls == 0) {
        return;
    }

    if (look) {
        f->look.at = f->look.idle = lb_mono_ms();
        f->look.need = 0;
    } else {
        f->retry_at = 0;
    }
}

/* Rings come, go, and are told what they may reuse. */
static void
look_at_rings(lb_service_t *f, int64_t now)
{
    lb_error_t err;

    /* fails only before it has ever succeeded */
    (void)lb_rings_look(&f->rings, now, &err);
    lb_rings_recover_orphans(&f->rings, now);

    if (f->rings.untold && !f->deliver.store_pending &&
        now - f->told_at >= 1000) {
        f->told_at = now;
        lb_rings_ack(&f->rings, &f->state);
    }

    if (f->rings.trouble.code != 0) {
        (void)snprintf(f->deliver.last_error, sizeof(f->deliver.last_error),
                       "%s", f->rings.trouble.text);
        f->deliver.last_error_us = lb_now_us();
        lb_log(LB_LOG_ERROR, "%s", f->rings.trouble.text);
    }
}

/* One step of delivery, and when the next may be after it. */
static void
deliver(lb_service_t *f)
{
    uint64_t before = f->deliver.counters.requests;

    if (lb_deliver_step(&f->deliver)) {
        f->retry_at = 0;
    } else {
        f->retry_at =
            lb_mono_ms() + lb_deliver_backoff(f->options, f->deliver.failures);
    }

    if (f->deliver.counters.requests != before) {
        lb_look_request(&f->look, lb_mono_ms(), f->options->node_count,
                        &f->deliver.said);
        f->metrics.preflight.hold |= f->deliver.said.hold;
    }
}

/* What the last request told besides its purpose. */
static void
note_said(lb_service_t *f)
{
    lb_said_t *said = &f->deliver.said;

    if (said->new_password) {
        said->new_password = 0;
        lb_log(LB_LOG_INFO, "clickhouse.password_file has changed and is used "
                            "from now on");
    }

    /* a packet got lost: it may have come much later than it was sent */
    if (said->repeated) {
        said->repeated = 0;
        lb_pace_start(&f->pace, lb_mono_ms());
    } else if (said->left_mono > f->pace.last) {
        lb_pace_start(&f->pace, said->left_mono);
    }

    look_at_clock(f);
}

/* One turn; returns how long to wait before the next. */
static int64_t
turn(lb_service_t *f)
{
    int wanted, look;
    int64_t now = lb_mono_ms(), wait;
    uint64_t before;

    look_at_rings(f, now);

    wanted = lb_deliver_wanted(&f->deliver) && !f->metrics.preflight.hold &&
             !f->look.first;
    look = lb_look_due(&f->look, now, wanted && f->retry_at <= now);

    if (!wanted && !look) {
        publish(f, now);
        return LOOK_MS;
    }

    wait = pace_wait(f, now, f->prepare_ms) - EARLY_MS - f->prepare_ms / 2;

    if (!look && f->retry_at > now && f->retry_at - now > wait) {
        wait = f->retry_at - now;
    }

    if (wait > 0) {
        publish(f, now);
        return wait < LOOK_MS ? wait : LOOK_MS;
    }

    f->begun_at = now;
    before = f->deliver.counters.requests;

    if (look) {
        preflight(f);
    } else {
        deliver(f);
    }
    f->metrics.asked_us = 0;

    if (f->deliver.counters.requests != before) {
        reached(f, look);
    }

    note_said(f);
    publish(f, lb_mono_ms());

    return 0;
}

/* 1 if another spool has taken the path, as when a disk was mounted there.  Until
 * then the open one is served, even if its folder is gone. */
static int
replaced(lb_service_t *f)
{
    lb_spool_t *other;

    if (!lb_spool_stale(f->spool) ||
        lb_spool_open(f->options->spool, 0, &other, NULL) != 0) {
        return 0;
    }

    lb_spool_close(other);

    return 1;
}

int
lb_service_run(lb_service_t *f)
{
    int64_t wait, deadline = -1, looked = 0;
    sigset_t none;
    struct timespec ts;

    sigemptyset(&none);

    lb_notify("READY=1\nSTATUS=Delivering");

    for (;;) {
        lb_notify_alive();

        if (f->signals->hangups) {
            f->signals->hangups = 0;
            reload(f);
        }

        if (f->signals->terminations > 0) {
            if (deadline < 0) {
                deadline = lb_mono_ms() + f->options->shutdown_timeout_ms;
                lb_log(LB_LOG_INFO, "stopping: delivering what is left");
                lb_notify("STOPPING=1\nSTATUS=Delivering what is left");
            }

            if (f->signals->terminations > 1 || lb_mono_ms() >= deadline ||
                !lb_deliver_wanted(&f->deliver)) {
                break;
            }
        }

        if (lb_mono_ms() - looked >= 1000) {
            looked = lb_mono_ms();

            if (replaced(f)) {
                lb_log(LB_LOG_ERROR,
                       "the spool \"%s\" was replaced: restart the flusher to "
                       "serve what is there now",
                       f->options->spool);
                return 1;
            }
        }

        wait = turn(f);

        /* Signals are let in only here, so none is missed. */
        ts.tv_sec = wait / 1000;
        ts.tv_nsec = wait % 1000 * 1000000;
        (void)ppoll(NULL, 0, &ts, &none);
    }

    f->published_at = 0;
    publish(f, lb_mono_ms());

    if (lb_rings_unread(&f->rings)) {
        lb_log(LB_LOG_WARN,
               "stopped; %llu events stay in the spool, and whatever is in "
               "rings that cannot be read",
               (unsigned long long)f->metrics.backlog.events);
    } else if (f->metrics.backlog.events > 0) {
        lb_log(LB_LOG_WARN, "stopped; %llu events stay in the spool",
               (unsigned long long)f->metrics.backlog.events);
    } else {
        lb_log(LB_LOG_INFO, "stopped; everything is delivered");
    }

    return 0;
}
