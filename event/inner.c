/*
 * Events inside of an event: see inner.h.
 */

#include "event/inner.h"
#include "event/level.h"
#include "event/line.h"
#include "event/names.h"
#include "event/timestamp.h"

static int
is_time(const uint8_t *p, const uint8_t *end)
{
    int64_t ns;
    int inexact;

    if (*p == '"') {
        return lb_time_date(p + 1, end - 1, &ns, &inexact) ||
               lb_time_epoch(p + 1, end - 1, &ns, &inexact);
    }
    return *p == '{' || lb_time_epoch(p, end, &ns, &inexact);
}

static int
is_level(const uint8_t *p, const uint8_t *end, lb_read_t read)
{
    int string = *p == '"', same;

    return *p != '{' && *p != '[' &&
           lb_level(p + string, end - string, read, &same) >= 0;
}

static void
look(lb_inner_t *inner)
{
    const uint8_t *p = inner->p;
    lb_member_t m;

    while (p < inner->end) {
        int row;

        p = lb_member(p, inner->end, &m);
        row = lb_name_find(m.key, m.key_len);
        if (row < 0 || lb_names[row].needs != 0) {
            continue;
        }
        inner->time |=
            lb_names[row].field == LB_TIMESTAMP && is_time(m.value, m.end);
        inner->level |= lb_names[row].field == LB_LEVEL &&
                        is_level(m.value, m.end, (lb_read_t)lb_names[row].read);
    }
}

int
lb_inner(lb_out_t *out, const uint8_t *value, const uint8_t *end,
         lb_inner_t *inner)
{
    lb_scan_status_t rc = LB_SCAN_EMPTY;

    memset(inner, 0, sizeof(*inner));
    inner->p = inner->end = out->o;

    if (*value == '{' && end - value > 2) {
        rc =
            lb_put_members(out, value, end) != 0 ? LB_SCAN_NOSPACE : LB_SCAN_OK;
    } else if (*value == '"') {
        rc = lb_line_members_quoted(out, value + 1, (size_t)(end - value) - 2,
                                    SIZE_MAX);
    }
    if (rc == LB_SCAN_OK) {
        inner->end = out->o - 1;
        look(inner);
    }
    return rc == LB_SCAN_OK ? 0 : rc == LB_SCAN_EMPTY ? 1 : -1;
}
