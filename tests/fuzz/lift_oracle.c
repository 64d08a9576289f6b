#include "tests/fuzz/lift_oracle.h"

#include "event/lift.h"
#include "event/timestamp.h"
#include "event/ways.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RECEIVED UINT64_C(1715950000123456)
#define MEMBERS_MAX 4096

size_t lift_oracle_lifted;

enum {
    TIMESTAMP,
    LEVEL,
    SERVICE,
    HOST,
    MESSAGE,
    TRACE_ID,
    FIELDS
};

static const char *const aliases[FIELDS][8] = {
    {"timestamp", "time", "ts", "@timestamp"},
    {"level", "severity", "lvl", "log.level", "levelname", "loglevel"},
    {"service", "service.name", "service_name", "app", "application"},
    {"host", "hostname", "host.name"},
    {"message", "msg", "log", "body", "event"},
    {"trace_id", "traceId", "trace.id", "traceid", "traceID", "dd.trace_id",
     "otelTraceID"},
};

typedef struct {
    const char *key; /* without its quotes */
    size_t key_len;
    const char *value;
    size_t value_len;
} pair_t;

static void *
need(void *p)
{
    if (p == NULL) {
        abort();
    }
    return p;
}

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

/* A number of n digits at s, or -1. */
static long
digits(const char *s, int n)
{
    char text[24] = "";

    for (int i = 0; i < n; i++) {
        if (!isdigit((unsigned char)s[i])) {
            return -1;
        }
        text[i] = s[i];
    }
    return strtol(text, NULL, 10);
}

/* A fraction: how many digits; its first nine as nanoseconds of `unit`. */
static size_t
fraction(const char *s, int places, int64_t *value, int *more)
{
    size_t n = strspn(s, "0123456789");

    *value = 0;
    *more = 0;
    for (int i = 0; i < places; i++) {
        *value = *value * 10 + ((size_t)i < n ? s[i] - '0' : 0);
    }
    for (size_t i = (size_t)places; i < n; i++) {
        *more |= s[i] != '0';
    }
    return n;
}

static int
epoch_time(const char *s, int64_t *ns, int *more)
{
    static const struct {
        size_t min, max;
        int places;
    } units[] = {{9, 11, 9}, {12, 14, 6}, {15, 17, 3}, {18, 19, 0}};
    size_t n = strspn(s, "0123456789");
    __int128 value = 0;
    int64_t part = 0;

    *more = 0;
    if (n == 0 || s[0] == '0') {
        return 0;
    }
    for (size_t u = 0; u < 4; u++) {
        if (n < units[u].min || n > units[u].max) {
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            value = value * 10 + (s[i] - '0');
        }
        for (int i = 0; i < units[u].places; i++) {
            value *= 10;
        }
        s += n;
        if (*s == '.') {
            n = fraction(s + 1, units[u].places, &part, more);
            if (n == 0) {
                return 0;
            }
            s += 1 + n;
        }
        if (*s != '\0' || value >= (__int128)9223286400 * 1000000000) {
            return 0;
        }
        *ns = (int64_t)value + part;
        return 1;
    }
    return 0;
}

static int
calendar_time(const char *s, int64_t *ns, int *more)
{
    struct tm tm = {0}, again;
    int64_t part = 0;
    time_t t;
    long h = 0, m = 0;

    *more = 0;
    if (strlen(s) < 19 || s[4] != '-' || s[7] != '-' ||
        strchr("Tt ", s[10]) == NULL || s[13] != ':' || s[16] != ':' ||
        digits(s, 4) < 0 || digits(s + 5, 2) < 0 || digits(s + 8, 2) < 0 ||
        digits(s + 11, 2) < 0 || digits(s + 14, 2) < 0 ||
        digits(s + 17, 2) < 0) {
        return 0;
    }
    tm.tm_year = (int)digits(s, 4) - 1900;
    tm.tm_mon = (int)digits(s + 5, 2) - 1;
    tm.tm_mday = (int)digits(s + 8, 2);
    tm.tm_hour = (int)digits(s + 11, 2);
    tm.tm_min = (int)digits(s + 14, 2);
    tm.tm_sec = (int)digits(s + 17, 2);
    again = tm;
    t = timegm(&again);
    if (again.tm_year != tm.tm_year || again.tm_mon != tm.tm_mon ||
        again.tm_mday != tm.tm_mday || again.tm_hour != tm.tm_hour ||
        again.tm_min != tm.tm_min || again.tm_sec != tm.tm_sec) {
        return 0; /* no such day or second */
    }
    s += 19;
    if (*s == '.' || *s == ',') {
        size_t n = fraction(s + 1, 9, &part, more);

        if (n == 0) {
            return 0;
        }
        s += 1 + n;
    }
    if (*s == 'Z' || *s == 'z') {
        s++;
    } else if (*s == '+' || *s == '-') {
        int sign = *s++ == '+' ? 1 : -1;

        h = strlen(s) >= 2 ? digits(s, 2) : -1;
        if (h < 0) {
            return 0;
        }
        s += 2;
        if (*s != '\0') {
            s += *s == ':';
            m = strlen(s) >= 2 ? digits(s, 2) : -1;
            if (m < 0) {
                return 0;
            }
            s += 2;
        }
        if (h > 23 || m > 59) {
            return 0;
        }
        t -= sign * (h * 3600 + m * 60);
    }
    if (*s != '\0' || t < -2208988800 || t >= 9223286400) {
        return 0;
    }
    *ns = t * INT64_C(1000000000) + part;
    return 1;
}

/* By a date, or by a number that is near the time of receipt. */
static int
is_timestamp(const pair_t *pair, int number, int64_t *ns, int *more)
{
    char *s = need(calloc(1, pair->value_len + 1));
    int ok;

    if (pair->value[0] == '"') {
        memcpy(s, pair->value + 1, pair->value_len - 2);
    } else {
        memcpy(s, pair->value, pair->value_len);
    }
    if (number) {
        ok = epoch_time(s, ns, more) &&
             *ns / 1000000000 >=
                 (int64_t)(RECEIVED / 1000000) - (4 * 365 + 366) * 86400 &&
             *ns / 1000000000 <= (int64_t)(RECEIVED / 1000000) + 365 * 86400;
    } else {
        ok = pair->value[0] == '"' && calendar_time(s, ns, more);
    }
    free(s);
    return ok;
}

static const char *
level_name(const pair_t *pair)
{
    static const char *const names[][2] = {{"10", "trace"}, {"20", "debug"},
                                           {"30", "info"},  {"40", "warn"},
                                           {"50", "error"}, {"60", "fatal"}};

    for (size_t i = 0; i < 6; i++) {
        if (pair->value_len == 2 && memcmp(pair->value, names[i][0], 2) == 0) {
            return names[i][1];
        }
    }
    return NULL;
}

/* The member a field should be lifted from, or -1; number: only one whose
 * value is one. */
static int
choose(int field, const pair_t *pairs, int n, int number, int64_t *ns,
       int *more)
{
    for (int a = 0; a < 8 && aliases[field][a]; a++) {
        for (int i = 0; i < n; i++) {
            if (pairs[i].key_len != strlen(aliases[field][a]) ||
                memcmp(pairs[i].key, aliases[field][a], pairs[i].key_len) !=
                    0) {
                continue;
            }
            if (field == TIMESTAMP ? is_timestamp(&pairs[i], number, ns, more)
                : field == LEVEL && level_name(&pairs[i])
                    ? 1
                    : pairs[i].value[0] == '"' && pairs[i].value_len > 2) {
                return i;
            }
        }
    }
    return -1;
}

static const char *
check_string(int field, const pair_t *pair, lb_str_t have)
{
    json_t *want;
    const char *error = NULL;
    char *lower;
    size_t want_len;

    if (field == LEVEL && pair->value[0] != '"') {
        const char *name = level_name(pair);

        return have.len == strlen(name) &&
                       memcmp(have.data, name, have.len) == 0
                   ? NULL
                   : "a numeric level has another name";
    }

    want = json_loadb(pair->value, pair->value_len,
                      JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (want == NULL) {
        /* A lone surrogate: jansson cannot hold it. */
        want = json_stringn((const char *)have.data, have.len);
        error = want ? NULL : "a lifted string is not UTF-8";
        json_decref(want);
        return error;
    }

    lower = need(malloc(json_string_length(want) + 1));
    memcpy(lower, json_string_value(want), json_string_length(want));
    for (size_t i = 0; field == LEVEL && i < json_string_length(want); i++) {
        if (lower[i] >= 'A' && lower[i] <= 'Z') {
            lower[i] = (char)(lower[i] - 'A' + 'a');
        }
    }
    want_len = json_string_length(want);
    if (field == MESSAGE && want_len > 1 && lower[want_len - 1] == '\n') {
        want_len--;
        want_len -= want_len > 1 && lower[want_len - 1] == '\r';
    }
    if (have.len != want_len || memcmp(have.data, lower, have.len) != 0) {
        error = "a lifted string is not what it was";
    }
    free(lower);
    json_decref(want);
    return error;
}

static int
same(lb_str_t a, lb_str_t b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static const char *
run_all(const uint8_t *event, size_t len, uint8_t *scratch, lb_fields_t *fields)
{
    const size_t n = lb_ways();
    uint8_t *other = need(malloc(lb_lift_scratch(len)));
    const char *error = NULL;

    lb_lift(event, len, RECEIVED, scratch, fields);
    for (size_t i = 0; i < n && !error; i++) {
        lb_fields_t f;

        lb_lift_by((unsigned)i, event, len, RECEIVED, other, &f);
        if (f.timestamp_ns != fields->timestamp_ns ||
            !same(f.level, fields->level) ||
            !same(f.service, fields->service) || !same(f.host, fields->host) ||
            !same(f.message, fields->message) ||
            !same(f.trace_id, fields->trace_id) ||
            !same(f.attributes, fields->attributes)) {
            error = "implementations differ";
        }
    }
    free(other);
    return error;
}

const char *
lift_oracle_event(const uint8_t *event, size_t len)
{
    pair_t *pairs = need(malloc(MEMBERS_MAX * sizeof(*pairs)));
    uint8_t *scratch = need(malloc(lb_lift_scratch(len)));
    char *rest = need(malloc(len + 2));
    size_t rest_len = 0;
    char *gone = NULL;
    lb_fields_t fields;
    const lb_str_t *strings[FIELDS] = {
        NULL,         &fields.level,   &fields.service,
        &fields.host, &fields.message, &fields.trace_id};
    int64_t ns = 0;
    int more = 0, n;
    const char *error = run_all(event, len, scratch, &fields);

    n = error ? -1 : split((const char *)event, len, pairs);
    if (n < 0) {
        goto done;
    }
    gone = need(calloc(1, (size_t)n + 1));

    for (int f = 0; f < FIELDS && !error; f++) {
        int i = choose(f, pairs, n, 0, &ns, &more);

        if (i < 0 && f == TIMESTAMP) {
            i = choose(f, pairs, n, 1, &ns, &more);
        }

        if (i < 0) {
            if (f == TIMESTAMP &&
                fields.timestamp_ns != (int64_t)RECEIVED * 1000) {
                error = "without a timestamp it is not the time of receipt";
            } else if (f != TIMESTAMP && strings[f]->len != 0) {
                error = "a field was lifted from nowhere";
            }
            continue;
        }
        lift_oracle_lifted++;
        if (f == TIMESTAMP) {
            error = fields.timestamp_ns == ns ? NULL : "another instant";
            gone[i] = !more;
        } else {
            error = check_string(f, &pairs[i], *strings[f]);
            gone[i] = 1;
        }
    }

    rest[rest_len++] = '{';
    for (int i = 0; i < n; i++) {
        size_t size =
            (size_t)(pairs[i].value + pairs[i].value_len - (pairs[i].key - 1));

        if (gone[i]) {
            continue;
        }
        if (rest_len > 1) {
            rest[rest_len++] = ',';
        }
        memcpy(rest + rest_len, pairs[i].key - 1, size);
        rest_len += size;
    }
    rest[rest_len++] = '}';
    if (!error && (fields.attributes.len != rest_len ||
                   memcmp(fields.attributes.data, rest, rest_len) != 0)) {
        error = "attributes are not what is left";
    }

done:
    free(gone);
    free(pairs);
    free(scratch);
    free(rest);
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
    uint8_t *scratch = need(malloc(lb_lift_scratch(len)));
    lb_fields_t f;
    const char *error = run_all(data, len, scratch, &f);
    const lb_str_t strings[] = {f.service, f.host, f.message, f.trace_id};

    for (size_t i = 0; i < 4 && !error; i++) {
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
