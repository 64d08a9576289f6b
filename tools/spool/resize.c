/*
 * logbroker-spool resize: rings that are delivered and not in use get another
 * size.
 */

#include "command.h"

#include <inttypes.h>
#include <stdio.h>

#include "output.h"
#include "spool/lb_ring.h"

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
    int i, n, rc, failed = 0;
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

    for (i = 0; i < n; i++) {

        if (o->slot >= 0 && slots[i] != (uint32_t)o->slot) {
            continue;
        }

        lb_tool_progress("rings", (uint64_t)i, (uint64_t)n);

        rc = lb_ring_resize(spool, slots[i], o->size, &err);

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
