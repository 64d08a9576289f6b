/*
 * logbroker-spool cat: the events of the backlog, one a line.
 */

#include "command.h"

#include <inttypes.h>
#include <stdio.h>

#include "event/lines.h"
#include "output.h"
#include "walk.h"

static int
cat_record(const lb_tool_options_t *o, lb_reader_t *reader,
           const lb_ring_info_t *info, const lb_record_t *rec, void *data)
{
    int rc;
    char uuid[LB_UUID_TEXT];
    size_t n;
    uint64_t p, end, at = rec->first_seq;
    uint64_t seq = *(uint64_t *)data;
    const uint8_t *view;
    lb_lines_t lines;
    lb_line_t line;

    lb_uuid_format(info->uuid, uuid);
    end = rec->payload + rec->payload_len;
    lb_lines_start(&lines);

    /* an event may be longer than a view: print it piece by piece */

    for (p = rec->payload; p < end; p += n) {

        rc = lb_reader_view(reader, p, end, 1, &view, &n);
        if (rc != 0) {
            return rc;
        }

        lb_lines_view(&lines, view, n);

        while (lb_lines_next(&lines, &line)) {

            if (line.context) {
                continue;
            }

            if (at < seq || at < o->first_seq || at > o->last_seq) {
                at += (uint64_t)line.ends;
                continue;
            }

            if (o->json && line.begins) {
                /* per event: nothing in it needs to be escaped */
                printf("{\"ring\":\"%s\",\"seq\":%" PRIu64
                       ",\"stream\":\"%s\",\"received_us\":%" PRIu64
                       ",\"event\":",
                       uuid, at, rec->stream, rec->received_us);
            }

            fwrite(line.data, 1, line.len, stdout);

            if (line.ends) {
                at++;
                fputs(o->json ? "}\n" : "\n", stdout);
            }
        }
    }

    lb_tool_printed();
    return 0;
}

/* The backlog, or from the oldest record on. */
static int
cat_ring(const lb_tool_options_t *o, const lb_tool_look_t *look,
         lb_reader_t *reader, const lb_ring_info_t *info, void *data)
{
    uint64_t acked, seq, from;

    lb_tool_acked(&look->ckpt, info, &acked, &seq);
    from = acked;

    if (o->delivered) {
        from = lb_tool_oldest(info);
        seq = 0;
    }

    return lb_tool_walk(o, reader, info, from, info->committed, acked,
                        cat_record, &seq, data);
}

int
lb_tool_cat(const lb_tool_options_t *o, const char *path)
{
    lb_tool_look_t look;
    lb_tool_totals_t totals = {0, 0, 0, 0};

    if (lb_tool_look(&look, path) != 0) {
        return 1;
    }

    lb_tool_rings(&look, o, cat_ring, &totals);
    lb_tool_look_close(&look);

    return look.failed || totals.bad != 0;
}
