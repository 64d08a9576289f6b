/*
 * Rejected events: see reject.h.
 */

#include "event/reject.h"
#include "event/repair.h"

#include <stdio.h>
#include <string.h>

/* Room for a body of len bytes and all else but the other members' values. */
#define ROOM(len) (96 + 6 * ((len) < LB_REJECT_BODY ? (len) : LB_REJECT_BODY))

/* The event and its \n; the bytes written, or 0 if there is no room. */
static size_t
put(uint8_t *out, size_t cap, const lb_reject_t *r)
{
    uint8_t *o = out;
    size_t room = ROOM(r->body_len) + strlen(r->reason) + strlen(r->place) +
                  r->origin_len;
    size_t taken;

    if (cap < room) {
        return 0;
    }

    o += sprintf((char *)o,
                 "{\"reason\":\"%s\",\"origin\":\"%.*s\",\"place\":\"%s\","
                 "\"body\":\"",
                 r->reason, (int)r->origin_len,
                 r->origin_len != 0 ? r->origin : "", r->place);
    taken = lb_repair_quote(&o, r->body, r->body_len, LB_REJECT_BODY, NULL);
    *o++ = '"';
    if (taken < r->body_len) {
        o += sprintf((char *)o, ",\"body_bytes\":%zu", r->body_len);
    }
    memcpy(o, "}\n", 2);
    return (size_t)(o + 2 - out);
}

lb_scan_status_t
lb_reject(lb_scan_result_t *res, lb_out_t *out, int in_force, size_t offset,
          const lb_reject_t *r)
{
    size_t n;

    if (res->rejected++ == 0) {
        res->error = r->reason;
        res->offset = res->event_start = offset;
    }
    if (res->rejected > LB_REJECT_MAX || r->body == NULL) {
        return LB_SCAN_OK;
    }
    if (!in_force && lb_out_puts(out, LB_REJECT_CONTEXT) != 0) {
        return LB_SCAN_NOSPACE;
    }
    res->contexts = 1;

    n = put(out->o, lb_out_room(out), r);
    if (n == 0) {
        return LB_SCAN_NOSPACE;
    }
    out->o += n;
    res->events++;
    return LB_SCAN_OK;
}
