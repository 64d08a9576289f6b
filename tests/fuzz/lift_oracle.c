/*
 * The lifter's slow twin: from lists of the members, with jansson's strings,
 * the C library's calendar and its regular expressions.
 */

#include "tests/fuzz/lift_oracle.h"

#include "event/lift.h"
#include "event/ways.h"

#include <ctype.h>
#include <jansson.h>
#include <regex.h>
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

/* The names, best first; behind a ':' how they are read, if not as most. */
static const char *const aliases[FIELDS] = {
    "timestamp time ts @timestamp Timestamp @t datetime date asctime "
    "timeMillis instant __REALTIME_TIMESTAMP timeUnixNano time_unix_nano "
    "eventTime event_time event.created Time _time time_iso8601 time_local "
    "timestamp.$date t.$date t created created_at observedTimeUnixNano "
    "ObservedTimestamp",
    "level:l severity:l lvl:l log.level:l levelname loglevel Level:l @l "
    "severity_text SeverityText severityText logLevel LogLevel log_level "
    "level_name levelName level.name LEVEL Severity:l error_severity "
    "PRIORITY:y severity_number:o SeverityNumber:o severityNumber:o levelno:p "
    "priority status:D s:M",
    "service service.name service_name app application serviceName "
    "ServiceName Service app_name appname appName application_name "
    "applicationName Application SYSLOG_IDENTIFIER dd.service "
    "kubernetes.container_name kubernetes.container.name _SYSTEMD_UNIT name:P",
    "host hostname host.name host.hostname host_name Hostname HostName Host "
    "hostName _HOSTNAME MachineName source_host syslog_hostname "
    "kubernetes.host kubernetes.node_name kubernetes.node.name agent.hostname "
    "beat.hostname",
    "message:a msg:a log body:a event Message:a @m:a RenderedMessage:a "
    "renderedMessage:a MESSAGE:b Body:a body.stringValue Body.stringValue "
    "short_message textPayload _msg @mt MessageTemplate messageTemplate "
    "full_message text line",
    "trace_id traceId trace.id traceid traceID dd.trace_id otelTraceID "
    "TraceId TraceID otel.trace_id @tr traceparent:w "
    "logging.googleapis.com/trace:/",
};

/* Objects that are looked into; behind a ':' the fields their members count
 * for under their own names. */
static const char *const parents =
    "timestamp t level service host log:012345 body event:012345 Body "
    "fields:012345 jsonPayload:012345 record:012345 resource:23 Resource:23 "
    "ResourceAttributes:23 kubernetes agent beat trace:5 span:5 mdc:5 "
    "contextMap:5 otel:5 dd";

typedef struct {
    const char *key; /* without its quotes */
    size_t key_len;
    const char *value;
    size_t value_len;
} pair_t;

/* A member that may become a field. */
typedef struct {
    pair_t pair;
    int at;     /* of the event's members */
    int within; /* of the members of that one, or -1 */
    char how;
    unsigned rank;
} candidate_t;

static void *
need(void *p)
{
    if (p == NULL) {
        abort();
    }
    return p;
}

/* The word of a list that is `word`, or begins with it and a ':'; *number is
 * which one it is. */
static const char *
listed(const char *list, const char *word, size_t len, unsigned *number)
{
    for (*number = 0; *list != '\0'; (*number)++) {
        size_t n = strcspn(list, " ");
        const char *colon = memchr(list, ':', n);
        size_t name = colon ? (size_t)(colon - list) : n;

        if (name == len && memcmp(list, word, len) == 0) {
            return list;
        }
        list += n + (list[n] == ' ');
    }
    return NULL;
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

/*
 * Times
 */

/* As in timestamp.c, but for what makes of them regular expressions. */
static const char *const dates[] = {
    "Y-m-dTH:M:SFZ",   "Y/m/dTH:M:SFZ",    "YmdTHMSFZ",     "d/b/Y:H:M:SFZ",
    "[d/b/Y:H:M:SFZ]", "a, e b Y H:M:SFZ", "e b Y H:M:SFZ", "a b e H:M:SF Y",
    "a b e H:M:SFZ Y", "a b e Y H:M:SFZ",
};

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

typedef struct {
    regex_t regex;
    int group[128]; /* of a letter */
} date_t;

static date_t *
compiled(size_t i)
{
    static date_t all[sizeof(dates) / sizeof(dates[0])];
    static int done;

    for (size_t k = 0; !done && k < sizeof(dates) / sizeof(dates[0]); k++) {
        char text[1024] = "^";
        int groups = 1;

        for (const char *f = dates[k]; *f; f++) {
            char one[4] = {*f == '[' || *f == ']' ? '\\' : *f, 0, 0, 0};
            const char *part = one;
            int inner = 0;

            one[1] = one[0] == '\\' ? *f : '\0';
            switch (*f) {
            case 'Y':
                part = "([0-9]{4})";
                break;
            case 'm':
            case 'd':
            case 'H':
            case 'M':
            case 'S':
                part = "([0-9]{2})";
                break;
            case 'e':
                part = "( ?[0-9]{1,2})";
                break;
            case 'b':
                part = "(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)";
                break;
            case 'a':
                part = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)";
                break;
            case 'T':
                part = "([Tt ])";
                break;
            case 'F':
                part = "([.,][0-9]+)?";
                break;
            case 'Z':
                part = "( ?(Z|z|UTC|GMT|(UTC|GMT)?[+-][0-9]{2}(:?[0-9]{2})?"
                       "( [A-Z]{2,5}|\\[.+\\]| \\(.*\\))?))?";
                inner = 4;
                break;
            }
            if (isalpha((unsigned char)*f)) {
                all[k].group[(int)*f] = groups;
                groups += 1 + inner;
            }
            strcat(text, part);
        }
        strcat(text, "$");
        if (groups > 19 || regcomp(&all[k].regex, text, REG_EXTENDED) != 0) {
            abort();
        }
    }
    done = 1;
    return &all[i];
}

/* The digits at s as nanoseconds; *more: there are others than 0 behind. */
static int64_t
nanoseconds(const char *s, size_t n, int *more)
{
    int64_t value = 0;

    for (size_t i = 0; i < 9; i++) {
        value = value * 10 + (i < n ? s[i] - '0' : 0);
    }
    for (size_t i = 9; i < n; i++) {
        *more |= s[i] != '0';
    }
    return value;
}

static int
date_time(const char *s, const date_t *date, int64_t *ns, int *more)
{
    regmatch_t m[20];
    struct tm tm = {0}, again;
    time_t t;
    int64_t part = 0;
    const int *group = date->group;

#define AT(c) (s + m[group[c]].rm_so)
    if (regexec(&date->regex, s, 20, m, 0) != 0) {
        return 0;
    }
    tm.tm_year = (int)strtol(strndupa(AT('Y'), 4), NULL, 10) - 1900;
    tm.tm_mon = group['m']
                    ? (int)strtol(strndupa(AT('m'), 2), NULL, 10) - 1
                    : (int)(strstr(months, strndupa(AT('b'), 3)) - months) / 3;
    tm.tm_mday = group['d'] ? (int)strtol(strndupa(AT('d'), 2), NULL, 10)
                            : (int)strtol(AT('e'), NULL, 10);
    tm.tm_hour = (int)strtol(strndupa(AT('H'), 2), NULL, 10);
    tm.tm_min = (int)strtol(strndupa(AT('M'), 2), NULL, 10);
    tm.tm_sec = (int)strtol(strndupa(AT('S'), 2), NULL, 10);
    again = tm;
    t = timegm(&again);
    if (again.tm_year != tm.tm_year || again.tm_mon != tm.tm_mon ||
        again.tm_mday != tm.tm_mday || again.tm_hour != tm.tm_hour ||
        again.tm_min != tm.tm_min || again.tm_sec != tm.tm_sec) {
        return 0; /* no such day or second */
    }
    *more = 0;
    if (m[group['F']].rm_so >= 0) {
        part =
            nanoseconds(AT('F') + 1, strspn(AT('F') + 1, "0123456789"), more);
    }
    if (group['Z'] && m[group['Z']].rm_so >= 0) {
        const char *zone = AT('Z');
        const char *sign = strpbrk(
            strndupa(zone, (size_t)(m[group['Z']].rm_eo - m[group['Z']].rm_so)),
            "+-");

        if (sign) {
            long h = strtol(strndupa(sign + 1, 2), NULL, 10), min = 0;
            const char *rest = sign + 3 + (sign[3] == ':');

            if (isdigit((unsigned char)*rest)) {
                min = strtol(strndupa(rest, 2), NULL, 10);
            }
            if (h > 23 || min > 59) {
                return 0;
            }
            t -= (*sign == '+' ? 1 : -1) * (h * 3600 + min * 60);
        }
    }
#undef AT
    if (t < -2208988800 || t >= 9223286400) {
        return 0;
    }
    *ns = t * INT64_C(1000000000) + part;
    return 1;
}

static int
calendar_time(const char *s, int64_t *ns, int *more)
{
    for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        if (date_time(s, compiled(i), ns, more)) {
            return 1;
        }
    }
    return 0;
}

/* s without its exponent, which it may have; 0: it is no such number. */
static int
plain_number(const char *s, char *out)
{
    size_t whole = strspn(s, "0123456789"), places = 0, n = 0;
    const char *p = s + whole;
    long shift = 0;
    char digits[1100] = "";

    strncat(digits, s, whole);
    if (*p == '.' || *p == ',') {
        places = strspn(p + 1, "0123456789");
        strncat(digits, p + 1, places);
        p += 1 + places;
        if (places == 0 && *p == '\0') {
            return 0;
        }
    }
    if (*p == 'e' || *p == 'E') {
        const char *e = p + 1 + (p[1] == '+' || p[1] == '-');
        size_t len = strspn(e, "0123456789");

        if (len < 1 || len > 2 || e[len] != '\0' || whole + places == 0 ||
            whole + places > 62) {
            return 0;
        }
        shift = p[1] == '-' ? -strtol(e, NULL, 10) : strtol(e, NULL, 10);
        if ((long)whole + shift <= 0 && p[1] == '-') {
            return 0;
        }
        if ((long)whole + shift > 62) {
            return 0;
        }
        p = e + len;
        whole = (size_t)((long)whole + shift);
        while (strlen(digits) < whole) {
            strcat(digits, "0");
        }
        for (; n < whole && digits[n] == '0'; n++) {
        }
    }
    if (*p != '\0') {
        return 0;
    }
    sprintf(out, "%.*s.%s", (int)(whole - n), digits + n, digits + whole);
    return 1;
}

static int
epoch_time(const char *s, int64_t *ns, int *more)
{
    static const struct {
        size_t min, max;
        size_t places;
    } units[] = {{9, 11, 9}, {12, 14, 6}, {15, 17, 3}, {18, 19, 0}};
    char text[1200];
    size_t n;

    if (strlen(s) > 1000 || !plain_number(s, text)) {
        return 0;
    }
    n = strspn(text, "0123456789");
    *more = 0;
    if (n == 0 || text[0] == '0') {
        return 0;
    }
    for (size_t u = 0; u < 4; u++) {
        __int128 value = 0;
        const char *fraction = text + n + 1;

        if (n < units[u].min || n > units[u].max) {
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            value = value * 10 + (text[i] - '0');
        }
        for (size_t i = 0; i < units[u].places; i++) {
            value *= 10;
        }
        if (value >= (__int128)9223286400 * 1000000000) {
            return 0;
        }
        for (size_t i = 0, scale = 1; i < units[u].places; i++) {
            scale = 1;
            for (size_t k = i + 1; k < units[u].places; k++) {
                scale *= 10;
            }
            if (i < strlen(fraction)) {
                value += (__int128)(fraction[i] - '0') * scale;
            }
        }
        for (size_t i = units[u].places; i < strlen(fraction); i++) {
            *more |= fraction[i] != '0';
        }
        *ns = (int64_t)value;
        return 1;
    }
    return 0;
}

static int
is_near(int64_t ns)
{
    return ns / 1000000000 >=
               (int64_t)(RECEIVED / 1000000) - (4 * 365 + 366) * 86400 &&
           ns / 1000000000 <= (int64_t)(RECEIVED / 1000000) + 365 * 86400;
}

/* The value as a C string; NULL if it has none.  Of a string with escapes only
 * if it is short. */
static char *
plain_text(const pair_t *pair)
{
    json_t *json;
    char *text = NULL;

    if (pair->value[0] != '"') {
        return need(strndup(pair->value, pair->value_len));
    }
    if (memchr(pair->value, '\\', pair->value_len) && pair->value_len > 64) {
        return NULL;
    }
    json = json_loadb(pair->value, pair->value_len,
                      JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (json && json_string_length(json) == strlen(json_string_value(json))) {
        text = need(strdup(json_string_value(json)));
    }
    json_decref(json);
    return text;
}

/* 0: a date, 256: a number, -1: no time. */
static int
timestamp(const pair_t *pair, int64_t *ns, int *more)
{
    char *s = plain_text(pair);
    char seconds[16], nanos[16], text[32];
    int how = -1, end = 0;

    if (s == NULL) {
        return -1;
    }
    if (*s == '{' && pair->value[0] == '{') {
        if ((sscanf(s, "{\"epochSecond\":%11[0-9],\"nanoOfSecond\":%9[0-9]}%n",
                    seconds, nanos, &end) == 2 ||
             sscanf(s, "{\"seconds\":%11[0-9],\"nanos\":%9[0-9]}%n", seconds,
                    nanos, &end) == 2) &&
            (size_t)end == pair->value_len) {
            sprintf(text, "%s.%09ld", seconds, strtol(nanos, NULL, 10));
            how = epoch_time(text, ns, more) && is_near(*ns) ? 0 : -1;
        }
    } else if (pair->value[0] == '"' && calendar_time(s, ns, more)) {
        how = 0;
    } else if (epoch_time(s, ns, more) && is_near(*ns)) {
        how = 256;
    }
    free(s);
    return how;
}

/*
 * Levels
 */

static const char *const words[][2] = {
    {"trace", "trace all finest silly t trac trc trce v verb verbose vrb"},
    {"debug", "debug config d dbg dbug debu fine finer http"},
    {"info", "info i inf information informational log ok success"},
    {"notice", "notice n note ntc"},
    {"warn", "warn w warning wrn"},
    {"error", "error e eror err erro fail failed failure severe"},
    {"fatal", "fatal alert c crit critical dpanic emerg emergency f fata ftl "
              "pani panic"},
};

static const char *
level_by_number(long n, char how)
{
    static const char *const syslog[] = {"fatal", "fatal",  "fatal", "error",
                                         "warn",  "notice", "info",  "debug"};
    static const char *const otel[] = {"trace", "debug", "info",
                                       "warn",  "error", "fatal"};
    static const char *const python[] = {"debug", "info", "warn", "error",
                                         "fatal"};

    switch (how) {
    case 'y':
        return n < 8 ? syslog[n] : NULL;
    case 'o':
        return n >= 1 && n <= 24 ? otel[(n - 1) / 4] : NULL;
    case 'p':
        return n >= 10 && n <= 50 ? python[n / 10 - 1] : NULL;
    case 'l':
        return n < 8                               ? syslog[n]
               : n >= 10 && n <= 60 && n % 10 == 0 ? otel[n / 10 - 1]
               : n == 100                          ? "debug"
               : n == 200                          ? "info"
               : n == 250                          ? "notice"
               : n == 300                          ? "warn"
               : n == 400                          ? "error"
               : n == 500 || n == 550 || n == 600  ? "fatal"
                                                   : NULL;
    }
    return NULL;
}

static const char *
level_by_word(const char *s, size_t len)
{
    char *lower = strndupa(s, len);
    unsigned number;

    for (char *p = lower; *p; p++) {
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    }
    for (size_t i = 0; len > 0 && i < sizeof(words) / sizeof(words[0]); i++) {
        if (listed(words[i][1], lower, len, &number)) {
            return words[i][0];
        }
    }
    return NULL;
}

/* The name of the level, and whether the value is just that. */
static const char *
level_name(const pair_t *pair, char how, int *same)
{
    char *s = plain_text(pair);
    const char *name = NULL;
    size_t len;

    *same = 0;
    if (s == NULL || (pair->value[0] != '"' && !isdigit((unsigned char)*s))) {
        free(s);
        return NULL;
    }
    len = strlen(s);
    if (len > 0 && strspn(s, "0123456789") == len) {
        if (len <= 3 && (len == 1 || *s != '0')) {
            name = level_by_number(strtol(s, NULL, 10), how);
        }
    } else if (!isdigit((unsigned char)*s)) {
        name = level_by_word(s, len);
        *same = name && strcasecmp(name, s) == 0;
        if (name == NULL) {
            while (len > 0 && isdigit((unsigned char)s[len - 1])) {
                len--;
            }
            len -= len > 0 && strchr("+-", s[len - 1]) != NULL;
            name = level_by_word(s, len);
        }
    }
    free(s);
    return name;
}

/*
 * Texts
 */

/* The bytes of an array of them as text; NULL: it is none. */
static char *
array_text(const pair_t *pair, size_t *len, int *broken)
{
    json_t *json = json_loadb(pair->value, pair->value_len, 0, NULL);
    size_t n = json_array_size(json), i, o = 0;
    unsigned char *raw = need(malloc(n + 8));
    char *text = need(malloc(3 * n + 1));

    *broken = 0;
    for (i = 0; i < n; i++) {
        json_t *item = json_array_get(json, i);

        if (!json_is_integer(item) || json_integer_value(item) < 0 ||
            json_integer_value(item) > 255) {
            break;
        }
        raw[i] = (unsigned char)json_integer_value(item);
    }
    json_decref(json);
    /* "-0" is an integer for jansson */
    if (i < n || n == 0 || memchr(pair->value, '-', pair->value_len)) {
        free(raw);
        free(text);
        return NULL;
    }
    for (i = 0; i < n;) {
        size_t k = 1;
        json_t *ok = NULL;

        /* the shortest piece that jansson takes is a character */
        for (; k <= 4 && i + k <= n; k++) {
            ok = json_stringn((const char *)raw + i, k);
            if (ok) {
                break;
            }
        }
        if (ok) {
            memcpy(text + o, raw + i, k);
            o += k;
            i += k;
            json_decref(ok);
        } else {
            memcpy(text + o, "\xef\xbf\xbd", 3);
            o += 3;
            i++;
            *broken = 1;
        }
    }
    free(raw);
    *len = o;
    return text;
}

/* 0 or 256 to add to the rank, -1: no text. */
static int
text_rank(const pair_t *pair, char how)
{
    char c = pair->value[0];
    int broken;
    size_t len;
    char *text;

    if (how == 'w' || how == '/') {
        char *s = memchr(pair->value, '\\', pair->value_len) || c != '"'
                      ? NULL
                      : strndupa(pair->value + 1, pair->value_len - 2);

        if (s == NULL) {
            return -1;
        }
        if (how == '/') {
            return strrchr(s, '/') && strrchr(s, '/')[1] ? 0 : -1;
        }
        return strlen(s) >= 55 && s[2] == '-' && s[35] == '-' && s[52] == '-' &&
                       strspn(s + 3, "0123456789abcdefABCDEF") == 32
                   ? 0
                   : -1;
    }
    if (c == '"') {
        return pair->value_len > 2 ? 0 : -1;
    }
    if ((how != 'a' && how != 'b') || c == 'n' ||
        (pair->value_len == 2 && strchr("{[", c))) {
        return -1;
    }
    if (how == 'b' && c == '[') {
        text = array_text(pair, &len, &broken);
        free(text);
        return text ? 0 : 256;
    }
    return 256;
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
            pair_t *inner = need(malloc(MEMBERS_MAX * sizeof(*inner)));
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
    const char *alias = listed(aliases[field], name, len, &number);
    int added, same;
    int64_t t;
    int inexact = 0;

    if (alias == NULL) {
        return;
    }
    c.how = alias[len] == ':' ? alias[len + 1] : ' ';
    added = field == TIMESTAMP ? timestamp(&c.pair, &t, &inexact)
            : field == LEVEL   ? (level_name(&c.pair, c.how, &same) ? 0 : -1)
                               : text_rank(&c.pair, c.how);
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
    pair_t *inner = need(malloc(MEMBERS_MAX * sizeof(*inner)));

    for (int i = 0; i < n; i++) {
        candidate_t c = {pairs[i], i, -1, ' ', 0};
        unsigned number;
        const char *parent =
            listed(parents, pairs[i].key, pairs[i].key_len, &number);
        int k = parent && *pairs[i].value == '{'
                    ? split(pairs[i].value, pairs[i].value_len, inner)
                    : 0;

        for (int j = 0; j < k; j++) {
            char *dotted =
                need(malloc(pairs[i].key_len + inner[j].key_len + 2));
            int known = 0, own = 0;
            char mask[2] = {(char)('0' + field), 0};

            sprintf(dotted, "%.*s.%.*s", (int)pairs[i].key_len, pairs[i].key,
                    (int)inner[j].key_len, inner[j].key);
            c.pair = inner[j];
            c.within = j;
            for (int f = 0; f < FIELDS; f++) {
                known |=
                    listed(aliases[f], dotted, strlen(dotted), &number) != NULL;
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
        text = need(strdup(level_name(pair, c->how, &same)));
        len = strlen(text);
        *stays = !same;
    } else if (c->how == 'w') {
        text = need(strndup(pair->value + 4, 32));
        len = 32;
        *stays = 1;
    } else if (c->how == '/') {
        text = need(strndup(pair->value + 1, pair->value_len - 2));
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
        text = need(malloc(len + 1));
        memcpy(text, json_string_value(json), len);
        json_decref(json);
    } else {
        text = c->how == 'b' && pair->value[0] == '['
                   ? array_text(pair, &len, stays)
                   : NULL;
        if (text == NULL) {
            text = need(strndup(pair->value, pair->value_len));
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
    pair_t *inner = need(malloc(MEMBERS_MAX * sizeof(*inner)));
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

const char *
lift_oracle_event(const uint8_t *event, size_t len)
{
    pair_t *pairs = need(malloc(MEMBERS_MAX * sizeof(*pairs)));
    uint8_t *scratch = need(malloc(lb_lift_scratch(len)));
    char *rest = need(malloc(len + 8));
    size_t rest_len;
    candidate_t gone[FIELDS];
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

    for (int f = 0; f < FIELDS && !error; f++) {
        int stays = 0;

        gone[f] = choose(f, pairs, n, &ns, &more);
        if (gone[f].rank == 0) {
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
            stays = more;
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
