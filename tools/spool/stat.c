/*
 * logbroker-spool stat: rings, backlog, batch in flight.
 */

#include "command.h"

#include <inttypes.h>
#include <stdio.h>

#include "output.h"
#include "spool/lb_lasting.h"
#include "walk.h"

typedef struct {
    json_t *rings; /* or NULL: each is printed */
    lb_lasting_t lasting;
} stat_t;

static int
stat_ring(const lb_tool_options_t *o, const lb_tool_look_t *look,
          lb_reader_t *reader, const lb_ring_info_t *info, void *data)
{
    char uuid[LB_UUID_TEXT];
    uint64_t position, seq, bytes, events;
    stat_t *stat = data;

    (void)o;

    lb_tool_acked(&look->ckpt, info, &position, &seq);
    lb_lasting_ring(&stat->lasting, reader, info, position);
    lb_uuid_format(info->uuid, uuid);

    /* after a power cut the commit cell may be older than the checkpoint */
    bytes = info->committed > position ? info->committed - position : 0;
    events = info->next_seq > seq ? info->next_seq - seq : 0;

    if (stat->rings != NULL) {
        json_array_append_new(
            stat->rings,
            json_pack("{s:I, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
                      "s:I}",
                      "slot", (json_int_t)info->slot, "ring", uuid, "locked",
                      info->locked, "poisoned",
                      (info->flags & LB_CELL_POISONED) != 0, "capacity",
                      (json_int_t)info->capacity, "committed",
                      (json_int_t)info->committed, "durable",
                      (json_int_t)info->durable, "acked", (json_int_t)position,
                      "backlog_bytes", (json_int_t)bytes, "next_seq",
                      (json_int_t)info->next_seq, "acked_seq", (json_int_t)seq,
                      "backlog_events", (json_int_t)events));
        return 0;
    }

    printf("%4u  %s  %-6s  %12" PRIu64 "  %12" PRIu64 "  %5.1f%%  %12" PRIu64
           "%s\n",
           info->slot, uuid, info->locked ? "in use" : "free", info->next_seq,
           events, 100.0 * (double)bytes / (double)info->capacity, bytes,
           info->flags & LB_CELL_POISONED ? "  poisoned" : "");

    return 0;
}

/* Seconds, or null: nothing has come. */
static json_t *
stat_seconds(const lb_lasting_t *lasting, int empty)
{
    uint64_t seconds = lb_lasting_seconds(lasting, empty);

    return seconds == UINT64_MAX ? json_null()
                                 : json_integer((json_int_t)seconds);
}

static void
stat_lasting(const lb_lasting_t *lasting)
{
    double hours = (double)lasting->window_us / 3.6e9;
    double seconds = (double)lasting->window_us / 1e6;

    if (lb_lasting_seconds(lasting, 1) == UINT64_MAX) {
        printf("within the last %.1f hours nothing has come: for how long an "
               "outage this spool lasts is not known\n",
               hours);
        return;
    }

    printf("at the rate of the last %.1f hours (%.3f MB/s in the rings, by "
           "their marks) this spool lasts %.1f hours of outage, %.1f hours "
           "from now on\n",
           hours, (double)lasting->received / seconds / 1e6,
           (double)lb_lasting_seconds(lasting, 1) / 3600,
           (double)lb_lasting_seconds(lasting, 0) / 3600);
}

static void
stat_json(const lb_tool_options_t *o, lb_tool_look_t *look)
{
    char uuid[LB_UUID_TEXT];
    json_t *root;
    stat_t stat = {.rings = json_array()};
    const lb_ckpt_state_t *ckpt = &look->ckpt;
    int in_flight = (ckpt->flags & LB_CKPT_IN_FLIGHT) != 0;

    lb_uuid_format(lb_spool_uuid(look->spool), uuid);

    root =
        json_pack("{s:s, s:o, s:I, s:I, s:I, s:b, s:b, s:o, s:I}", "spool",
                  uuid, "tie", lb_tool_tie_json(look->spool), "delivered",
                  (json_int_t)ckpt->delivered, "dead", (json_int_t)ckpt->dead,
                  "lost_bytes", (json_int_t)ckpt->lost_bytes, "doubt",
                  (ckpt->flags & LB_CKPT_DOUBT) != 0, "in_flight", in_flight,
                  "token", lb_tool_json_text(ckpt->token), "rows",
                  (json_int_t)(in_flight ? ckpt->rows : 0));

    lb_tool_rings(look, o, stat_ring, &stat);
    json_object_set_new(root, "rings", stat.rings);
    json_object_set_new(
        root, "lasting",
        json_pack("{s:I, s:f, s:o, s:o}", "received_bytes",
                  (json_int_t)stat.lasting.received, "window_seconds",
                  (double)stat.lasting.window_us / 1e6, "empty_seconds",
                  stat_seconds(&stat.lasting, 1), "seconds",
                  stat_seconds(&stat.lasting, 0)));
    lb_tool_json_print(root);
}

static void
stat_text(const lb_tool_options_t *o, lb_tool_look_t *look)
{
    char uuid[LB_UUID_TEXT], when[LB_TOOL_TIME];
    const lb_ckpt_state_t *ckpt = &look->ckpt;
    stat_t stat = {.rings = NULL};

    lb_uuid_format(lb_spool_uuid(look->spool), uuid);

    printf("spool %s: %" PRIu64 " events delivered, %" PRIu64
           " set aside as dead letters, %" PRIu64 " bytes lost to damage\n",
           uuid, ckpt->delivered, ckpt->dead, ckpt->lost_bytes);

    lb_tool_tie_print(look->spool);

    if (ckpt->flags & LB_CKPT_DOUBT) {
        puts("the checkpoint may not be the newest: the flusher asks "
             "ClickHouse what it has before it sends anything");
    }

    if (ckpt->flags & LB_CKPT_IN_FLIGHT) {
        printf("batch in flight since %s: %" PRIu64 " rows, token %s\n",
               lb_tool_time(ckpt->fixed_us, 0, when), ckpt->rows, ckpt->token);
    }

    puts("slot  ring                                  state        "
         "events so far  backlog events   full   backlog bytes");

    lb_tool_rings(look, o, stat_ring, &stat);

    stat_lasting(&stat.lasting);
}

int
lb_tool_stat(const lb_tool_options_t *o, const char *path)
{
    lb_tool_look_t look;

    if (lb_tool_look(&look, path) != 0) {
        return 1;
    }

    if (o->json) {
        stat_json(o, &look);
    } else {
        stat_text(o, &look);
    }

    lb_tool_look_close(&look);

    return look.failed;
}
