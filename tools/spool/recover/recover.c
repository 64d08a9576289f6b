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
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "tools/spool/command.h"
#include "tools/spool/output.h"

static int
execute(lb_recover_t *r, lb_ckpt_t *ckpt)
{
    int rc, done = 0;
    char text[512] = "", table[LB_TABLE_MAX + 8];
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

    lb_recover_print(r, st, table, rc != 0 ? text : NULL, done);
    free(st);

    if (rc != 0 && !done) {
        lb_tool_say("%s", text);
        return rc;
    }

    return 0;
}

int
lb_tool_recover(const lb_tool_options_t *o, const char *path)
{
    int rc = -1;
    lb_recover_t r;
    lb_ckpt_t *ckpt = NULL;
    lb_ckpt_state_t *state;

    static volatile sig_atomic_t abort_request;

    if (o->config == NULL && o->url == NULL) {
        return lb_tool_mistake("recover", path,
                               "give --config, the flusher's settings, or "
                               "--clickhouse");
    }

    memset(&r, 0, sizeof(r));
    r.o = o;

    r.options = lb_recover_settings(o, path, r.err.text, sizeof(r.err.text));
    if (r.options == NULL) {
        lb_tool_say("%s", r.err.text);
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
            if (o->json) {
                lb_tool_json_print(
                    json_pack("{s:b, s:b}", "done", 0, "whole", 1));
            } else {
                puts("the checkpoint can be read: there is nothing to "
                     "recover");
            }

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
        lb_tool_say("%s", r.err.text);
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
