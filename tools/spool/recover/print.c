/*
 * recover: the plan, for people and programs.
 */

#include "recover.h"

#include <inttypes.h>
#include <stdio.h>

#include "tools/spool/output.h"

static uint64_t
to_deliver(const lb_recover_ring_t *ring)
{
    return ring->impossible != NULL ? 0 : ring->info.next_seq - ring->seq;
}

static json_t *
json_ring(const lb_recover_ring_t *ring)
{
    int i;
    json_t *holes = json_array();

    for (i = 0; i < ring->holes; i++) {
        json_array_append_new(holes, json_pack("[I, I]",
                                               (json_int_t)ring->hole[i].first,
                                               (json_int_t)ring->hole[i].last));
    }

    return json_pack(
        "{s:I, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
        "s:I, s:b, s:o, s:o}",
        "slot", (json_int_t)ring->info.slot, "ring", ring->uuid, "hinted",
        ring->hinted, "looked_from", (json_int_t)ring->info.acked_seq,
        "acked_seq", (json_int_t)ring->seq, "acked", (json_int_t)ring->position,
        "next_seq", (json_int_t)ring->info.next_seq, "to_deliver",
        (json_int_t)to_deliver(ring), "rows", (json_int_t)ring->rows,
        "distinct", (json_int_t)ring->distinct, "before",
        (json_int_t)ring->before, "dead", (json_int_t)ring->dead, "removed",
        (json_int_t)ring->removed, "missing", (json_int_t)ring->missing,
        "more_holes", ring->more_holes, "impossible",
        lb_tool_json_text(ring->impossible), "holes", holes);
}

static void
print_ring(const lb_recover_ring_t *ring)
{
    int i;

    if (ring->impossible != NULL) {
        printf("%4u  %s  %s\n", ring->info.slot, ring->uuid, ring->impossible);
        return;
    }

    printf("%4u  %s  %12" PRIu64 "  %12" PRIu64 "  %12" PRIu64 "  %12" PRIu64
           "\n",
           ring->info.slot, ring->uuid, ring->info.acked_seq, ring->seq,
           ring->info.next_seq, ring->info.next_seq - ring->seq);

    if (!ring->hinted && ring->info.acked_seq > 0) {
        printf("      its ack cells are damaged; looked from its oldest event, "
               "seq %" PRIu64 ", on\n",
               ring->info.acked_seq);
    }
    if (ring->hinted && ring->before < ring->info.acked_seq) {
        printf("      %" PRIu64 " of the %" PRIu64 " events it says were acked "
               "are not in the table: removed by the TTL, dead letters, or "
               "lost there\n",
               ring->info.acked_seq - ring->before, ring->info.acked_seq);
    }
    if (ring->dead > 0) {
        printf("      %" PRIu64 " dead letters\n", ring->dead);
    }
    if (ring->removed > 0) {
        printf("      %" PRIu64 " events from seq %" PRIu64
               " on are older than "
               "every row of the table: removed by the TTL\n",
               ring->removed, ring->info.acked_seq);
    }
    if (ring->rows > ring->distinct) {
        printf("      %" PRIu64 " rows are there more than once\n",
               ring->rows - ring->distinct);
    }
    if (ring->missing > 0) {
        printf("      %" PRIu64 " events before seq %" PRIu64 " are NOT in the "
               "table and no dead letters. To have them again, afterwards:\n",
               ring->missing, ring->seq);
    }
    for (i = 0; i < ring->holes; i++) {
        printf("        logbroker-spool replay --ring %u --seq %" PRIu64
               "-%" PRIu64 " SPOOL\n",
               ring->info.slot, ring->hole[i].first, ring->hole[i].last);
    }
    if (ring->more_holes) {
        puts("        ... and more");
    }
}

static void
print_json(const lb_recover_t *r, const lb_ckpt_state_t *st, const char *table,
           const char *doubt, int done, uint64_t deliver)
{
    int i;
    json_t *rings = json_array();

    for (i = 0; i < r->n; i++) {
        json_array_append_new(rings, json_ring(&r->ring[i]));
    }

    lb_tool_json_print(
        json_pack("{s:o, s:o, s:i, s:I, s:I, s:I, s:o, s:b}", "table",
                  lb_tool_json_text(table), "rings", rings, "unreadable",
                  r->unreadable, "delivered", (json_int_t)st->delivered, "dead",
                  (json_int_t)st->dead, "to_deliver", (json_int_t)deliver,
                  "doubt", lb_tool_json_text(doubt), "done", done));
}

void
lb_recover_print(const lb_recover_t *r, const lb_ckpt_state_t *st,
                 const char *table, const char *doubt, int done)
{
    int i;
    uint64_t deliver = 0;

    for (i = 0; i < r->n; i++) {
        deliver += to_deliver(&r->ring[i]);
    }

    if (r->o->json) {
        print_json(r, st, table, doubt, done, deliver);
        return;
    }

    printf("compared with table %s\n", table);
    puts("slot  ring                                    acked by it     "
         "then acked      next seq    to deliver");

    for (i = 0; i < r->n; i++) {
        print_ring(&r->ring[i]);
    }

    printf("%" PRIu64 " events are delivered, %" PRIu64 " are dead "
           "letters, %" PRIu64 " will be delivered\n",
           st->delivered, st->dead, deliver);

    if (done) {
        puts("the checkpoint was written: start the flusher. For a minute it "
             "asks whether anything else comes in, then it goes on");
    } else if (doubt == NULL) {
        puts("nothing was changed: repeat with --yes");
    } else {
        puts(r->o->yes ? "nothing was changed" : "nothing would be changed");
    }
}
