#include "flusher/clickhouse/question.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flusher/clickhouse/columns.h"
#include "spool/lb_uuid.h"

void
lb_question_table(const char *table, char *out, size_t size)
{
    const char *dot = strchr(table, '.');

    (void)snprintf(out, size, "`%.*s`.`%s`",
                   dot != NULL ? (int)(dot - table) : 0, table,
                   dot != NULL ? dot + 1 : table);
}

typedef struct {
    char *buf;
    size_t len;
    size_t size;
} text_t;

__attribute__((format(printf, 2, 3))) static void
put(text_t *t, const char *fmt, ...)
{
    int n;
    va_list ap;

    va_start(ap, fmt);
    n = vsnprintf(t->buf + t->len, t->size - t->len, fmt, ap);
    va_end(ap);

    /* the sizes are computed to be enough */
    t->len += n > 0 ? (size_t)n : 0;
}

static int
text_new(text_t *t, const lb_ckpt_state_t *state)
{
    t->len = 0;
    t->size = 2048 + state->nrings * 320;
    t->buf = malloc(t->size);

    return t->buf != NULL ? 0 : -1;
}

/* ", running, behind": the second and third column of both questions. */
static void
put_state(text_t *t, const char *table, const char *prefix, unsigned flags)
{
    const char *dot = strchr(table, '.');

    if (flags & LB_ASK_NO_PROCESSES) {
        put(t, ", 0");
    } else {
        put(t,
            ", (SELECT count() FROM system.processes WHERE "
            "startsWith(query_id, '%s'))",
            prefix);
    }

    if (flags & LB_ASK_NO_REPLICAS) {
        put(t, ", 0");
    } else {
        put(t,
            ", (SELECT count() FROM system.replicas WHERE database = '%.*s' "
            "AND table = '%s' AND (is_readonly OR inserts_in_queue > 0 OR "
            "log_max_index >= log_pointer))",
            dot != NULL ? (int)(dot - table) : 0, table,
            dot != NULL ? dot + 1 : table);
    }
}

/* Rows received between these moments.  A column of one's own may keep less
 * than microseconds: it rounds down, never below the second. */
static void
put_between(text_t *t, uint64_t from_us, uint64_t to_us)
{
    put(t,
        "received_at BETWEEN fromUnixTimestamp64Micro(toInt64(%" PRIu64
        "), 'UTC') AND fromUnixTimestamp64Micro(toInt64(%" PRIu64 "), 'UTC')",
        from_us / 1000000 * 1000000, to_us);
}

char *
lb_question_batch(const lb_ckpt_state_t *state, const char *table,
                  const char *prefix, unsigned flags)
{
    char uuid[LB_UUID_TEXT], quoted[LB_TABLE_MAX + 8];
    const char * or = "";
    const char *dot = strchr(table, '.');
    text_t t;
    uint32_t i;
    const lb_ckpt_ring_t *e;

    if (text_new(&t, state) != 0) {
        return NULL;
    }

    lb_question_table(table, quoted, sizeof(quoted));

    put(&t, "SELECT count()");
    put_state(&t, table, prefix, flags);
    put(&t,
        ", (SELECT concat(toString(any(uuid)), '\\t', "
        "toString(any(length(dependencies_table))), '\\t', any(engine)) FROM "
        "system.tables WHERE database = '%.*s' AND name = '%s') FROM %s WHERE ",
        dot != NULL ? (int)(dot - table) : 0, table,
        dot != NULL ? dot + 1 : table, quoted);

    if (state->from_us != 0) {
        put_between(&t, state->from_us, state->to_us);
    } else {
        put(&t, "toDate(received_at) = toDate(%u)", state->day);
    }

    put(&t, " AND (");

    for (i = 0; i < state->nrings; i++) {
        e = &state->rings[i];
        if (e->end_seq == e->acked_seq) {
            continue;
        }
        lb_uuid_format(e->uuid, uuid);
        put(&t, "%s(ring = '%s' AND seq BETWEEN %" PRIu64 " AND %" PRIu64, or,
            uuid, e->acked_seq, e->end_seq - 1);
        /* A ring that was filled in an outage hours ago goes with one that is
         * filled now: what others delivered in between is not to be read. */
        if (e->from_us != 0) {
            put(&t, " AND ");
            put_between(&t, e->from_us, e->to_us);
        }
        put(&t, ")");
        or = " OR ";
    }

    put(&t, ") FORMAT TabSeparatedRaw");

    return t.buf;
}

int
lb_question_batch_answer(const char *text, lb_answer_t *answer)
{
    char uuid[LB_UUID_TEXT], engine[64] = "";

    memset(answer, 0, sizeof(*answer));

    if (sscanf(text,
               "%" SCNu64 "\t%" SCNu64 "\t%" SCNu64 "\t%36s\t%" SCNu64 "\t%63s",
               &answer->found, &answer->running, &answer->behind, uuid,
               &answer->views, engine) < 3) {
        return -1;
    }

    /* no table of that name is visible, or a database without UUIDs */
    if (engine[0] == '\0' || lb_uuid_parse(uuid, answer->table_uuid) != 0) {
        memset(answer->table_uuid, 0, LB_UUID_LEN);
    }

    answer->replicated = strncmp(engine, "Replicated", 10) == 0 ||
                         strncmp(engine, "Shared", 6) == 0;

    return 0;
}

char *
lb_question_beyond(const lb_ckpt_state_t *state, const char *prefix,
                   uint64_t from_us, uint64_t to_us, unsigned flags)
{
    char uuid[LB_UUID_TEXT], quoted[LB_TABLE_MAX + 8];
    const char * or = "";
    text_t t;
    uint32_t i;

    if (text_new(&t, state) != 0) {
        return NULL;
    }

    lb_question_table(state->table, quoted, sizeof(quoted));

    put(&t, "SELECT count()");
    put_state(&t, state->table, prefix, flags);
    put(&t,
        ", arrayStringConcat(groupArray(concat(toString(ring), ' ', "
        "toString(rows), ' ', toString(first), ' ', toString(last))), ',') "
        "FROM (SELECT ring, count() AS rows, min(seq) AS first, max(seq) AS "
        "last FROM %s WHERE ",
        quoted);

    if (from_us != 0) {
        put_between(&t, from_us, to_us);
        put(&t, " AND ");
    }

    put(&t, "(");

    for (i = 0; i < state->nrings; i++) {
        lb_uuid_format(state->rings[i].uuid, uuid);
        put(&t, "%s(ring = '%s' AND seq >= %" PRIu64 ")", or, uuid,
            state->rings[i].acked_seq);
        or = " OR ";
    }

    put(&t, "%s) GROUP BY ring) FORMAT TabSeparatedRaw",
        state->nrings == 0 ? "0" : "");

    return t.buf;
}

int
lb_question_beyond_answer(const char *text, lb_answer_t *answer,
                          lb_beyond_t *beyond, uint32_t max, uint32_t *n)
{
    int len;
    char uuid[LB_UUID_TEXT];
    const char *p;

    memset(answer, 0, sizeof(*answer));
    *n = 0;
    len = 0;

    if (sscanf(text, "%" SCNu64 "\t%" SCNu64 "\t%" SCNu64 "%n", &answer->found,
               &answer->running, &answer->behind, &len) != 3) {
        return -1;
    }

    for (p = text + len + strspn(text + len, "\t"); *p != '\0' && *p != '\n';
         p += *p == ',') {

        if (*n == max ||
            sscanf(p, "%36s %" SCNu64 " %" SCNu64 " %" SCNu64 "%n", uuid,
                   &beyond[*n].rows, &beyond[*n].first_seq,
                   &beyond[*n].last_seq, &len) != 4 ||
            lb_uuid_parse(uuid, beyond[*n].ring) != 0) {
            return -1;
        }

        (*n)++;
        p += len;
    }

    return *n == answer->found ? 0 : -1;
}

void
lb_question_where(const uint8_t uuid[LB_UUID_LEN], char *sql, size_t size)
{
    char text[LB_UUID_TEXT];

    lb_uuid_format(uuid, text);
    (void)snprintf(sql, size,
                   "SELECT concat(database, '.', name) FROM system.tables "
                   "WHERE uuid = '%s' FORMAT TabSeparatedRaw",
                   text);
}

void
lb_question_columns(const char *table, uint32_t columns, char *sql, size_t size)
{
    const char *dot = strchr(table, '.');
    char sent[LB_COLUMNS_TEXT] = "";
    size_t i, n = 0;

    for (i = 0; i < LB_COLUMNS; i++) {
        if (lb_columns_has(columns, i)) {
            n += (size_t)snprintf(sent + n, sizeof(sent) - n, "%s%s",
                                  n > 0 ? "','" : "", lb_columns[i].name);
        }
    }

    (void)snprintf(
        sql, size,
        "SELECT arrayStringConcat(groupArray(concat('CAST((', "
        "default_expression, ') AS ', type, ') AS `', name, '`')), ', ') FROM "
        "system.columns WHERE database = '%.*s' AND table = '%s' AND "
        "default_kind IN ('DEFAULT', 'MATERIALIZED', 'ALIAS') AND "
        "match(name, '^[A-Za-z0-9_]+$') AND name NOT IN ('%s') "
        "FORMAT TabSeparatedRaw",
        dot != NULL ? (int)(dot - table) : 0, table,
        dot != NULL ? dot + 1 : table, sent);
}

char *
lb_question_sift(const char *const *constraints, uint32_t n,
                 const char *columns)
{
    uint32_t i;
    text_t t;

    t.len = 0;
    t.size = 512 + (columns != NULL ? strlen(columns) : 0);
    for (i = 0; i < n; i++) {
        t.size += strlen(constraints[i]) + 32;
    }

    t.buf = malloc(t.size);
    if (t.buf == NULL) {
        return NULL;
    }

    put(&t,
        "SELECT ring, min(seq), arrayStringConcat(arrayMap(d -> toString(d), "
        "arrayDifference(arraySort(groupArray(seq)))), ',') FROM ");
    if (columns != NULL) {
        put(&t, "(SELECT *, %s FROM batch)", columns);
    } else {
        put(&t, "batch");
    }
    put(&t, " WHERE ");

    for (i = 0; i < n; i++) {
        put(&t, "%sNOT ifNull((%s), 0)", i > 0 ? " OR " : "", constraints[i]);
    }

    put(&t, " GROUP BY ring FORMAT TabSeparatedRaw");

    return t.buf;
}

char *
lb_question_constraint(const char *error)
{
    size_t len;
    const char *from, *to;

    /* "Code: 469. DB::Exception: Constraint `c` for table d.t (uuid) is violated
     * at row 2. Expression: (x > 0). Column values: ..."  (ClickHouse's
     * src/Processors/Transforms/CheckConstraintsTransform.cpp) */
    static const char begin[] = "Code: 469. DB::Exception: Constraint ";
    static const char row[] = " is violated at row ";
    static const char before[] = ". Expression: (";
    static const char after[] = "). Column values:";

    if (strncmp(error, begin, sizeof(begin) - 1) != 0) {
        return NULL;
    }

    from = strstr(error, row);
    to = strstr(error, "Column values:");
    if (from == NULL || to == NULL || to < from) {
        return NULL;
    }

    from += sizeof(row) - 1;
    len = strspn(from, "0123456789");
    from += len;
    if (len == 0 || strncmp(from, before, sizeof(before) - 1) != 0) {
        return NULL;
    }

    from += sizeof(before) - 1;
    to = strstr(from, after);

    return to != NULL ? strndup(from, (size_t)(to - from)) : NULL;
}

int
lb_question_sift_answer(const char *text, const lb_ckpt_state_t *state,
                        lb_excluded_t *excluded, uint32_t max, uint32_t *n)
{
    int len;
    char uuid[LB_UUID_TEXT], *end;
    uint8_t ring[LB_UUID_LEN];
    uint32_t entry, i, before = *n;
    uint64_t seq, more;
    const char *p;
    const lb_ckpt_ring_t *e;

    for (p = text; *p != '\0'; p++) {

        len = 0;
        if (sscanf(p, "%36s\t%" SCNu64 "\t%n", uuid, &seq, &len) != 2 ||
            len == 0 || lb_uuid_parse(uuid, ring) != 0) {
            return -1;
        }
        p += len;

        for (entry = 0; entry < state->nrings; entry++) {
            if (memcmp(state->rings[entry].uuid, ring, LB_UUID_LEN) == 0) {
                break;
            }
        }
        if (entry == state->nrings) {
            return -1;
        }
        e = &state->rings[entry];

        for (;; p++) {
            more = strtoull(p, &end, 10);
            seq += more;
            if (end == p || *n == max || seq < e->acked_seq ||
                seq >= e->end_seq) {
                return -1;
            }
            excluded[*n].entry = entry;
            excluded[*n].seq = seq;
            (*n)++;
            p = end;
            if (*p != ',') {
                break;
            }
        }

        if (*p != '\n') {
            return -1;
        }
    }

    lb_batch_sort(excluded, *n);

    for (i = 1; i < *n; i++) {
        if (excluded[i - 1].entry == excluded[i].entry &&
            excluded[i - 1].seq == excluded[i].seq) {
            return -1;
        }
    }

    return (int)(*n - before);
}
