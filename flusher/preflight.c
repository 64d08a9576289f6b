#include "flusher/preflight.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flusher/native.h"

void
lb_preflight_sql(const lb_options_t *o, char *sql, size_t size)
{
    /* the names were checked to be plain */
    (void)snprintf(sql, size,
                   "SELECT engine_full, (SELECT concat(',', "
                   "arrayStringConcat(groupArray(name || if(name IN "
                   "('ring', 'seq'), ' ' || type, '')), ','), ',') "
                   "FROM system.columns WHERE database = '%s' "
                   "AND table = '%s'), "
                   "replaceRegexpAll(partition_key, '\\\\s', ''), "
                   "(SELECT count() FROM system.settings WHERE "
                   "name = 'async_insert' AND value != '0' AND readonly), "
                   "uuid, "
                   "toUnixTimestamp64Milli(now64(3)) "
                   "FROM system.tables "
                   "WHERE database = '%s' AND name = '%s' "
                   "FORMAT TabSeparatedRaw",
                   o->database, o->table, o->database, o->table);
}

static int
missing_column(const char *columns, char *name, size_t size)
{
    char key[64];
    size_t len;
    const char *p, *end;

    for (p = lb_native_columns; *p != '\0'; p = *end ? end + 1 : end) {
        end = strchr(p, ',');
        end = end != NULL ? end : p + strlen(p);
        len = (size_t)(end - p);

        /* what the flusher asks by has to be what it was sent as */
        (void)snprintf(key, sizeof(key), ",%.*s%s,", (int)len, p,
                       len == 4 && memcmp(p, "ring", 4) == 0  ? " UUID"
                       : len == 3 && memcmp(p, "seq", 3) == 0 ? " UInt64"
                                                              : "");

        if (strstr(columns, key) == NULL) {
            key[strlen(key) - 1] = '\0';
            (void)snprintf(name, size, "%s", key + 1);
            return 1;
        }
    }

    return 0;
}

void
lb_preflight_judge(const lb_ch_result_t *result, lb_preflight_t *p)
{
    char name[64], uuid[LB_UUID_TEXT];
    const char *engine = result->answer, *columns, *partition, *window, *end;
    size_t i, len;

    /* one UTC day of receipt must lie in one partition */
    static const char *const good[] = {
        "",
        "toDate(received_at)",
        "toYYYYMMDD(received_at)",
        "toStartOfDay(received_at)",
        "toMonday(received_at)",
        "toStartOfWeek(received_at)",
        "toYYYYMM(received_at)",
        "toStartOfMonth(received_at)",
        "toYear(received_at)",
    };

    static const char key[] = "non_replicated_deduplication_window = ";

    p->verdict = "no";
    p->reason[0] = '\0';
    p->server_ms = 0;
    p->replicated = -1;
    memset(p->table_uuid, 0, sizeof(p->table_uuid));

    if (result->outcome != LB_CH_DONE) {
        p->verdict = "unknown";
        (void)snprintf(p->reason, sizeof(p->reason), "%.500s", result->text);
        return;
    }

    columns = strchr(engine, '\t');

    end = strrchr(engine, '\t');

    if (end != NULL) {
        p->server_ms = strtoll(end + 1, NULL, 10);
        p->replicated = strncmp(engine, "Replicated", 10) == 0 ||
                        strncmp(engine, "Shared", 6) == 0;

        if (end - engine >= LB_UUID_TEXT && end[-LB_UUID_TEXT] == '\t') {
            memcpy(uuid, end - LB_UUID_TEXT + 1, LB_UUID_TEXT - 1);
            uuid[LB_UUID_TEXT - 1] = '\0';
            if (lb_uuid_parse(uuid, p->table_uuid) != 0) {
                memset(p->table_uuid, 0, sizeof(p->table_uuid));
            }
        }
    }

    if (columns == NULL) {
        (void)snprintf(p->reason, sizeof(p->reason),
                       "the table does not exist or this user has no rights "
                       "on it");
        return;
    }

    if (missing_column(columns, name, sizeof(name))) {
        (void)snprintf(p->reason, sizeof(p->reason),
                       "the table has no column %s", name);
        return;
    }

    partition = strchr(columns + 1, '\t');
    partition = partition != NULL ? partition + 1 : columns;
    len = strcspn(partition, "\t\n");

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (strlen(good[i]) == len && memcmp(partition, good[i], len) == 0) {
            break;
        }
    }

    if (i == sizeof(good) / sizeof(good[0])) {
        (void)snprintf(p->reason, sizeof(p->reason),
                       "the table is partitioned by %.*s, so a batch may be "
                       "inserted in part: PARTITION BY toDate(received_at)",
                       (int)(len < 200 ? len : 200), partition);
        return;
    }

    if (partition[len] == '\t' && strtoul(partition + len + 1, NULL, 10) > 0) {
        (void)snprintf(p->reason, sizeof(p->reason),
                       "async_insert is on for this user and may not be "
                       "changed: take the constraint off");
        return;
    }

    if (p->replicated == 1) {
        p->verdict = "yes";
        return;
    }

    if (strstr(engine, "MergeTree") == NULL ||
        strstr(engine, "MergeTree") > columns) {
        (void)snprintf(p->reason, sizeof(p->reason),
                       "only tables of the MergeTree family deduplicate, "
                       "this one is %.*s",
                       (int)strcspn(engine, " (\t"), engine);
        return;
    }

    window = strstr(engine, key);

    if (window == NULL || strtoull(window + sizeof(key) - 1, NULL, 10) == 0) {
        (void)snprintf(p->reason, sizeof(p->reason),
                       "the table has no deduplication window: ALTER TABLE "
                       "... MODIFY SETTING "
                       "non_replicated_deduplication_window = 10000");
        return;
    }

    p->verdict = "yes";
}
