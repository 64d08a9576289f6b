/*
 * What values say, for the lifter's slow twin: by the C library's calendar and
 * regular expressions, and by jansson.
 */

#include "tests/fuzz/lift_oracle_values.h"

#include <ctype.h>
#include <jansson.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void *
lift_oracle_need(void *p)
{
    if (p == NULL) {
        abort();
    }
    return p;
}

/* The word of a list that is `word`, or begins with it and a ':'; *number is
 * which one it is. */
const char *
lift_oracle_listed(const char *list, const char *word, size_t len,
                   unsigned *number)
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

/*
 * Times
 */

/* As in timestamp.c, but for what makes of them regular expressions. */
static const char *const dates[] = {
    "Y-m-dTH:M:SFZ",    "Y/m/dTH:M:SFZ", "YmdTHMSFZ",      "d/b/Y:H:M:SFZ",
    "d/b/Y H:M:SFZ",    "d-b-Y H:M:SFZ", "d.m.YTH:M:SFZ",  "[d/b/Y:H:M:SFZ]",
    "a, e b Y H:M:SFZ", "e b Y H:M:SFZ", "a b e H:M:SF Y", "a b e H:M:SFZ Y",
    "a b e Y H:M:SFZ",
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
            char one[4] = {strchr("[].", *f) != NULL ? '\\' : *f, 0, 0, 0};
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
        return lift_oracle_need(strndup(pair->value, pair->value_len));
    }
    if (memchr(pair->value, '\\', pair->value_len) && pair->value_len > 64) {
        return NULL;
    }
    json = json_loadb(pair->value, pair->value_len,
                      JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (json && json_string_length(json) == strlen(json_string_value(json))) {
        text = lift_oracle_need(strdup(json_string_value(json)));
    }
    json_decref(json);
    return text;
}

/* 0: a date, 256: a number, -1: no time. */
int
lift_oracle_timestamp(const pair_t *pair, int64_t *ns, int *more)
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
    {"fatal",
     "fatal alert assert c crit critical dpanic emerg emergency f fata ftl "
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
        if (lift_oracle_listed(words[i][1], lower, len, &number)) {
            return words[i][0];
        }
    }
    return NULL;
}

/* The name of the level, and whether the value is just that. */
const char *
lift_oracle_level_name(const pair_t *pair, char how, int *same)
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
char *
lift_oracle_array_text(const pair_t *pair, size_t *len, int *broken)
{
    json_t *json = json_loadb(pair->value, pair->value_len, 0, NULL);
    size_t n = json_array_size(json), i, o = 0;
    unsigned char *raw = lift_oracle_need(malloc(n + 8));
    char *text = lift_oracle_need(malloc(3 * n + 1));

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

static int
hex(const char *s, size_t len)
{
    return strspn(s, "0123456789abcdefABCDEF") >= len;
}

/* A severity of OpenTelemetry's, the flags of a trace. */
static int
number_rank(const pair_t *pair, char how)
{
    char *s = strndupa(pair->value, pair->value_len);
    size_t digits;
    unsigned long value;

    if (*s == '"') {
        s[strlen(s) - 1] = '\0';
        s++;
        if (how != 'n') {
            return strlen(s) == 2 && hex(s, 2) && strcmp(s, "00") != 0 ? 0 : -1;
        }
        if (*s == '0') {
            return -1;
        }
    }
    digits = strspn(s, "0123456789");
    value = strtoul(s, NULL, 10);

    return digits > 0 && digits == strlen(s) && digits <= 3 && value > 0 &&
                   value <= (how == 'n' ? 24u : 255u)
               ? 0
               : -1;
}

/* 0 or 256 to add to the rank, -1: no text. */
int
lift_oracle_text_rank(const pair_t *pair, char how)
{
    char c = pair->value[0];
    int broken;
    size_t len;
    char *text;

    if (how == 'j') {
        return c == '{' && pair->value_len > 2 ? 0 : -1;
    }
    if (how == 'n' || how == 'f' || how == 'S') {
        return number_rank(pair, how);
    }
    if (strchr("wxz/", how) != NULL) {
        char *s = memchr(pair->value, '\\', pair->value_len) || c != '"'
                      ? NULL
                      : strndupa(pair->value + 1, pair->value_len - 2);

        if (s == NULL) {
            return -1;
        }
        if (how == '/') {
            const char *slash = strrchr(s, '/');

            return slash != NULL && slash[1] != '\0' && slash - s >= 7 &&
                           memcmp(slash - 7, "/traces", 7) == 0
                       ? 0
                       : -1;
        }
        if (strlen(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-') {
            return -1;
        }
        return how == 'w'   ? (hex(s + 3, 32) ? 0 : -1)
               : how == 'x' ? (hex(s + 36, 16) ? 0 : -1)
               : hex(s + 53, 2) && memcmp(s + 53, "00", 2) != 0 ? 0
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
        text = lift_oracle_array_text(pair, &len, &broken);
        free(text);
        return text ? 0 : 256;
    }
    return 256;
}
