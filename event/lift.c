/*
 * Lifting: see lift.h, and docs/events.md for the names and the rules.
 *
 * One walk over the members finds, for each well-known field, the best member
 * that has its type; then their strings are taken (in place unless they have
 * escapes) and what is left is copied.  Nothing here can fail: bytes that no
 * scanner wrote are all attributes.
 */

#include "event/lift.h"
#include "event/block.h"
#include "event/timestamp.h"
#include "event/unescape.h"

enum {
    TIMESTAMP,
    LEVEL,
    SERVICE,
    HOST,
    MESSAGE,
    TRACE_ID,
    FIELDS
};

typedef struct {
    const uint8_t *key; /* behind the quote */
    size_t key_len;
    const uint8_t *value;
    const uint8_t *end; /* of the value */
    int escapes;        /* the value is a string with escapes */
} member_t;

typedef struct {
    unsigned rank; /* of the alias, 1 the best; 0: no member found */
    member_t member;
} found_t;

typedef struct {
    const uint8_t *event;
    const uint8_t *end;
    lb_unescape_fn unescape;
    size_t members;
    found_t found[FIELDS];
    int64_t received_s;
    int64_t timestamp_ns;
    int timestamp_inexact; /* the member says more than nanoseconds do */
    const char *level;     /* the name of a numeric level */
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

/* Behind the ranks of all aliases. */
#define RANK_NUMBER 16u

/* What the member says of the time: *ns, and whether that is less than it says;
 * added to the rank of its alias, so that each date goes before each number.
 * -1: nothing. */
static int
time_of(const walk_t *walk, const member_t *m, int64_t *ns, int *inexact)
{
    const uint8_t *p = m->value;
    const uint8_t *end = m->end;
    int64_t from_receipt;

    if (*p == '"') {
        p++;
        end--;
        if (lb_time_date(p, end, ns, inexact)) {
            return 0;
        }
    }
    if (!lb_time_epoch(p, end, ns, inexact)) {
        return -1;
    }

    from_receipt = *ns / 1000000000 - walk->received_s;
    return from_receipt >= -RECEIPT_BEFORE && from_receipt <= RECEIPT_AFTER
               ? (int)RANK_NUMBER
               : -1;
}

/*
 * Members
 */

/* The numbers of pino and bunyan; NULL for any other. */
static const char *
level_of(const member_t *m)
{
    static const char *const names[] = {"trace", "debug", "info",
                                        "warn",  "error", "fatal"};

    if (m->end - m->value == 2 && m->value[0] >= '1' && m->value[0] <= '6' &&
        m->value[1] == '0') {
        return names[m->value[0] - '1'];
    }
    return NULL;
}

/* The field a key stands for, or FIELDS; *rank is its place among the
 * field's aliases.  docs/events.md has the same lists. */
LB_INLINE unsigned
field_of(const uint8_t *key, size_t len, unsigned *rank)
{
#define KEY(name, field, place)                                                \
    if (memcmp(key, name, sizeof(name) - 1) == 0) {                            \
        *rank = (place);                                                       \
        return (field);                                                        \
    }

    switch (len) {
    case 2:
        KEY("ts", TIMESTAMP, 3)
        break;
    case 3:
        KEY("msg", MESSAGE, 2)
        KEY("lvl", LEVEL, 3)
        KEY("app", SERVICE, 4)
        KEY("log", MESSAGE, 3)
        break;
    case 4:
        KEY("time", TIMESTAMP, 2)
        KEY("host", HOST, 1)
        KEY("body", MESSAGE, 4)
        break;
    case 5:
        KEY("level", LEVEL, 1)
        KEY("event", MESSAGE, 5)
        break;
    case 7:
        KEY("message", MESSAGE, 1)
        KEY("service", SERVICE, 1)
        KEY("traceId", TRACE_ID, 2)
        KEY("traceid", TRACE_ID, 4)
        KEY("traceID", TRACE_ID, 5)
        break;
    case 8:
        KEY("trace_id", TRACE_ID, 1)
        KEY("severity", LEVEL, 2)
        KEY("hostname", HOST, 2)
        KEY("trace.id", TRACE_ID, 3)
        KEY("loglevel", LEVEL, 6)
        break;
    case 9:
        KEY("timestamp", TIMESTAMP, 1)
        KEY("host.name", HOST, 3)
        KEY("log.level", LEVEL, 4)
        KEY("levelname", LEVEL, 5)
        break;
    case 10:
        KEY("@timestamp", TIMESTAMP, 4)
        break;
    case 11:
        KEY("application", SERVICE, 5)
        KEY("dd.trace_id", TRACE_ID, 6)
        KEY("otelTraceID", TRACE_ID, 7)
        break;
    case 12:
        KEY("service.name", SERVICE, 2)
        KEY("service_name", SERVICE, 3)
        break;
    }

#undef KEY
    return FIELDS;
}

/* Takes the member if it is the best so far for its field. */
LB_INLINE void
take(walk_t *walk, const member_t *m)
{
    unsigned rank;
    unsigned field = field_of(m->key, m->key_len, &rank);
    found_t *found;

    if (field == FIELDS) {
        return;
    }
    found = &walk->found[field];
    if (found->rank != 0 && found->rank <= rank) {
        return;
    }

    if (field == TIMESTAMP) {
        int64_t ns;
        int inexact;
        int behind = time_of(walk, m, &ns, &inexact);

        if (behind < 0 ||
            (found->rank != 0 && found->rank <= rank + (unsigned)behind)) {
            return;
        }
        rank += (unsigned)behind;
        walk->timestamp_ns = ns;
        walk->timestamp_inexact = inexact;
    } else if (*m->value != '"') {
        const char *level = level_of(m);

        if (field != LEVEL || level == NULL) {
            return;
        }
        walk->level = level;
    } else if (m->end - m->value == 2) {
        /* An empty string stays, or it would look like none at all. */
        return;
    } else if (field == LEVEL) {
        walk->level = NULL;
    }

    found->rank = rank;
    found->member = *m;
}

/* From p, in a number or a word, to the ',' or '}' behind it, or end.  Eight
 * at once: its length is unpredictable. */
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

/* The string of a member, in place if it has no escapes. */
static lb_str_t
string_of(const walk_t *walk, const found_t *found, uint8_t **scratch)
{
    lb_str_t s = {(const uint8_t *)"", 0};

    if (found->rank == 0) {
        return s;
    }
    if (!found->member.escapes) {
        s.data = found->member.value + 1;
        s.len = (size_t)(found->member.end - 1 - s.data);
        return s;
    }
    s.data = *scratch;
    *scratch = walk->unescape(*scratch, found->member.value + 1,
                              found->member.end - 1, walk->event, walk->end);
    s.len = (size_t)(*scratch - s.data);
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

static lb_str_t
lower(lb_str_t s, uint8_t **scratch)
{
    size_t i;
    uint8_t *o;

    for (i = 0; i < s.len && !(s.data[i] >= 'A' && s.data[i] <= 'Z'); i++) {
    }
    if (i == s.len) {
        return s;
    }

    /* A string in scratch may be copied onto itself. */
    o = *scratch;
    if (s.data + s.len == o) {
        o -= s.len;
    }
    for (i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];

        o[i] = c >= 'A' && c <= 'Z' ? c | 0x20 : c;
    }
    s.data = o;
    *scratch = o + s.len;
    return s;
}

/*
 * What is left
 */
static lb_str_t
rest_of(const walk_t *walk, uint8_t *scratch)
{
    const member_t *gone[FIELDS];
    unsigned n = 0;
    const uint8_t *from = walk->event + 1;
    const uint8_t *close = walk->end - 1;
    uint8_t *o = scratch;
    lb_str_t s = {walk->event, (size_t)(walk->end - walk->event)};

    for (unsigned i = 0; i < FIELDS; i++) {
        unsigned at;

        if (walk->found[i].rank == 0 ||
            (i == TIMESTAMP && walk->timestamp_inexact)) {
            continue;
        }
        for (at = n++;
             at > 0 && gone[at - 1]->value > walk->found[i].member.value;
             at--) {
            gone[at] = gone[at - 1];
        }
        gone[at] = &walk->found[i].member;
    }

    if (n == 0) {
        return s;
    }
    if (n == walk->members) {
        s.data = (const uint8_t *)"{}";
        s.len = 2;
        return s;
    }

    /* Members stay joined by their commas; the one before or behind a member
     * that goes, goes with it. */
    *o++ = '{';
    for (unsigned i = 0; i <= n; i++) {
        const uint8_t *stop = i < n ? gone[i]->key - 1 : close + 1;

        if (stop > from) {
            size_t len = (size_t)(stop - 1 - from);

            if (o - scratch > 1) {
                *o++ = ',';
            }
            memcpy(o, from, len);
            o += len;
        }
        if (i < n) {
            from = gone[i]->end + 1;
        }
    }
    *o++ = '}';

    s.data = scratch;
    s.len = (size_t)(o - scratch);
    return s;
}

size_t
lb_lift_scratch(size_t len)
{
    return len + SLACK;
}

void
lb_lift_by(unsigned way, const uint8_t *event, size_t len, uint64_t received_us,
           uint8_t *scratch, lb_fields_t *fields)
{
    walk_t walk;
    found_t *found = walk.found;

    walk.event = event;
    walk.end = event + len;
    walk.unescape = lb_unescape_ways[way];
    walk.members = 0;
    walk.received_s = (int64_t)(received_us / 1000000);
    walk.timestamp_inexact = 0;
    walk.level = NULL;
    for (unsigned i = 0; i < FIELDS; i++) {
        found[i].rank = 0;
    }

    if (lb_unlikely(!walks[way](&walk))) {
        walk.timestamp_inexact = 0;
        for (unsigned i = 0; i < FIELDS; i++) {
            found[i].rank = 0;
        }
        walk.level = NULL;
    }

    if (found[TIMESTAMP].rank != 0) {
        fields->timestamp_ns = walk.timestamp_ns;
    } else if (received_us > (uint64_t)INT64_MAX / 1000) {
        fields->timestamp_ns = INT64_MAX;
    } else {
        fields->timestamp_ns = (int64_t)received_us * 1000;
    }

    /* First, so that native.c finds it at the start of scratch. */
    fields->message = chomp(string_of(&walk, &found[MESSAGE], &scratch));

    if (walk.level != NULL) {
        fields->level.data = (const uint8_t *)walk.level;
        fields->level.len = strlen(walk.level);
    } else {
        fields->level =
            lower(string_of(&walk, &found[LEVEL], &scratch), &scratch);
    }
    fields->service = string_of(&walk, &found[SERVICE], &scratch);
    fields->host = string_of(&walk, &found[HOST], &scratch);
    fields->trace_id = string_of(&walk, &found[TRACE_ID], &scratch);
    fields->attributes = rest_of(&walk, scratch);
}

void
lb_lift(const uint8_t *event, size_t len, uint64_t received_us,
        uint8_t *scratch, lb_fields_t *fields)
{
    lb_lift_by(lb_way(), event, len, received_us, scratch, fields);
}
