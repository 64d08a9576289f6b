/*
 * logbroker-spool dead: dead letters, listed, shown, replayed, dropped; also
 * while the spool is in use.
 *
 * A replay appends the event to a free ring as a new record, with the stream,
 * client and time of receipt it had; the flusher delivers it like any other.
 * The letter is marked before and after, so that a crash in between leaves a
 * letter that is not replayed again unless told.
 */

#include "tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "spool/lb_dead.h"
#include "spool/lb_format.h"

static const char *const states[] = {"open", "replaying", "done"};

static void
print_letter(const lb_dead_letter_t *l, int json)
{
    char ring[LB_UUID_TEXT], when[32];
    time_t t = (time_t)(l->set_aside_us / 1000000);
    lb_record_t rec;

    lb_uuid_format(l->ring, ring);
    (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime(&t));

    if (!json) {
        printf("%8" PRIu64 "  %-9s  %s  %-6s  %s  seq %" PRIu64 ", %" PRIu64
               " events: %s\n",
               l->offset, states[l->state], when,
               l->kind == LB_DEAD_ROW ? "row" : "damage", ring, l->first_seq,
               l->events, l->reason);
        return;
    }

    printf("{\"letter\":%" PRIu64 ",\"state\":\"%s\",\"set_aside\":\"%s\","
           "\"kind\":\"%s\",\"ring\":\"%s\",\"seq\":%" PRIu64
           ",\"events\":%" PRIu64 ",\"bytes\":%zu",
           l->offset, states[l->state], when,
           l->kind == LB_DEAD_ROW ? "row" : "damage", ring, l->first_seq,
           l->events, l->bytes_len);

    if (lb_dead_record(l, &rec) == 0) {
        printf(",\"stream\":\"%s\",\"received_us\":%" PRIu64 ",\"event\":",
               rec.stream, rec.received_us);
        fwrite(l->bytes + rec.header_len, 1, l->bytes_len - rec.header_len,
               stdout);
    }

    fputs(",\"reason\":", stdout);
    lb_tool_json_textn(stdout, l->reason, l->reason_len);
    puts("}");
}

/* The event, or the raw bytes of damage. */
static void
show(const lb_dead_letter_t *l)
{
    lb_record_t rec;

    if (lb_dead_record(l, &rec) == 0) {
        fwrite(l->bytes + rec.header_len, 1, l->bytes_len - rec.header_len,
               stdout);
        putchar('\n');
    } else {
        fwrite(l->bytes, 1, l->bytes_len, stdout);
    }
}

static int
append(lb_writer_t *w, const lb_record_t *rec, const uint8_t *event, size_t len)
{
    int rc;
    uint8_t *room;
    lb_meta_t meta;

    meta.received_us = rec->received_us;
    meta.stream = (const uint8_t *)rec->stream;
    meta.stream_len = rec->stream_len;
    meta.client = rec->client;
    meta.client_len = rec->client_len;

    meta.key = rec->key_len ? rec->key : NULL;

    room = lb_writer_stage(w, &meta, len + 1);
    if (room == NULL) {
        return -ENOMEM;
    }

    memcpy(room, event, len);
    room[len] = '\n';

    rc = lb_writer_append(w, &meta, len + 1, 1);
    if (rc == 0) {
        (void)lb_writer_begin(w);
        rc = lb_writer_write(w, 1);
        (void)lb_writer_end(w);
    }

    return rc;
}

/* A ring may be held for a moment by a worker that makes it, fills it or looks
 * at it. */
#define TRIES 100
#define TRY_MS 100

/* Into the first ring that is free and has room. */
static int
into_a_ring(lb_spool_t *spool, const lb_record_t *rec, const uint8_t *event,
            size_t len, lb_error_t *err)
{
    int i, n, tries, rc = LB_ENOSLOT;
    uint32_t slots[LB_SLOTS_MAX];
    lb_writer_t *w;

    static const struct timespec pause = {0, TRY_MS * 1000000};

    for (tries = 0; tries < TRIES; tries++) {

        n = lb_spool_slots(spool, slots, err);
        if (n < 0) {
            return n;
        }

        /* the last rings are the ones workers want least */
        for (i = n - 1; i >= 0; i--) {
            if (lb_writer_claim_slot(spool, slots[i], &w, err) != 0) {
                continue;
            }
            rc = append(w, rec, event, len);
            lb_writer_close(w);
            if (rc == 0) {
                return 0;
            }
        }

        (void)nanosleep(&pause, NULL);
    }

    return lb_fail(err, rc,
                   "no ring is free and has room: give logbroker_spool more "
                   "rings=, or try when the backlog is smaller");
}

static int
replay(lb_spool_t *spool, lb_dead_t *dead, const lb_dead_letter_t *l, int again,
       lb_error_t *err)
{
    int rc;
    lb_record_t rec;

    if (l->state == LB_DEAD_IS_DONE ||
        (l->state == LB_DEAD_IS_REPLAYING && !again)) {
        return lb_fail(err, -EEXIST,
                       l->state == LB_DEAD_IS_DONE
                           ? "it was replayed or dropped before"
                           : "a replay was cut short, so it may be on its "
                             "way: look for it in ClickHouse, then drop it "
                             "or replay it with --again");
    }

    if (lb_dead_record(l, &rec) != 0) {
        return lb_fail(err, LB_ECORRUPT,
                       "these are damaged bytes, not an event: show, then "
                       "drop it");
    }

    err->text[0] = '\0';
    rc = lb_dead_mark(dead, l, LB_DEAD_IS_REPLAYING);

    if (rc == 0) {
        rc = into_a_ring(spool, &rec, l->bytes + rec.header_len,
                         l->bytes_len - rec.header_len, err);
        if (rc != 0) {
            (void)lb_dead_mark(dead, l, LB_DEAD_IS_OPEN);
            return rc;
        }
        rc = lb_dead_mark(dead, l, LB_DEAD_IS_DONE);
    }

    return rc == 0 ? 0 : lb_fail(err, rc, "cannot mark it: %s", strerror(-rc));
}

static int
one(lb_spool_t *spool, lb_dead_t *dead, const char *action, int json, int again,
    uint64_t offset)
{
    int rc = 0;
    lb_error_t err;
    lb_dead_letter_t l;

    if (lb_dead_read(dead, offset, &l) != 0) {
        fprintf(stderr,
                "logbroker-spool: there is no dead letter %" PRIu64
                ", see dead list\n",
                offset);
        return 1;
    }

    if (strcmp(action, "list") == 0) {
        print_letter(&l, json);
    } else if (strcmp(action, "show") == 0) {
        show(&l);
    } else if (strcmp(action, "drop") == 0) {
        rc = lb_dead_mark(dead, &l, LB_DEAD_IS_DONE);
        (void)snprintf(err.text, sizeof(err.text), "cannot mark it: %s",
                       strerror(-rc));
    } else {
        rc = replay(spool, dead, &l, again, &err);
    }

    if (rc != 0) {
        fprintf(stderr, "logbroker-spool: dead letter %" PRIu64 ": %s\n",
                offset, err.text);
    }

    lb_dead_free(&l);

    return rc != 0;
}

int
lb_spool_dead(const char *action, int json, int again, const char *path,
              int nargs, char **args)
{
    int i, list, failed = 0;
    char *end;
    uint64_t at = 0;
    lb_dead_t *dead;
    lb_error_t err;
    lb_spool_t *spool;
    lb_dead_letter_t l;

    list = strcmp(action, "list") == 0;

    if (lb_spool_open(path,
                      list || strcmp(action, "show") == 0 ? 0 : LB_SPOOL_WRITE,
                      &spool, &err) != 0) {
        fprintf(stderr, "logbroker-spool: %s\n", err.text);
        return 1;
    }

    if (lb_dead_open(spool, 0, &dead, &err) != 0) {
        lb_spool_close(spool);
        if (err.code == -ENOENT && list) {
            return 0;
        }
        fprintf(stderr, "logbroker-spool: %s\n", err.text);
        return 1;
    }

    if (nargs == 0 || (nargs == 1 && strcmp(args[0], "all") == 0)) {
        /* every letter for list, every open one for the rest */
        while (lb_dead_next(dead, &at, &l)) {
            if (list || l.state == LB_DEAD_IS_OPEN) {
                failed |= one(spool, dead, action, json, again, l.offset);
            }
        }
        nargs = 0;
    }

    for (i = 0; i < nargs; i++) {
        at = strtoull(args[i], &end, 10);
        if (*end != '\0' || end == args[i]) {
            fprintf(stderr,
                    "logbroker-spool: \"%s\" is not the number of a dead "
                    "letter, see dead list\n",
                    args[i]);
            failed = 1;
            continue;
        }
        failed |= one(spool, dead, action, json, again, at);
    }

    lb_dead_close(dead);
    lb_spool_close(spool);

    return failed;
}
