#include "flusher/clickhouse/preflight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flusher/clickhouse/columns.h"
#include "flusher/clickhouse/native.h"
#include "flusher/clickhouse/settings.h"
#include "spool/lb_uuid.h"

/*
 * One row of fields, a tab between them:
 *
 *   look, clock (ms), server's time zone, tables of the name, engine, UUID,
 *   partition key, engine with settings, columns |name type|..., settings
 *   |name value|..., end
 *
 * The first and the last tell it from the answer of something else.
 */
enum {
    LOOK,
    CLOCK,
    ZONE,
    TABLES,
    ENGINE,
    UUID,
    PARTITION,
    FULL,
    COLUMNS,
    SETTINGS,
    END,
    FIELDS
};

void
lb_preflight_sql(const lb_options_t *o, char *sql, size_t size)
{
    char names[LB_SETTINGS_SQL], columns[LB_COLUMNS_TEXT];
    size_t i, n = 0;

    lb_settings_names(names, sizeof(names));

    for (i = 0; i < LB_COLUMNS; i++) {
        n += (size_t)snprintf(columns + n, sizeof(columns) - n, "%s'%s'",
                              i > 0 ? "," : "", lb_columns[i].name);
    }

    /* the names of the options were checked to be plain */
    (void)snprintf(
        sql, size,
        "SELECT 'look', toUnixTimestamp64Milli(now64(3)), serverTimezone(), "
        "count(), max(engine), max(toString(uuid)), "
        "max(replaceRegexpAll(partition_key, '\\\\s', '')), "
        "max(replaceRegexpAll(substring(engine_full, 1, 4000), '\\\\s', ' ')), "
        "(SELECT concat('|', arrayStringConcat(groupArray(concat(name, ' ', "
        "replaceRegexpAll(substring(type, 1, 200), '[|\\\\s]', ' '))), '|'), "
        "'|') FROM system.columns WHERE database = '%s' AND table = '%s' "
        "AND name IN (%s) AND default_kind IN ('', 'DEFAULT')), "
        "(SELECT concat('|', arrayStringConcat(groupArray(concat(name, ' ', "
        "replaceRegexpAll(substring(value, 1, 100), '[|\\\\s]', ' '))), '|'), "
        "'|') FROM system.settings WHERE name IN (%s)), 'end' "
        "FROM system.tables WHERE database = '%s' AND name = '%s' "
        "FORMAT TabSeparatedRaw",
        o->database, o->table, columns, names, o->database, o->table);
}

/* The type of a column, up to |; NULL: there is no such column to write. */
static const char *
type_of(const char *columns, const char *name, size_t *len)
{
    char key[96];
    const char *p;

    (void)snprintf(key, sizeof(key), "|%s ", name);

    p = strstr(columns, key);
    if (p == NULL) {
        return NULL;
    }

    p += strlen(key);
    *len = strcspn(p, "|");

    return p;
}

/* 1 if a day begins when it begins in UTC. */
static int
is_utc(const char *zone, size_t len)
{
    size_t i;

    static const char *const zones[] = {
        "UTC",   "Etc/UTC",  "UCT",           "Etc/UCT",   "Zulu", "Etc/Zulu",
        "GMT",   "Etc/GMT",  "Etc/Universal", "Universal", "GMT0", "GMT+0",
        "GMT-0", "Etc/GMT0", "Etc/GMT+0",     "Etc/GMT-0"};

    for (i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        if (strlen(zones[i]) == len && memcmp(zone, zones[i], len) == 0) {
            return 1;
        }
    }

    return 0;
}

/* Writes what is wrong with the columns. */
static void
judge_columns(const char *columns, char *reason, size_t size)
{
    size_t i, len, got = 0;
    const char *name, *type, *wanted;

    for (i = 0; i < LB_COLUMNS_FIXED; i++) {
        name = lb_columns[i].name;
        type = type_of(columns, name, &got);

        if (type == NULL) {
            (void)snprintf(reason, size,
                           "the table has no column %s that can be written",
                           name);
            return;
        }

        /* what the flusher asks by has to be what it was sent as */
        wanted = strcmp(name, "ring") == 0          ? "UUID"
                 : strcmp(name, "seq") == 0         ? "UInt64"
                 : strcmp(name, "received_at") == 0 ? "DateTime64("
                                                    : "";
        len = strlen(wanted);

        if (strncmp(type, wanted, len) != 0 ||
            (len > 0 && wanted[len - 1] != '(' && got != len)) {
            (void)snprintf(reason, size, "the column %s is %.*s and must be %s",
                           name, (int)(got < 80 ? got : 80), type,
                           wanted[len - 1] == '(' ? "DateTime64(6, 'UTC')"
                                                  : wanted);
            return;
        }
    }
}

/* Which of the columns that a table may lack it has, and takes any value in;
 * names the others. */
static uint32_t
find_more(const char *columns, char *lacks, size_t size)
{
    size_t i, got = 0, n = 0;
    uint32_t more = 0;
    const char *type;

    for (i = LB_COLUMNS_FIXED; i < LB_COLUMNS; i++) {
        type = type_of(columns, lb_columns[i].name, &got);
        if (type != NULL && lb_columns_takes(&lb_columns[i], type, got)) {
            more |= 1u << (i - LB_COLUMNS_FIXED);
        } else if (n < size) {
            n += (size_t)snprintf(lacks + n, size - n, "%s%s",
                                  n > 0 ? ", " : "", lb_columns[i].name);
        }
    }

    return more;
}

/* Writes why one UTC day of receipt may not lie in one partition. */
static void
judge_partition(const char *key, const char *columns, const char *server,
                char *reason, size_t size)
{
    int utc;
    size_t i, len, got = 0;
    const char *type, *zone;

    static const char *const good[] = {
        "toDate(received_at",         "toYYYYMMDD(received_at",
        "toStartOfDay(received_at",   "toMonday(received_at",
        "toStartOfWeek(received_at",  "toYYYYMM(received_at",
        "toStartOfMonth(received_at", "toStartOfQuarter(received_at",
        "toStartOfYear(received_at",  "toYear(received_at",
    };

    if (key[0] == '\0' || strcmp(key, "tuple()") == 0) {
        return;
    }

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        len = strlen(good[i]);
        if (strncmp(key, good[i], len) == 0 &&
            (strcmp(key + len, ")") == 0 ||
             strcmp(key + len, ",'UTC')") == 0)) {
            break;
        }
    }

    if (i == sizeof(good) / sizeof(good[0])) {
        (void)snprintf(reason, size,
                       "the table is partitioned by %.200s, so a batch may be "
                       "inserted in part: PARTITION BY toDate(received_at)",
                       key);
        return;
    }

    /* the zone of the function, else of the column, else of the server */
    type = type_of(columns, "received_at", &got);
    zone = type != NULL ? memchr(type, '\'', got) : NULL;

    if (key[strlen(good[i])] == ',') {
        utc = 1;
    } else if (zone != NULL) {
        zone++;
        got = strcspn(zone, "'|");
        utc = is_utc(zone, got);
    } else {
        zone = server;
        got = strlen(server);
        utc = is_utc(zone, got);
    }

    if (!utc) {
        (void)snprintf(reason, size,
                       "the column received_at is in the time zone %.*s, and "
                       "a batch of one day of UTC may be inserted in part "
                       "when a partition ends there: it must be "
                       "DateTime64(6, 'UTC')",
                       (int)(got < 60 ? got : 60), zone);
    }
}

/* The number of a setting of the table, def without one. */
static unsigned long long
table_setting(const char *engine, const char *name, unsigned long long def)
{
    char key[96];
    const char *p = engine;

    (void)snprintf(key, sizeof(key), " %s = ", name);
    p = strstr(engine, key);

    return p != NULL ? strtoull(p + strlen(key), NULL, 10) : def;
}

static void
judge_engine(const char *engine, const char *full, lb_verdict_t *p)
{
    size_t len;
    unsigned long long window;
    const char *base = engine, *alter;

    if (strncmp(base, "Replicated", 10) == 0) {
        base += 10;
    } else if (strncmp(base, "Shared", 6) == 0) {
        base += 6;
    }

    p->replicated = base != engine;
    len = strlen(base);

    if (strcmp(base, "Null") == 0) {
        p->hold = 1;
        (void)snprintf(p->reason, sizeof(p->reason),
                       "the table's engine is Null, which throws every row "
                       "away: nothing is sent until it is a MergeTree");
        return;
    }

    if (len < 9 || strcmp(base + len - 9, "MergeTree") != 0) {
        (void)snprintf(p->reason, sizeof(p->reason),
                       "only tables of the MergeTree family deduplicate, "
                       "this one is %.100s",
                       engine);
        return;
    }

    if (len > 9) {
        p->hold = 1;
        (void)snprintf(p->reason, sizeof(p->reason),
                       "the table's engine is %.100s, which merges rows away: "
                       "nothing is sent until it is a MergeTree",
                       engine);
        return;
    }

    if (p->replicated) {
        window = table_setting(full, "replicated_deduplication_window", 1000);
        if (table_setting(full, "replicated_deduplication_window_seconds", 1) ==
            0) {
            window = 0;
        }
        alter = "replicated_deduplication_window";
    } else {
        window = table_setting(full, "non_replicated_deduplication_window", 0);
        alter = "non_replicated_deduplication_window";
    }

    if (window < LB_PREFLIGHT_WINDOW) {
        (void)snprintf(p->reason, sizeof(p->reason),
                       "the table has %s deduplication window%s: ALTER TABLE "
                       "... MODIFY SETTING %s = 10000",
                       window == 0 ? "no" : "too small a",
                       window == 0 ? "" : " for repetitions that come late",
                       alter);
    }
}

static void
unknown(lb_verdict_t *p, const char *why)
{
    p->verdict = "unknown";
    (void)snprintf(p->reason, sizeof(p->reason), "%.500s", why);
}

void
lb_preflight_judge(const lb_options_t *o, const lb_ch_result_t *result,
                   lb_verdict_t *p)
{
    int n, held = p->hold;
    char *c, why[512], *field[FIELDS];

    static char answer[sizeof(result->answer)];

    p->verdict = "no";
    p->reason[0] = '\0';
    p->server_ms = 0;
    p->replicated = -1;
    memset(p->table_uuid, 0, sizeof(p->table_uuid));
    p->encoding = 0;
    p->lacks[0] = '\0';

    if (result->outcome != LB_SINK_DONE) {
        unknown(p, result->text);

        /* nothing can be sent either: this is known */
        if (result->code == LB_CH_READONLY ||
            result->code == LB_CH_SETTING_CONSTRAINT) {
            p->verdict = "no";
        }

        return;
    }

    (void)snprintf(answer, sizeof(answer), "%s", result->answer);
    answer[strcspn(answer, "\r\n")] = '\0';

    field[0] = answer;
    for (n = 1, c = answer; n < FIELDS && (c = strchr(c, '\t')) != NULL; n++) {
        *c++ = '\0';
        field[n] = c;
    }

    if (n != FIELDS || strcmp(field[LOOK], "look") != 0 ||
        strcmp(field[END], "end") != 0) {
        (void)snprintf(why, sizeof(why),
                       "the answer to the look at the table is not "
                       "ClickHouse's: %.100s",
                       answer);
        unknown(p, why);
        return;
    }

    p->hold = 0;
    p->server_ms = strtoll(field[CLOCK], NULL, 10);

    if (strtoul(field[TABLES], NULL, 10) != 1) {
        /* made anew, it may be another one: what was wrong may still be */
        p->hold = held;
        (void)snprintf(p->reason, sizeof(p->reason),
                       "the table %s.%s does not exist or this user has no "
                       "rights on it",
                       o->database, o->table);
        return;
    }

    if (lb_uuid_parse(field[UUID], p->table_uuid) != 0) {
        memset(p->table_uuid, 0, sizeof(p->table_uuid));
    }

    p->encoding =
        LB_ENCODING(LB_NATIVE_VERSION,
                    find_more(field[COLUMNS], p->lacks, sizeof(p->lacks)));

    p->whole = lb_settings_whole(o, field[SETTINGS]);

    /* first what holds everything up */
    judge_engine(field[ENGINE], field[FULL], p);

    if (!p->hold) {
        p->hold = lb_settings_judge(o, field[SETTINGS], why, sizeof(why));
        if (p->hold || p->reason[0] == '\0') {
            (void)snprintf(p->reason, sizeof(p->reason), "%s", why);
        }
    }

    if (p->reason[0] == '\0') {
        judge_columns(field[COLUMNS], p->reason, sizeof(p->reason));
    }

    if (p->reason[0] == '\0') {
        judge_partition(field[PARTITION], field[COLUMNS], field[ZONE],
                        p->reason, sizeof(p->reason));
    }

    if (p->reason[0] == '\0') {
        p->verdict = "yes";
    }
}
