/*
 * What an answer of ClickHouse means, and what a table is good for.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "flusher/clickhouse.h"
#include "flusher/preflight.h"

static lb_ch_outcome_t
judge(long http, int code, const char *summary, const char *body, uint64_t rows)
{
    uint64_t read_rows;

    return lb_ch_judge(http, code, summary, body, rows, 1, &read_rows);
}

/* Two views on the table: each row is read three times. */
static void
views_are_counted(void **state)
{
    uint64_t n;
    static const char s[] = " {\"read_rows\":\"30\",\"written_rows\":\"11\"}";

    (void)state;

    assert_int_equal(lb_ch_judge(200, 0, s, "", 10, 1, &n), LB_CH_UNKNOWN);
    assert_int_equal(n, 30);
    assert_int_equal(lb_ch_judge(200, 0, s, "", 10, 3, &n), LB_CH_DONE);
    assert_int_equal(lb_ch_judge(200, 0, s, "", 9, 3, &n), LB_CH_DONE);
    assert_int_equal(lb_ch_judge(200, 0, s, "", 11, 3, &n), LB_CH_UNKNOWN);

    /* what is not an answer to go by teaches nothing */
    assert_int_equal(lb_ch_judge(500, 0, s, "", 10, 3, &n), LB_CH_UNKNOWN);
    assert_int_equal(n, 0);
    assert_int_equal(lb_ch_judge(200, 395, s, "", 10, 3, &n), LB_CH_UNKNOWN);
    assert_int_equal(n, 0);
}

static void
only_counted_rows_are_done(void **state)
{
    static const char ok[] = " {\"read_rows\":\"10\",\"written_rows\":\"20\"}";

    (void)state;

    assert_int_equal(judge(200, 0, ok, "", 10), LB_CH_DONE);

    /* fewer rows than sent: a body cut on its way can be answered with 200 */
    assert_int_equal(judge(200, 0, ok, "", 11), LB_CH_UNKNOWN);
    assert_int_equal(judge(200, 0, NULL, "", 10), LB_CH_UNKNOWN);
    assert_int_equal(judge(200, 0, "", "", 10), LB_CH_UNKNOWN);
    assert_int_equal(judge(200, 0, " {}", "", 10), LB_CH_UNKNOWN);

    /* an exception behind the headers of a 200, or with them */
    assert_int_equal(judge(200, 0, ok, "Code: 395. DB::Exception: x", 10),
                     LB_CH_UNKNOWN);
    assert_int_equal(judge(200, 395, ok, "", 10), LB_CH_UNKNOWN);

    /* a proxy in between */
    assert_int_equal(judge(204, 0, ok, "", 10), LB_CH_UNKNOWN);
    assert_int_equal(judge(500, 0, ok, "", 10), LB_CH_UNKNOWN);
    assert_int_equal(judge(503, 0, NULL, "", 10), LB_CH_UNKNOWN);
}

static void
codes_not_statuses_decide(void **state)
{
    size_t i;
    static const int definite[] = {60, 81, 164, 192, 194, 202, 497, 516};
    static const int doubtful[] = {159, 209, 210, 216, 241, 242,
                                   252, 319, 349, 394, 999, 1000};

    (void)state;

    for (i = 0; i < sizeof(definite) / sizeof(definite[0]); i++) {
        assert_int_equal(judge(500, definite[i], NULL, "", 1), LB_CH_REFUSED);
    }

    /* timeouts, an INSERT under the same id that still runs, memory, trouble
     * of a materialized view: the rows may be in */
    for (i = 0; i < sizeof(doubtful) / sizeof(doubtful[0]); i++) {
        assert_int_equal(judge(500, doubtful[i], NULL, "", 1), LB_CH_UNKNOWN);
    }
}

#define COLUMNS                                                                \
    "\t,timestamp,received_at,stream,level,service,host,message,trace_id,"     \
    "attributes,client,broker,ring UUID,seq "                                  \
    "UInt64,\ttoDate(received_at)\t0\t"                                        \
    "40db06f5-bf94-4156-baa1-e88c3a36a067\t1700000000000"
#define OTHER_COLUMNS(seq)                                                     \
    "\t,timestamp,received_at,stream,level,service,host,message,trace_id,"     \
    "attributes,client,broker,ring UUID,seq " seq ","
#define WINDOW " SETTINGS non_replicated_deduplication_window = 10000"

static void
tables(void **state)
{
    size_t i;
    lb_preflight_t p;
    static lb_ch_result_t r;
    static const struct {
        const char *answer;
        const char *verdict;
        const char *words;
    } cases[] = {
        {"MergeTree ORDER BY x" WINDOW COLUMNS, "yes", ""},
        {"ReplicatedMergeTree('/p', 'r') ORDER BY x" COLUMNS, "yes", ""},
        {"MergeTree ORDER BY x" COLUMNS, "no", "deduplication window"},
        {"MergeTree ORDER BY x SETTINGS "
         "non_replicated_deduplication_window = 0" COLUMNS,
         "no", "deduplication window"},
        {"Null" COLUMNS, "no", "MergeTree family"},
        {"Distributed('c', 'd', 't')" COLUMNS, "no", "MergeTree family"},
        {"", "no", "does not exist"},
        {"MergeTree" WINDOW "\t,timestamp,message,", "no",
         "no column received_at"},
        {"MergeTree" WINDOW OTHER_COLUMNS("UInt32") "\t\t0\t1", "no",
         "no column seq UInt64"},
        {"MergeTree" WINDOW OTHER_COLUMNS("UInt64") "\t\t0\t1", "yes", ""},
        {"MergeTree" WINDOW OTHER_COLUMNS("UInt64") "\tstream\t0\t1", "no",
         "partitioned by stream"},
        {"MergeTree" WINDOW OTHER_COLUMNS(
             "UInt64") "\ttoYYYYMM(received_at)\t1\t1",
         "no", "async_insert"},
    };

    (void)state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        r.outcome = LB_CH_DONE;
        (void)snprintf(r.answer, sizeof(r.answer), "%s", cases[i].answer);
        lb_preflight_judge(&r, &p);
        assert_string_equal(p.verdict, cases[i].verdict);
        if (strstr(p.reason, cases[i].words) == NULL) {
            fail_msg("%s: %s", cases[i].answer, p.reason);
        }
    }

    r.outcome = LB_CH_DONE;
    (void)snprintf(r.answer, sizeof(r.answer), "%s",
                   "MergeTree ORDER BY x" WINDOW COLUMNS);
    lb_preflight_judge(&r, &p);
    assert_int_equal(p.replicated, 0);
    assert_int_equal(p.server_ms, 1700000000000);
    assert_memory_equal(p.table_uuid,
                        "\x40\xdb\x06\xf5\xbf\x94\x41\x56\xba\xa1\xe8\x8c"
                        "\x3a\x36\xa0\x67",
                        16);
    (void)snprintf(r.answer, sizeof(r.answer), "%s",
                   "ReplicatedMergeTree('/p', 'r') ORDER BY x" COLUMNS);
    lb_preflight_judge(&r, &p);
    assert_int_equal(p.replicated, 1);

    r.outcome = LB_CH_REFUSED;
    (void)snprintf(r.text, sizeof(r.text), "wrong password");
    lb_preflight_judge(&r, &p);
    assert_int_equal(p.replicated, -1);
    assert_memory_equal(p.table_uuid, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    assert_string_equal(p.verdict, "unknown");
    assert_string_equal(p.reason, "wrong password");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_counted_rows_are_done),
        cmocka_unit_test(views_are_counted),
        cmocka_unit_test(codes_not_statuses_decide),
        cmocka_unit_test(tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
