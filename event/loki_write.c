/*
 * Loki's push, what both of its forms write: see loki_write.h.
 */

#include "event/loki_write.h"
#include "event/line.h"
#include "event/lines.h"
#include "event/loki_labels.h"
#include "event/members.h"
#include "event/put.h"
#include "event/reject.h"
#include "event/repair.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void
lb_loki_start(lb_loki_t *w, uint8_t *out, size_t cap,
              const lb_scan_options_t *options, lb_scan_result_t *res)
{
    memset(res, 0, sizeof(*res));
    w->options = options;
    w->res = res;
    w->start = w->out.o = w->begin = out;
    w->out.end = out + cap;
    w->labels_len = 0;
    w->labels_error = NULL;
    w->changed = 0;
    w->nstream = w->nentry = 0;
    w->second = -1;
}

lb_scan_status_t
lb_loki_finish(lb_loki_t *w)
{
    w->res->out_len = (size_t)(w->out.o - w->start);
    return w->res->events > 0 ? LB_SCAN_OK : LB_SCAN_EMPTY;
}

static size_t
count(const uint8_t *p, size_t len)
{
    const uint8_t *end = p + len;
    lb_member_t m;
    size_t n = 0;

    for (; p < end; n++) {
        p = lb_member(p, end, &m);
    }
    return n;
}

void
lb_loki_stream_json(lb_loki_t *w, const uint8_t *members, size_t len)
{
    w->labels_error = NULL;
    if (len > LB_LOKI_LABELS_MAX ||
        count(members, len) > LB_LOKI_LABELS_COUNT) {
        w->labels_error = "a stream has at most 64 labels, of 8192 bytes";
        len = 0;
    }
    if (len != w->labels_len || memcmp(members, w->labels, len) != 0) {
        memcpy(w->labels, members, len);
        w->labels_len = len;
        w->changed = 1;
    }
}

void
lb_loki_stream_text(lb_loki_t *w, const uint8_t *text, size_t len)
{
    uint8_t members[LB_LOKI_LABELS_MAX];
    int n =
        lb_loki_labels(text, len, members, sizeof(members), &w->res->replaced);

    lb_loki_stream_json(w, members, n > 0 ? (size_t)n : 0);
    if (n < 0) {
        w->labels_error = "the labels of the stream are malformed or too long";
    }
}

int
lb_loki_quote(lb_loki_t *w, const uint8_t *s, size_t len)
{
    return lb_out_puts(&w->out, "\"") ||
           lb_repair_put(&w->out, s, len, &w->res->replaced) ||
           lb_out_puts(&w->out, "\"");
}

/* The context line of the stream, if it is not in force already. */
static int
enter(lb_loki_t *w)
{
    const uint8_t begin[] = {LB_LINES_CONTEXT, '{'};

    if (!w->changed) {
        return 0;
    }
    w->changed = 0;
    w->res->contexts = 1;
    if (lb_out_put(&w->out, begin, 2) != 0) {
        return -1;
    }
    return w->labels_len == 0
               ? lb_out_puts(&w->out, "}\n")
               : lb_out_puts(&w->out, "\"fields\":{") ||
                     lb_out_put(&w->out, w->labels, w->labels_len) ||
                     lb_out_puts(&w->out, "}}\n");
}

int
lb_loki_begin(lb_loki_t *w)
{
    w->begin = w->out.o;
    if (w->labels_error == NULL) {
        if (enter(w) != 0) {
            return -1;
        }
        w->begin = w->out.o;
    }
    return lb_out_puts(&w->out, "{");
}

/* A date: a number would stand behind one that a label or the metadata has. */
int
lb_loki_time(lb_loki_t *w, int64_t second, uint32_t ns)
{
    char text[64];
    struct tm tm;
    time_t t = (time_t)second;

    if (second != w->second) {
        if (gmtime_r(&t, &tm) == NULL ||
            strftime(w->date, sizeof(w->date), "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
            return -1;
        }
        w->second = second;
    }
    snprintf(text, sizeof(text), "\"timestamp\":\"%s.%09uZ\",", w->date,
             (unsigned)ns);
    return lb_out_puts(&w->out, text);
}

int
lb_loki_line(lb_loki_t *w, const uint8_t *line, size_t len)
{
    lb_scan_status_t rc =
        lb_line_members(&w->out, line, len, w->options->max_event);

    return rc == LB_SCAN_EMPTY
               ? lb_out_puts(&w->out, "\"message\":") ||
                     lb_loki_quote(w, line, len) || lb_out_puts(&w->out, ",")
               : rc != LB_SCAN_OK;
}

int
lb_loki_line_json(lb_loki_t *w, const uint8_t *string, size_t len)
{
    lb_scan_status_t rc = lb_line_members_quoted(&w->out, string + 1, len - 2,
                                                 w->options->max_event);

    return rc == LB_SCAN_EMPTY ? lb_out_puts(&w->out, "\"message\":") ||
                                     lb_out_put(&w->out, string, len) ||
                                     lb_out_puts(&w->out, ",")
                               : rc != LB_SCAN_OK;
}

/* Labels that have the name of a member of the event, each once. */
static int
put_clashes(lb_loki_t *w)
{
    const uint8_t *p = w->begin + 1, *end = w->out.o, *q;
    const uint8_t *labels_end = w->labels + w->labels_len;
    uint64_t there = 0;
    lb_member_t m, l;
    int bad = 0;

    while (p < end) {
        uint64_t bit = 1;

        p = lb_member(p, end, &m);
        for (q = w->labels; q < labels_end && !bad; bit <<= 1) {
            q = lb_member(q, labels_end, &l);
            if (l.key_len == m.key_len && (there & bit) == 0 &&
                memcmp(l.key, m.key, l.key_len) == 0) {
                there |= bit;
                bad = lb_out_puts(&w->out, "\"labels.") ||
                      lb_out_put(&w->out, l.key, (size_t)(l.end - l.key)) ||
                      lb_out_puts(&w->out, ",");
            }
        }
    }
    return bad;
}

_Static_assert(LB_LOKI_LABELS_COUNT <= 64, "a bit for each");

lb_scan_status_t
lb_loki_end(lb_loki_t *w, const uint8_t *entry, size_t len)
{
    if (w->labels_error != NULL) {
        return lb_loki_reject(w, entry, len, w->labels_error);
    }
    if (put_clashes(w) != 0) {
        return LB_SCAN_NOSPACE;
    }
    if (lb_put_end(&w->out) != 0) {
        return LB_SCAN_NOSPACE;
    }
    if ((size_t)(w->out.o - w->begin) - 1 > w->options->max_event) {
        return lb_loki_reject(w, entry, len, "the entry is too large");
    }
    w->res->events++;
    w->nentry++;
    return LB_SCAN_OK;
}

lb_scan_status_t
lb_loki_reject(lb_loki_t *w, const uint8_t *entry, size_t len,
               const char *reason)
{
    char place[64];
    lb_reject_t r = {
        .reason = reason,
        .place = place,
        .body = entry,
        .body_len = len,
    };

    w->out.o = w->begin;
    snprintf(place, sizeof(place), "stream %zu, entry %zu", w->nstream,
             w->nentry++);
    w->changed |= w->res->rejected < LB_REJECT_MAX;
    return lb_reject(w->res, &w->out, 0, 0, &r);
}
