/*
 * Lifting: see lift.h, and docs/events.md for the names and the rules.
 *
 * One walk over the members finds, for each well-known field, the best member
 * that has its type; then their strings are taken (in place unless they have
 * escapes) and what is left is copied.  Nothing here can fail: bytes that no
 * scanner wrote are all attributes.
 */

#include "event/lift.h"
#include "event/timestamp.h"
#include "event/block.h"

enum {
    LB_LIFT_TIMESTAMP,
    LB_LIFT_LEVEL,
    LB_LIFT_SERVICE,
    LB_LIFT_HOST,
    LB_LIFT_MESSAGE,
    LB_LIFT_TRACE_ID,
    LB_LIFT_FIELDS
};

typedef struct {
    const uint8_t *key; /* behind the quote */
    size_t key_len;
    const uint8_t *value;
    const uint8_t *end; /* of the value */
    int escapes;        /* the value is a string with escapes */
} lb_member_t;

typedef struct {
    unsigned rank; /* of the alias, 1 the best; 0: no member found */
    lb_member_t member;
} lb_found_t;

typedef struct {
    const uint8_t *event;
    const uint8_t *end;
    lb_unescape_fn unescape;
    size_t members;
    lb_found_t found[LB_LIFT_FIELDS];
    int64_t received_s;
    int64_t timestamp_ns;
    int timestamp_inexact; /* the member says more than nanoseconds do */
    const char *level;     /* the name of a numeric level */
} lb_walk_t;

/* The last block looked at. */
typedef struct {
    size_t base;
    uint64_t quote; /* those that end a string */
    uint64_t backslash;
    uint64_t carry; /* the first byte behind the block is escaped */
} lb_lift_block_t;

static const lb_lift_block_t lb_lift_no_block = {(size_t)0 - LB_BLOCK, 0, 0, 0};

/* Room that copying by whole registers may touch behind the last byte. */
#define LB_LIFT_SLACK 64

/* A number is taken for a time only if it is one that an event may well have:
 * five years before its receipt to one year after it.  In seconds. */
#define LB_LIFT_BEFORE INT64_C(157766400)
#define LB_LIFT_AFTER INT64_C(31536000)

/* Behind the ranks of all aliases. */
#define LB_LIFT_NUMBER 16u

/* What the member says of the time: *ns, and whether that is less than it says;
 * added to the rank of its alias, so that each date goes before each number.
 * -1: nothing. */
static int
lb_lift_timestamp(const lb_walk_t *walk, const lb_member_t *m, int64_t *ns,
                  int *inexact)
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
    return from_receipt >= -LB_LIFT_BEFORE && from_receipt <= LB_LIFT_AFTER
               ? (int)LB_LIFT_NUMBER
               : -1;
}

/*
 * Members
 */

/* The numbers of pino and bunyan; NULL for any other. */
static const char *
lb_lift_level(const lb_member_t *m)
{
    static const char *const names[] = {"trace", "debug", "info",
                                        "warn",  "error", "fatal"};

    if (m->end - m->value == 2 && m->value[0] >= '1' && m->value[0] <= '6' &&
        m->value[1] == '0') {
        return names[m->value[0] - '1'];
    }
    return NULL;
}

/* The field a key stands for, or LB_LIFT_FIELDS; *rank is its place among the
 * field's aliases.  docs/events.md has the same lists. */
LB_INLINE unsigned
lb_lift_key(const uint8_t *key, size_t len, unsigned *rank)
{
#define LB_KEY(name, field, place)                                             \
    if (memcmp(key, name, sizeof(name) - 1) == 0) {                            \
        *rank = (place);                                                       \
        return (field);                                                        \
    }

    switch (len) {
    case 2:
        LB_KEY("ts", LB_LIFT_TIMESTAMP, 3)
        break;
    case 3:
        LB_KEY("msg", LB_LIFT_MESSAGE, 2)
        LB_KEY("lvl", LB_LIFT_LEVEL, 3)
        LB_KEY("app", LB_LIFT_SERVICE, 4)
        LB_KEY("log", LB_LIFT_MESSAGE, 3)
        break;
    case 4:
        LB_KEY("time", LB_LIFT_TIMESTAMP, 2)
        LB_KEY("host", LB_LIFT_HOST, 1)
        LB_KEY("body", LB_LIFT_MESSAGE, 4)
        break;
    case 5:
        LB_KEY("level", LB_LIFT_LEVEL, 1)
        LB_KEY("event", LB_LIFT_MESSAGE, 5)
        break;
    case 7:
        LB_KEY("message", LB_LIFT_MESSAGE, 1)
        LB_KEY("service", LB_LIFT_SERVICE, 1)
        LB_KEY("traceId", LB_LIFT_TRACE_ID, 2)
        LB_KEY("traceid", LB_LIFT_TRACE_ID, 4)
        LB_KEY("traceID", LB_LIFT_TRACE_ID, 5)
        break;
    case 8:
        LB_KEY("trace_id", LB_LIFT_TRACE_ID, 1)
        LB_KEY("severity", LB_LIFT_LEVEL, 2)
        LB_KEY("hostname", LB_LIFT_HOST, 2)
        LB_KEY("trace.id", LB_LIFT_TRACE_ID, 3)
        LB_KEY("loglevel", LB_LIFT_LEVEL, 6)
        break;
    case 9:
        LB_KEY("timestamp", LB_LIFT_TIMESTAMP, 1)
        LB_KEY("host.name", LB_LIFT_HOST, 3)
        LB_KEY("log.level", LB_LIFT_LEVEL, 4)
        LB_KEY("levelname", LB_LIFT_LEVEL, 5)
        break;
    case 10:
        LB_KEY("@timestamp", LB_LIFT_TIMESTAMP, 4)
        break;
    case 11:
        LB_KEY("application", LB_LIFT_SERVICE, 5)
        LB_KEY("dd.trace_id", LB_LIFT_TRACE_ID, 6)
        LB_KEY("otelTraceID", LB_LIFT_TRACE_ID, 7)
        break;
    case 12:
        LB_KEY("service.name", LB_LIFT_SERVICE, 2)
        LB_KEY("service_name", LB_LIFT_SERVICE, 3)
        break;
    }

#undef LB_KEY
    return LB_LIFT_FIELDS;
}

/* Takes the member if it is the best so far for its field. */
LB_INLINE void
lb_lift_member(lb_walk_t *walk, const lb_member_t *m)
{
    unsigned rank;
    unsigned field = lb_lift_key(m->key, m->key_len, &rank);
    lb_found_t *found;

    if (field == LB_LIFT_FIELDS) {
        return;
    }
    found = &walk->found[field];
    if (found->rank != 0 && found->rank <= rank) {
        return;
    }

    if (field == LB_LIFT_TIMESTAMP) {
        int64_t ns;
        int inexact;
        int behind = lb_lift_timestamp(walk, m, &ns, &inexact);

        if (behind < 0 ||
            (found->rank != 0 && found->rank <= rank + (unsigned)behind)) {
            return;
        }
        rank += (unsigned)behind;
        walk->timestamp_ns = ns;
        walk->timestamp_inexact = inexact;
    } else if (*m->value != '"') {
        const char *level = lb_lift_level(m);

        if (field != LB_LIFT_LEVEL || level == NULL) {
            return;
        }
        walk->level = level;
    } else if (m->end - m->value == 2) {
        /* An empty string stays, or it would look like none at all. */
        return;
    } else if (field == LB_LIFT_LEVEL) {
        walk->level = NULL;
    }

    found->rank = rank;
    found->member = *m;
}

/* From p, in a number or a word, to the ',' or '}' behind it, or end.  Eight
 * bytes at once: how long a number is, no branch foresees. */
LB_INLINE const uint8_t *
lb_lift_skip_literal(const uint8_t *p, const uint8_t *end)
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

#define LB_LOOP(name) lb_lift_##name##_plain
#define LB_LOOP_TARGET
#define LB_LOOP_INLINE LB_INLINE
#define LB_LOOP_QUOTES lb_quotes_plain
#include "event/lift_tpl.h"
#undef LB_LOOP
#undef LB_LOOP_TARGET
#undef LB_LOOP_INLINE
#undef LB_LOOP_QUOTES

#if LB_BLOCK_X86

#define LB_LOOP(name) lb_lift_##name##_sse2
#define LB_LOOP_TARGET
#define LB_LOOP_INLINE LB_INLINE
#define LB_LOOP_QUOTES lb_quotes_sse2
#include "event/lift_tpl.h"
#undef LB_LOOP
#undef LB_LOOP_TARGET
#undef LB_LOOP_INLINE
#undef LB_LOOP_QUOTES

#define LB_LOOP(name) lb_lift_##name##_avx2
#define LB_LOOP_TARGET LB_AVX2
#define LB_LOOP_INLINE LB_INLINE_AVX2
#define LB_LOOP_QUOTES lb_quotes_avx2
#include "event/lift_tpl.h"

#elif LB_BLOCK_NEON

#define LB_LOOP(name) lb_lift_##name##_neon
#define LB_LOOP_TARGET
#define LB_LOOP_INLINE LB_INLINE
#define LB_LOOP_QUOTES lb_quotes_neon
#include "event/lift_tpl.h"

#endif

/* The string of a member, in place if it has no escapes. */
static lb_str_t
lb_lift_string(const lb_walk_t *walk, const lb_found_t *found,
               uint8_t **scratch)
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
lb_lift_chomp(lb_str_t s)
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
lb_lift_lower(lb_str_t s, uint8_t **scratch)
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
lb_lift_rest(const lb_walk_t *walk, uint8_t *scratch)
{
    const lb_member_t *gone[LB_LIFT_FIELDS];
    unsigned n = 0;
    const uint8_t *from = walk->event + 1;
    const uint8_t *close = walk->end - 1;
    uint8_t *o = scratch;
    lb_str_t s = {walk->event, (size_t)(walk->end - walk->event)};

    for (unsigned i = 0; i < LB_LIFT_FIELDS; i++) {
        unsigned at;

        if (walk->found[i].rank == 0 ||
            (i == LB_LIFT_TIMESTAMP && walk->timestamp_inexact)) {
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
    return len + LB_LIFT_SLACK;
}

/* look: one of lb_lift_walk_*, unescape: its lb_lift_unescape_*. */
LB_INLINE void
lb_lift_event(int (*look)(lb_walk_t *), lb_unescape_fn unescape,
              const uint8_t *event, size_t len, uint64_t received_us,
              uint8_t *scratch, lb_fields_t *fields)
{
    lb_walk_t walk;
    lb_found_t *found = walk.found;

    walk.event = event;
    walk.end = event + len;
    walk.unescape = unescape;
    walk.members = 0;
    walk.received_s = (int64_t)(received_us / 1000000);
    walk.timestamp_inexact = 0;
    walk.level = NULL;
    for (unsigned i = 0; i < LB_LIFT_FIELDS; i++) {
        found[i].rank = 0;
    }

    if (lb_unlikely(!look(&walk))) {
        walk.timestamp_inexact = 0;
        for (unsigned i = 0; i < LB_LIFT_FIELDS; i++) {
            found[i].rank = 0;
        }
        walk.level = NULL;
    }

    if (found[LB_LIFT_TIMESTAMP].rank != 0) {
        fields->timestamp_ns = walk.timestamp_ns;
    } else if (received_us > (uint64_t)INT64_MAX / 1000) {
        fields->timestamp_ns = INT64_MAX;
    } else {
        fields->timestamp_ns = (int64_t)received_us * 1000;
    }

    /* the longest first: the caller may want it right there */
    fields->message =
        lb_lift_chomp(lb_lift_string(&walk, &found[LB_LIFT_MESSAGE], &scratch));

    if (walk.level != NULL) {
        fields->level.data = (const uint8_t *)walk.level;
        fields->level.len = strlen(walk.level);
    } else {
        fields->level = lb_lift_lower(
            lb_lift_string(&walk, &found[LB_LIFT_LEVEL], &scratch), &scratch);
    }
    fields->service = lb_lift_string(&walk, &found[LB_LIFT_SERVICE], &scratch);
    fields->host = lb_lift_string(&walk, &found[LB_LIFT_HOST], &scratch);
    fields->trace_id =
        lb_lift_string(&walk, &found[LB_LIFT_TRACE_ID], &scratch);
    fields->attributes = lb_lift_rest(&walk, scratch);
}

static void
lb_lift_plain(const uint8_t *event, size_t len, uint64_t received_us,
              uint8_t *scratch, lb_fields_t *fields)
{
    lb_lift_event(lb_lift_walk_plain, lb_lift_unescape_plain, event, len,
                  received_us, scratch, fields);
}

#if LB_BLOCK_X86

static void
lb_lift_sse2(const uint8_t *event, size_t len, uint64_t received_us,
             uint8_t *scratch, lb_fields_t *fields)
{
    lb_lift_event(lb_lift_walk_sse2, lb_lift_unescape_sse2, event, len,
                  received_us, scratch, fields);
}

static void
lb_lift_avx2(const uint8_t *event, size_t len, uint64_t received_us,
             uint8_t *scratch, lb_fields_t *fields)
{
    lb_lift_event(lb_lift_walk_avx2, lb_lift_unescape_avx2, event, len,
                  received_us, scratch, fields);
}

#elif LB_BLOCK_NEON

static void
lb_lift_neon(const uint8_t *event, size_t len, uint64_t received_us,
             uint8_t *scratch, lb_fields_t *fields)
{
    lb_lift_event(lb_lift_walk_neon, lb_lift_unescape_neon, event, len,
                  received_us, scratch, fields);
}

#endif

static const lb_lift_impl_t lb_lift_impl[] = {
    {"plain", lb_lift_plain},
#if LB_BLOCK_X86
    {"sse2", lb_lift_sse2},
    {"avx2", lb_lift_avx2},
#elif LB_BLOCK_NEON
    {"neon", lb_lift_neon},
#endif
};

const lb_lift_impl_t *
lb_lift_impls(size_t *n)
{
    *n = sizeof(lb_lift_impl) / sizeof(lb_lift_impl[0]);
#if LB_BLOCK_X86
    *n -= !lb_have_avx2();
#endif
    return lb_lift_impl;
}

void
lb_lift(const uint8_t *event, size_t len, uint64_t received_us,
        uint8_t *scratch, lb_fields_t *fields)
{
#if LB_BLOCK_X86
    if (lb_have_avx2()) {
        lb_lift_avx2(event, len, received_us, scratch, fields);
    } else {
        lb_lift_sse2(event, len, received_us, scratch, fields);
    }
#elif LB_BLOCK_NEON
    lb_lift_neon(event, len, received_us, scratch, fields);
#else
    lb_lift_plain(event, len, received_us, scratch, fields);
#endif
}
