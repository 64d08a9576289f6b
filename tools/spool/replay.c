/*
 * logbroker-spool replay: delivered events put into another ring.
 *
 * A replay is for events that ClickHouse had and lost: a table restored from a
 * backup, a disk gone.  What was delivered stays in its ring until the space is
 * used again; from there it goes into another, free ring, as new records under
 * new seqs, with the stream, client and time of receipt it had.
 */

#include "command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "event/lines.h"
#include "output.h"
#include "walk.h"

/* records are written together up to this many bytes */
#define GROUP_BYTES (4u << 20)

/* looks for a free ring, and microseconds between them */
#define CLAIM_TRIES 10
#define CLAIM_PAUSE_US 50000

typedef struct {
    lb_spool_t *spool;
    lb_writer_t *writer; /* where it goes to */
    lb_tool_options_t limit;
    uint64_t events;     /* on stable storage */
    uint64_t staged;     /* events */
    uint64_t staged_seq; /* the last of them */
    uint64_t last_seq;   /* the last on stable storage */
    uint8_t *payload;
    lb_error_t err;
} replay_t;

/* What is staged, onto stable storage. */
static int
write_out(replay_t *r)
{
    int rc;

    if (r->writer == NULL || lb_writer_begin(r->writer) <= 0) {
        return 0;
    }

    (void)lb_writer_write(r->writer, 1);

    rc = lb_writer_end(r->writer);
    if (rc != 0) {
        return rc;
    }

    r->events += r->staged;
    r->last_seq = r->staged_seq;
    r->staged = 0;

    return 0;
}

/* A free ring other than the source, which would overwrite itself.  Is there
 * one? */
static int
claim_free(replay_t *r, const lb_ring_info_t *source, int tried[LB_SLOTS_MAX])
{
    int i, n;
    uint32_t slots[LB_SLOTS_MAX];

    n = lb_spool_slots(r->spool, slots, &r->err);

    /* the last rings are the ones workers want least */
    for (i = n - 1; i >= 0; i--) {
        if (slots[i] == source->slot || tried[slots[i]]) {
            continue;
        }
        if (lb_writer_claim_slot(r->spool, slots[i], &r->writer, NULL) == 0) {
            tried[slots[i]] = 1;
            return 1;
        }
    }

    return 0;
}

/* A free ring, or a new one.  A worker that looks at its spare ring has it for a
 * moment. */
static int
claim(replay_t *r, const lb_ring_info_t *source, int tried[LB_SLOTS_MAX])
{
    int n, slot;

    for (n = 0; n < CLAIM_TRIES; n++) {
        if (n > 0) {
            (void)usleep(CLAIM_PAUSE_US);
        }
        if (claim_free(r, source, tried)) {
            return 0;
        }
    }

    slot = lb_ring_create(r->spool, source->capacity, LB_SLOTS_MAX, &r->err);
    if (slot < 0) {
        return slot;
    }

    lb_tool_say("no other ring is free and has room: ring %d was created",
                slot);

    return lb_writer_claim_slot(r->spool, (uint32_t)slot, &r->writer, &r->err);
}

/* The payload in memory, and still what its CRC says: the writer of the source
 * may overwrite it while it is read. */
static int
copy(lb_reader_t *reader, const lb_record_t *rec, uint8_t *to)
{
    int rc;
    size_t n;
    uint64_t p, end = rec->payload + rec->payload_len;
    const uint8_t *data;

    for (p = rec->payload; p < end; p += n) {
        rc = lb_reader_view(reader, p, end, 1, &data, &n);
        if (rc != 0) {
            return rc;
        }
        memcpy(to + (p - rec->payload), data, n);
    }

    return lb_crc32c(0, to, rec->payload_len) == rec->payload_crc ? 0
                                                                  : LB_ECORRUPT;
}

/* Leaves of a payload the events with seqs from first to last, and the contexts
 * that apply to them: sets *len, returns how many events. */
static uint32_t
cut(const lb_record_t *rec, uint64_t first, uint64_t last, uint8_t *payload,
    size_t *len)
{
    uint32_t events = 0;
    uint64_t seq = rec->first_seq;
    uint8_t *out = payload;
    lb_lines_t lines;
    lb_line_t line, context = {0};

    lb_lines_start(&lines);
    lb_lines_view(&lines, payload, *len);

    while (seq <= last && lb_lines_next(&lines, &line) && line.ends) {
        if (line.context) {
            context = line;
            continue;
        }
        if (seq++ < first) {
            continue;
        }
        if (context.len > 0) {
            memmove(out, context.data, context.len + 1);
            out += context.len + 1;
            context.len = 0;
        }
        memmove(out, line.data, line.len + 1);
        out += line.len + 1;
        events++;
    }

    *len = (size_t)(out - payload);

    return events;
}

static int
replay_record(const lb_tool_options_t *o, lb_reader_t *reader,
              const lb_ring_info_t *info, const lb_record_t *rec, void *data)
{
    int rc, tried[LB_SLOTS_MAX] = {0};
    size_t len = rec->payload_len;
    uint8_t *payload, *room;
    uint32_t events;
    replay_t *r = data;
    lb_meta_t meta;

    (void)o;

    payload = realloc(r->payload, len > 0 ? len : 1);
    if (payload == NULL) {
        return -ENOMEM;
    }
    r->payload = payload;

    rc = copy(reader, rec, payload);
    if (rc != 0) {
        /* overwritten meanwhile: gone, as what came before it */
        return rc == LB_ECORRUPT ? 0 : rc;
    }

    events = cut(rec, r->limit.first_seq, r->limit.last_seq, payload, &len);
    if (events == 0) {
        return 0;
    }

    meta.received_us = rec->received_us;
    meta.stream = (const uint8_t *)rec->stream;
    meta.stream_len = rec->stream_len;
    meta.client = rec->client;
    meta.client_len = rec->client_len;
    meta.key = NULL;
    meta.contexts = lb_lines_contexts(payload, len);

    for (;;) {
        if (r->writer == NULL) {
            rc = claim(r, info, tried);
            if (rc != 0) {
                return rc;
            }
        }

        room = lb_writer_stage(r->writer, &meta, len);
        if (room == NULL) {
            return -ENOMEM;
        }
        memcpy(room, payload, len);

        rc = lb_writer_append(r->writer, &meta, len, events);
        if (rc == 0) {
            break;
        }
        if (rc != LB_EFULL && rc != LB_ETOOBIG) {
            return rc;
        }

        /* on to the next ring */
        rc = write_out(r);
        if (rc != 0) {
            return rc;
        }
        lb_writer_close(r->writer);
        r->writer = NULL;
    }

    r->staged += events;
    r->staged_seq = rec->first_seq + rec->events - 1;
    if (r->staged_seq > r->limit.last_seq) {
        r->staged_seq = r->limit.last_seq;
    }

    return lb_writer_staged(r->writer) >= GROUP_BYTES ? write_out(r) : 0;
}

static void
print_ring(const lb_tool_options_t *o, uint32_t slot, uint64_t events,
           uint64_t last_seq)
{
    if (o->json) {
        lb_tool_json_print(
            json_pack("{s:I, s:I, s:I}", "slot", (json_int_t)slot, "events",
                      (json_int_t)events, "last_seq", (json_int_t)last_seq));
    } else {
        printf("ring %u: %" PRIu64 " events, up to seq %" PRIu64
               ", will be delivered again\n",
               slot, events, last_seq);
    }
}

static int
replay_ring(replay_t *r, const lb_tool_options_t *o, lb_reader_t *reader,
            const lb_ckpt_state_t *ckpt)
{
    int rc, ended;
    char buf[128];
    uint64_t acked, seq, before;
    lb_ring_info_t info;
    lb_tool_totals_t totals = {0, 0, 0, 0};

    rc = lb_reader_info(reader, &info);
    if (rc != 0) {
        (void)snprintf(r->err.text, sizeof(r->err.text), "%s",
                       lb_strerror(rc, buf, sizeof(buf)));
        return rc;
    }

    /* what is not delivered yet will be: only seqs before acked_seq */
    lb_tool_acked(ckpt, &info, &acked, &seq);
    r->limit = *o;
    if (seq == 0) {
        return 0;
    }
    if (r->limit.last_seq >= seq) {
        r->limit.last_seq = seq - 1;
    }

    before = r->events;
    r->err.text[0] = '\0';

    rc =
        lb_tool_walk(&r->limit, reader, &info, lb_tool_oldest(&info),
                     info.committed, info.committed, replay_record, r, &totals);
    ended = write_out(r);
    rc = rc != 0 ? rc : ended;

    lb_writer_close(r->writer);
    r->writer = NULL;

    if (r->events > before) {
        print_ring(o, info.slot, r->events - before, r->last_seq);
    }

    if (rc != 0 && r->err.text[0] == '\0') {
        (void)snprintf(r->err.text, sizeof(r->err.text), "%s",
                       lb_strerror(rc, buf, sizeof(buf)));
    }

    r->staged = 0;

    return rc;
}

int
lb_tool_replay(const lb_tool_options_t *o, const char *path)
{
    int i, n, failed = 0;
    uint32_t slots[LB_SLOTS_MAX];
    replay_t r;
    lb_reader_t *reader;
    lb_ckpt_state_t ckpt;

    if (o->slot < 0 && o->since_us == 0 && o->until_us == UINT64_MAX) {
        return lb_tool_mistake("replay", path,
                               "which events? give --ring and --seq, --since "
                               "or --until");
    }

    memset(&r, 0, sizeof(r));

    /* the rings as they are now: a replay does not replay itself */
    if (lb_spool_open(path, LB_SPOOL_WRITE, &r.spool, &r.err) != 0 ||
        lb_ckpt_peek(r.spool, &ckpt, &r.err) != 0 ||
        (n = lb_spool_slots(r.spool, slots, &r.err)) < 0) {
        lb_tool_say("%s", r.err.text);
        return 1;
    }
    failed = lb_tool_no_ring(o, path, slots, n);

    for (i = 0; i < n && !failed; i++) {

        if (o->slot >= 0 && slots[i] != (uint32_t)o->slot) {
            continue;
        }

        if (lb_reader_open(r.spool, slots[i], 0, &reader, &r.err) != 0) {
            lb_tool_say("%s", r.err.text);
            failed = 1;
            continue;
        }

        if (replay_ring(&r, o, reader, &ckpt) != 0) {
            lb_tool_say("ring %u: %s", slots[i], r.err.text);
            failed = 1;
        }

        lb_reader_close(reader);
    }

    if (r.events == 0 && !failed) {
        lb_tool_say("no delivered event that is still in its ring matches");
        failed = 1;
    }

    free(r.payload);
    lb_spool_close(r.spool);

    return failed;
}
