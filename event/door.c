/*
 * What formats of foreign protocols have in common: see door.h.
 */

#include "event/door.h"
#include "event/date.h"
#include "event/lines.h"
#include "event/reject.h"
#include "event/repair.h"
#include "event/text.h"
#include "event/timestamp.h"

#include <stdio.h>

static const char words_size[] = "the event is too large";
static const char words_object[] = "it is no JSON object";

static const uint8_t rejected[] = LB_REJECT_CONTEXT;

/* The context where there is none. */
static const uint8_t no_context[] = {LB_LINES_CONTEXT, '{', '}', '\n'};

/* A rejected event may bring the context line of the ones behind it again. */
#define CONTEXT_MAX 16384u

size_t
lb_door_out_max(size_t len)
{
    const size_t more = LB_REJECT_MORE + (LB_REJECT_MAX + 1) * CONTEXT_MAX;

    return len > (SIZE_MAX - more) / 7 ? SIZE_MAX : len * 7 + more;
}

void
lb_door_start(lb_door_t *d, uint8_t *out, size_t cap,
              const lb_scan_options_t *options, lb_scan_result_t *res)
{
    memset(res, 0, sizeof(*res));
    memset(d, 0, sizeof(*d));
    d->options = options;
    d->res = res;
    d->out.o = out;
    d->out.end = out + cap;
}

int
lb_door_enter(lb_door_t *d)
{
    const uint8_t *context = d->context;
    size_t len = d->context_len;

    if (context == NULL) {
        if (d->in_force == NULL) {
            return 0;
        }
        context = no_context;
        len = sizeof(no_context);
    }
    if (d->in_force != NULL && d->in_force_len == len &&
        memcmp(d->in_force, context, len) == 0) {
        return 0;
    }
    d->in_force = d->out.o;
    d->in_force_len = len;
    d->res->contexts = 1;
    return lb_out_put(&d->out, context, len);
}

int
lb_door_begin(lb_door_t *d)
{
    if (lb_door_enter(d) != 0) {
        return -1;
    }
    d->begin = d->out.o;
    return lb_out_puts(&d->out, "{");
}

lb_scan_status_t
lb_door_end(lb_door_t *d)
{
    return lb_door_end_of(d, NULL, 0);
}

lb_scan_status_t
lb_door_end_of(lb_door_t *d, const uint8_t *piece, size_t len)
{
    if (lb_put_end(&d->out) != 0) {
        return LB_SCAN_NOSPACE;
    }
    if ((size_t)(d->out.o - d->begin) - 1 > d->options->max_event) {
        d->out.o = d->begin;
        return piece != NULL ? lb_door_reject(d, piece, len, words_size)
                             : lb_door_reject_this(d, words_size);
    }
    d->res->events++;
    return LB_SCAN_OK;
}

int
lb_put_time(lb_out_t *out, const lb_member_t *m)
{
    const uint8_t *p = m->value, *end = m->end;
    char date[LB_DATE_LEN + 2];
    int64_t ns;
    int inexact = 1, bad = 0;

    if (*p == '"') {
        p++;
        end--;
    }
    if (lb_time_epoch(p, end, &ns, &inexact)) {
        date[0] = date[LB_DATE_LEN + 1] = '"';
        lb_date_ns(date + 1, (uint64_t)ns);
        bad = lb_put(out, "timestamp", (const uint8_t *)date, sizeof(date));
    }
    return bad || (inexact && lb_put_member(out, m, 0));
}

lb_scan_status_t
lb_door_reject(lb_door_t *d, const uint8_t *piece, size_t len,
               const char *reason)
{
    const char *origin = lb_param(d->options, "stream");
    char place[48];
    lb_reject_t r = {
        .reason = reason,
        .place = place,
        .origin = origin,
        .origin_len = origin != NULL ? strlen(origin) : 0,
        .body = piece,
        .body_len = len,
    };
    int in_force = d->in_force == rejected;

    snprintf(place, sizeof(place), "%s %zu", d->noun,
             d->number != NULL ? *d->number : d->pieces.number);
    if (d->res->rejected < LB_REJECT_MAX) {
        d->in_force = rejected;
        d->in_force_len = sizeof(rejected) - 1;
    }
    return lb_reject(d->res, &d->out, in_force, 0, &r);
}

lb_scan_status_t
lb_door_reject_this(lb_door_t *d, const char *reason)
{
    size_t len;
    const uint8_t *piece = lb_pieces_at(&d->pieces, &len);

    return lb_door_reject(d, piece, len, reason);
}

static lb_scan_status_t
no_object(void *data, const uint8_t *piece, size_t len, lb_piece_fault_t fault)
{
    lb_door_t *d = data;

    d->objects += fault == LB_PIECE_SIZE;
    return lb_door_reject(d, piece, len,
                          fault == LB_PIECE_SIZE ? words_size : words_object);
}

static void
set_pieces(lb_door_t *d)
{
    d->pieces.data = d;
    d->pieces.bad = no_object;
    d->pieces.max = d->max > 0 ? d->max : d->options->max_event;
    d->pieces.patient = d->options->patient;
}

/* A line without its end, that no scanner takes. */
static lb_scan_status_t
put_line(lb_door_t *d, const uint8_t *line, size_t len)
{
    len -= len > 0 && line[len - 1] == '\r';
    if (len == 0) {
        return LB_SCAN_OK;
    }
    if (lb_door_begin(d) != 0 || lb_out_puts(&d->out, "\"message\":\"") != 0 ||
        lb_repair_put(&d->out, line, len, &d->res->replaced) != 0 ||
        lb_out_puts(&d->out, "\",")) {
        return LB_SCAN_NOSPACE;
    }
    return lb_door_end(d);
}

/* All lines at once, if there is nothing to be replaced and none is too large;
 * or one by one. */
static lb_scan_status_t
put_text(void *data, const uint8_t *p, size_t len)
{
    const uint8_t *const end = p + len;
    lb_door_t *d = data;
    lb_scan_result_t res;
    lb_scan_status_t rc;

    if (lb_door_enter(d) != 0) {
        return LB_SCAN_NOSPACE;
    }
    rc = lb_scan_text(p, len, d->out.o, lb_out_room(&d->out),
                      d->options->max_event, &res);
    if (rc == LB_SCAN_OK) {
        d->out.o += res.out_len;
        d->res->events += res.events;
        return LB_SCAN_OK;
    }
    if (rc == LB_SCAN_EMPTY || rc == LB_SCAN_NOSPACE) {
        return rc == LB_SCAN_EMPTY ? LB_SCAN_OK : rc;
    }
    for (rc = LB_SCAN_OK; p < end && rc == LB_SCAN_OK; d->pieces.number++) {
        const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));

        d->pieces.at = p;
        d->pieces.behind = nl != NULL ? nl : end;
        d->pieces.at_number = d->pieces.number;
        rc = put_line(d, p, (size_t)(d->pieces.behind - p));
        p = nl != NULL ? nl + 1 : end;
    }
    d->pieces.at_number = d->pieces.number;
    d->pieces.behind = end;
    return rc;
}

lb_scan_status_t
lb_door_lines(lb_door_t *d, const uint8_t *in, size_t len)
{
    set_pieces(d);
    d->pieces.text = put_text;
    return lb_pieces_lines(&d->pieces, in, len);
}

lb_scan_status_t
lb_door_objects(lb_door_t *d, const uint8_t *in, size_t len)
{
    lb_scan_status_t rc;

    set_pieces(d);
    rc = lb_pieces(&d->pieces, in, len);
    if (rc != LB_SCAN_OK && rc != LB_SCAN_BAD) {
        return rc;
    }
    if (d->pieces.number == 0) {
        return LB_SCAN_EMPTY;
    }
    if (rc == LB_SCAN_BAD || d->objects == 0) {
        d->res->error = "the body holds no JSON objects";
        return LB_SCAN_BAD;
    }
    return LB_SCAN_OK;
}

lb_scan_status_t
lb_door_finish(lb_door_t *d, const uint8_t *out)
{
    d->res->out_len = (size_t)(d->out.o - out);
    return d->res->events > 0 ? LB_SCAN_OK : LB_SCAN_EMPTY;
}
