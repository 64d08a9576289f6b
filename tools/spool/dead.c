/*
 * logbroker-spool dead: dead letters, listed, shown, replayed, dropped; also
 * while the spool is in use.
 *
 * A replay appends the event to a free ring as a new record, with the stream,
 * client and time of receipt it had; the flusher delivers it like any other.
 * The letter is marked before and after, so that a crash in between leaves a
 * letter that is not replayed again unless told.
 */

#include "command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "event/lines.h"
#include "output.h"
#include "spool/lb_dead.h"
#include "spool/lb_format.h"

static const char *const states[] = {"open", "replaying", "done"};

static void
print_text(const lb_dead_letter_t *l, const char *ring, const char *kind)
{
    char when[LB_TOOL_TIME];

    printf("%8" PRIu64 "  %-9s  %s  %-6s  %s  seq %" PRIu64 ", %" PRIu64
           " events: %s\n",
           l->offset, states[l->state], lb_tool_time(l->set_aside_us, 1, when),
           kind, ring, l->first_seq, l->events, l->reason);
}

static void
print_json(const lb_dead_letter_t *l, const char *ring, const char *kind)
{
    char when[LB_TOOL_TIME];
    json_t *letter;
    lb_record_t rec;
    lb_lines_t lines;
    lb_line_t line;

    letter =
        json_pack("{s:I, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:o}", "letter",
                  (json_int_t)l->offset, "state", states[l->state], "set_aside",
                  lb_tool_time(l->set_aside_us, 1, when), "kind", kind, "ring",
                  ring, "seq", (json_int_t)l->first_seq, "events",
                  (json_int_t)l->events, "bytes", (json_int_t)l->bytes_len,
                  "reason", lb_tool_json_textn(l->reason, l->reason_len));

    if (lb_dead_record(l, &rec) != 0) {
        lb_tool_json_print(letter);
        return;
    }

    /* the event as it is stored: it may hold what jansson does not */
    json_object_set_new(letter, "stream", lb_tool_json_text(rec.stream));
    json_object_set_new(letter, "received_us",
                        json_integer((json_int_t)rec.received_us));
    lb_tool_json_open(letter);
    lb_lines_start(&lines);
    lb_lines_view(&lines, l->bytes + rec.header_len,
                  l->bytes_len - rec.header_len);
    while (lb_lines_next(&lines, &line)) {
        printf(",\"%s\":", line.context ? "context" : "event");
        fwrite(line.data + line.context, 1, line.len - (size_t)line.context,
               stdout);
    }
    puts("}");
}

static void
print_letter(const lb_dead_letter_t *l, int json)
{
    char ring[LB_UUID_TEXT];
    const char *kind = l->kind == LB_DEAD_ROW ? "row" : "damage";

    lb_uuid_format(l->ring, ring);

    if (json) {
        print_json(l, ring, kind);
    } else {
        print_text(l, ring, kind);
    }
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
    meta.key_kind = rec->key_kind;
    meta.contexts = lb_lines_contexts(event, len);

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
replay_one(const lb_tool_options_t *o, lb_spool_t *spool, lb_dead_t *dead,
           const lb_dead_letter_t *l, lb_error_t *err)
{
    int rc;
    lb_record_t rec;

    if (l->state == LB_DEAD_IS_DONE ||
        (l->state == LB_DEAD_IS_REPLAYING && !o->again)) {
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

/* Of one letter, which is freed by the caller; not 0: err says why. */
typedef int (*letter_pt)(const lb_tool_options_t *o, lb_spool_t *spool,
                         lb_dead_t *dead, const lb_dead_letter_t *l,
                         lb_error_t *err);

static int
list_one(const lb_tool_options_t *o, lb_spool_t *spool, lb_dead_t *dead,
         const lb_dead_letter_t *l, lb_error_t *err)
{
    (void)spool;
    (void)dead;
    (void)err;

    print_letter(l, o->json);

    return 0;
}

static int
show_one(const lb_tool_options_t *o, lb_spool_t *spool, lb_dead_t *dead,
         const lb_dead_letter_t *l, lb_error_t *err)
{
    (void)o;
    (void)spool;
    (void)dead;
    (void)err;

    show(l);

    return 0;
}

static int
drop_one(const lb_tool_options_t *o, lb_spool_t *spool, lb_dead_t *dead,
         const lb_dead_letter_t *l, lb_error_t *err)
{
    int rc = lb_dead_mark(dead, l, LB_DEAD_IS_DONE);

    (void)o;
    (void)spool;

    return rc == 0 ? 0 : lb_fail(err, rc, "cannot mark it: %s", strerror(-rc));
}

static int
one(const lb_tool_options_t *o, lb_spool_t *spool, lb_dead_t *dead,
    letter_pt fn, uint64_t offset)
{
    int rc;
    lb_error_t err;
    lb_dead_letter_t l;

    if (lb_dead_read(dead, offset, &l) != 0) {
        lb_tool_say("there is no dead letter %" PRIu64 ", see dead list",
                    offset);
        return 1;
    }

    rc = fn(o, spool, dead, &l, &err);
    if (rc != 0) {
        lb_tool_say("dead letter %" PRIu64 ": %s", offset, err.text);
    }

    lb_dead_free(&l);

    return rc != 0;
}

/* Of the letters named, or of every open one; all: of every one, and a spool
 * without the file has none. */
static int
letters(const lb_tool_options_t *o, const char *path, unsigned flags, int all,
        letter_pt fn)
{
    int i, failed = 0;
    char *end;
    uint64_t at = 0;
    lb_dead_t *dead;
    lb_error_t err;
    lb_spool_t *spool;
    lb_dead_letter_t l;

    if (lb_spool_open(path, flags, &spool, &err) != 0) {
        lb_tool_say("%s", err.text);
        return 1;
    }

    if (lb_dead_open(spool, 0, &dead, &err) != 0) {
        lb_spool_close(spool);
        if (err.code == -ENOENT && all) {
            return 0;
        }
        lb_tool_say("%s", err.text);
        return 1;
    }

    if (o->nletters == 0 ||
        (o->nletters == 1 && strcmp(o->letters[0], "all") == 0)) {

        while (lb_dead_next(dead, &at, &l)) {
            if (all || l.state == LB_DEAD_IS_OPEN) {
                failed |= one(o, spool, dead, fn, l.offset);
            }
        }

    } else {

        for (i = 0; i < o->nletters; i++) {
            at = strtoull(o->letters[i], &end, 10);
            if (*end != '\0' || end == o->letters[i]) {
                lb_tool_say("\"%s\" is not the number of a dead letter, see "
                            "dead list",
                            o->letters[i]);
                failed = 1;
                continue;
            }
            failed |= one(o, spool, dead, fn, at);
        }
    }

    lb_dead_close(dead);
    lb_spool_close(spool);

    return failed;
}

int
lb_tool_dead_list(const lb_tool_options_t *o, const char *path)
{
    return letters(o, path, 0, 1, list_one);
}

int
lb_tool_dead_show(const lb_tool_options_t *o, const char *path)
{
    return letters(o, path, 0, 0, show_one);
}

int
lb_tool_dead_replay(const lb_tool_options_t *o, const char *path)
{
    return letters(o, path, LB_SPOOL_WRITE, 0, replay_one);
}

int
lb_tool_dead_drop(const lb_tool_options_t *o, const char *path)
{
    return letters(o, path, LB_SPOOL_WRITE, 0, drop_one);
}
