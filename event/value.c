#include "event/value.h"
#include "event/level.h"
#include "event/timestamp.h"
#include "event/utf8.h"

/* A number is taken for a time only if it is one that an event may well have:
 * five years before its receipt to one year after it.  In seconds. */
#define RECEIPT_BEFORE INT64_C(157766400)
#define RECEIPT_AFTER INT64_C(31536000)

/* Longest text with escapes that is looked at as a time or a level. */
#define SHORT_MAX 64

/* The text of a string, without its quotes; with escapes, it is made in room.
 * NULL: it is too long for a time or a level. */
LB_INLINE const uint8_t *
short_text(const lb_walk_t *walk, const uint8_t *value, const uint8_t **end,
           int escapes, uint8_t *room)
{
    if (lb_likely(!escapes)) {
        --*end;
        return value + 1;
    }
    if (*end - value > SHORT_MAX) {
        return NULL;
    }
    *end = walk->unescape(room, value + 1, *end - 1, walk->event, walk->end);
    return room;
}

static int
is_near(const lb_walk_t *walk, int64_t ns)
{
    int64_t from_receipt = ns / 1000000000 - walk->received_s;

    return from_receipt >= -RECEIPT_BEFORE && from_receipt <= RECEIPT_AFTER;
}

/* {"epochSecond":1772600767,"nanoOfSecond":123} of log4j2, as one number; how
 * long it is, or 0. */
static size_t
seconds_and_nanos(const uint8_t *value, const uint8_t *end, uint8_t *text)
{
    static const char *const names[][2] = {
        {"{\"epochSecond\":", ",\"nanoOfSecond\":"},
        {"{\"seconds\":", ",\"nanos\":"},
    };

    for (size_t i = 0; i < 2; i++) {
        const uint8_t *part[2];
        size_t len[2] = {0, 0};
        const uint8_t *p = value;

        for (size_t k = 0; k < 2; k++) {
            size_t n = strlen(names[i][k]);

            if ((size_t)(end - p) < n || memcmp(p, names[i][k], n) != 0) {
                break;
            }
            part[k] = p + n;
            for (p += n; (uint8_t)(*p - '0') <= 9; p++) {
                len[k]++;
            }
        }
        if (len[0] == 0 || len[0] > 11 || len[1] == 0 || len[1] > 9 ||
            p != end - 1) {
            continue;
        }
        memcpy(text, part[0], len[0]);
        memset(text + len[0], '0', 10);
        text[len[0]] = '.';
        memcpy(text + len[0] + 10 - len[1], part[1], len[1]);
        return len[0] + 10;
    }
    return 0;
}

/* What the value says of the time: *ns, and whether that is less than it says.
 * LB_RANK_UNSURE for a number, 0 for a date, -1: nothing. */
static int
time_of(const lb_walk_t *walk, const uint8_t *value, const uint8_t *end,
        int escapes, int64_t *ns, int *inexact)
{
    uint8_t room[SHORT_MAX + LB_LIFT_SLACK];
    int behind = (int)LB_RANK_UNSURE;

    if (*value == '"') {
        value = short_text(walk, value, &end, escapes, room);
        if (value == NULL) {
            return -1;
        }
        if (lb_likely(lb_time_date(value, end, ns, inexact))) {
            return 0;
        }
    } else if (*value == '{') {
        end = room + seconds_and_nanos(value, end, room);
        value = room;
        behind = 0;
    }
    return lb_time_epoch(value, end, ns, inexact) && is_near(walk, *ns) ? behind
                                                                        : -1;
}

/* As lb_level. */
LB_INLINE int
level_of(const lb_walk_t *walk, const uint8_t *value, const uint8_t *end,
         int escapes, lb_read_t read, int *same)
{
    uint8_t room[SHORT_MAX + LB_LIFT_SLACK];

    if (*value == '"') {
        value = short_text(walk, value, &end, escapes, room);
        return value != NULL ? lb_level(value, end, read, same) : -1;
    }
    return (uint8_t)(*value - '0') <= 9 ? lb_level(value, end, read, same) : -1;
}

/* The byte that is the number at *p, which is moved behind the ',' or ']'
 * behind it; -1: it is none. */
static int
array_byte(const uint8_t **p)
{
    const uint8_t *q = *p;
    int value = 0;

    while ((uint8_t)(*q - '0') <= 9 && q - *p < 3) {
        value = value * 10 + (*q++ - '0');
    }
    if (q == *p || value > 255 || (*q != ',' && *q != ']')) {
        return -1;
    }
    *p = q + 1;
    return value;
}

/* Is the value, which begins with '[', an array of bytes? */
static int
is_bytes(const uint8_t *p, const uint8_t *end)
{
    for (p++; p < end;) {
        if (array_byte(&p) < 0) {
            return 0;
        }
    }
    return 1;
}

/* The form of a value that is no string, read as text: what to add to the rank,
 * or -1. */
static int
json_text(const uint8_t *value, const uint8_t *end, lb_read_t read,
          uint8_t *form)
{
    int empty = (*value == '{' || *value == '[') && end - value == 2;

    if (read < LB_READ_ANY || *value == 'n' || empty) {
        return -1;
    }
    *form = LB_FORM_JSON;
    if (read == LB_READ_BYTES && *value == '[' && is_bytes(value, end)) {
        *form = LB_FORM_BYTES;
        return 0;
    }
    return (int)LB_RANK_UNSURE;
}

static int
hex_digit(uint8_t c)
{
    return (uint8_t)(c - '0') <= 9            ? c - '0'
           : (uint8_t)((c | 0x20) - 'a') <= 5 ? (c | 0x20) - 'a' + 10
                                              : -1;
}

static int
are_hex(const uint8_t *p, const uint8_t *end)
{
    while (p < end && hex_digit(*p) >= 0) {
        p++;
    }
    return p == end;
}

/* Two hexadecimal digits, of which something is set; -1: they are not. */
static int
flags(lb_walk_t *walk, const uint8_t *p, const uint8_t *end)
{
    if (end - p != 2 || !are_hex(p, end) || (p[0] == '0' && p[1] == '0')) {
        return -1;
    }
    walk->trace_flags = (uint8_t)(hex_digit(p[0]) << 4 | hex_digit(p[1]));
    return 0;
}

/* 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, in its quotes: what
 * it says of the field. */
static int
traceparent(lb_walk_t *walk, unsigned field, const uint8_t *value,
            const uint8_t *end, uint8_t *form)
{
    const uint8_t *p = value + 1;

    if (*value != '"' || end - value < 57 || p[2] != '-' || p[35] != '-' ||
        p[52] != '-') {
        return -1;
    }
    switch (field) {
    case LB_TRACE_ID:
        *form = LB_FORM_TRACE;
        return are_hex(p + 3, p + 35) ? 0 : -1;
    case LB_SPAN_ID:
        *form = LB_FORM_SPAN;
        return are_hex(p + 36, p + 52) ? 0 : -1;
    default:
        *form = LB_FORM_PART;
        return flags(walk, p + 53, p + 55);
    }
}

/* projects/NAME/traces/ID of Google's: the id. */
static int
behind_path(lb_walk_t *walk, const uint8_t *value, const uint8_t *end)
{
    static const char traces[] = "/traces/";
    const ptrdiff_t n = sizeof(traces) - 1;
    const uint8_t *p = end - 1;

    while (p > value && p[-1] != '/') {
        p--;
    }
    if (*value != '"' || p == end - 1 || p - value < n + 1 ||
        memcmp(p - n, traces, (size_t)n) != 0) {
        return -1;
    }
    walk->part = p;
    walk->part_end = end - 1;
    return 0;
}

int
lb_read_time(lb_walk_t *walk, unsigned rank, const uint8_t *value,
             const uint8_t *end, int escapes)
{
    int64_t ns;
    int inexact;
    int behind = time_of(walk, value, end, escapes, &ns, &inexact);

    if (behind < 0 || walk->rank[LB_TIMESTAMP] <= rank + (unsigned)behind) {
        return -1;
    }
    walk->timestamp_ns = ns;
    walk->found[LB_TIMESTAMP].stays = (uint8_t)inexact;
    return behind;
}

int
lb_read_level(lb_walk_t *walk, const lb_name_t *name, const uint8_t *value,
              const uint8_t *end, int escapes)
{
    int same;
    int level =
        level_of(walk, value, end, escapes, (lb_read_t)name->read, &same);

    if (level < 0) {
        return -1;
    }
    walk->needs |= name->needs;
    walk->level = level;
    walk->found[LB_LEVEL].stays = !same;
    return 0;
}

/* The value as a number of OpenTelemetry's, which is noted; -1: it is none. */
static int
severity(lb_walk_t *walk, const uint8_t *value, const uint8_t *end)
{
    const int quote = *value == '"';

    const uint8_t number = lb_severity(value + quote, end - quote);

    if (number == 0) {
        return -1;
    }
    walk->severity = number;
    return 0;
}

/* The value as the flags of a trace: 1, "01".  What is not set says nothing and
 * stays. */
static int
trace_flags(lb_walk_t *walk, const uint8_t *value, const uint8_t *end)
{
    unsigned byte = 0;

    if (*value == '"') {
        return flags(walk, value + 1, end - 1);
    }
    for (const uint8_t *p = value; p < end; p++) {
        if ((uint8_t)(*p - '0') > 9 || byte > 25) {
            return -1;
        }
        byte = byte * 10 + (unsigned)(*p - '0');
    }
    if (byte == 0 || byte > 255) {
        return -1;
    }
    walk->trace_flags = (uint8_t)byte;
    return 0;
}

LB_COLD int
lb_read_text(lb_walk_t *walk, const lb_name_t *name, unsigned field,
             unsigned rank, const uint8_t *value, const uint8_t *end,
             int escapes)
{
    lb_found_t *found = &walk->found[field];
    uint8_t form = LB_FORM_PART;
    int behind = -1;

    if (name->read == LB_READ_TRACEPARENT && !escapes) {
        behind = traceparent(walk, field, value, end, &form);
    } else if (name->read == LB_READ_OTEL) {
        form = LB_FORM_JSON;
        behind = severity(walk, value, end);
    } else if (name->read == LB_READ_FLAGS) {
        form = LB_FORM_JSON;
        behind = trace_flags(walk, value, end);
    } else if (name->read == LB_READ_OBJECT && *value == '{' &&
               end - value > 2) {
        form = LB_FORM_JSON;
        behind = 0;
    } else if (name->read == LB_READ_PATH && !escapes) {
        behind = behind_path(walk, value, end);
    } else if (name->read == LB_READ_SIGNED && *value == '"' &&
               end - value > 2) {
        form = escapes ? LB_FORM_ESCAPED : LB_FORM_AS_IT_IS;
        behind = 0;
    } else if (name->read >= LB_READ_TEXT && *value != '"') {
        behind = json_text(value, end, (lb_read_t)name->read, &form);
    }
    /* An empty string stays, or it would look like none at all. */

    if (behind < 0 || walk->rank[field] <= rank + (unsigned)behind) {
        return -1;
    }
    walk->needs |= name->needs;
    found->form = form;
    found->stays = form >= LB_FORM_PART;
    return behind;
}

/* The bytes of the array as UTF-8 at o, and where they end; what is none becomes
 * U+FFFD, and the array stays. */
static uint8_t *
put_bytes(lb_found_t *found, uint8_t *o)
{
    const uint8_t *p = found->value + 1;
    uint8_t *raw = o + (found->end - found->value);
    uint8_t *end = raw;

    while (p < found->end) {
        *end++ = (uint8_t)array_byte(&p);
    }
    while (raw < end) {
        size_t n = lb_utf8_len(raw, (size_t)(end - raw));

        if (n > 0) {
            memmove(o, raw, n);
            o += n;
            raw += n;
        } else {
            memcpy(o, "\xef\xbf\xbd", 3);
            o += 3;
            raw++;
            found->stays = 1;
        }
    }
    return o;
}

lb_str_t
lb_make_string(lb_walk_t *walk, lb_found_t *found, uint8_t **scratch)
{
    lb_str_t s = {*scratch, 0};

    switch ((lb_form_t)found->form) {
    case LB_FORM_ESCAPED:
        *scratch = walk->unescape(*scratch, found->value + 1, found->end - 1,
                                  walk->event, walk->end);
        break;
    case LB_FORM_BYTES:
        *scratch = put_bytes(found, *scratch);
        break;
    case LB_FORM_TRACE:
        s.data = found->value + 4;
        s.len = 32;
        return s;
    case LB_FORM_SPAN:
        s.data = found->value + 37;
        s.len = 16;
        return s;
    case LB_FORM_PART:
        s.data = walk->part;
        s.len = (size_t)(walk->part_end - walk->part);
        return s;
    default:
        s.data = found->value;
        s.len = (size_t)(found->end - found->value);
        return s;
    }
    s.len = (size_t)(*scratch - s.data);
    return s;
}
