/*
 * Loki's push, what both of its forms write: see loki_write.h.
 */

#include "event/loki_write.h"
#include "event/lines.h"
#include "event/loki_labels.h"
#include "event/members.h"
#include "event/reject.h"
#include "event/repair.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* As many rejected entries of a request are kept. */
#define REJECTED_MAX 1000

void
lb_loki_start(lb_loki_t *w, uint8_t *out, size_t cap,
              const lb_scan_options_t *options, lb_scan_result_t *res)
{
    memset(res, 0, sizeof(*res));
    w->options = options;
    w->res = res;
    w->out = w->o = w->begin = out;
    w->end = out + cap;
    w->labels_len = 0;
    w->labels_error = NULL;
    w->changed = 0;
    w->nstream = w->nentry = 0;
    w->second = -1;
}

lb_scan_status_t
lb_loki_finish(lb_loki_t *w)
{
    w->res->out_len = (size_t)(w->o - w->out);
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
    int n = lb_loki_labels(text, len, members, sizeof(members));

    lb_loki_stream_json(w, members, n > 0 ? (size_t)n : 0);
    if (n < 0) {
        w->labels_error = "the labels of the stream are malformed or too long";
    }
}

int
lb_loki_put(lb_loki_t *w, const void *data, size_t len)
{
    if ((size_t)(w->end - w->o) < len) {
        return -1;
    }
    memcpy(w->o, data, len);
    w->o += len;
    return 0;
}

int
lb_loki_puts(lb_loki_t *w, const char *text)
{
    return lb_loki_put(w, text, strlen(text));
}

int
lb_loki_quote(lb_loki_t *w, const uint8_t *s, size_t len)
{
    size_t n;

    if (lb_loki_put(w, "\"", 1) != 0) {
        return -1;
    }
    while (len > 0) {
        n = lb_repair_quote(&w->o, s, len, (size_t)(w->end - w->o) / 6);
        if (n == 0) {
            return -1;
        }
        s += n;
        len -= n;
    }
    return lb_loki_put(w, "\"", 1);
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
    if (lb_loki_put(w, begin, 2) != 0) {
        return -1;
    }
    return w->labels_len == 0 ? lb_loki_puts(w, "}\n")
                              : lb_loki_puts(w, "\"fields\":{") ||
                                    lb_loki_put(w, w->labels, w->labels_len) ||
                                    lb_loki_puts(w, "}}\n");
}

int
lb_loki_begin(lb_loki_t *w)
{
    w->begin = w->o;
    if (w->labels_error == NULL) {
        if (enter(w) != 0) {
            return -1;
        }
        w->begin = w->o;
    }
    return lb_loki_puts(w, "{");
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
    return lb_loki_puts(w, text);
}

/* Labels that have the name of a member of the event, each once. */
static int
put_clashes(lb_loki_t *w)
{
    const uint8_t *p = w->begin + 1, *end = w->o, *q;
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
                bad = lb_loki_puts(w, "\"labels.") ||
                      lb_loki_put(w, l.key, (size_t)(l.end - l.key)) ||
                      lb_loki_puts(w, ",");
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
    w->o -= w->o[-1] == ',';
    if (lb_loki_puts(w, "}\n") != 0) {
        return LB_SCAN_NOSPACE;
    }
    if ((size_t)(w->o - w->begin) - 1 > w->options->max_event) {
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
    size_t n;

    w->o = w->begin;
    snprintf(place, sizeof(place), "stream %zu, entry %zu", w->nstream,
             w->nentry++);
    if (w->res->rejected++ == 0) {
        w->res->error = reason;
    }
    if (w->res->rejected > REJECTED_MAX) {
        return LB_SCAN_OK;
    }
    if (lb_loki_puts(w, LB_REJECT_CONTEXT) != 0) {
        return LB_SCAN_NOSPACE;
    }
    w->changed = w->res->contexts = 1;
    n = lb_reject_put(w->o, (size_t)(w->end - w->o), &r);
    if (n == 0) {
        return LB_SCAN_NOSPACE;
    }
    w->o += n;
    w->res->events++;
    return LB_SCAN_OK;
}
