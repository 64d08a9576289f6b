/* The verdict on the table and the server, the settings a request carries, and
 * when the table is looked at. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "flusher/clickhouse/clickhouse.h"
#include "flusher/clickhouse/native.h"
#include "flusher/clickhouse/preflight.h"
#include "flusher/look.h"
#include "flusher/clickhouse/settings.h"

static lb_options_t options = {.database = (char *)"logbroker",
                               .table = (char *)"logs",
                               .max_rows = 500000,
                               .max_bytes = 64 << 20};

#define OTHERS                                                                 \
    "|timestamp DateTime64(9, 'UTC')|stream LowCardinality(String)|"           \
    "level String|service String|host String|message String|"                  \
    "trace_id String|attributes String|client String|broker String"
#define COLUMNS OTHERS "|received_at DateTime64(6, 'UTC')|ring UUID|seq UInt64|"
#define WINDOW " SETTINGS non_replicated_deduplication_window = 10000"
#define MERGETREE .engine = "MergeTree", .full = "MergeTree ORDER BY x" WINDOW

typedef struct {
    const char *engine;
    const char *full;
    const char *verdict;
    const char *words;
    int hold;
    const char *partition; /* NULL: toDate(received_at) */
    const char *columns;   /* NULL: COLUMNS */
    const char *settings;
    const char *zone;
} table_t;

static void
answer(lb_ch_result_t *r, const table_t *t)
{
    memset(r, 0, sizeof(*r));
    r->outcome = LB_SINK_DONE;
    (void)snprintf(r->answer, sizeof(r->answer),
                   "look\t1700000000000\t%s\t%d\t%s\t"
                   "40db06f5-bf94-4156-baa1-e88c3a36a067\t%s\t%s\t%s\t%s\t"
                   "end\n",
                   t->zone ? t->zone : "UTC", t->engine[0] != '\0', t->engine,
                   t->partition ? t->partition : "toDate(received_at)", t->full,
                   t->columns ? t->columns : COLUMNS,
                   t->settings ? t->settings : "|async_insert 0|");
}

static void
tables(void **state)
{
    size_t i;
    lb_verdict_t p;
    static lb_ch_result_t r;
    static const table_t cases[] = {
        {MERGETREE, .verdict = "yes", .words = ""},
        {.engine = "ReplicatedMergeTree",
         .full = "ReplicatedMergeTree('/p', 'r') ORDER BY x",
         .verdict = "yes",
         .words = ""},
        {.engine = "SharedMergeTree",
         .full = "SharedMergeTree ORDER BY x",
         .verdict = "yes",
         .words = ""},

        /* the window */
        {.engine = "MergeTree",
         .full = "MergeTree ORDER BY x",
         .verdict = "no",
         .words = "no deduplication window"},
        {.engine = "MergeTree",
         .full = "MergeTree SETTINGS non_replicated_deduplication_window = 0",
         .verdict = "no",
         .words = "no deduplication window"},
        {.engine = "MergeTree",
         .full = "MergeTree SETTINGS non_replicated_deduplication_window = 3",
         .verdict = "no",
         .words = "too small"},
        {.engine = "MergeTree",
         .full = "MergeTree SETTINGS replicated_deduplication_window = 1000",
         .verdict = "no",
         .words = "no deduplication window"},
        {.engine = "ReplicatedMergeTree",
         .full =
             "ReplicatedMergeTree SETTINGS replicated_deduplication_window = 0",
         .verdict = "no",
         .words = "MODIFY SETTING replicated_deduplication_window"},
        {.engine = "ReplicatedMergeTree",
         .full = "ReplicatedMergeTree SETTINGS "
                 "replicated_deduplication_window_seconds = 0",
         .verdict = "no",
         .words = "no deduplication window"},

        /* engines that keep less than they are given */
        {.engine = "ReplacingMergeTree",
         .full = "ReplacingMergeTree" WINDOW,
         .verdict = "no",
         .words = "merges rows away",
         .hold = 1},
        {.engine = "ReplicatedReplacingMergeTree",
         .full = "x",
         .verdict = "no",
         .words = "merges rows away",
         .hold = 1},
        {.engine = "SharedReplacingMergeTree",
         .full = "x",
         .verdict = "no",
         .words = "merges rows away",
         .hold = 1},
        {.engine = "SummingMergeTree",
         .full = "SummingMergeTree" WINDOW,
         .verdict = "no",
         .words = "merges rows away",
         .hold = 1},
        {.engine = "AggregatingMergeTree",
         .full = "x",
         .verdict = "no",
         .words = "merges rows away",
         .hold = 1},
        {.engine = "CollapsingMergeTree",
         .full = "x",
         .verdict = "no",
         .words = "merges rows away",
         .hold = 1},
        {.engine = "VersionedCollapsingMergeTree",
         .full = "x",
         .verdict = "no",
         .words = "merges rows away",
         .hold = 1},
        {.engine = "CoalescingMergeTree",
         .full = "x",
         .verdict = "no",
         .words = "merges rows away",
         .hold = 1},
        {.engine = "GraphiteMergeTree",
         .full = "x",
         .verdict = "no",
         .words = "merges rows away",
         .hold = 1},
        {.engine = "Null",
         .full = "Null",
         .verdict = "no",
         .words = "throws every row away",
         .hold = 1},

        /* engines that do not deduplicate */
        {.engine = "Distributed",
         .full = "Distributed('c', 'd', 't')",
         .verdict = "no",
         .words = "MergeTree family"},
        {.engine = "Memory",
         .full = "Memory",
         .verdict = "no",
         .words = "this one is Memory"},
        {.engine = "Buffer",
         .full = "Buffer('d', 't', 1, 1, 1, 1, 1, 1, 1)",
         .verdict = "no",
         .words = "MergeTree family"},
        {.engine = "Log",
         .full = "Log",
         .verdict = "no",
         .words = "MergeTree family"},
        {.engine = "View",
         .full = "",
         .verdict = "no",
         .words = "MergeTree family"},
        {.engine = "MaterializedView",
         .full = "",
         .verdict = "no",
         .words = "MergeTree family"},

        {.engine = "", .full = "", .verdict = "no", .words = "does not exist"},

        /* columns */
        {MERGETREE, .verdict = "no", .words = "no column timestamp",
         .columns = "||"},
        {MERGETREE, .verdict = "no", .words = "no column seq",
         .columns = OTHERS "|received_at DateTime64(6, 'UTC')|ring UUID|"},
        {MERGETREE, .verdict = "no",
         .words = "seq is UInt32 and must be UInt64",
         .columns =
             OTHERS "|received_at DateTime64(6, 'UTC')|ring UUID|seq UInt32|"},
        {MERGETREE, .verdict = "no", .words = "ring is String and must be UUID",
         .columns = OTHERS
         "|received_at DateTime64(6, 'UTC')|ring String|seq UInt64|"},
        {MERGETREE, .verdict = "no", .words = "received_at is DateTime('UTC')",
         .columns =
             OTHERS "|received_at DateTime('UTC')|ring UUID|seq UInt64|"},

        /* partitions */
        {MERGETREE, .verdict = "yes", .words = "", .partition = ""},
        {MERGETREE, .verdict = "yes", .words = "", .partition = "tuple()"},
        {MERGETREE, .verdict = "yes", .words = "",
         .partition = "toYYYYMM(received_at)"},
        {MERGETREE, .verdict = "no", .words = "partitioned by stream",
         .partition = "stream"},
        {MERGETREE, .verdict = "no", .words = "partitioned by toHour",
         .partition = "toHour(received_at)"},
        {MERGETREE, .verdict = "no", .words = "partitioned by",
         .partition = "toStartOfHour(received_at)"},
        {MERGETREE, .verdict = "no", .words = "partitioned by",
         .partition = "(toDate(received_at),stream)"},
        {MERGETREE, .verdict = "no", .words = "partitioned by",
         .partition = "toDate(timestamp)"},
        {MERGETREE, .verdict = "no", .words = "partitioned by",
         .partition = "toDate(received_at,'Asia/Tokyo')"},

        /* days that begin at another moment */
        {MERGETREE, .verdict = "no", .words = "time zone Asia/Tokyo",
         .columns =
             OTHERS "|received_at DateTime64(6, 'Asia/Tokyo')|ring UUID|seq "
                    "UInt64|"},
        {MERGETREE, .verdict = "no", .words = "time zone Europe/Berlin",
         .columns = OTHERS "|received_at DateTime64(6)|ring UUID|seq UInt64|",
         .zone = "Europe/Berlin"},
        {MERGETREE, .verdict = "yes", .words = "",
         .columns = OTHERS "|received_at DateTime64(6)|ring UUID|seq UInt64|",
         .zone = "Etc/UTC"},
        {MERGETREE, .verdict = "yes", .words = "",
         .partition = "toDate(received_at,'UTC')",
         .columns = OTHERS "|received_at DateTime64(6)|ring UUID|seq UInt64|",
         .zone = "Europe/Berlin"},
        {MERGETREE, .verdict = "yes", .words = "", .partition = "",
         .columns = OTHERS "|received_at DateTime64(6)|ring UUID|seq UInt64|",
         .zone = "Europe/Berlin"},

        /* what the server goes by although it was told otherwise */
        {MERGETREE, .verdict = "no", .words = "async_insert is 1", .hold = 1,
         .settings = "|async_insert 1|"},
        {MERGETREE, .verdict = "no", .words = "deduplicate_insert is disable",
         .settings = "|deduplicate_insert disable|"},
        {MERGETREE, .verdict = "yes", .words = "",
         .settings = "|deduplicate_insert enable|"},
        {MERGETREE, .verdict = "no", .words = "force_primary_key", .hold = 1,
         .settings = "|deduplicate_insert disable|force_primary_key 1|"},
        {MERGETREE, .verdict = "no", .words = "max_insert_block_size is 1000",
         .settings = "|max_insert_block_size 1000|"},
        {MERGETREE, .verdict = "yes", .words = "",
         .settings =
             "|max_insert_block_size 1048449|min_insert_block_size_bytes "
             "268402944|max_rows_to_read 100|"},
        {MERGETREE, .verdict = "no", .words = "additional_table_filters",
         .hold = 1,
         .settings = "|additional_table_filters {'logbroker.logs':'0'}|"},
    };

    (void)state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memset(&p, 0, sizeof(p));
        answer(&r, &cases[i]);
        lb_preflight_judge(&options, &r, &p);
        if (strcmp(p.verdict, cases[i].verdict) != 0 ||
            strstr(p.reason, cases[i].words) == NULL ||
            p.hold != cases[i].hold ||
            (cases[i].words[0] == '\0') != (p.reason[0] == '\0')) {
            fail_msg("case %zu, %s: %s %d %s", i, r.answer, p.verdict, p.hold,
                     p.reason);
        }
        assert_int_equal(p.server_ms, 1700000000000);
    }
}

/* Where the server's own bounds of a block stay, batches do not grow. */
static void
blocks_of_the_largest_batch(void **state)
{
    lb_verdict_t p = {0};
    static lb_ch_result_t r;
    static const table_t bound = {
        MERGETREE, .settings = "|max_insert_block_size 1048449|"};
    static const table_t lifted = {
        MERGETREE, .settings = "|max_insert_block_size 8388608|"
                               "min_insert_block_size_bytes 8589934592|"};
    lb_options_t was = options;

    (void)state;

    options.max_rows = 1048450;
    options.max_bytes = 256 << 20;
    answer(&r, &bound);
    lb_preflight_judge(&options, &r, &p);
    assert_string_equal(p.verdict, "yes");
    assert_false(p.whole);

    answer(&r, &lifted);
    lb_preflight_judge(&options, &r, &p);
    assert_true(p.whole);

    options.max_rows = 1048449;
    answer(&r, &bound);
    lb_preflight_judge(&options, &r, &p);
    assert_true(p.whole);
    assert_false(
        lb_settings_whole(&options, "|min_insert_block_size_bytes 268402944|"));
    options = was;
}

static void
identity(void **state)
{
    lb_verdict_t p;
    static lb_ch_result_t r;
    static const table_t plain = {MERGETREE};
    static const table_t replicated = {.engine = "ReplicatedMergeTree",
                                       .full = ""};
    static const uint8_t uuid[] = {0x40, 0xdb, 0x06, 0xf5, 0xbf, 0x94,
                                   0x41, 0x56, 0xba, 0xa1, 0xe8, 0x8c,
                                   0x3a, 0x36, 0xa0, 0x67};
    static const uint8_t none[16];

    (void)state;

    memset(&p, 0, sizeof(p));
    answer(&r, &plain);
    lb_preflight_judge(&options, &r, &p);
    assert_int_equal(p.replicated, 0);
    assert_memory_equal(p.table_uuid, uuid, 16);

    answer(&r, &replicated);
    lb_preflight_judge(&options, &r, &p);
    assert_int_equal(p.replicated, 1);

    r.outcome = LB_SINK_NOT_SENT;
    lb_preflight_judge(&options, &r, &p);
    assert_int_equal(p.replicated, -1);
    assert_memory_equal(p.table_uuid, none, 16);
}

/* The columns that a table may lack: what the next batch is to be made with. */
static void
more_columns(void **state)
{
    size_t i;
    lb_verdict_t p;
    static lb_ch_result_t r;
    static const struct {
        const char *columns;
        uint32_t more;
        const char *lacks;
    } cases[] = {
        {COLUMNS, 0,
         "span_id, trace_flags, severity_number, event_name, resource, scope"},
        {COLUMNS "span_id String|trace_flags UInt8|severity_number UInt8|"
                 "event_name LowCardinality(String)|resource String|"
                 "scope LowCardinality(String)|",
         63, ""},
        {COLUMNS "span_id UInt64|trace_flags UInt16|severity_number Int8|"
                 "resource JSON|scope Nullable(String)|",
         2 | 32, "span_id, severity_number, event_name, resource"},
    };

    (void)state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        table_t t = {MERGETREE, .columns = cases[i].columns};

        memset(&p, 0, sizeof(p));
        answer(&r, &t);
        lb_preflight_judge(&options, &r, &p);
        assert_string_equal(p.verdict, "yes");
        assert_int_equal(LB_ENCODING_COLUMNS(p.encoding), cases[i].more);
        assert_int_equal(LB_ENCODING_VERSION(p.encoding), LB_NATIVE_VERSION);
        assert_string_equal(p.lacks, cases[i].lacks);
    }

    /* without an answer nothing is known of them */
    r.outcome = LB_SINK_UNKNOWN;
    lb_preflight_judge(&options, &r, &p);
    assert_int_equal(p.encoding, 0);
}

/* What is not an answer says nothing, and what was held stays held. */
static void
garbage(void **state)
{
    size_t i, len;
    lb_verdict_t p;
    char whole[sizeof(((lb_ch_result_t *)0)->answer)];
    static lb_ch_result_t r;
    static const table_t good = {MERGETREE};
    static const char *const answers[] = {"",
                                          "\n",
                                          "<html>welcome</html>",
                                          "Ok.\n",
                                          "\t\t\t\t\t\t\t",
                                          "look",
                                          "look\tend",
                                          "1\t1\t1\t1\t1\t1\t1\t1\t1\t1\tend",
                                          ("MergeTree" WINDOW)};

    (void)state;

    for (i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        memset(&p, 0, sizeof(p));
        p.hold = (int)(i & 1);
        memset(&r, 0, sizeof(r));
        r.outcome = LB_SINK_DONE;
        (void)snprintf(r.answer, sizeof(r.answer), "%s", answers[i]);
        lb_preflight_judge(&options, &r, &p);
        assert_string_equal(p.verdict, "unknown");
        assert_int_equal(p.hold, i & 1);
        assert_non_null(strstr(p.reason, "not ClickHouse's"));
    }

    /* cut anywhere it never says yes */
    answer(&r, &good);
    memcpy(whole, r.answer, sizeof(whole));
    for (len = 0; len + 1 < strlen(whole); len++) {
        memcpy(r.answer, whole, len);
        r.answer[len] = '\0';
        lb_preflight_judge(&options, &r, &p);
        assert_string_equal(p.verdict, "unknown");
    }

    /* full to the brim */
    memset(r.answer, '\t', sizeof(r.answer) - 1);
    lb_preflight_judge(&options, &r, &p);
    assert_string_equal(p.verdict, "unknown");

    r.outcome = LB_SINK_REFUSED;
    r.code = 516;
    (void)snprintf(r.text, sizeof(r.text), "wrong password");
    lb_preflight_judge(&options, &r, &p);
    assert_string_equal(p.verdict, "unknown");
    assert_string_equal(p.reason, "wrong password");

    /* a user who may only read cannot deliver */
    r.code = 164;
    lb_preflight_judge(&options, &r, &p);
    assert_string_equal(p.verdict, "no");
}

static void
settings_are_learned(void **state)
{
    char sql[LB_SETTINGS_SQL];
    lb_settings_t s = {0, 0};

    (void)state;

    lb_settings_sql(&s, 1, "tok-1", sql, sizeof(sql));
    assert_non_null(strstr(sql, "`async_insert`=0"));
    assert_non_null(strstr(sql, "`deduplicate_insert`='enable'"));
    assert_non_null(strstr(sql, "insert_deduplication_token='tok-1'"));
    assert_null(strstr(sql, "use_query_cache"));

    lb_settings_sql(&s, 0, NULL, sql, sizeof(sql));
    assert_non_null(strstr(sql, "`use_query_cache`=0"));
    assert_null(strstr(sql, "token"));
    assert_true(strlen(sql) + 200 < sizeof(sql));

    /* the one that is named first, not the ones meant as help */
    assert_int_equal(
        lb_settings_learn(&s, 115,
                          "Code: 115. DB::Exception: Unknown setting "
                          "'deduplicate_insert': Maybe you meant "
                          "['insert_deduplicate']"),
        1);
    lb_settings_sql(&s, 1, NULL, sql, sizeof(sql));
    assert_null(strstr(sql, "`deduplicate_insert`"));
    assert_non_null(strstr(sql, "`insert_deduplicate`"));

    /* what is newer still is not known either, what is older is */
    assert_null(strstr(sql, "`use_strict_insert_block_limits`"));
    assert_non_null(strstr(sql, "`max_insert_block_size_bytes`"));

    lb_settings_url(&s, sql, sizeof(sql));
    assert_non_null(strstr(sql, "&dialect=clickhouse"));
    assert_int_equal(
        lb_settings_learn(&s, 452, "Setting dialect should not be changed."),
        1);
    lb_settings_url(&s, sql, sizeof(sql));
    assert_null(strstr(sql, "dialect"));

    assert_int_equal(lb_settings_learn(&s, 452,
                                       "Code: 452. Setting "
                                       "max_insert_block_size should not be "
                                       "changed."),
                     1);
    lb_settings_sql(&s, 1, NULL, sql, sizeof(sql));
    assert_null(strstr(sql, "`max_insert_block_size`"));

    /* known already, another code, none of ours */
    assert_int_equal(
        lb_settings_learn(&s, 452, "Setting max_insert_block_size should"), 0);
    assert_int_equal(lb_settings_learn(&s, 497, "Setting async_insert"), 0);
    assert_int_equal(lb_settings_learn(&s, 115, "Unknown setting 'x'"), 0);
    assert_int_equal(
        lb_settings_learn(&s, 115, "Unknown setting 'async_insert_x'"), 0);
}

static lb_verdict_t good = {.verdict = "yes"};
static lb_verdict_t bad = {.verdict = "no"};

/* Turns of a second for this long, always something to deliver; how many looks,
 * and when the first. */
static int
looks(lb_look_t *l, int64_t now, int seconds, const lb_verdict_t *p, int code,
      int *first)
{
    int i, n = 0;
    lb_said_t said;
    static lb_ch_result_t r;

    r.outcome = code == 0 ? LB_SINK_DONE : LB_SINK_REFUSED;
    r.code = code;
    lb_clickhouse_said(&r, &said);
    *first = -1;

    for (i = 0; i < seconds; i++, now += 1000) {
        if (lb_look_due(l, now, 1)) {
            lb_look_made(l, now, 1, p, 0);
            n++;
            *first = *first < 0 ? i : *first;
        } else {
            lb_look_request(l, now, 1, &said);
        }
    }

    return n;
}

static void
delivery_comes_first(void **state)
{
    int first;
    lb_look_t l;

    (void)state;

    /* with nothing to do it is looked at once */
    lb_look_init(&l, 1000, 1);
    assert_int_equal(lb_look_due(&l, 1000, 0), 1);
    assert_int_equal(lb_look_due(&l, 1000, 1), 0);

    /* else after three requests, then once a minute: not 2 % */
    assert_int_equal(looks(&l, 1000, 600, &good, 0, &first), 10);
    assert_int_equal(first, 3);

    /* or earlier, as one likes */
    lb_look_init(&l, 1000, 1);
    lb_look_soon(&l, 1000, 0);
    assert_int_equal(lb_look_due(&l, 1000, 1), 1);
    lb_look_made(&l, 1000, 1, &good, 0);
    lb_look_soon(&l, 1000, 1);
    assert_int_equal(lb_look_due(&l, 1000, 1), 0);
    lb_look_request(&l, 1000, 1, &(lb_said_t){0});
    assert_int_equal(lb_look_due(&l, 1000, 1), 1);

    /* and more often while there is nothing to do */
    lb_look_init(&l, 1000, 1);
    lb_look_made(&l, 1000, 1, &good, 0);
    assert_int_equal(lb_look_due(&l, 20999, 0), 0);
    assert_int_equal(lb_look_due(&l, 21000, 0), 1);
    assert_int_equal(lb_look_due(&l, 21000, 1), 0);

    /* of a table that was never seen, before everything else */
    lb_look_init(&l, 1000, 0);
    assert_int_equal(lb_look_due(&l, 1000, 1), 1);
    lb_look_made(&l, 1000, 1, &bad, 0);
    assert_int_equal(lb_look_due(&l, 2000, 1), 1);
    l.first = 0;
    assert_int_equal(lb_look_due(&l, 2000, 1), 0);

    /* more often while it is not good */
    lb_look_init(&l, 1000, 1);
    assert_in_range(looks(&l, 1000, 600, &bad, 0, &first), 50, 60);
}

static void
errors_call_for_a_look(void **state)
{
    int first, n;
    lb_look_t l;

    (void)state;

    lb_look_init(&l, 1000, 1);
    lb_look_made(&l, 1000, 1, &good, 0);

    /* 20 s after a good look a table is gone: looked at within two requests */
    n = looks(&l, 21000, 40, &bad, 60, &first);
    assert_in_range(first, 1, 2);
    assert_in_range(n, 4, 8);

    /* a busy server is none */
    lb_look_init(&l, 1000, 1);
    lb_look_made(&l, 1000, 1, &good, 0);
    assert_int_equal(looks(&l, 21000, 20, &good, 241, &first), 0);
}

/* Of many nodes each has few slots: most of them deliver. */
static void
slots_of_many_nodes(void **state)
{
    int64_t now;
    int i, n = 0;
    lb_look_t l;
    static const lb_said_t said;

    (void)state;

    lb_look_init(&l, 0, 1);
    for (i = 0, now = 0; i < 210; i++, now += 30 * 1250) {
        if (lb_look_due(&l, now, 1)) {
            assert_true(i >= 3);
            lb_look_made(&l, now, 30, &good, 0);
            n++;
        } else {
            lb_look_request(&l, now, 30, &said);
        }
    }

    assert_in_range(n, 9, 11);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables),
        cmocka_unit_test(blocks_of_the_largest_batch),
        cmocka_unit_test(identity),
        cmocka_unit_test(more_columns),
        cmocka_unit_test(garbage),
        cmocka_unit_test(settings_are_learned),
        cmocka_unit_test(delivery_comes_first),
        cmocka_unit_test(errors_call_for_a_look),
        cmocka_unit_test(slots_of_many_nodes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
