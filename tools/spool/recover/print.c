/*
 * recover: a ring of the plan, for people and programs.
 */

#include "recover.h"

#include <inttypes.h>
#include <stdio.h>

void
lb_recover_json_ring(const lb_recover_ring_t *ring, int first)
{
    int i;

    printf("%s\n  {\"slot\": %u, \"ring\": \"%s\", \"hinted\": %s, "
           "\"looked_from\": %" PRIu64 ", \"acked_seq\": %" PRIu64
           ", \"acked\": %" PRIu64 ", \"next_seq\": %" PRIu64
           ", \"to_deliver\": %" PRIu64 ", \"rows\": %" PRIu64
           ", \"distinct\": %" PRIu64 ", \"before\": %" PRIu64
           ", \"dead\": %" PRIu64 ", \"removed\": %" PRIu64
           ", \"missing\": %" PRIu64 ", \"more_holes\": %s, \"impossible\": ",
           first ? "" : ",", ring->info.slot, ring->uuid,
           ring->hinted ? "true" : "false", ring->info.acked_seq, ring->seq,
           ring->position, ring->info.next_seq,
           ring->impossible != NULL ? 0 : ring->info.next_seq - ring->seq,
           ring->rows, ring->distinct, ring->before, ring->dead, ring->removed,
           ring->missing, ring->more_holes ? "true" : "false");

    if (ring->impossible != NULL) {
        lb_tool_json_text(stdout, ring->impossible);
    } else {
        fputs("null", stdout);
    }

    fputs(", \"holes\": [", stdout);
    for (i = 0; i < ring->holes; i++) {
        printf("%s[%" PRIu64 ", %" PRIu64 "]", i > 0 ? ", " : "",
               ring->hole[i].first, ring->hole[i].last);
    }
    fputs("]}", stdout);
}

void
lb_recover_print_ring(const lb_recover_ring_t *ring)
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
