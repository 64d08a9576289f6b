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

#include "recover.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

static int
execute(lb_recover_t *r, lb_ckpt_t *ckpt)
{
    int i, rc, done = 0;
    char text[512] = "", table[LB_TABLE_MAX + 8];
    uint64_t to_deliver = 0;
    lb_ckpt_state_t *st;

    (void)snprintf(table, sizeof(table), "%s.%s", r->options->database,
                   r->options->table);

    st = malloc(sizeof(*st));
    if (st == NULL || lb_recover_plan(r) != 0) {
        free(st);
        return -1;
    }

    rc = lb_recover_doubts(r, text, sizeof(text));
    lb_recover_compose(r, st);

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
            lb_recover_json_ring(&r->ring[i], i == 0);
        } else {
            lb_recover_print_ring(&r->ring[i]);
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
    lb_recover_t r;
    lb_ckpt_t *ckpt = NULL;
    lb_ckpt_state_t *state;

    static volatile sig_atomic_t abort_request;

    memset(&r, 0, sizeof(r));
    r.o = o;

    r.options = lb_recover_settings(o, path, r.err.text, sizeof(r.err.text));
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
            lb_ch_set_gate(r.ch, lb_recover_gate, &r.pace);
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
