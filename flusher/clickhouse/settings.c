#include "flusher/clickhouse/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flusher/clickhouse/errors.h"
#include "flusher/size.h"

/* What follows if the server goes by another value. */
enum {
    HOLD,  /* nothing can be sent or asked safely */
    NO,    /* the token does not protect, or a batch may be cut in two */
    ROWS,  /* as NO, if it is less than a batch may have */
    BYTES, /* the same */
    MAY,   /* nothing: a statement works, or fails and says so */
};

/* What a setting concerns. */
enum {
    QUESTION,
    INSERT, /* and questions */
    URL,    /* both, and before their text is understood */
};

/* ClickHouse 24.8 knows all but those with a release of their own, which stand
 * in its order: a server that does not know one knows none of the later ones. */
static const struct {
    const char *name;
    const char *value; /* as in SQL */
    int concerns;
    int otherwise;
    int since; /* 2602: 26.2 */
} pins[] = {
    /* rows are in the table before the answer comes */
    {"async_insert", "0", INSERT, HOLD, 0},

    /* the token is heeded */
    {"insert_deduplicate", "1", INSERT, NO, 0},
    {"deduplicate_blocks_in_dependent_materialized_views", "1", INSERT, MAY, 0},

    /* a batch is one block, one part, all or nothing; the server's
     * deduplication covers where blocks end */
    {"min_insert_block_size_rows", "8388608", INSERT, ROWS, 0},
    {"min_insert_block_size_bytes", "8589934592", INSERT, BYTES, 0},
    {"max_insert_block_size", "8388608", INSERT, ROWS, 0},
    {"max_insert_threads", "1", INSERT, MAY, 0},
    {"max_partitions_per_insert_block", "1", INSERT, MAY, 0},
    {"throw_on_max_partitions_per_insert_block", "1", INSERT, MAY, 0},
    {"implicit_transaction", "0", INSERT, MAY, 0},

    /* rows are read as they are meant */
    {"input_format_native_allow_types_conversion", "1", INSERT, MAY, 0},
    {"input_format_native_decode_types_in_binary_format", "0", INSERT, MAY, 0},

    /* a statement of ours is not too large, nor are the table's expressions */
    {"max_temporary_columns", "0", INSERT, MAY, 0},
    {"max_temporary_non_const_columns", "0", INSERT, MAY, 0},
    {"max_rows_in_set", "0", INSERT, MAY, 0},
    {"max_bytes_in_set", "0", INSERT, MAY, 0},
    {"max_ast_depth", "1000", INSERT, MAY, 0},
    {"max_ast_elements", "50000", INSERT, MAY, 0},
    {"max_expanded_ast_elements", "500000", INSERT, MAY, 0},

    /* a question is answered from the table as it is now */
    {"use_query_cache", "0", QUESTION, MAY, 0},
    {"enable_reads_from_query_cache", "0", QUESTION, HOLD, 0},
    {"enable_writes_to_query_cache", "0", QUESTION, MAY, 0},
    {"query_cache_nondeterministic_function_handling", "'ignore'", QUESTION,
     MAY, 0},
    {"query_cache_system_table_handling", "'ignore'", QUESTION, MAY, 0},
    /* a replica answers only when it has everything that was confirmed */
    {"select_sequential_consistency", "1", QUESTION, HOLD, 0},
    {"allow_experimental_parallel_reading_from_replicas", "0", QUESTION, HOLD,
     0},
    {"max_parallel_replicas", "1", QUESTION, MAY, 0},

    /* it counts all rows, or fails */
    {"additional_table_filters", "{}", QUESTION, HOLD, 0},
    {"additional_result_filter", "''", QUESTION, HOLD, 0},
    {"limit", "0", QUESTION, HOLD, 0},
    {"offset", "0", QUESTION, HOLD, 0},
    {"final", "0", QUESTION, HOLD, 0},
    {"aggregate_functions_null_for_empty", "0", QUESTION, HOLD, 0},
    {"empty_result_for_aggregation_by_empty_set", "0", QUESTION, HOLD, 0},
    {"prefer_column_name_to_alias", "0", QUESTION, MAY, 0},
    {"read_overflow_mode", "'throw'", QUESTION, HOLD, 0},
    {"read_overflow_mode_leaf", "'throw'", QUESTION, HOLD, 0},
    {"result_overflow_mode", "'throw'", QUESTION, HOLD, 0},
    {"timeout_overflow_mode", "'throw'", QUESTION, HOLD, 0},
    /* the flusher gives up on an answer after 10 s */
    {"max_execution_time", "11", QUESTION, MAY, 0},
    {"extremes", "0", QUESTION, MAY, 0},
    {"session_timezone", "'UTC'", QUESTION, MAY, 0},

    /* and does not fail for want of an index */
    {"force_primary_key", "0", QUESTION, HOLD, 0},
    {"force_index_by_date", "0", QUESTION, HOLD, 0},
    /* an empty list is an error if it is set */
    {"force_data_skipping_indices", "DEFAULT", QUESTION, HOLD, 0},
    {"force_optimize_projection", "0", QUESTION, HOLD, 0},
    {"max_rows_to_read", "0", QUESTION, MAY, 0},
    {"max_bytes_to_read", "0", QUESTION, MAY, 0},
    {"max_rows_to_read_leaf", "0", QUESTION, MAY, 0},
    {"max_bytes_to_read_leaf", "0", QUESTION, MAY, 0},
    {"max_result_rows", "0", QUESTION, MAY, 0},
    {"max_result_bytes", "0", QUESTION, MAY, 0},
    {"max_columns_to_read", "0", QUESTION, MAY, 0},
    {"http_write_exception_in_output_format", "0", QUESTION, MAY, 0},

    /* a statement is read as SQL, to its end */
    {"dialect", "clickhouse", URL, MAY, 0},
    {"max_query_size", "1048576", URL, MAY, 0},
    {"max_parser_depth", "1000", URL, MAY, 0},

    /* Newer ones.  The index of words is built when parts are merged: it is a
     * fifth of an INSERT's work, and done again by each merge. */
    {"exclude_materialize_skip_indexes_on_insert", "'words'", INSERT, MAY,
     2510},
    /* the block, and the token again */
    {"max_insert_block_size_bytes", "0", INSERT, NO, 2601},
    {"deduplicate_insert", "'enable'", INSERT, NO, 2602},
    {"use_strict_insert_block_limits", "0", INSERT, NO, 2604},
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
        if (((s->unknown | s->fixed) >> i & 1) || pins[i].concerns == URL ||
            (insert && pins[i].concerns != INSERT)) {
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
lb_settings_url(const lb_settings_t *s, char *url, size_t size)
{
    size_t i, n = 0;

    url[0] = '\0';

    for (i = 0; i < PINS && n < size; i++) {
        if (pins[i].concerns == URL && !((s->unknown | s->fixed) >> i & 1)) {
            n += (size_t)snprintf(url + n, size - n, "&%s=%s", pins[i].name,
                                  pins[i].value);
        }
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
    int since = 0;
    size_t i;
    uint64_t *bits, bit = 0;
    const char *at, *first = NULL;

    if (code == LB_CH_UNKNOWN_SETTING) {
        bits = &s->unknown;
    } else if (code == LB_CH_SETTING_CONSTRAINT) {
        bits = &s->fixed;
    } else {
        return 0;
    }

    /* the first that is named: others may follow as help ("Maybe you meant") */
    for (i = 0; i < PINS; i++) {
        at = find_name(text, pins[i].name);
        if (at != NULL && (first == NULL || at < first)) {
            first = at;
            since = pins[i].since;
            bit = UINT64_C(1) << i;
        }
    }

    if ((s->unknown | s->fixed) & bit) {
        return 0;
    }

    *bits |= bit;

    for (i = 0; bits == &s->unknown && since != 0 && i < PINS; i++) {
        if (pins[i].since >= since) {
            s->unknown |= UINT64_C(1) << i;
        }
    }

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

/* Does a batch of that many rows and bytes of text stay whole by this value of a
 * setting that bounds blocks? */
static int
is_whole(int by, const char *value, uint64_t rows, uint64_t bytes)
{
    uint64_t least;

    /* what a batch may have in memory: its text and a few words a row */
    least = by == ROWS ? rows : bytes * 2 + rows * 128;

    return (by == ROWS || by == BYTES) && strtoull(value, NULL, 10) >= least;
}

int
lb_settings_whole(const lb_options_t *o, const char *values)
{
    size_t i, len;
    const char *value;

    for (i = 0; i < PINS; i++) {
        value = value_of(values, pins[i].name, &len);

        if ((pins[i].otherwise == ROWS || pins[i].otherwise == BYTES) &&
            value != NULL && !is_wanted(pins[i].value, value, len) &&
            !is_whole(pins[i].otherwise, value, o->max_rows, o->max_bytes)) {
            return 0;
        }
    }

    return 1;
}

int
lb_settings_judge(const lb_options_t *o, const char *values, char *reason,
                  size_t size)
{
    int hold = 0;
    size_t i, len = 0;
    lb_size_t first = {0};
    lb_batch_limits_t limits;
    const char *value;

    lb_size_limit(&first, o, &limits);
    reason[0] = '\0';

    for (i = 0; i < PINS; i++) {
        value = value_of(values, pins[i].name, &len);

        if (pins[i].otherwise == MAY || value == NULL ||
            is_wanted(pins[i].value, value, len)) {
            continue;
        }

        if (is_whole(pins[i].otherwise, value, limits.max_rows,
                     limits.max_bytes)) {
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
