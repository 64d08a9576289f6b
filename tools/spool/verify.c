/*
 * logbroker-spool verify: every record of the backlog against its CRC.
 */

#include "command.h"

#include <inttypes.h>
#include <stdio.h>

#include "output.h"
#include "walk.h"

static int
verify_ring(const lb_tool_options_t *o, const lb_tool_look_t *look,
            lb_reader_t *reader, const lb_ring_info_t *info, void *data)
{
    uint64_t acked, seq;

    lb_tool_acked(&look->ckpt, info, &acked, &seq);

    return lb_tool_walk(o, reader, info,
                        o->delivered ? lb_tool_oldest(info) : acked,
                        info->committed, acked, NULL, NULL, data);
}

int
lb_tool_verify(const lb_tool_options_t *o, const char *path)
{
    int doubt;
    lb_tool_look_t look;
    lb_tool_totals_t t = {0, 0, 0, 0};

    if (lb_tool_look(&look, path) != 0) {
        return 1;
    }

    lb_tool_rings(&look, o, verify_ring, &t);
    doubt = (look.ckpt.flags & LB_CKPT_DOUBT) != 0;

    if (o->json) {
        lb_tool_json_print(json_pack("{s:o, s:b, s:I, s:I, s:I, s:I}", "tie",
                                     lb_tool_tie_json(look.spool), "doubt",
                                     doubt, "records", (json_int_t)t.records,
                                     "events", (json_int_t)t.events,
                                     "damaged_places", (json_int_t)t.bad,
                                     "damaged_bytes", (json_int_t)t.bad_bytes));
    } else {
        lb_tool_tie_print(look.spool);
        if (doubt) {
            puts("the checkpoint may not be the newest");
        }
        printf("%" PRIu64 " records, %" PRIu64
               " events in the backlog, %" PRIu64 " damaged places, %" PRIu64
               " damaged bytes\n",
               t.records, t.events, t.bad, t.bad_bytes);
    }

    lb_tool_look_close(&look);

    return look.failed || t.bad != 0;
}
