/*
 * Rejected events: see reject.h.
 */

#include "event/reject.h"
#include "event/repair.h"

#include <stdio.h>
#include <string.h>

size_t
lb_reject_put(uint8_t *out, size_t cap, const lb_reject_t *r)
{
    uint8_t *o = out;
    size_t room = LB_REJECT_ROOM(r->body_len) + strlen(r->reason) +
                  strlen(r->place) + r->origin_len;
    size_t taken;

    if (cap < room) {
        return 0;
    }

    o += sprintf((char *)o,
                 "{\"reason\":\"%s\",\"origin\":\"%.*s\",\"place\":\"%s\","
                 "\"body\":\"",
                 r->reason, (int)r->origin_len,
                 r->origin_len != 0 ? r->origin : "", r->place);
    taken = lb_repair_quote(&o, r->body, r->body_len, LB_REJECT_BODY);
    *o++ = '"';
    if (taken < r->body_len) {
        o += sprintf((char *)o, ",\"body_bytes\":%zu", r->body_len);
    }
    memcpy(o, "}\n", 2);
    return (size_t)(o + 2 - out);
}
