/*
 * logbroker-spool resize: rings that are delivered and not in use get another
 * size.
 *
 * What is in a ring is gone then, the idempotency keys of its records too.  The
 * window of logbroker_idempotency is not known here, so a ring with a key that
 * any window may still hold is left alone, unless --force is given.
 */

#include "command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "output.h"
#include "walk.h"

/* the longest window that logbroker_idempotency takes */
#define WINDOW_MAX_US (UINT64_C(7) * 86400 * 1000000)

static int
newest_key(const lb_tool_options_t *o, lb_reader_t *reader,
           const lb_ring_info_t *info, const lb_record_t *rec, void *data)
{
    uint64_t *newest = data;

    (void)o;
    (void)reader;
    (void)info;

    if (rec->key_len > 0 && rec->received_us > *newest) {
        *newest = rec->received_us;
    }

    return 0;
}

/* 0 if no key is in the way; -1, and err says what is. */
static int
keys_forgotten(lb_spool_t *spool, uint32_t slot, uint64_t capacity,
               lb_error_t *err)
{
    int rc;
    char buf[128];
    uint64_t now = lb_now_us(), newest = 0;
    lb_reader_t *reader;
    lb_ring_info_t info;
    lb_tool_options_t all;
    lb_tool_totals_t totals = {0, 0, 0, 0};

    if (lb_reader_open(spool, slot, 0, &reader, err) != 0) {
        return -1;
    }

    memset(&all, 0, sizeof(all));
    all.last_seq = UINT64_MAX;
    all.since_us = now > WINDOW_MAX_US ? now - WINDOW_MAX_US : 0;
    all.until_us = UINT64_MAX;

    rc = lb_reader_info(reader, &info);

    /* what is not delivered or in use is refused by lb_ring_resize */
    if (rc == 0 && info.capacity != capacity && !info.locked &&
        info.acked == info.committed) {
        rc = lb_tool_walk(&all, reader, &info, lb_tool_oldest(&info),
                          info.committed, info.committed, newest_key, &newest,
                          &totals);
    }

    lb_reader_close(reader);

    if (rc != 0) {
        (void)snprintf(err->text, sizeof(err->text), "ring %u: %s", slot,
                       lb_strerror(rc, buf, sizeof(buf)));
        return -1;
    }

    if (newest == 0) {
        return 0;
    }

    (void)snprintf(err->text, sizeof(err->text),
                   "ring %u holds idempotency keys, the newest is %" PRIu64
                   " s old: a repeated request would be taken twice after a "
                   "start of nginx. If the window of logbroker_idempotency is "
                   "shorter than that: --force",
                   slot, now > newest ? (now - newest) / 1000000 : 0);

    return -1;
}

static void
print_ring(const lb_tool_options_t *o, uint32_t slot, int resized)
{
    if (o->json) {
        lb_tool_json_print(json_pack("{s:I, s:I, s:b}", "slot",
                                     (json_int_t)slot, "capacity",
                                     (json_int_t)o->size, "resized", resized));
    } else {
        printf("ring %u: %" PRIu64 " bytes%s\n", slot, o->size,
               resized ? "" : " before");
    }
}

int
lb_tool_resize(const lb_tool_options_t *o, const char *path)
{
    int i, n, rc, failed;
    uint32_t slots[LB_SLOTS_MAX];
    lb_error_t err;
    lb_spool_t *spool;

    if (o->size == 0) {
        return lb_tool_mistake("resize", path, "give --size");
    }

    if (lb_spool_open(path, LB_SPOOL_WRITE, &spool, &err) != 0 ||
        (n = lb_spool_slots(spool, slots, &err)) < 0) {
        lb_tool_say("%s", err.text);
        return 1;
    }
    failed = lb_tool_no_ring(o, path, slots, n);

    for (i = 0; i < n; i++) {

        if (o->slot >= 0 && slots[i] != (uint32_t)o->slot) {
            continue;
        }

        lb_tool_progress("rings", (uint64_t)i, (uint64_t)n);

        rc = o->force ? 0 : keys_forgotten(spool, slots[i], o->size, &err);
        if (rc == 0) {
            rc = lb_ring_resize(spool, slots[i], o->size, &err);
        }

        if (rc < 0) {
            lb_tool_say("%s", err.text);
            failed = 1;
        } else {
            print_ring(o, slots[i], rc);
        }
    }

    lb_tool_progress(NULL, 0, 0);
    lb_spool_close(spool);

    return failed;
}
