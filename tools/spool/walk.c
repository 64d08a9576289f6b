/*
 * logbroker-spool: ring by ring through a spool, and from position to position
 * through a ring.
 */

#include "walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "output.h"

int
lb_tool_look(lb_tool_look_t *look, const char *path)
{
    lb_error_t err;

    look->path = path;
    look->failed = 0;

    if (lb_spool_open(path, 0, &look->spool, &err) != 0) {
        lb_tool_say("%s", err.text);
        return 1;
    }

    if (lb_ckpt_peek(look->spool, &look->ckpt, &err) != 0) {
        lb_tool_say("%s", err.text);
        memset(&look->ckpt, 0, sizeof(look->ckpt));
        look->failed = 1;
    }

    return 0;
}

void
lb_tool_look_close(lb_tool_look_t *look)
{
    lb_spool_close(look->spool);
}

int
lb_tool_no_ring(const lb_tool_options_t *o, const char *path,
                const uint32_t *slots, int n)
{
    int i;

    for (i = 0; i < n; i++) {
        if (slots[i] == (uint32_t)o->slot) {
            return 0;
        }
    }

    if (o->slot < 0) {
        return 0;
    }

    lb_tool_say("\"%s\" has no ring %d: logbroker-spool stat shows those it "
                "has",
                path, o->slot);
    return 1;
}

void
lb_tool_rings(lb_tool_look_t *look, const lb_tool_options_t *o,
              lb_tool_ring_pt fn, void *data)
{
    int i, n, rc;
    char buf[128];
    uint32_t slots[LB_SLOTS_MAX];
    lb_error_t err;
    lb_reader_t *reader;
    lb_ring_info_t info;

    n = lb_spool_slots(look->spool, slots, &err);
    if (n < 0) {
        lb_tool_say("%s", err.text);
        look->failed = 1;
    } else if (lb_tool_no_ring(o, look->path, slots, n)) {
        look->failed = 1;
    }

    for (i = 0; i < n; i++) {

        if (o->slot >= 0 && slots[i] != (uint32_t)o->slot) {
            continue;
        }

        if (lb_reader_open(look->spool, slots[i], 0, &reader, &err) != 0) {
            lb_tool_say("%s", err.text);
            look->failed = 1;
            continue;
        }

        rc = lb_reader_info(reader, &info);
        if (rc == 0) {
            rc = fn(o, look, reader, &info, data);
        }

        if (rc != 0) {
            lb_tool_say("ring %u of \"%s\": %s", slots[i], look->path,
                        lb_strerror(rc, buf, sizeof(buf)));
            look->failed = 1;
        }

        lb_reader_close(reader);
    }
}

void
lb_tool_acked(const lb_ckpt_state_t *ckpt, const lb_ring_info_t *info,
              uint64_t *position, uint64_t *seq)
{
    uint32_t i;

    *position = info->acked;
    *seq = info->acked_seq;

    for (i = 0; i < ckpt->nrings; i++) {
        if (memcmp(ckpt->rings[i].uuid, info->uuid, LB_UUID_LEN) == 0) {
            *position = ckpt->rings[i].acked;
            *seq = ckpt->rings[i].acked_seq;
        }
    }
}

uint64_t
lb_tool_oldest(const lb_ring_info_t *info)
{
    return info->committed > info->capacity ? info->committed - info->capacity
                                            : 0;
}

static int
chosen(const lb_tool_options_t *o, const lb_record_t *rec)
{
    return (o->stream == NULL || strcmp(o->stream, rec->stream) == 0) &&
           rec->received_us >= o->since_us && rec->received_us < o->until_us &&
           rec->first_seq <= o->last_seq &&
           rec->first_seq + rec->events > o->first_seq;
}

int
lb_tool_walk(const lb_tool_options_t *o, lb_reader_t *reader,
             const lb_ring_info_t *info, uint64_t from, uint64_t to,
             uint64_t acked, lb_tool_record_pt fn, void *data,
             lb_tool_totals_t *totals)
{
    int rc;
    char what[32];
    uint64_t p = from, next;
    lb_record_t rec;

    (void)snprintf(what, sizeof(what), "ring %u", info->slot);

    while (p < to) {

        lb_tool_progress(what, p - from, to - from);

        rc = lb_reader_record(reader, p, to, 1, &rec);

        if (rc == LB_ECORRUPT) {
            rc = lb_reader_resync(reader, p, to, &next);
            if (rc != 0) {
                return rc;
            }
            /* the oldest record is rarely whole */
            if (next > acked) {
                lb_tool_progress(what, 0, 0);
                lb_tool_say("ring %u: %" PRIu64 " bytes at position %" PRIu64
                            " are damaged",
                            info->slot, next - p, p);
                totals->bad++;
                totals->bad_bytes += next - p;
            }
            p = next;
            continue;
        }

        if (rc != 0) {
            return rc;
        }

        if (chosen(o, &rec)) {
            totals->records++;
            totals->events += rec.events;

            rc = fn != NULL ? fn(o, reader, info, &rec, data) : 0;
            if (rc != 0) {
                return rc;
            }
        }

        p = rec.next;
    }

    lb_tool_progress(what, 0, 0);

    return 0;
}
