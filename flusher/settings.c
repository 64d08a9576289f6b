#include "flusher/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What follows if the server goes by another value. */
enum {
    HOLD,  /* nothing can be sent or asked safely */
    NO,    /* the token does not protect, or a batch may be cut in two */
    ROWS,  /* as NO, if it is less than a batch may have */
    BYTES, /* the same */
    MAY,   /* nothing: a statement works, or fails and says so */
};

static const struct {
    const char *name;
    const char *value; /* as in SQL */
    int insert;        /* 1: concerns INSERTs too, 0: only questions */
    int otherwise;
} pins[] = {
    /* rows are in the table before the answer comes */
    {"async_insert", "0", 1, HOLD},

    /* the token is heeded */
    {"insert_deduplicate", "1", 1, NO},
    {"deduplicate_insert", "'enable'", 1, NO},
    {"deduplicate_blocks_in_dependent_materialized_views", "1", 1, MAY},

    /* a batch is one block, one part, all or nothing; the server's
     * deduplication covers where blocks end */
    {"min_insert_block_size_rows", "8388608", 1, ROWS},
    {"min_insert_block_size_bytes", "8589934592", 1, BYTES},
    {"max_insert_block_size", "8388608", 1, ROWS},
    {"max_insert_threads", "1", 1, MAY},
    {"max_partitions_per_insert_block", "1", 1, MAY},
    {"throw_on_max_partitions_per_insert_block", "1", 1, MAY},
    {"implicit_transaction", "0", 1, MAY},

    /* rows are read as they are meant */
    {"input_format_native_allow_types_conversion", "1", 1, MAY},
    {"input_format_native_decode_types_in_binary_format", "0", 1, MAY},

    /* a question is answered from the table as it is now */
    {"use_query_cache", "0", 0, MAY},
    {"enable_reads_from_query_cache", "0", 0, HOLD},
    {"enable_writes_to_query_cache", "0", 0, MAY},
    {"query_cache_nondeterministic_function_handling", "'ignore'", 0, MAY},
    {"query_cache_system_table_handling", "'ignore'", 0, MAY},
    /* a replica answers only when it has everything that was confirmed */
    {"select_sequential_consistency", "1", 0, HOLD},
    {"allow_experimental_parallel_reading_from_replicas", "0", 0, HOLD},
    {"max_parallel_replicas", "1", 0, MAY},

    /* it counts all rows, or fails */
    {"additional_table_filters", "{}", 0, HOLD},
    {"additional_result_filter", "''", 0, HOLD},
    {"limit", "0", 0, HOLD},
    {"offset", "0", 0, HOLD},
    {"final", "0", 0, HOLD},
    {"aggregate_functions_null_for_empty", "0", 0, HOLD},
    {"empty_result_for_aggregation_by_empty_set", "0", 0, HOLD},
    {"prefer_column_name_to_alias", "0", 0, MAY},
    {"read_overflow_mode", "'throw'", 0, HOLD},
    {"read_overflow_mode_leaf", "'throw'", 0, HOLD},
    {"result_overflow_mode", "'throw'", 0, HOLD},
    {"timeout_overflow_mode", "'throw'", 0, HOLD},
    /* nobody waits for the answer any longer */
    {"max_execution_time", "11", 0, MAY},
    {"extremes", "0", 0, MAY},
    {"session_timezone", "'UTC'", 0, MAY},

    /* and does not fail for want of an index that suits somebody else */
    {"force_primary_key", "0", 0, HOLD},
    {"force_index_by_date", "0", 0, HOLD},
    /* an empty list is an error if it is set */
    {"force_data_skipping_indices", "DEFAULT", 0, HOLD},
    {"force_optimize_projection", "0", 0, HOLD},
    {"max_rows_to_read", "0", 0, MAY},
    {"max_bytes_to_read", "0", 0, MAY},
    {"max_rows_to_read_leaf", "0", 0, MAY},
    {"max_bytes_to_read_leaf", "0", 0, MAY},
    {"max_result_rows", "0", 0, MAY},
    {"max_result_bytes", "0", 0, MAY},
    {"max_columns_to_read", "0", 0, MAY},
    {"http_write_exception_in_output_format", "0", 0, MAY},
};

#define PINS (sizeof(pins) / sizeof(pins[0]))

_Static_assert(PINS <= 64, "settings do not fit the bits of lb_settings_t");

void
lb_settings_sql(const lb_settings_t *s, int insert, const char *token,
                char *sql, size_t size)
{
    size_t i, n = 0;
    const char *comma = "";

    sql[0] = '\0';

    for (i = 0; i < PINS && n < size; i++) {
        if (((s->unknown | s->fixed) >> i & 1) || (insert && !pins[i].insert)) {
            continue;
        }
        /* "limit" is a word of the language too */
        n += (size_t)snprintf(sql + n, size - n, "%s`%s`=%s", comma,
                              pins[i].name, pins[i].value);
        comma = ",";
    }

    if (token != NULL && n < size) {
        (void)snprintf(sql + n, size - n, "%sinsert_deduplication_token='%s'",
                       comma, token);
    }
}

void
lb_settings_names(char *sql, size_t size)
{
    size_t i, n = 0;

    for (i = 0; i < PINS && n < size; i++) {
        n += (size_t)snprintf(sql + n, size - n, "%s'%s'", i > 0 ? "," : "",
                              pins[i].name);
    }
}

static int
of_a_name(char c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Where name is in the text as a word of its own. */
static const char *
find_name(const char *text, const char *name)
{
    size_t len = strlen(name);
    const char *p;

    for (p = text; (p = strstr(p, name)) != NULL; p++) {
        if ((p == text || !of_a_name(p[-1])) && !of_a_name(p[len])) {
            return p;
        }
    }

    return NULL;
}

int
lb_settings_learn(lb_settings_t *s, int code, const char *text)
{
    size_t i;
    uint64_t *bits, bit = 0;
    const char *at, *first = NULL;

    if (code == 115) { /* UNKNOWN_SETTING */
        bits = &s->unknown;
    } else if (code == 452) { /* SETTING_CONSTRAINT_VIOLATION */
        bits = &s->fixed;
    } else {
        return 0;
    }

    /* the first that is named: others may follow as help ("Maybe you meant") */
    for (i = 0; i < PINS; i++) {
        at = find_name(text, pins[i].name);
        if (at != NULL && (first == NULL || at < first)) {
            first = at;
            bit = UINT64_C(1) << i;
        }
    }

    if ((s->unknown | s->fixed) & bit) {
        return 0;
    }

    *bits |= bit;

    return bit != 0;
}

/* The value of a setting, up to the next | or the end; NULL: not known. */
static const char *
value_of(const char *values, const char *name, size_t *len)
{
    char key[96];
    const char *p;

    (void)snprintf(key, sizeof(key), "|%s ", name);

    p = strstr(values, key);
    if (p == NULL) {
        return NULL;
    }

    p += strlen(key);
    *len = strcspn(p, "|\t\n");

    return p;
}

static int
is_wanted(const char *wanted, const char *value, size_t len)
{
    size_t n = strlen(wanted);

    if (strcmp(wanted, "DEFAULT") == 0) {
        return len == 0;
    }

    if (wanted[0] == '\'') {
        wanted++;
        n -= 2;
    }

    return len == n && memcmp(value, wanted, n) == 0;
}

int
lb_settings_judge(const lb_options_t *o, const char *values, char *reason,
                  size_t size)
{
    int hold = 0;
    size_t i, len = 0;
    uint64_t least;
    const char *value;

    reason[0] = '\0';

    for (i = 0; i < PINS; i++) {
        value = value_of(values, pins[i].name, &len);

        if (pins[i].otherwise == MAY || value == NULL ||
            is_wanted(pins[i].value, value, len)) {
            continue;
        }

        /* what a batch may have in memory: its text and a few words a row */
        least = pins[i].otherwise == ROWS
                    ? o->max_rows
                    : o->max_bytes * 2 + o->max_rows * 128;

        if ((pins[i].otherwise == ROWS || pins[i].otherwise == BYTES) &&
            strtoull(value, NULL, 10) >= least) {
            continue;
        }

        /* the first that holds, else the first */
        if (reason[0] == '\0' || (pins[i].otherwise == HOLD && !hold)) {
            (void)snprintf(reason, size,
                           "the setting %s is %.*s for this user and must not "
                           "be changed: it has to be %s, take the constraint "
                           "off its profile%s",
                           pins[i].name, (int)(len < 100 ? len : 100), value,
                           pins[i].value,
                           pins[i].otherwise == HOLD
                               ? "; nothing is sent until then"
                               : "");
        }

        hold |= pins[i].otherwise == HOLD;
    }

    return hold;
}
