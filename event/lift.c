/*
 * Lifting: see lift.h, docs/events.md for the rules, and names.c for the names.
 *
 * One walk over the members, and over those of the objects that names.c says to
 * look into, finds for each well-known field the best member that has its
 * type; then their strings are taken (in place unless they have escapes) and
 * what is left is copied.  Nothing here can fail: bytes that no scanner wrote
 * are all attributes.
 */

#include "event/lift.h"
#include "event/block.h"
#include "event/level.h"
#include "event/names.h"
#include "event/timestamp.h"
#include "event/unescape.h"
#include "event/utf8.h"

typedef enum {
    AS_IT_IS, /* a string without escapes */
    ESCAPED,  /* one with them */
    JSON,     /* another value: its text */
    BYTES,    /* an array of numbers */
    PART,     /* a part of a string: from walk_t.part to part_end */
} form_t;

/* The best member for a field so far. */
typedef struct {
    const uint8_t *key; /* behind the quote */
    const uint8_t *value;
    const uint8_t *end;    /* of the value */
    const uint8_t *parent; /* the key of the object it is in; NULL: the event */
    uint8_t form;
    uint8_t stays; /* in the attributes as well: it says more */
} found_t;

typedef struct {
    const uint8_t *event;
    const uint8_t *end;
    lb_unescape_fn unescape;
    const uint8_t *parent;        /* of the members that are looked at */
    uint16_t rank[LB_FIELDS + 2]; /* 1 the best; NONE: no member found */
    found_t found[LB_FIELDS];
    uint8_t order[LB_FIELDS]; /* the fields found, as they are in the event */
    unsigned n;
    unsigned signs;
    unsigned needs; /* of any member taken */
    int64_t received_s;
    int64_t timestamp_ns;
    int level;
    const uint8_t *part;
    const uint8_t *part_end;
} walk_t;

/* The last block looked at. */
typedef struct {
    size_t base;
    uint64_t quote; /* those that end a string */
    uint64_t backslash;
    uint64_t carry; /* the first byte behind the block is escaped */
} window_t;

static const window_t no_window = {(size_t)0 - LB_BLOCK, 0, 0, 0};

/* Room that copying by whole registers may touch behind the last byte. */
#define SLACK 64

/* A number is taken for a time only if it is one that an event may well have:
 * five years before its receipt to one year after it.  In seconds. */
#define RECEIPT_BEFORE INT64_C(157766400)
#define RECEIPT_AFTER INT64_C(31536000)

/* A rank is the place in lb_names; what is less sure comes behind all of
 * these: a number for a date, or no string for a message; then all that is
 * found inside of objects under its own name. */
#define RANK_UNSURE 0x100u
#define RANK_INSIDE 0x200u
#define NONE 0xffffu

/*
 * Values
 */

/* Longest text with escapes that is looked at as a time or a level. */
#define SHORT_MAX 64

/* The text of a string, without its quotes; with escapes, it is made in room.
 * NULL: it is too long for a time or a level. */
LB_INLINE const uint8_t *
short_text(const walk_t *walk, const uint8_t *value, const uint8_t **end,
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
is_near(const walk_t *walk, int64_t ns)
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
 * RANK_UNSURE for a number, 0 for a date, -1: nothing. */
static int
time_of(const walk_t *walk, const uint8_t *value, const uint8_t *end,
        int escapes, int64_t *ns, int *inexact)
{
    uint8_t room[SHORT_MAX + SLACK];
    int behind = (int)RANK_UNSURE;

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
level_of(const walk_t *walk, const uint8_t *value, const uint8_t *end,
         int escapes, lb_read_t read, int *same)
{
    uint8_t room[SHORT_MAX + SLACK];

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
    *form = JSON;
    if (read == LB_READ_BYTES && *value == '[' && is_bytes(value, end)) {
        *form = BYTES;
        return 0;
    }
    return (int)RANK_UNSURE;
}

/* 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, in its quotes */
static int
traceparent(walk_t *walk, const uint8_t *value, const uint8_t *end)
{
    const uint8_t *p = value + 1;

    if (*value != '"' || end - value < 57 || p[2] != '-' || p[35] != '-' ||
        p[52] != '-') {
        return -1;
    }
    for (unsigned i = 3; i < 35; i++) {
        if ((uint8_t)(p[i] - '0') > 9 && (uint8_t)((p[i] | 0x20) - 'a') > 5) {
            return -1;
        }
    }
    walk->part = p + 3;
    walk->part_end = p + 35;
    return 0;
}

/* What is behind the last '/' of a string. */
static int
behind_path(walk_t *walk, const uint8_t *value, const uint8_t *end)
{
    const uint8_t *p = end - 1;

    while (p > value && p[-1] != '/') {
        p--;
    }
    if (*value != '"' || p == value || p == end - 1) {
        return -1;
    }
    walk->part = p;
    walk->part_end = end - 1;
    return 0;
}

/* take(), of a time: what to add to the rank, or -1. */
static __attribute__((noinline)) int
read_time(walk_t *walk, unsigned rank, const uint8_t *value, const uint8_t *end,
          int escapes)
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

static __attribute__((noinline)) int
read_level(walk_t *walk, lb_read_t read, const uint8_t *value,
           const uint8_t *end, int escapes)
{
    int same;
    int level = level_of(walk, value, end, escapes, read, &same);

    if (level < 0) {
        return -1;
    }
    walk->level = level;
    walk->found[LB_LEVEL].stays = !same;
    return 0;
}

/* take(), of what is no string to be taken as it is. */
static LB_COLD int
read_text(walk_t *walk, const lb_name_t *name, unsigned rank,
          const uint8_t *value, const uint8_t *end, int escapes)
{
    found_t *found = &walk->found[name->field];
    uint8_t form = PART;
    int behind = -1;

    if (name->read == LB_READ_TRACEPARENT && !escapes) {
        behind = traceparent(walk, value, end);
    } else if (name->read == LB_READ_PATH && !escapes) {
        behind = behind_path(walk, value, end);
    } else if (name->read >= LB_READ_TEXT && *value != '"') {
        behind = json_text(value, end, (lb_read_t)name->read, &form);
    }
    /* An empty string stays, or it would look like none at all. */

    if (behind < 0 || walk->rank[name->field] <= rank + (unsigned)behind) {
        return -1;
    }
    found->form = form;
    found->stays = form == PART;
    return behind;
}

/* Takes a field out of the order. */
static LB_COLD void
forget(walk_t *walk, unsigned field)
{
    unsigned to = 0;

    for (unsigned i = 0; i < walk->n; i++) {
        if (walk->order[i] != field) {
            walk->order[to++] = walk->order[i];
        }
    }
    walk->n = to;
}

/* Takes a member if it is the best so far for its field; inside: RANK_INSIDE or
 * 0. */
LB_INLINE void
take(walk_t *walk, unsigned row, unsigned inside, int escapes,
     const uint8_t *key, const uint8_t *value, const uint8_t *end)
{
    const lb_name_t *name = &lb_names[row];
    unsigned field = name->field;
    unsigned rank = row + 1 + inside;
    found_t *found = &walk->found[field];
    int behind;

    if (walk->rank[field] <= rank) {
        return;
    }
    if (name->read >= LB_READ_TEXT && *value == '"' && end - value > 2) {
        found->form = (uint8_t)escapes;
        found->stays = 0;
    } else {
        behind =
            field == LB_TIMESTAMP ? read_time(walk, rank, value, end, escapes)
            : field == LB_LEVEL
                ? read_level(walk, (lb_read_t)name->read, value, end, escapes)
                : read_text(walk, name, rank, value, end, escapes);
        if (behind < 0) {
            return;
        }
        rank += (unsigned)behind;
    }
    if (lb_unlikely(walk->rank[field] != NONE)) {
        forget(walk, field);
    }
    walk->order[walk->n++] = (uint8_t)field;
    walk->rank[field] = (uint16_t)rank;
    walk->needs |= name->needs;
    found->key = key;
    found->value = value;
    found->end = end;
    found->parent = walk->parent;
}

/*
 * Members
 */

/* Notes a member of an object that is looked into: under the dotted name, or
 * under its own. */
static void
take_inside(walk_t *walk, int parent, const uint8_t *key, size_t key_len,
            const uint8_t *value, const uint8_t *end, int escapes)
{
    const lb_name_t *p = &lb_names[parent];
    size_t len = strlen(p->name);
    uint8_t dotted[64];
    unsigned inside = 0;
    int row = -1;

    if (len + 1 + key_len <= sizeof(dotted) - 8) {
        memcpy(dotted, p->name, len);
        dotted[len] = '.';
        memcpy(dotted + len + 1, key, key_len);
        row = lb_name_find(dotted, len + 1 + key_len, dotted + sizeof(dotted));
    }
    if (row < 0) {
        row = lb_name_find(key, key_len, walk->end);
        if (row < 0 || lb_names[row].field == LB_FIELDS ||
            !(p->inside >> lb_names[row].field & 1)) {
            return;
        }
        inside = RANK_INSIDE;
    }
    walk->signs |= lb_names[row].sign;
    take(walk, (unsigned)row, inside, escapes, key, value, end);
}

/* From p, in a number or a word, to the ',' or '}' behind it, or end.  Eight
 * bytes at once: its length is unpredictable. */
LB_INLINE const uint8_t *
skip_literal(const uint8_t *p, const uint8_t *end)
{
    while (end - p >= 8) {
        uint64_t x, comma, brace, hit;

        memcpy(&x, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x = __builtin_bswap64(x);
#endif
        /* The lowest bit is right; a borrow may set wrong ones above it. */
        comma = x ^ LB_ONES * ',';
        brace = x ^ LB_ONES * '}';
        hit = ((comma - LB_ONES) & ~comma) | ((brace - LB_ONES) & ~brace);
        hit &= LB_ONES * 0x80;
        if (hit != 0) {
            return p + __builtin_ctzll(hit) / 8;
        }
        p += 8;
    }
    while (p < end && *p != ',' && *p != '}') {
        p++;
    }
    return p;
}

#define LB_WAY plain
#include "event/lift_tpl.h"
#if LB_WAYS_X86
#define LB_WAY sse2
#include "event/lift_tpl.h"
#define LB_WAY avx2
#include "event/lift_tpl.h"
#elif LB_WAYS_NEON
#define LB_WAY neon
#include "event/lift_tpl.h"
#endif

static int (*const walks[LB_WAYS])(walk_t *) = LB_EACH_WAY(walk);

/*
 * Fields
 */

/* The bytes of the array as UTF-8 at o, and where they end; what is none becomes
 * U+FFFD, and the array stays. */
static uint8_t *
put_bytes(found_t *found, uint8_t *o)
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

/* What string_of() has to make. */
static lb_str_t
make_string(walk_t *walk, found_t *found, uint8_t **scratch)
{
    lb_str_t s = {*scratch, 0};

    switch ((form_t)found->form) {
    case ESCAPED:
        *scratch = walk->unescape(*scratch, found->value + 1, found->end - 1,
                                  walk->event, walk->end);
        break;
    case BYTES:
        *scratch = put_bytes(found, *scratch);
        break;
    case PART:
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

/* The text of a field, in place if it needs no change. */
LB_INLINE lb_str_t
string_of(walk_t *walk, unsigned field, uint8_t **scratch)
{
    found_t *found = &walk->found[field];
    lb_str_t s = {(const uint8_t *)"", 0};

    if (walk->rank[field] == NONE) {
        return s;
    }
    if (found->form != AS_IT_IS) {
        return make_string(walk, found, scratch);
    }
    s.data = found->value + 1;
    s.len = (size_t)(found->end - 1 - s.data);
    return s;
}

/* Without the end of the line that Docker, for one, leaves in it; what is
 * nothing else stays, or it would look like no message at all. */
static lb_str_t
chomp(lb_str_t s)
{
    if (s.len > 1 && s.data[s.len - 1] == '\n') {
        s.len--;
        if (s.len > 1 && s.data[s.len - 1] == '\r') {
            s.len--;
        }
    }
    return s;
}

/*
 * What is left
 */

/* A part of the event that goes: whole members of one object, and the comma
 * that joined them to what is behind. */
typedef struct {
    const uint8_t *from;
    const uint8_t *to;
    const uint8_t *parent; /* as in found_t */
} cut_t;

/* All members of the object that the last cut is in have been seen: with none
 * left in it, the object goes; the last ones take the comma before them.
 * Returns how many cuts there are. */
static unsigned
close_object(cut_t *cuts, unsigned n)
{
    cut_t *last = &cuts[n - 1];

    if (*last->to != '}') {
        return n;
    }
    if (last->from[-1] == ',') {
        last->from--;
        return n;
    }
    if (last->parent == NULL || last->from[-1] != '{') {
        return n;
    }
    last->from = last->parent - 1;
    last->to += 1 + (last->to[1] == ',');
    last->parent = NULL;
    if (n > 1 && cuts[n - 2].to == last->from) {
        cuts[n - 2].to = last->to;
        n--;
    }
    return n;
}

/* What goes of the event, in order. */
static unsigned
cuts_of(const walk_t *walk, cut_t *cuts)
{
    unsigned n = 0;

    for (unsigned i = 0; i < walk->n; i++) {
        const found_t *f = &walk->found[walk->order[i]];
        const uint8_t *from = f->key - 1;
        const uint8_t *to = f->end + (*f->end == ',');

        if (f->stays) {
            continue;
        }
        if (n > 0 && cuts[n - 1].parent != f->parent) {
            n = close_object(cuts, n);
        }
        if (n > 0 && cuts[n - 1].to == from &&
            cuts[n - 1].parent == f->parent) {
            cuts[n - 1].to = to;
            continue;
        }
        cuts[n].from = from;
        cuts[n].to = to;
        cuts[n++].parent = f->parent;
    }
    /* of the object, then of the event */
    if (n > 0 && cuts[n - 1].parent != NULL) {
        n = close_object(cuts, n);
    }
    return n > 0 && cuts[n - 1].parent == NULL ? close_object(cuts, n) : n;
}

static lb_str_t
rest_of(const walk_t *walk, uint8_t *scratch)
{
    cut_t cuts[LB_FIELDS];
    unsigned n = cuts_of(walk, cuts);
    const uint8_t *from = walk->event;
    uint8_t *o = scratch;
    lb_str_t s = {walk->event, (size_t)(walk->end - walk->event)};

    if (n == 0) {
        return s;
    }
    for (unsigned i = 0; i <= n; i++) {
        size_t len = (size_t)((i < n ? cuts[i].from : walk->end) - from);

        memcpy(o, from, len);
        o += len;
        from = i < n ? cuts[i].to : from;
    }

    s.data = scratch;
    s.len = (size_t)(o - scratch);
    return s;
}

/* An array of bytes that is text and stays is there twice. */
size_t
lb_lift_scratch(size_t len)
{
    return 2 * len + SLACK;
}

/* Members that count only beside a sign which is not there. */
static LB_COLD void
drop_unsigned(walk_t *walk)
{
    for (unsigned i = 0; i < LB_FIELDS; i++) {
        /* a rank is a row, but for its flags */
        const lb_name_t *name = &lb_names[(walk->rank[i] - 1u) & 0xff];

        if (walk->rank[i] != NONE && (name->needs & ~walk->signs) != 0) {
            walk->rank[i] = NONE;
            forget(walk, i);
        }
    }
}

LB_INLINE void
lift(unsigned way, const uint8_t *event, size_t len, uint64_t received_us,
     uint8_t *scratch, lb_fields_t *fields)
{
    walk_t walk;

    walk.event = event;
    walk.end = event + len;
    walk.unescape = lb_unescape_ways[way];
    walk.parent = NULL;
    memset(walk.rank, 0xff, sizeof(walk.rank));
    walk.n = 0;
    walk.signs = 0;
    walk.needs = 0;
    walk.received_s = (int64_t)(received_us / 1000000);

    if (lb_unlikely(!walks[way](&walk))) {
        memset(walk.rank, 0xff, sizeof(walk.rank));
        walk.n = 0;
    }
    if (lb_unlikely((walk.needs & ~walk.signs) != 0)) {
        drop_unsigned(&walk);
    }

    if (walk.rank[LB_TIMESTAMP] != NONE) {
        fields->timestamp_ns = walk.timestamp_ns;
    } else if (received_us > (uint64_t)INT64_MAX / 1000) {
        fields->timestamp_ns = INT64_MAX;
    } else {
        fields->timestamp_ns = (int64_t)received_us * 1000;
    }

    /* First, so that native.c finds it at the start of scratch. */
    fields->message = chomp(string_of(&walk, LB_MESSAGE, &scratch));
    fields->level =
        lb_level_names[walk.rank[LB_LEVEL] != NONE ? walk.level : LB_LEVELS];
    fields->service = string_of(&walk, LB_SERVICE, &scratch);
    fields->host = string_of(&walk, LB_HOST, &scratch);
    fields->trace_id = string_of(&walk, LB_TRACE_ID, &scratch);
    fields->attributes = rest_of(&walk, scratch);
}

void
lb_lift_by(unsigned way, const uint8_t *event, size_t len, uint64_t received_us,
           uint8_t *scratch, lb_fields_t *fields)
{
    lift(way, event, len, received_us, scratch, fields);
}

void
lb_lift(const uint8_t *event, size_t len, uint64_t received_us,
        uint8_t *scratch, lb_fields_t *fields)
{
    lift(lb_way(), event, len, received_us, scratch, fields);
}
