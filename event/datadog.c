/*
 * Datadog's log intake: see datadog.h.
 */

#include "event/datadog.h"
#include "event/door.h"
#include "event/inner.h"
#include "event/level.h"
#include "event/lines.h"
#include "event/logplex.h"
#include "event/names.h"
#include "event/repair.h"

#include <limits.h>
#include <stdio.h>

/* Of one event. */
#define TAGS_MAX 64
#define NAMES_MAX 128

/* A parameter, and all of them as JSON in a context line. */
#define PARAM_MAX 1024
#define CONTEXT_MAX 16000

static const char words_params[] = "parameters have at most 1024 bytes";

typedef struct {
    lb_door_t door; /* first: a pointer to it is one to this */
    uint8_t context[CONTEXT_MAX];
} datadog_t;

/* The names that an event has. */
typedef struct {
    unsigned n;
    const uint8_t *key[NAMES_MAX];
    size_t len[NAMES_MAX];
    int best[LB_FIELDS + 1]; /* the rows of lb_names that come first */
} names_t;

typedef struct {
    const uint8_t *key;
    size_t key_len; /* 0: it is no name and value */
    const uint8_t *end;
} tag_t;

/* The tag at p, without spaces around it; where the next one begins. */
static const uint8_t *
next_tag(const uint8_t *p, const uint8_t *end, tag_t *tag)
{
    const uint8_t *comma = memchr(p, ',', (size_t)(end - p)), *colon;

    comma = comma != NULL ? comma : end;
    tag->end = comma;
    while (p < comma && *p == ' ') {
        p++;
    }
    while (tag->end > p && tag->end[-1] == ' ') {
        tag->end--;
    }
    colon = memchr(p, ':', (size_t)(tag->end - p));
    tag->key = p;
    tag->key_len =
        colon != NULL && colon + 1 < tag->end ? (size_t)(colon - p) : 0;
    return comma < end ? comma + 1 : end;
}

static void
no_names(names_t *names)
{
    names->n = 0;
    for (int i = 0; i <= LB_FIELDS; i++) {
        names->best[i] = INT_MAX;
    }
}

static void
add_name(names_t *names, const uint8_t *key, size_t len)
{
    if (names->n < NAMES_MAX) {
        names->key[names->n] = key;
        names->len[names->n] = len;
        names->n++;
    }
}

static int
has_name(const names_t *names, const uint8_t *key, size_t len)
{
    for (unsigned i = 0; i < names->n; i++) {
        if (names->len[i] == len && memcmp(names->key[i], key, len) == 0) {
            return 1;
        }
    }
    return 0;
}

static void
add_member(names_t *names, const lb_member_t *m)
{
    int row = lb_name_find(m->key, m->key_len);

    if (row >= 0 && *m->value == '"' && lb_member_len(m) > 2 &&
        row < names->best[lb_names[row].field]) {
        names->best[lb_names[row].field] = row;
    }
    add_name(names, m->key, m->key_len);
}

/* Would the tag's name stand for something that the event says itself, or that
 * is no matter of tags? */
static int
means_more(const tag_t *tag, const names_t *names)
{
    int row = lb_name_find(tag->key, tag->key_len);
    int field = row >= 0 ? lb_names[row].field : LB_FIELDS;

    return row >= 0 &&
           ((field != LB_SERVICE && field != LB_HOST) ||
            (names->best[field] != INT_MAX && row <= names->best[field]));
}

/* Can the tag be a member of its own?  Then its name is one of them. */
static int
is_free(const tag_t *tag, names_t *names)
{
    if (tag->key_len == 0 || names->n == NAMES_MAX || means_more(tag, names) ||
        has_name(names, tag->key, tag->key_len)) {
        return 0;
    }
    add_name(names, tag->key, tag->key_len);
    return 1;
}

/* The tags of p..end, the inside of a JSON string: members, and those that
 * cannot be some in a member "ddtags". */
static int
put_tags(lb_out_t *out, const uint8_t *p, const uint8_t *end, names_t *names)
{
    tag_t tags[TAGS_MAX];
    uint64_t rest = 0;
    unsigned n = 0;
    int bad = 0, begun = 0;

    for (; p < end && n < TAGS_MAX && !bad; n++) {
        p = next_tag(p, end, &tags[n]);
        if (is_free(&tags[n], names)) {
            size_t len = (size_t)(tags[n].end - tags[n].key);

            bad = lb_out_puts(out, "\"") ||
                  lb_out_put(out, tags[n].key, tags[n].key_len) ||
                  lb_out_puts(out, "\":\"") ||
                  lb_out_put(out, tags[n].key + tags[n].key_len + 1,
                             len - tags[n].key_len - 1) ||
                  lb_out_puts(out, "\",");
        } else if (tags[n].end > tags[n].key) {
            rest |= UINT64_C(1) << n;
        }
    }
    for (unsigned i = 0; i < n && !bad; i++) {
        if (rest >> i & 1) {
            bad = lb_out_puts(out, begun++ ? "," : "\"ddtags\":\"") ||
                  lb_out_put(out, tags[i].key,
                             (size_t)(tags[i].end - tags[i].key));
        }
    }
    if (p < end && !bad) {
        bad = lb_out_puts(out, begun++ ? "," : "\"ddtags\":\"") ||
              lb_out_put(out, p, (size_t)(end - p));
    }
    return bad || (begun && lb_out_puts(out, "\","));
}

_Static_assert(TAGS_MAX <= 64, "a bit for each");

/* Does the word, or a number of syslog, say how bad it is? */
static int
is_level(const lb_member_t *m)
{
    int string = *m->value == '"', same;

    return lb_level(m->value + string, m->end - string, LB_READ_SYSLOG,
                    &same) >= 0;
}

/* A member of the envelope. */
static int
put_member(lb_out_t *out, const lb_member_t *m, const lb_inner_t *inner,
           names_t *names)
{
    if (lb_member_is(m, "timestamp")) {
        return inner->time ? lb_put(out, "datadog.timestamp", m->value,
                                    lb_member_len(m))
                           : lb_put_time(out, m);
    }
    if (lb_member_is(m, "status") && is_level(m)) {
        int second =
            inner->level || has_name(names, (const uint8_t *)"level", 5);

        return lb_put(out, second ? "datadog.status" : "level", m->value,
                      lb_member_len(m));
    }
    if (lb_member_is(m, "ddtags") && *m->value == '"') {
        return put_tags(out, m->value + 1, m->end - 1, names);
    }
    return lb_put_member(out, m, 0);
}

static void
add_names(names_t *names, const uint8_t *p, const uint8_t *end)
{
    lb_member_t m;

    while (p < end) {
        p = lb_member(p, end, &m);
        add_member(names, &m);
    }
}

static lb_scan_status_t
take(void *data, const uint8_t *line, size_t len)
{
    const uint8_t *p, *const end = line + len - 1, *message = NULL;
    lb_door_t *d = data;
    lb_member_t m;
    lb_inner_t inner;
    names_t names;
    int rc = 1;

    d->objects++;
    if (len == 2) {
        return LB_SCAN_OK;
    }
    if (lb_door_begin(d) != 0) {
        return LB_SCAN_NOSPACE;
    }

    memset(&inner, 0, sizeof(inner));
    no_names(&names);
    for (p = line + 1; p < end;) {
        p = lb_member(p, end, &m);
        add_member(&names, &m);
        if (lb_member_is(&m, "message") && rc > 0) {
            rc = lb_inner(&d->out, m.value, m.end, &inner);
            message = rc == 0 ? m.key : NULL;
        }
    }
    if (rc < 0) {
        return LB_SCAN_NOSPACE;
    }
    add_names(&names, inner.p, inner.end);

    for (p = line + 1; p < end;) {
        p = lb_member(p, end, &m);
        if (m.key != message && put_member(&d->out, &m, &inner, &names) != 0) {
            return LB_SCAN_NOSPACE;
        }
    }
    return lb_door_end(d);
}

/* What holds for all events: 0, or -1, it is too long. */
static int
set_context(datadog_t *dd, const lb_scan_options_t *options)
{
    static const char *const names[] = {"ddsource", "env",     "host",
                                        "hostname", "service", "version",
                                        "ddtags",   NULL};
    names_t nothing;
    uint8_t text[6 * PARAM_MAX];
    lb_out_t out = {dd->context, dd->context + sizeof(dd->context)};
    const uint8_t begin[] = {LB_LINES_CONTEXT};
    const uint8_t *members;
    int bad;

    no_names(&nothing);
    bad = lb_out_put(&out, begin, 1) || lb_out_puts(&out, "{\"fields\":{");
    members = out.o;
    for (const char *const *name = names; *name != NULL && !bad; name++) {
        const char *value = lb_param(options, *name);
        uint8_t *o = text;
        size_t len = value != NULL ? strlen(value) : 0;

        if (len == 0) {
            continue;
        }
        if (len > PARAM_MAX) {
            return -1;
        }
        lb_repair_quote(&o, (const uint8_t *)value, len, len, NULL);
        bad = name[1] == NULL
                  ? put_tags(&out, text, o, &nothing)
                  : lb_out_puts(&out, "\"") || lb_out_puts(&out, *name) ||
                        lb_out_puts(&out, "\":\"") ||
                        lb_out_put(&out, text, (size_t)(o - text)) ||
                        lb_out_puts(&out, "\",");
    }
    if (bad || out.o == members) {
        return bad ? -1 : 0;
    }
    if (lb_put_end(&out) || lb_out_room(&out) == 0) {
        return -1;
    }
    out.o[-1] = '}';
    *out.o++ = '\n';
    dd->door.context = dd->context;
    dd->door.context_len = (size_t)(out.o - dd->context);
    return 0;
}

static lb_scan_status_t
scan(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
     const lb_scan_options_t *options, lb_scan_result_t *res, int text)
{
    datadog_t dd;
    lb_scan_status_t rc;

    lb_door_start(&dd.door, out, cap, options, res);
    dd.door.noun = "event";
    dd.door.pieces.take = take;

    if (set_context(&dd, options) != 0) {
        res->error = words_params;
        return LB_SCAN_BAD;
    }
    rc = text ? lb_door_lines(&dd.door, in, len)
              : lb_door_objects(&dd.door, in, len);
    return rc == LB_SCAN_OK ? lb_door_finish(&dd.door, out) : rc;
}

static lb_scan_status_t
scan_json(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
          const lb_scan_options_t *options, lb_scan_result_t *res)
{
    return scan(in, len, out, cap, options, res, 0);
}

static lb_scan_status_t
scan_text(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
          const lb_scan_options_t *options, lb_scan_result_t *res)
{
    return scan(in, len, out, cap, options, res, 1);
}

/* The same parameters, with the context as one. */
static lb_scan_status_t
scan_logplex(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
             const lb_scan_options_t *options, lb_scan_result_t *res)
{
    static const char name[] = "context";
    const char *count = lb_param(options, "count");
    char params[sizeof(name) + CONTEXT_MAX + 64];
    lb_scan_options_t with = *options;
    size_t n = 0;
    datadog_t dd;

    lb_door_start(&dd.door, out, cap, options, res);
    if (set_context(&dd, options) != 0) {
        res->error = words_params;
        return LB_SCAN_BAD;
    }
    if (dd.door.context != NULL) {
        memcpy(params, name, sizeof(name));
        n = sizeof(name) + dd.door.context_len - 2;
        memcpy(params + sizeof(name), dd.door.context + 1,
               dd.door.context_len - 2);
        params[n++] = '\0';
    }
    if (count != NULL) {
        n += (size_t)snprintf(params + n, sizeof(params) - n, "count%c%.20s", 0,
                              count) +
             1;
    }
    with.params = params;
    with.params_len = n;
    return lb_format_logplex.scan(in, len, out, cap, &with, res);
}

static size_t
logplex_out_max(size_t len)
{
    size_t logplex = lb_format_logplex.out_max(len), more = lb_door_out_max(0);

    return logplex > SIZE_MAX - more ? SIZE_MAX : logplex + more;
}

static const char *const all_types[] = {"", NULL};
static const char *const text_types[] = {"text/", NULL};

const lb_format_t lb_format_datadog = {
    .name = "datadog",
    .types = all_types,
    .scan = scan_json,
    .out_usual = 11,
    .out_max = lb_door_out_max,
};

const lb_format_t lb_format_datadog_text = {
    .name = "datadog_text",
    .types = text_types,
    .scan = scan_text,
    .out_usual = 11,
    .out_max = lb_door_out_max,
};

static const char *const logplex_types[] = {"application/logplex-1", NULL};

const lb_format_t lb_format_datadog_logplex = {
    .name = "datadog_logplex",
    .types = logplex_types,
    .scan = scan_logplex,
    .out_usual = 20,
    .out_max = logplex_out_max,
};
