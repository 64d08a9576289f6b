/*
 * Lines that may be JSON: see line.h.
 */

#include "event/line.h"
#include "event/json.h"
#include "event/unescape.h"

#include <string.h>

/* What lb_unescape_fn may write behind its result. */
#define SLACK 64

/* Most lines are no object: their ends tell. */
static int
may_be_object(const uint8_t *line, size_t len)
{
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r' ||
                       line[len - 1] == ' ')) {
        len--;
    }
    return len > 2 && line[0] == '{' && line[len - 1] == '}';
}

lb_scan_status_t
lb_line_members(lb_out_t *out, const uint8_t *line, size_t len,
                size_t max_event)
{
    lb_scan_result_t one;
    lb_scan_status_t rc;

    if (!may_be_object(line, len)) {
        return LB_SCAN_EMPTY;
    }
    rc = lb_scan_json(line, len, out->o, lb_out_room(out), max_event, &one);
    if (rc == LB_SCAN_NOSPACE) {
        return LB_SCAN_NOSPACE;
    }
    if (rc != LB_SCAN_OK || one.events != 1 || one.out_len < 4) {
        return LB_SCAN_EMPTY;
    }

    /* {...}\n becomes ..., */
    memmove(out->o, out->o + 1, one.out_len - 3);
    out->o += one.out_len - 3;
    *out->o++ = ',';
    return LB_SCAN_OK;
}

lb_scan_status_t
lb_line_members_quoted(lb_out_t *out, const uint8_t *text, size_t len,
                       size_t max_event)
{
    /* what the unescaping may write, the members' own room, a comma */
    const size_t room = 2 * len + SLACK + 2;
    lb_out_t members = {out->o, out->end - len - SLACK};
    lb_scan_status_t rc;
    uint8_t *end;

    if (len < 3 || text[0] != '{') {
        return LB_SCAN_EMPTY;
    }
    if (lb_out_room(out) < room) {
        return LB_SCAN_NOSPACE;
    }
    end = lb_unescape_ways[lb_way()](members.end, text, text + len, text,
                                     text + len);
    rc = lb_line_members(&members, members.end, (size_t)(end - members.end),
                         max_event);
    out->o = members.o;
    return rc;
}
