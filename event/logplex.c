/*
 * Heroku's Logplex: see logplex.h.
 */

#include "event/logplex.h"
#include "event/line.h"
#include "event/out.h"
#include "event/reject.h"
#include "event/repair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The fields of a header, in their order; those without a name are not kept. */
enum {
    VERSION,
    TIME,
    HOST,
    APP,
    PROC,
    ID,
    FIELDS
};

/* Names that stand behind those that the event in a message has itself. */
static const char *const names[FIELDS] = {
    [TIME] = "timestamp", [HOST] = "syslog_hostname",
    [APP] = "appname",    [PROC] = "procid",
    [ID] = "msgid",
};

typedef struct {
    const uint8_t *p;
    size_t len;
} piece_t;

typedef struct {
    unsigned pri;
    piece_t field[FIELDS];
    piece_t message;
} frame_t;

typedef struct {
    const lb_scan_options_t *options;
    lb_scan_result_t *res;
    const uint8_t *in;
    lb_out_t out;
    size_t frames;
    const char *context; /* of the events */
    int entered;         /* it is in force */
    int rejecting;       /* that of rejected ones is */
} logplex_t;

/* Digits, at most nine; how many, or 0. */
static size_t
number(const uint8_t *p, const uint8_t *end, size_t *n)
{
    size_t i = 0;

    for (*n = 0; p + i < end && i < 9 && p[i] >= '0' && p[i] <= '9'; i++) {
        *n = *n * 10 + (size_t)(p[i] - '0');
    }
    return i;
}

/* <PRI>VERSION TIME HOST APP PROC ID MESSAGE; -1: it is something else. */
static int
read_frame(frame_t *f, const uint8_t *p, const uint8_t *end)
{
    size_t pri, n;

    while (p < end && (end[-1] == '\n' || end[-1] == '\r')) {
        end--;
    }
    if (p == end || *p++ != '<') {
        return -1;
    }
    n = number(p, end, &pri);
    p += n;
    if (n == 0 || n > 3 || pri > 191 || p == end || *p++ != '>') {
        return -1;
    }
    f->pri = (unsigned)pri;

    for (int i = 0; i < FIELDS; i++) {
        const uint8_t *space = memchr(p, ' ', (size_t)(end - p));

        if (space == NULL && i < ID) {
            return -1;
        }
        if (space == NULL) {
            space = end;
        }
        f->field[i].p = p;
        f->field[i].len = (size_t)(space - p);
        if (f->field[i].len == 0) {
            return -1;
        }
        p = space < end ? space + 1 : end;
    }
    f->message.p = p;
    f->message.len = (size_t)(end - p);
    return 0;
}

static int
put_quoted(logplex_t *l, const char *name, piece_t value)
{
    if (lb_out_room(&l->out) < strlen(name) + 6 * value.len + 6) {
        return -1;
    }
    l->out.o += sprintf((char *)l->out.o, "\"%s\":\"", name);
    lb_repair_quote(&l->out.o, value.p, value.len, value.len,
                    &l->res->replaced);
    memcpy(l->out.o, "\",", 2);
    l->out.o += 2;
    return 0;
}

static int
put_frame(logplex_t *l, const frame_t *f)
{
    char numbers[64];
    lb_scan_status_t rc;

    if (lb_out_puts(&l->out, "{") != 0 ||
        put_quoted(l, names[TIME], f->field[TIME]) != 0) {
        return -1;
    }
    rc = lb_line_members(&l->out, f->message.p, f->message.len,
                         l->options->max_event);
    if (rc == LB_SCAN_NOSPACE ||
        (rc == LB_SCAN_EMPTY && put_quoted(l, "message", f->message) != 0)) {
        return -1;
    }
    for (int i = HOST; i < FIELDS; i++) {
        int none = f->field[i].len == 1 && *f->field[i].p == '-';

        if (!none && put_quoted(l, names[i], f->field[i]) != 0) {
            return -1;
        }
    }
    snprintf(numbers, sizeof(numbers), "\"PRIORITY\":%u,\"facility\":%u}\n",
             f->pri & 7, f->pri >> 3);
    return lb_out_puts(&l->out, numbers);
}

static lb_scan_status_t
reject(logplex_t *l, const uint8_t *p, const uint8_t *end, const char *reason)
{
    char place[40];
    lb_reject_t r = {
        .reason = reason,
        .place = place,
        .body = p,
        .body_len = (size_t)(end - p),
    };
    lb_scan_status_t rc;

    snprintf(place, sizeof(place), "frame %zu", l->frames);
    rc = lb_reject(l->res, &l->out, l->rejecting, (size_t)(p - l->in), &r);
    l->rejecting |= l->res->rejected <= LB_REJECT_MAX;
    return rc;
}

/* The context line of an event, if another one is in force: what is behind a
 * rejected one is of the record's stream again. */
static int
enter(logplex_t *l)
{
    if (!l->rejecting && (l->entered || l->context == NULL)) {
        return 0;
    }
    l->res->contexts = 1;
    return lb_out_puts(&l->out, "\001") ||
           lb_out_puts(&l->out, l->context != NULL ? l->context : "{}") ||
           lb_out_puts(&l->out, "\n");
}

static lb_scan_status_t
take(logplex_t *l, const uint8_t *p, const uint8_t *end)
{
    uint8_t *before = l->out.o;
    uint8_t *begin;
    frame_t f;

    if (read_frame(&f, p, end) != 0) {
        return reject(l, p, end,
                      "a frame is <PRI>1 TIME HOST APP PROC ID MESSAGE");
    }
    if (enter(l) != 0) {
        return LB_SCAN_NOSPACE;
    }
    begin = l->out.o;
    if (put_frame(l, &f) != 0) {
        return LB_SCAN_NOSPACE;
    }
    if ((size_t)(l->out.o - begin) - 1 > l->options->max_event) {
        l->out.o = before;
        return reject(l, p, end, "the event is too large");
    }
    l->rejecting = 0;
    l->entered = 1;
    l->res->events++;
    return LB_SCAN_OK;
}

/* Is it as many as the sender says? */
static lb_scan_status_t
count(const logplex_t *l)
{
    const char *said = lb_param(l->options, "count");

    if (said != NULL && strtoull(said, NULL, 10) != l->frames) {
        l->res->error = "the body has another number of frames than "
                        "Logplex-Msg-Count says";
        return LB_SCAN_BAD;
    }
    return l->res->events > 0 ? LB_SCAN_OK : LB_SCAN_EMPTY;
}

static lb_scan_status_t
scan_logplex(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
             const lb_scan_options_t *options, lb_scan_result_t *res)
{
    logplex_t l = {
        .options = options,
        .res = res,
        .in = in,
        .out = {out, out + cap},
        .context = lb_param(options, "context"),
    };
    const uint8_t *p = in, *end = in + len, *frame;
    lb_scan_status_t rc = LB_SCAN_OK;
    size_t n, digits;

    memset(res, 0, sizeof(*res));

    while (rc == LB_SCAN_OK && p < end) {
        if (*p == '\n' || *p == '\r') {
            p++;
            continue;
        }
        digits = number(p, end, &n);
        frame = p + digits + 1;
        if (digits == 0 || frame > end || frame[-1] != ' ' || n == 0 ||
            n > (size_t)(end - frame)) {
            rc = reject(&l, p, end,
                        "a frame is its length, a space and as many bytes");
            frame = p;
            n = (size_t)(end - p);
        } else {
            rc = take(&l, frame, frame + n);
        }
        l.frames++;
        p = frame + n;
    }

    res->out_len = (size_t)(l.out.o - out);
    return rc == LB_SCAN_OK ? count(&l) : rc;
}

/* A frame of 20 bytes becomes one of 150; and a byte may need 6. */
static size_t
out_max(size_t len)
{
    return len > (SIZE_MAX - LB_REJECT_MORE) / 16 ? SIZE_MAX
                                                  : len * 16 + LB_REJECT_MORE;
}

static const char *const types[] = {"application/logplex-1", NULL};

const lb_format_t lb_format_logplex = {
    .name = "logplex",
    .types = types,
    .scan = scan_logplex,
    .out_usual = 20,
    .out_max = out_max,
};
