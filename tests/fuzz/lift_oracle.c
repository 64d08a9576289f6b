/*
 * The lifter's slow twin: from lists of the members, with jansson's strings,
 * the C library's calendar and its regular expressions.
 */

#include "tests/fuzz/lift_oracle.h"
#include "tests/fuzz/lift_oracle_values.h"

#include "event/lift.h"
#include "event/ways.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS_MAX 4096

size_t lift_oracle_lifted;

enum {
    TIMESTAMP,
    LEVEL,
    SERVICE,
    HOST,
    MESSAGE,
    TRACE_ID,
    /* those that are asked for */
    SPAN_ID,
    TRACE_FLAGS,
    SEVERITY,
    EVENT_NAME,
    RESOURCE,
    SCOPE,
    FIELDS
};

/* The fields as parents have them. */
static const char letters[] = "0123456789ab";

/* LB_LIFT_*: what is asked for. */
static unsigned asked;

static int
is_asked(int field)
{
    return field < SPAN_ID || (asked >> (field - SPAN_ID) & 1) != 0;
}

/* The names, best first; behind a ':' how they are read, if not as most. */
static const char *const aliases[FIELDS] = {
    "timestamp time ts @timestamp Timestamp @t datetime date asctime "
    "timeMillis instant __REALTIME_TIMESTAMP timeUnixNano time_unix_nano "
    "eventTime event_time event.created Time _time time_iso8601 time_local "
    "timestamp.$date t.$date t created created_at observedTimeUnixNano "
    "ObservedTimestamp datetime.date date_time msec start_time startTime "
    "EdgeStartTimestamp requestReceivedTimestamp lastTimestamp",
    "level:l severity:l lvl:l log.level:l levelname loglevel Level:l @l @level "
    "severity_text SeverityText severityText logLevel LogLevel log_level "
    "level_name levelName level.name level.levelStr LEVEL Severity:l "
    "error_severity "
    "PRIORITY:y severity_number:o SeverityNumber:o severityNumber:o levelno:p "
    "priority sev detected_level status:D s:M",
    "service service.name service_name app application serviceName "
    "ServiceName Service app_name appname appName application_name "
    "applicationName Application SYSLOG_IDENTIFIER dd.service "
    "kubernetes.container_name kubernetes.container.name _SYSTEMD_UNIT "
    "ApplicationName cloud_RoleName app-name programname program progname "
    "ident container_name container job name:P",
    "host hostname host.name host.hostname host_name Hostname HostName Host "
    "hostName _HOSTNAME MachineName source_host syslog_hostname "
    "kubernetes.host kubernetes.node_name kubernetes.node.name agent.hostname "
    "beat.hostname HOSTNAME machineName machine_name computer_name Computer "
    "winlog.computer_name node_name node.name kubernetes.pod_node_name "
    "cloud_RoleInstance instance pod_name pod",
    "formattedMessage message:a msg:a log body:a event Message:a @m:a "
    "@message:a RenderedMessage:a "
    "renderedMessage:a MESSAGE:b Body:a body.stringValue Body.stringValue "
    "short_message textPayload _msg @mt MessageTemplate messageTemplate "
    "full_message text line _raw record",
    "trace_id traceId trace.id traceid traceID dd.trace_id otelTraceID "
    "TraceId TraceID otel.trace_id @tr traceparent:w "
    "logging.googleapis.com/trace:/ trace:/ operation_Id xray_trace_id",
    "span_id spanId span.id spanid spanID dd.span_id otelSpanID SpanId SpanID "
    "otel.span_id @sp logging.googleapis.com/spanId traceparent:x",
    "trace_flags:f traceFlags:f TraceFlags:f trace.flags:f flags:S "
    "traceparent:z",
    "severity_number:n SeverityNumber:n severityNumber:n",
    "event_name eventName EventName event.name",
    "resource:j Resource:j ResourceAttributes:j",
    "scope:j Scope:j instrumentationScope:j InstrumentationScope:j",
};

/* Objects that are looked into; behind a ':' the fields their members count
 * for under their own names. */
static const char *const parents =
    "timestamp datetime t level service host log:0123456789 body "
    "event:0123456789 Body fields:0123456789 jsonPayload:0123456789 "
    "record:0123456789 resource:23 Resource:23 ResourceAttributes:23 "
    "Properties:234567 properties:234567 winlog node kubernetes agent beat "
    "trace:567 span:567 mdc:567 contextMap:567 otel:567 dd";

/* A member that may become a field. */
typedef struct {
    pair_t pair;
    int at;     /* of the event's members */
    int within; /* of the members of that one, or -1 */
    char how;
    unsigned rank;
} candidate_t;

static const char *
string_end(const char *p)
{
    for (p++; *p != '"'; p++) {
        if (*p == '\\') {
            p++;
        }
    }
    return p + 1;
}

/* The members of an event, in order; -1 if there are too many. */
static int
split(const char *event, size_t len, pair_t *pairs)
{
    const char *p = event + 1;
    const char *end = event + len - 1;
    int n = 0;

    while (p < end) {
        pair_t *pair = &pairs[n];
        int depth = 0;

        if (++n == MEMBERS_MAX) {
            return -1;
        }
        pair->key = p + 1;
        p = string_end(p);
        pair->key_len = (size_t)(p - 1 - pair->key);
        p++;
        pair->value = p;
        while (p < end && (depth > 0 || *p != ',')) {
            if (*p == '"') {
                p = string_end(p);
                continue;
            }
            depth += *p == '{' || *p == '[';
            depth -= *p == '}' || *p == ']';
            p++;
        }
        pair->value_len = (size_t)(p - pair->value);
        p++;
    }
    return n;
}

/*
 * Members
 */

/* Is there a member by which it is known who wrote the event? */
static int
has_sign(const pair_t *pairs, int n, char how)
{
    for (int i = 0; i < n; i++) {
        const char *key = strndupa(pairs[i].key, pairs[i].key_len);

        if (how == 'P' ? strcmp(key, "pid") == 0
            : how == 'D'
                ? strcmp(key, "ddsource") == 0 || strcmp(key, "ddtags") == 0
                : strcmp(key, "t.$date") == 0) {
            return 1;
        }
        if (how == 'M' && strcmp(key, "t") == 0 && *pairs[i].value == '{') {
            pair_t *inner =
                lift_oracle_need(malloc(MEMBERS_MAX * sizeof(*inner)));
            int k = split(pairs[i].value, pairs[i].value_len, inner);

            for (; k > 0; k--) {
                if (inner[k - 1].key_len == 5 &&
                    memcmp(inner[k - 1].key, "$date", 5) == 0) {
                    free(inner);
                    return 1;
                }
            }
            free(inner);
        }
    }
    return 0;
}

/* The best member for a field under this name. */
static void
offer(int field, const char *name, size_t len, candidate_t c, unsigned inside,
      candidate_t *best, int64_t *ns, int *more)
{
    unsigned number;
    const char *alias = lift_oracle_listed(aliases[field], name, len, &number);
    int added, same;
    int64_t t;
    int inexact = 0;

    if (alias == NULL) {
        return;
    }
    if (!is_asked(field)) {
        return;
    }
    c.how = alias[len] == ':' ? alias[len + 1] : ' ';
    added = field == TIMESTAMP ? lift_oracle_timestamp(&c.pair, &t, &inexact)
            : field == LEVEL
                ? (lift_oracle_level_name(&c.pair, c.how, &same) ? 0 : -1)
                : lift_oracle_text_rank(&c.pair, c.how);
    if (added < 0) {
        return;
    }
    c.rank = 1 + number + inside + (unsigned)added;
    if (best->rank == 0 || c.rank < best->rank) {
        *best = c;
        if (field == TIMESTAMP) {
            *ns = t;
            *more = inexact;
        }
    }
}

/* The member a field should be lifted from; rank 0: none. */
static candidate_t
choose(int field, const pair_t *pairs, int n, int64_t *ns, int *more)
{
    candidate_t best = {0};
    pair_t *inner = lift_oracle_need(malloc(MEMBERS_MAX * sizeof(*inner)));

    for (int i = 0; i < n; i++) {
        candidate_t c = {pairs[i], i, -1, ' ', 0};
        unsigned number;
        const char *parent = lift_oracle_listed(parents, pairs[i].key,
                                                pairs[i].key_len, &number);
        int k = parent && *pairs[i].value == '{'
                    ? split(pairs[i].value, pairs[i].value_len, inner)
                    : 0;

        for (int j = 0; j < k; j++) {
            char *dotted = lift_oracle_need(
                malloc(pairs[i].key_len + inner[j].key_len + 2));
            int known = 0, own = 0;
            char mask[2] = {letters[field], 0};

            sprintf(dotted, "%.*s.%.*s", (int)pairs[i].key_len, pairs[i].key,
                    (int)inner[j].key_len, inner[j].key);
            c.pair = inner[j];
            c.within = j;
            for (int f = 0; f < FIELDS; f++) {
                known |=
                    is_asked(f) && lift_oracle_listed(aliases[f], dotted,
                                                      strlen(dotted), &number);
            }
            own = parent[pairs[i].key_len] == ':' &&
                  strcspn(parent, mask) < strcspn(parent, " ");
            if (known) {
                offer(field, dotted, strlen(dotted), c, 0, &best, ns, more);
            } else if (own) {
                offer(field, inner[j].key, inner[j].key_len, c, 512, &best, ns,
                      more);
            }
            free(dotted);
        }
        c.pair = pairs[i];
        c.within = -1;
        offer(field, pairs[i].key, pairs[i].key_len, c, 0, &best, ns, more);
    }
    free(inner);
    if (best.rank != 0 && strchr("PDM", best.how) != NULL &&
        !has_sign(pairs, n, best.how)) {
        best.rank = 0;
    }
    return best;
}

/* *stays: the member says more than the field. */
static const char *
check_string(int field, const candidate_t *c, lb_str_t have, int *stays)
{
    const pair_t *pair = &c->pair;
    const char *error = NULL;
    char *text = NULL;
    size_t len = 0;
    json_t *json = NULL;
    int same;

    *stays = 0;
    if (field == LEVEL) {
        text = lift_oracle_need(
            strdup(lift_oracle_level_name(pair, c->how, &same)));
        len = strlen(text);
        *stays = !same;
    } else if (c->how == 'w' || c->how == 'x') {
        len = c->how == 'w' ? 32 : 16;
        text = lift_oracle_need(
            strndup(pair->value + (c->how == 'w' ? 4 : 37), len));
        *stays = 1;
    } else if (c->how == 'j') {
        len = pair->value_len;
        text = lift_oracle_need(strndup(pair->value, len));
    } else if (c->how == '/') {
        text = lift_oracle_need(strndup(pair->value + 1, pair->value_len - 2));
        memmove(text, strrchr(text, '/') + 1, strlen(strrchr(text, '/')));
        len = strlen(text);
        *stays = 1;
    } else if (pair->value[0] == '"') {
        json = json_loadb(pair->value, pair->value_len,
                          JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        if (json == NULL) {
            /* A lone surrogate: jansson cannot hold it. */
            json = json_stringn((const char *)have.data, have.len);
            error = json ? NULL : "a lifted string is not UTF-8";
            json_decref(json);
            return error;
        }
        len = json_string_length(json);
        text = lift_oracle_need(malloc(len + 1));
        memcpy(text, json_string_value(json), len);
        json_decref(json);
    } else {
        text = c->how == 'b' && pair->value[0] == '['
                   ? lift_oracle_array_text(pair, &len, stays)
                   : NULL;
        if (text == NULL) {
            text = lift_oracle_need(strndup(pair->value, pair->value_len));
            len = pair->value_len;
        }
    }
    if (field == MESSAGE && len > 1 && text[len - 1] == '\n') {
        len--;
        len -= len > 1 && text[len - 1] == '\r';
    }
    if (have.len != len || memcmp(have.data, text, len) != 0) {
        error = "a lifted text is not what it was";
    }
    free(text);
    return error;
}

static int
same(lb_str_t a, lb_str_t b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* What is not set. */
static void
clear_missing(lb_fields_t *f)
{
    static const lb_str_t none = {(const uint8_t *)"", 0};

    f->span_id = f->more & LB_LIFT_SPAN_ID ? f->span_id : none;
    f->event_name = f->more & LB_LIFT_EVENT_NAME ? f->event_name : none;
    f->resource = f->more & LB_LIFT_RESOURCE ? f->resource : none;
    f->scope = f->more & LB_LIFT_SCOPE ? f->scope : none;
    f->trace_flags = f->more & LB_LIFT_TRACE_FLAGS ? f->trace_flags : 0;
}

static const char *
run_all(const uint8_t *event, size_t len, uint8_t *scratch, lb_fields_t *fields)
{
    const size_t n = lb_ways();
    uint8_t *other = lift_oracle_need(malloc(lb_lift_scratch(len)));
    const char *error = NULL;

    memset(fields, 0, sizeof(*fields));
    lb_lift(event, len, RECEIVED, asked, scratch, fields);
    clear_missing(fields);
    for (size_t i = 0; i < n && !error; i++) {
        lb_fields_t f;

        lb_lift_by((unsigned)i, event, len, RECEIVED, asked, other, &f);
        clear_missing(&f);
        if (f.timestamp_ns != fields->timestamp_ns ||
            !same(f.level, fields->level) ||
            !same(f.service, fields->service) || !same(f.host, fields->host) ||
            !same(f.message, fields->message) ||
            !same(f.trace_id, fields->trace_id) || f.more != fields->more ||
            !same(f.span_id, fields->span_id) ||
            !same(f.event_name, fields->event_name) ||
            !same(f.resource, fields->resource) ||
            !same(f.scope, fields->scope) ||
            f.trace_flags != fields->trace_flags ||
            f.severity_number != fields->severity_number ||
            !same(f.attributes, fields->attributes)) {
            error = "implementations differ";
        }
    }
    free(other);
    return error;
}

/* Appends a member to an object. */
static void
put(char *to, size_t *len, const char *from, size_t n)
{
    if (to[*len - 1] != '{') {
        to[(*len)++] = ',';
    }
    memcpy(to + *len, from, n);
    *len += n;
}

/* What is left of the event without the members that are gone. */
static size_t
left_over(const pair_t *pairs, int n, const candidate_t *gone, char *rest)
{
    pair_t *inner = lift_oracle_need(malloc(MEMBERS_MAX * sizeof(*inner)));
    size_t len = 0;

    rest[len++] = '{';
    for (int i = 0; i < n; i++) {
        const char *from = pairs[i].key - 1;
        int whole = 0, within = 0, k, kept = 0;
        size_t begin = len;

        for (int f = 0; f < FIELDS; f++) {
            whole |= gone[f].rank != 0 && gone[f].at == i && gone[f].within < 0;
            within |=
                gone[f].rank != 0 && gone[f].at == i && gone[f].within >= 0;
        }
        if (whole) {
            continue;
        }
        if (!within) {
            put(rest, &len, from,
                (size_t)(pairs[i].value + pairs[i].value_len - from));
            continue;
        }
        put(rest, &len, from, (size_t)(pairs[i].value + 1 - from));
        k = split(pairs[i].value, pairs[i].value_len, inner);
        for (int j = 0; j < k; j++) {
            int out = 0;

            for (int f = 0; f < FIELDS; f++) {
                out |=
                    gone[f].rank != 0 && gone[f].at == i && gone[f].within == j;
            }
            if (!out) {
                put(rest, &len, inner[j].key - 1,
                    (size_t)(inner[j].value + inner[j].value_len -
                             (inner[j].key - 1)));
                kept++;
            }
        }
        rest[len++] = '}';
        if (!kept) {
            len = begin;
        }
    }
    rest[len++] = '}';
    free(inner);
    return len;
}

/* A number that was lifted, or 0, against the member it was lifted from. */
static const char *
check_number(int field, const candidate_t *c, const lb_fields_t *f, int *stays)
{
    unsigned have = field == SEVERITY ? f->severity_number : f->trace_flags;
    char *text = strndupa(c->pair.value, c->pair.value_len);
    unsigned long want = 0;

    *stays = c->how == 'z';
    want = *stays ? strtoul(text + 54, NULL, 16)
           : field == SEVERITY
               ? strtoul(text + (*text == '"'), NULL, 10)
               : strtoul(text + (*text == '"'), NULL, *text == '"' ? 16 : 10);

    return have == want ? NULL : "a lifted number is another one";
}

static unsigned
number_of_level(lb_str_t level)
{
    static const struct {
        const char *name;
        unsigned number;
    } levels[] = {{"trace", 1}, {"debug", 5},  {"info", 9},  {"notice", 10},
                  {"warn", 13}, {"error", 17}, {"fatal", 21}};

    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strlen(levels[i].name) == level.len &&
            memcmp(levels[i].name, level.data, level.len) == 0) {
            return levels[i].number;
        }
    }
    return 0;
}

static const char *
check_event(const uint8_t *event, size_t len)
{
    pair_t *pairs = lift_oracle_need(malloc(MEMBERS_MAX * sizeof(*pairs)));
    uint8_t *scratch = lift_oracle_need(malloc(lb_lift_scratch(len)));
    char *rest = lift_oracle_need(malloc(len + 8));
    size_t rest_len;
    candidate_t gone[FIELDS];
    lb_fields_t fields;
    const lb_str_t *strings[FIELDS] = {NULL,
                                       &fields.level,
                                       &fields.service,
                                       &fields.host,
                                       &fields.message,
                                       &fields.trace_id,
                                       &fields.span_id,
                                       NULL,
                                       NULL,
                                       &fields.event_name,
                                       &fields.resource,
                                       &fields.scope};
    int64_t ns = 0;
    int more = 0, n, span = 0;
    const char *error = run_all(event, len, scratch, &fields);

    n = error ? -1 : split((const char *)event, len, pairs);
    if (n < 0) {
        goto done;
    }

    for (int f = 0; f < FIELDS && !error; f++) {
        int stays = 0;

        gone[f] = choose(f, pairs, n, &ns, &more);
        span |= f == SPAN_ID && gone[f].rank != 0;
        if (gone[f].how == 'S' && !span) {
            gone[f].rank = 0;
        }
        if (gone[f].rank == 0) {
            if (f == TIMESTAMP &&
                fields.timestamp_ns != (int64_t)RECEIVED * 1000) {
                error = "without a timestamp it is not the time of receipt";
            } else if (f == TRACE_FLAGS && fields.trace_flags != 0) {
                error = "flags from nowhere";
            } else if (f == SEVERITY && fields.severity_number !=
                                            number_of_level(fields.level)) {
                error = "not the number of the level";
            } else if (strings[f] != NULL && strings[f]->len != 0) {
                error = "a field was lifted from nowhere";
            }
            error = f >= SPAN_ID && (fields.more >> (f - SPAN_ID) & 1) != 0
                        ? "a field is there and is not"
                        : error;
            continue;
        }
        lift_oracle_lifted++;
        if (f == TIMESTAMP) {
            error = fields.timestamp_ns == ns ? NULL : "another instant";
            stays = more;
        } else if (f == TRACE_FLAGS || f == SEVERITY) {
            error = check_number(f, &gone[f], &fields, &stays);
        } else {
            error = check_string(f, &gone[f], *strings[f], &stays);
        }
        gone[f].rank = stays ? 0 : gone[f].rank;
    }

    if (!error) {
        rest_len = left_over(pairs, n, gone, rest);
        if (fields.attributes.len != rest_len ||
            memcmp(fields.attributes.data, rest, rest_len) != 0) {
            error = "attributes are not what is left";
        }
    }

done:
    free(pairs);
    free(scratch);
    free(rest);
    return error;
}

const char *
lift_oracle_event(const uint8_t *event, size_t len)
{
    const char *error;

    /* all, none, and some */
    asked = LB_LIFT_ALL;
    error = check_event(event, len);
    if (error == NULL) {
        asked = 0;
        error = check_event(event, len);
    }
    if (error == NULL) {
        asked = (unsigned)len & LB_LIFT_ALL;
        error = check_event(event, len);
    }
    return error;
}

static int
within(lb_str_t s, const uint8_t *p, size_t len)
{
    return s.len == 0 || (s.data >= p && s.data + s.len <= p + len);
}

const char *
lift_oracle_bytes(const uint8_t *data, size_t len)
{
    uint8_t *scratch = lift_oracle_need(malloc(lb_lift_scratch(len)));
    lb_fields_t f;
    const char *error;

    asked = LB_LIFT_ALL;
    error = run_all(data, len, scratch, &f);

    const lb_str_t strings[] = {f.service, f.host,       f.message,  f.trace_id,
                                f.span_id, f.event_name, f.resource, f.scope};

    for (size_t i = 0; i < 8 && !error; i++) {
        if (!within(strings[i], data, len) &&
            !within(strings[i], scratch, len)) {
            error = "a field lies neither in the event nor in scratch";
        }
    }
    if (!error && f.attributes.len > (len > 2 ? len : 2)) {
        error = "attributes are longer than the event";
    }
    free(scratch);
    return error;
}
