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
#include "event/rest.h"
#include "event/value.h"

/* The last block looked at. */
typedef struct {
    size_t base;
    uint64_t quote; /* those that end a string */
    uint64_t backslash;
    uint64_t carry; /* the first byte behind the block is escaped */
} window_t;

static const window_t no_window = {(size_t)0 - LB_BLOCK, 0, 0, 0};

/* Takes a field out of the order. */
static LB_COLD void
forget(lb_walk_t *walk, unsigned field)
{
    unsigned to = 0;

    for (unsigned i = 0; i < walk->n; i++) {
        if (walk->order[i] != field) {
            walk->order[to++] = walk->order[i];
        }
    }
    walk->n = to;
}

/* Takes a member if it is the best so far for this field; inside: LB_RANK_INSIDE
 * or 0. */
LB_INLINE void
take(lb_walk_t *walk, unsigned row, unsigned field, unsigned inside,
     const uint8_t *parent, int escapes, const uint8_t *key,
     const uint8_t *value, const uint8_t *end)
{
    const lb_name_t *name = &lb_names[row];
    unsigned rank = row + 1 + inside;
    lb_found_t *found = &walk->found[field];
    int behind;

    if (walk->rank[field] <= rank) {
        return;
    }
    if (name->read >= LB_READ_TEXT && *value == '"' && end - value > 2) {
        found->form = (uint8_t)escapes;
        found->stays = 0;
    } else {
        behind =
            field == LB_TIMESTAMP
                ? lb_read_time(walk, rank, value, end, escapes)
            : field == LB_LEVEL
                ? lb_read_level(walk, name, value, end, escapes)
                : lb_read_text(walk, name, field, rank, value, end, escapes);
        if (behind < 0) {
            return;
        }
        rank += (unsigned)behind;
    }
    if (lb_unlikely(walk->rank[field] != LB_RANK_NONE)) {
        forget(walk, field);
    }
    walk->order[walk->n++] = (uint8_t)field;
    walk->rank[field] = (uint16_t)rank;
    found->key = key;
    found->value = value;
    found->end = end;
    found->parent = parent;
}

/* Is the field one that is asked for, or does its member say another as well? */
LB_INLINE int
is_wanted(const lb_walk_t *walk, const lb_name_t *name)
{
    return name->field < LB_FIELDS || name->read == LB_READ_OTEL ||
           name->read == LB_READ_TRACEPARENT ||
           (walk->columns & LB_FIELD_COLUMN(name->field)) != 0;
}

/* Ditto, for a field of LB_LIFT_*. */
static void
take_asked(lb_walk_t *walk, unsigned row, unsigned field, unsigned inside,
           const uint8_t *parent, int escapes, const uint8_t *key,
           const uint8_t *value, const uint8_t *end)
{
    if (!(walk->columns & LB_FIELD_COLUMN(field))) {
        return;
    }
    take(walk, row, field, inside, parent, escapes, key, value, end);
    if (walk->rank[field] != LB_RANK_NONE) {
        walk->more |= LB_FIELD_COLUMN(field);
    }
}

/* Takes a member that stands for a column which a table may lack. */
static LB_COLD void
take_more(lb_walk_t *walk, unsigned row, unsigned inside, const uint8_t *parent,
          int escapes, const uint8_t *key, const uint8_t *value,
          const uint8_t *end)
{
    const lb_name_t *name = &lb_names[row];

    if (name->read == LB_READ_OTEL) {
        take(walk, row, LB_LEVEL, inside, parent, escapes, key, value, end);
    } else if (name->read == LB_READ_TRACEPARENT) {
        take(walk, row, LB_TRACE_ID, inside, parent, escapes, key, value, end);
        take_asked(walk, row, LB_TRACE_FLAGS, inside, parent, escapes, key,
                   value, end);
    }
    take_asked(walk, row, name->field, inside, parent, escapes, key, value,
               end);
}

/*
 * Members
 */

/* Notes a member of an object that is looked into: under the dotted name, or
 * under its own. */
static void
take_inside(lb_walk_t *walk, int parent, const uint8_t *parent_key,
            const uint8_t *key, size_t key_len, const uint8_t *value,
            const uint8_t *end, int escapes)
{
    const lb_name_t *p = &lb_names[parent];
    size_t len = strlen(p->name);
    uint8_t dotted[64] = {0};
    unsigned inside = 0;
    int row = -1;

    if (len + 1 + key_len <= sizeof(dotted) - 3) {
        memcpy(dotted, p->name, len);
        dotted[len] = '.';
        memcpy(dotted + len + 1, key, key_len);
        row = lb_name_find(dotted, len + 1 + key_len);
    }
    if (row < 0 || !is_wanted(walk, &lb_names[row])) {
        row = lb_name_find(key, key_len);
        if (row < 0 || lb_names[row].field == LB_FIELDS ||
            !(p->inside >> lb_names[row].field & 1)) {
            return;
        }
        inside = LB_RANK_INSIDE;
    }
    walk->signs |= lb_names[row].sign;
    if (lb_names[row].field > LB_FIELDS) {
        take_more(walk, (unsigned)row, inside, parent_key, escapes, key, value,
                  end);
        return;
    }
    take(walk, (unsigned)row, lb_names[row].field, inside, parent_key, escapes,
         key, value, end);
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

static int (*const walks[LB_WAYS])(lb_walk_t *) = LB_EACH_WAY(walk);

/*
 * Fields
 */

/* The text of a field, in place if it needs no change. */
LB_INLINE lb_str_t
string_of(lb_walk_t *walk, unsigned field, uint8_t **scratch)
{
    lb_found_t *found = &walk->found[field];
    lb_str_t s = {(const uint8_t *)"", 0};

    if (walk->rank[field] == LB_RANK_NONE) {
        return s;
    }
    if (found->form != LB_FORM_AS_IT_IS) {
        return lb_make_string(walk, found, scratch);
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

/* An array of bytes that is text and stays is there twice. */
size_t
lb_lift_scratch(size_t len)
{
    return 2 * len + LB_LIFT_SLACK;
}

/* Members that count only beside a sign which is not there. */
static LB_COLD void
drop_unsigned(lb_walk_t *walk)
{
    if (walk->more & LB_LIFT_SPAN_ID) {
        walk->signs |= LB_SIGN_SPAN;
    }
    for (unsigned i = 0; i < LB_ALL_FIELDS; i++) {
        if (walk->rank[i] == LB_RANK_NONE) {
            continue;
        }
        /* a rank is a row, but for its flags */
        if ((lb_names[(walk->rank[i] - 1u) & 0xff].needs & ~walk->signs) != 0) {
            walk->rank[i] = LB_RANK_NONE;
            walk->more &= i > LB_FIELDS ? ~LB_FIELD_COLUMN(i) : ~0u;
            forget(walk, i);
        }
    }
}

/* The fields of LB_LIFT_*. */
static LB_COLD void
set_more(lb_walk_t *walk, uint8_t **scratch, lb_fields_t *fields)
{
    fields->span_id = string_of(walk, LB_SPAN_ID, scratch);
    fields->event_name = string_of(walk, LB_EVENT_NAME, scratch);
    fields->resource = string_of(walk, LB_RESOURCE, scratch);
    fields->scope = string_of(walk, LB_SCOPE, scratch);
    fields->trace_flags = walk->trace_flags;
    if (walk->more & LB_LIFT_SEVERITY) {
        fields->severity_number = walk->severity;
    }

    /* the resource goes as it is, with what was found in it */
    for (unsigned i = 0; walk->more & LB_LIFT_RESOURCE && i < LB_FIELDS; i++) {
        if (walk->rank[i] != LB_RANK_NONE &&
            walk->found[i].parent == walk->found[LB_RESOURCE].key) {
            walk->found[i].stays = 1;
        }
    }
}

LB_INLINE void
lift(unsigned way, const uint8_t *event, size_t len, uint64_t received_us,
     unsigned columns, uint8_t *scratch, lb_fields_t *fields)
{
    lb_walk_t walk;
    int level;

    walk.event = event;
    walk.end = event + len;
    walk.unescape = lb_unescape_ways[way];
    memset(walk.rank, 0xff, sizeof(walk.rank));
    walk.n = 0;
    walk.signs = 0;
    walk.needs = 0;
    walk.columns = columns;
    walk.more = 0;
    walk.received_s = (int64_t)(received_us / 1000000);

    if (lb_unlikely(!walks[way](&walk))) {
        memset(walk.rank, 0xff, sizeof(walk.rank));
        walk.n = 0;
        walk.more = 0;
    }
    if (lb_unlikely((walk.needs & ~walk.signs) != 0)) {
        drop_unsigned(&walk);
    }

    if (walk.rank[LB_TIMESTAMP] != LB_RANK_NONE) {
        fields->timestamp_ns = walk.timestamp_ns;
    } else if (received_us > (uint64_t)INT64_MAX / 1000) {
        fields->timestamp_ns = INT64_MAX;
    } else {
        fields->timestamp_ns = (int64_t)received_us * 1000;
    }

    /* First, so that native.c finds it at the start of scratch. */
    fields->message = chomp(string_of(&walk, LB_MESSAGE, &scratch));
    level = walk.rank[LB_LEVEL] != LB_RANK_NONE ? walk.level : LB_LEVELS;
    fields->level = lb_level_names[level];
    fields->severity_number = lb_level_numbers[level];
    fields->service = string_of(&walk, LB_SERVICE, &scratch);
    fields->host = string_of(&walk, LB_HOST, &scratch);
    fields->trace_id = string_of(&walk, LB_TRACE_ID, &scratch);
    fields->more = walk.more;
    if (lb_unlikely(walk.more != 0)) {
        set_more(&walk, &scratch, fields);
    }
    fields->attributes = lb_rest_of(&walk, scratch);
}

void
lb_lift_by(unsigned way, const uint8_t *event, size_t len, uint64_t received_us,
           unsigned columns, uint8_t *scratch, lb_fields_t *fields)
{
    lift(way, event, len, received_us, columns, scratch, fields);
}

void
lb_lift(const uint8_t *event, size_t len, uint64_t received_us,
        unsigned columns, uint8_t *scratch, lb_fields_t *fields)
{
    lift(lb_way(), event, len, received_us, columns, scratch, fields);
}
