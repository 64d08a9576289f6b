/*
 * logbroker-spool: from position to position through a ring.
 */

#include "tool.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void
lb_tool_acked(const lb_ckpt_state_t *ckpt, const lb_ring_info_t *info,
              uint64_t *position, uint64_t *seq)
{
    uint32_t i;

    *position = info->acked;
    *seq = info->acked_seq;

    for (i = 0; i < ckpt->nrings; i++) {
        if (memcmp(ckpt->rings[i].uuid, info->uuid, LB_UUID_LEN) == 0) {
            *position = ckpt->rings[i].acked;
            *seq = ckpt->rings[i].acked_seq;
        }
    }
}

uint64_t
lb_tool_oldest(const lb_ring_info_t *info)
{
    return info->committed > info->capacity ? info->committed - info->capacity
                                            : 0;
}

void
lb_tool_json_textn(FILE *f, const char *s, size_t len)
{
    size_t i;
    unsigned char c;

    putc('"', f);

    for (i = 0; i < len; i++) {
        c = (unsigned char)s[i];
        if (c == '"' || c == '\\') {
            fprintf(f, "\\%c", c);
        } else if (c < 0x20 || c == 0x7f) {
            fprintf(f, "\\u%04x", c);
        } else {
            putc(c, f);
        }
    }

    putc('"', f);
}

void
lb_tool_json_text(FILE *f, const char *s)
{
    lb_tool_json_textn(f, s, strlen(s));
}

void
lb_tool_progress(const char *what, uint64_t done, uint64_t total)
{
    static int terminal = -1, shown;
    static int64_t last;
    int64_t now;
    int filled;

    if (terminal < 0) {
        terminal = isatty(STDERR_FILENO);
    }

    if (!terminal) {
        return;
    }

    if (total == 0) {
        if (shown) {
            fputs("\r\033[K", stderr);
            shown = 0;
        }
        return;
    }

    now = lb_mono_ms();

    /* ten times a second, and not for what is over at once */
    if (last == 0) {
        last = now;
    }
    if (now - last < 100) {
        return;
    }

    last = now;
    shown = 1;
    filled = (int)(40 * done / total);
    fprintf(stderr, "\r%s [%.*s%*s] %3d%%", what, filled,
            "########################################", 40 - filled, "",
            (int)(100 * done / total));
}

static int
chosen(const lb_tool_options_t *o, const lb_record_t *rec)
{
    return (o->stream == NULL || strcmp(o->stream, rec->stream) == 0) &&
           rec->received_us >= o->since_us && rec->received_us < o->until_us &&
           rec->first_seq <= o->last_seq &&
           rec->first_seq + rec->events > o->first_seq;
}

int
lb_tool_walk(const lb_tool_options_t *o, lb_reader_t *reader,
             const lb_ring_info_t *info, uint64_t from, uint64_t to,
             uint64_t acked, lb_tool_record_pt fn, void *data,
             lb_tool_totals_t *totals)
{
    int rc;
    char what[32];
    uint64_t p = from, next;
    lb_record_t rec;

    (void)snprintf(what, sizeof(what), "ring %u", info->slot);

    while (p < to) {

        lb_tool_progress(what, p - from, to - from);

        rc = lb_reader_record(reader, p, to, 1, &rec);

        if (rc == LB_ECORRUPT) {
            rc = lb_reader_resync(reader, p, to, &next);
            if (rc != 0) {
                return rc;
            }
            /* the oldest record is rarely whole */
            if (next > acked) {
                lb_tool_progress(what, 0, 0);
                fprintf(stderr,
                        "logbroker-spool: ring %u: %" PRIu64
                        " bytes at position %" PRIu64 " are damaged\n",
                        info->slot, next - p, p);
                totals->bad++;
                totals->bad_bytes += next - p;
            }
            p = next;
            continue;
        }

        if (rc != 0) {
            return rc;
        }

        if (chosen(o, &rec)) {
            totals->records++;
            totals->events += rec.events;

            rc = fn != NULL ? fn(o, reader, info, &rec, data) : 0;
            if (rc != 0) {
                return rc;
            }
        }

        p = rec.next;
    }

    lb_tool_progress(what, 0, 0);

    return 0;
}
