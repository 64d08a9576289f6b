/*
 * Splunk's HTTP Event Collector: see splunk.h.
 */

#include "event/splunk.h"
#include "event/pieces.h"
#include "event/put.h"
#include "event/reject.h"
#include "event/splunk_meta.h"

#include <stdio.h>

typedef struct {
    unsigned code;
    const char *text;   /* Splunk's */
    const char *reason; /* ours */
} fault_t;

static const fault_t fault_json = {6, "Invalid data format",
                                   "an envelope is a JSON object"};
static const fault_t fault_size = {6, "Invalid data format",
                                   "the event is too large"};
static const fault_t fault_meta = {6, "Invalid data format",
                                   LB_SPLUNK_META_WORDS};
static const fault_t fault_index = {7, "Incorrect index",
                                    "this sender may not write to this index"};
static const fault_t fault_required = {12, "Event field is required",
                                       "the envelope has no event"};
static const fault_t fault_blank = {13, "Event field cannot be blank",
                                    "the envelope's event is empty"};

typedef struct {
    const lb_scan_options_t *options;
    lb_scan_result_t *res;
    const uint8_t *in;
    lb_splunk_out_t w;

    lb_pieces_t pieces;
    size_t objects;
    size_t taken;
    const fault_t *first; /* of the first that was rejected */
    size_t first_number;
} splunk_t;

/* The members of an envelope. */
typedef struct {
    lb_member_t event; /* value NULL: not there, as in the others */
    lb_member_t time;
    lb_member_t fields;
    lb_member_t meta[LB_SPLUNK_METAS];
    const uint8_t *begin; /* the first member */
    const uint8_t *end;   /* the closing brace */
} envelope_t;

/* What an event says itself. */
typedef struct {
    unsigned metas; /* a bit for each of lb_splunk_names */
    int docker;     /* it is one of Docker's driver, its line an object */
} said_t;

/* What could not be taken is kept, and said. */
static lb_scan_status_t
reject(splunk_t *s, const uint8_t *piece, size_t len, const fault_t *fault)
{
    char place[40];
    lb_reject_t r = {
        .reason = fault->reason,
        .place = place,
        .origin = (const char *)s->w.meta[LB_SPLUNK_INDEX].text,
        .origin_len =
            lb_splunk_stream(&s->w) ? s->w.meta[LB_SPLUNK_INDEX].len : 0,
        .body = piece,
        .body_len = len,
    };
    lb_scan_status_t rc;

    if (s->first == NULL) {
        s->first = fault;
        s->first_number = s->pieces.number;
    }
    snprintf(place, sizeof(place), "envelope %zu", s->pieces.number);

    rc = lb_reject(s->res, &s->w.out, 0, (size_t)(piece - s->in), &r);
    s->w.changed |= s->res->rejected <= LB_REJECT_MAX;
    return rc;
}

static lb_scan_status_t
reject_this(splunk_t *s, const fault_t *fault)
{
    size_t len;
    const uint8_t *piece = lb_pieces_at(&s->pieces, &len);

    return reject(s, piece, len, fault);
}

/* Takes it, if it is one of those that hold for others too. */
static void
read_meta(envelope_t *e, const lb_member_t *m)
{
    for (int i = 0; i < LB_SPLUNK_METAS; i++) {
        if (lb_member_is(m, lb_splunk_names[i]) && *m->value == '"') {
            e->meta[i] = *m;
        }
    }
}

/* The envelope's members that mean something; NULL, or what is wrong. */
static const fault_t *
read_envelope(envelope_t *e, const uint8_t *line, size_t len)
{
    const uint8_t *p;
    lb_member_t m;

    memset(e, 0, sizeof(*e));
    e->begin = line + 1;
    e->end = line + len - 1;

    for (p = e->begin; p < e->end;) {
        p = lb_member(p, e->end, &m);
        if (lb_member_is(&m, "event")) {
            e->event = m;
        } else if (lb_member_is(&m, "time")) {
            e->time = m;
        } else if (lb_member_is(&m, "fields") && *m.value == '{') {
            e->fields = m;
        } else {
            read_meta(e, &m);
        }
    }

    for (int i = 0; i < LB_SPLUNK_METAS; i++) {
        if (lb_member_len(&e->meta[i]) > LB_SPLUNK_META_MAX + 2) {
            return &fault_meta;
        }
    }
    if (e->event.value == NULL || *e->event.value == 'n') {
        return &fault_required;
    }
    return lb_member_len(&e->event) == 2 && *e->event.value == '"'
               ? &fault_blank
               : NULL;
}

/* Is it a member that read_envelope() has found, and no other of its name? */
static int
known(const envelope_t *e, const lb_member_t *m)
{
    if (m->key == e->event.key || m->key == e->time.key ||
        m->key == e->fields.key) {
        return 1;
    }
    for (int i = 0; i < LB_SPLUNK_METAS; i++) {
        if (m->key == e->meta[i].key) {
            return 1;
        }
    }
    return 0;
}

/* The event of Docker's driver: its line may be an object. */
static int
put_docker(splunk_t *s, const uint8_t *object, const uint8_t *end)
{
    const uint8_t *p;
    lb_member_t m;
    int bad = 0;

    for (p = object + 1, end--; p < end;) {
        p = lb_member(p, end, &m);
        bad |= lb_member_is(&m, "line") && *m.value == '{'
                   ? lb_put_members(&s->w.out, m.value, m.end)
                   : lb_put_member(&s->w.out, &m, 0);
    }
    return bad;
}

/* Which of lb_splunk_names it is, as a bit, or 0. */
static unsigned
meta_bit(const lb_member_t *m)
{
    for (unsigned i = 0; i < LB_SPLUNK_METAS; i++) {
        if (lb_member_is(m, lb_splunk_names[i])) {
            return 1u << i;
        }
    }
    return 0;
}

/* The members that an event brings along itself. */
static said_t
says(const envelope_t *e)
{
    const lb_member_t *objects[] = {&e->event, &e->fields};
    said_t said = {0, 0};
    const uint8_t *p, *end;
    lb_member_t m;
    int line = 0, std = 0;

    for (int i = 0; i < 2; i++) {
        if (objects[i]->value == NULL || *objects[i]->value != '{') {
            continue;
        }
        for (p = objects[i]->value + 1, end = objects[i]->end - 1; p < end;) {
            p = lb_member(p, end, &m);
            said.metas |= meta_bit(&m);
            line |= i == 0 && lb_member_is(&m, "line") && *m.value == '{';
            std |= i == 0 && lb_member_is(&m, "source") &&
                   lb_member_len(&m) == 8 && memcmp(m.value, "\"std", 4) == 0;
        }
    }
    for (p = e->begin; p < e->end;) {
        p = lb_member(p, e->end, &m);
        said.metas |= known(e, &m) ? 0 : meta_bit(&m);
    }
    said.docker = line && std;
    return said;
}

/* What the context says and an event says too. */
static int
put_clashes(splunk_t *s, unsigned metas)
{
    char name[16];
    int bad = 0;

    for (int i = 0; i < LB_SPLUNK_METAS; i++) {
        if (s->w.meta[i].len == 0 ||
            (i == LB_SPLUNK_INDEX && lb_splunk_stream(&s->w)) ||
            (metas >> i & 1) == 0) {
            continue;
        }
        snprintf(name, sizeof(name), "%s%s", i == LB_SPLUNK_HOST ? "" : "hec.",
                 lb_splunk_names[i]);
        bad |= lb_out_puts(&s->w.out, "\"") || lb_out_puts(&s->w.out, name) ||
               lb_out_puts(&s->w.out, "\":\"") ||
               lb_out_put(&s->w.out, s->w.meta[i].text, s->w.meta[i].len) ||
               lb_out_puts(&s->w.out, "\",");
    }
    return bad;
}

/* The event of an envelope and its \n. */
static int
put_event(splunk_t *s, const envelope_t *e)
{
    const lb_member_t *event = &e->event;
    const said_t said = says(e);
    const uint8_t *p;
    lb_member_t m;
    int bad;

    bad = lb_out_puts(&s->w.out, "{");
    if (e->time.value != NULL && *e->time.value != 'n') {
        bad |= lb_put(&s->w.out, "timestamp", e->time.value,
                      lb_member_len(&e->time));
    }
    bad |= put_clashes(s, said.metas);

    if (*event->value != '{') {
        bad |= lb_put(&s->w.out, "message", event->value, lb_member_len(event));
    } else if (said.docker) {
        bad |= put_docker(s, event->value, event->end);
    } else {
        bad |= lb_put_members(&s->w.out, event->value, event->end);
    }

    if (e->fields.value != NULL) {
        bad |= lb_put_members(&s->w.out, e->fields.value, e->fields.end);
    }
    for (p = e->begin; p < e->end;) {
        p = lb_member(p, e->end, &m);
        if (!known(e, &m)) {
            bad |= lb_put_member(&s->w.out, &m, 0);
        }
    }
    return bad ? -1 : lb_put_end(&s->w.out);
}

/* An envelope, as the scanner writes it. */
static lb_scan_status_t
take(void *data, const uint8_t *line, size_t len)
{
    splunk_t *s = data;
    const fault_t *fault;
    envelope_t e;
    uint8_t *begin;

    s->objects++;
    fault = read_envelope(&e, line, len);
    if (fault != NULL) {
        return reject_this(s, fault);
    }
    for (int i = 0; i < LB_SPLUNK_METAS; i++) {
        if (e.meta[i].value != NULL && lb_member_len(&e.meta[i]) > 2) {
            lb_splunk_set(&s->w, (lb_splunk_meta_e)i, e.meta[i].value + 1,
                          lb_member_len(&e.meta[i]) - 2);
        }
    }

    if (!lb_splunk_allowed(&s->w)) {
        return reject_this(s, &fault_index);
    }
    if (lb_splunk_enter(&s->w) != 0) {
        return LB_SCAN_NOSPACE;
    }
    begin = s->w.out.o;
    if (put_event(s, &e) != 0) {
        return LB_SCAN_NOSPACE;
    }
    if ((size_t)(s->w.out.o - begin) - 1 > s->options->max_event) {
        s->w.out.o = begin;
        return reject_this(s, &fault_size);
    }
    s->taken++;
    s->res->events++;
    return LB_SCAN_OK;
}

static lb_scan_status_t
no_envelope(void *data, const uint8_t *piece, size_t len, lb_piece_fault_t why)
{
    return reject(data, piece, len,
                  why == LB_PIECE_SIZE ? &fault_size : &fault_json);
}

static lb_scan_status_t
bad(lb_scan_result_t *res, const char *error)
{
    res->error = error;
    res->offset = res->event_start = 0;
    return LB_SCAN_BAD;
}

static lb_scan_status_t
reply(splunk_t *s)
{
    char text[256];
    int n;

    if (s->first == NULL) {
        n = snprintf(text, sizeof(text), LB_SPLUNK_SUCCESS);
    } else {
        n = snprintf(text, sizeof(text),
                     "%s {\"text\":\"%s\",\"code\":%u,"
                     "\"invalid-event-number\":%zu,\"reason\":\"%s\"}",
                     s->taken > 0 ? "200" : "400", s->first->text,
                     s->first->code, s->first_number, s->first->reason);
    }
    return lb_reply_put(s->options->reply, text, (size_t)n) == 0
               ? LB_SCAN_OK
               : LB_SCAN_NOMEM;
}

static lb_scan_status_t
scan_splunk(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
            const lb_scan_options_t *options, lb_scan_result_t *res)
{
    splunk_t s;
    lb_scan_status_t rc;

    memset(res, 0, sizeof(*res));
    memset(&s, 0, sizeof(s));
    s.options = options;
    s.res = res;
    s.in = in;
    s.pieces.data = &s;
    s.pieces.take = take;
    s.pieces.bad = no_envelope;
    s.pieces.max = options->max_event + LB_SPLUNK_CONTEXT_MAX;
    s.pieces.patient = options->patient;
    s.w.out.o = out;
    s.w.out.end = out + cap;

    if (lb_splunk_params(&s.w, options) != 0) {
        return bad(res, fault_meta.reason);
    }
    rc = lb_pieces(&s.pieces, in, len);
    if (rc != LB_SCAN_OK && rc != LB_SCAN_BAD) {
        return rc;
    }
    if (s.pieces.number == 0) {
        return LB_SCAN_EMPTY;
    }
    if (rc == LB_SCAN_BAD || s.objects == 0) {
        return bad(res, "the body holds no envelopes: send JSON objects with "
                        "a member event");
    }
    res->out_len = (size_t)(s.w.out.o - out);
    res->contexts |= s.w.contexts;
    return reply(&s);
}

/* An envelope of 12 bytes may bring a context line of the longest kind. */
static size_t
splunk_out_max(size_t len)
{
    const size_t more = LB_REJECT_MORE + LB_SPLUNK_CONTEXT_MAX;
    const size_t factor = LB_SPLUNK_CONTEXT_MAX / 12 + 7;

    return len > (SIZE_MAX - more) / factor ? SIZE_MAX : len * factor + more;
}

static const char *const all_types[] = {"", NULL};

const lb_format_t lb_format_splunk = {
    .name = "splunk",
    .types = all_types,
    .scan = scan_splunk,
    .out_usual = 9,
    .out_max = splunk_out_max,
};
