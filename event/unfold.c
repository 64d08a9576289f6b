/*
 * Unfolding: see unfold.h.  What is read here came out of the scanner, so that
 * nothing has to be checked again: no white space, strings that end, brackets
 * that match.  It still never reads behind len.
 */

#include "event/unfold.h"
#include "event/members.h"
#include "event/names.h"

#include <string.h>

static int
one_of(const char *const *names, const uint8_t *key, size_t len)
{
    for (; *names != NULL; names++) {
        if (strlen(*names) == len && memcmp(*names, key, len) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Does a member of that name stand for what an event says itself: its time, its
 * level, its message?  Names that need a sign do not. */
static int
is_own(const uint8_t *key, size_t len, const uint8_t *end)
{
    /* a quote, a colon and a value are behind it, or this is no event */
    int row = end - key > 3 && len <= (size_t)(end - key) - 3
                  ? lb_name_find(key, len)
                  : -1;

    return row >= 0 && lb_names[row].needs == 0 &&
           (lb_names[row].field == LB_TIMESTAMP ||
            lb_names[row].field == LB_LEVEL ||
            lb_names[row].field == LB_MESSAGE);
}

/* Is the value an array of objects, of at least one? */
static int
are_objects(const uint8_t *p, const uint8_t *end)
{
    if (p >= end || *p != '[') {
        return 0;
    }
    do {
        p++;
        if (p >= end || *p != '{') {
            return 0;
        }
        p = lb_skip_value(p, end);
    } while (p < end && *p == ',');
    return 1;
}

int
lb_unfold_maybe(const uint8_t *line, size_t len)
{
    const uint8_t *p = line;
    const uint8_t *end = line + len;

    while ((p = memchr(p, '[', (size_t)(end - p))) != NULL) {
        if (p - line >= 2 && end - p >= 2 && p[1] == '{' && p[-1] == ':' &&
            p[-2] == '"') {
            return 1;
        }
        p++;
    }
    return 0;
}

#define PUT(from, n)                                                           \
    do {                                                                       \
        size_t put_ = (n);                                                     \
        if ((size_t)(out_end - o) < put_) {                                    \
            return LB_SCAN_NOSPACE;                                            \
        }                                                                      \
        memcpy(o, (from), put_);                                               \
        o += put_;                                                             \
    } while (0)

lb_scan_status_t
lb_unfold(const uint8_t *line, size_t len, uint8_t *out, size_t cap,
          size_t max_event, lb_scan_result_t *res)
{
    static const char *const wrappers[] = {
        "logs",  "events", "Events",    "entries", "records",
        "lines", "batch",  "logEvents", NULL,
    };
    const uint8_t *first = line + 1;
    const uint8_t *end;
    const uint8_t *p, *next, *object;
    const uint8_t *before = NULL; /* where the array's member begins */
    const uint8_t *behind = NULL;
    lb_member_t m, array = {0};
    uint8_t *o = out;
    uint8_t *const out_end = out + cap;
    uint32_t events = 0;

    memset(res, 0, sizeof(*res));

    if (len < 3 || line[0] != '{' || line[1] != '"') {
        return LB_SCAN_EMPTY;
    }

    end = line + len - 2; /* the closing brace */

    for (p = first; p < end; p = next) {
        next = lb_member(p, end, &m);

        if (before == NULL && one_of(wrappers, m.key, m.key_len) &&
            are_objects(m.value, m.end)) {
            array = m;
            before = p;
            behind = next;

        } else if (is_own(m.key, m.key_len, end)) {
            return LB_SCAN_EMPTY;
        }
    }

    if (before == NULL) {
        return LB_SCAN_EMPTY;
    }

    for (p = array.value + 1; p < array.end; p++) {
        uint8_t *begin = o;

        object = p;
        p = lb_skip_value(p, array.end);

        PUT(object, (size_t)(p - 1 - object));

        /* what is before the array ends with a comma, what is behind it has
         * one only where the array was not the last */
        if (before > first) {
            PUT(",", (size_t)(p - object > 2));
            PUT(first, (size_t)(before - 1 - first));
        }
        if (behind < end) {
            PUT(",", (size_t)(p - object > 2 || before > first));
            PUT(behind, (size_t)(end - behind));
        }
        PUT("}\n", 2);

        if ((size_t)(o - begin) - 1 > max_event) {
            return LB_SCAN_TOOBIG;
        }
        events++;
    }

    res->out_len = (size_t)(o - out);
    res->events = events;
    return LB_SCAN_OK;
}
