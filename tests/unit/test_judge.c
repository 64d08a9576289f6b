/*
 * What an answer of ClickHouse means, and what a table is good for.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flusher/clickhouse/question.h"
#include "flusher/clickhouse/http.h"

static lb_sink_outcome_t
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

    assert_int_equal(lb_ch_judge(200, 0, s, "", 10, 1, &n), LB_SINK_UNKNOWN);
    assert_int_equal(n, 30);
    assert_int_equal(lb_ch_judge(200, 0, s, "", 10, 3, &n), LB_SINK_DONE);
    assert_int_equal(lb_ch_judge(200, 0, s, "", 9, 3, &n), LB_SINK_DONE);
    assert_int_equal(lb_ch_judge(200, 0, s, "", 11, 3, &n), LB_SINK_UNKNOWN);

    /* what is not an answer to go by teaches nothing */
    assert_int_equal(lb_ch_judge(500, 0, s, "", 10, 3, &n), LB_SINK_UNKNOWN);
    assert_int_equal(n, 0);
    assert_int_equal(lb_ch_judge(200, 395, s, "", 10, 3, &n), LB_SINK_UNKNOWN);
    assert_int_equal(n, 0);
}

static void
only_counted_rows_are_done(void **state)
{
    static const char ok[] = " {\"read_rows\":\"10\",\"written_rows\":\"20\"}";

    (void)state;

    assert_int_equal(judge(200, 0, ok, "", 10), LB_SINK_DONE);

    /* fewer rows than sent: a body cut on its way can be answered with 200 */
    assert_int_equal(judge(200, 0, ok, "", 11), LB_SINK_UNKNOWN);
    assert_int_equal(judge(200, 0, NULL, "", 10), LB_SINK_UNKNOWN);
    assert_int_equal(judge(200, 0, "", "", 10), LB_SINK_UNKNOWN);
    assert_int_equal(judge(200, 0, " {}", "", 10), LB_SINK_UNKNOWN);

    /* an exception behind the headers of a 200, or with them */
    assert_int_equal(judge(200, 0, ok, "Code: 395. DB::Exception: x", 10),
                     LB_SINK_UNKNOWN);
    assert_int_equal(judge(200, 395, ok, "", 10), LB_SINK_UNKNOWN);

    /* a proxy in between */
    assert_int_equal(judge(204, 0, ok, "", 10), LB_SINK_UNKNOWN);
    assert_int_equal(judge(500, 0, ok, "", 10), LB_SINK_UNKNOWN);
    assert_int_equal(judge(503, 0, NULL, "", 10), LB_SINK_UNKNOWN);
}

static void
codes_not_statuses_decide(void **state)
{
    size_t i;
    static const int definite[] = {60,  81,  115, 164, 192,
                                   194, 202, 452, 497, 516};
    static const int doubtful[] = {159, 209, 210, 216, 241, 242,
                                   252, 319, 349, 394, 999, 1000};

    (void)state;

    for (i = 0; i < sizeof(definite) / sizeof(definite[0]); i++) {
        assert_int_equal(judge(500, definite[i], NULL, "", 1), LB_SINK_REFUSED);
    }

    /* timeouts, an INSERT under the same id that still runs, memory, trouble
     * of a materialized view: the rows may be in */
    for (i = 0; i < sizeof(doubtful) / sizeof(doubtful[0]); i++) {
        assert_int_equal(judge(500, doubtful[i], NULL, "", 1), LB_SINK_UNKNOWN);
    }
}

/* A code that nothing is in by cannot blame a value: then a batch would be
 * searched for a row that is not there. */
static void
no_code_says_two_things(void **state)
{
    int code;
    unsigned says;

    (void)state;

    for (code = -1; code < 2000; code++) {
        says = lb_ch_error(code);
        assert_true(!(says & LB_CH_DATA) ||
                    (says & ~LB_CH_DAMAGE) == LB_CH_DATA);
        assert_false((says & LB_CH_DEFINITE) && (says & LB_CH_SIZE));
        assert_false((says & LB_CH_LOGIN) && !(says & LB_CH_DEFINITE));
    }

    assert_int_equal(lb_ch_error(0), 0);
    assert_int_equal(lb_ch_error(469), LB_CH_DATA);
    assert_int_equal(lb_ch_error(241), LB_CH_SIZE | LB_CH_BUSY);
    assert_int_equal(lb_ch_error(193), LB_CH_DEFINITE | LB_CH_LOGIN);
    assert_int_equal(lb_ch_error(246), LB_CH_DAMAGE);
    assert_true(lb_ch_no_table(60) && lb_ch_no_table(81));
    assert_false(lb_ch_no_table(497));
    assert_true(lb_ch_blames_size(413, 0) && lb_ch_blames_size(500, 241));
    assert_false(lb_ch_blames_size(413, 60));
}

/* One ring that was filled hours ago beside one that is filled now: each of
 * them is asked for by its own times. */
static void
a_question_reads_no_hours(void **state)
{
    char *sql;
    lb_ckpt_state_t *st = calloc(1, sizeof(*st));

    (void)state;
    assert_non_null(st);
    st->nrings = 2;
    st->from_us = 1000000000000000;
    st->to_us = 1000007200000000;
    st->rings[0].end_seq = 10;
    st->rings[0].from_us = st->from_us;
    st->rings[0].to_us = 1000000001000000;
    st->rings[1].end_seq = 20;
    st->rings[1].from_us = 1000007199500000;
    st->rings[1].to_us = st->to_us;

    sql = lb_question_batch(st, "d.t", "x-", 0);
    assert_non_null(sql);
    assert_non_null(
        strstr(sql, "AND seq BETWEEN 0 AND 9 AND received_at BETWEEN "
                    "fromUnixTimestamp64Micro(toInt64(1000000000000000), "
                    "'UTC') AND fromUnixTimestamp64Micro(toInt64("
                    "1000000001000000), 'UTC'))"));
    assert_non_null(
        strstr(sql, "AND seq BETWEEN 0 AND 19 AND received_at BETWEEN "
                    "fromUnixTimestamp64Micro(toInt64(1000007199000000)"));
    free(sql);

    /* of a ring whose times are not known any more, all that there is */
    st->rings[0].from_us = 0;
    sql = lb_question_batch(st, "d.t", "x-", 0);
    assert_non_null(sql);
    assert_non_null(strstr(sql, "AND seq BETWEEN 0 AND 9) OR (ring"));
    free(sql);

    /* as many as there can be, with figures as long as there can be */
    st->nrings = LB_CKPT_RINGS_MAX;
    for (uint32_t i = 0; i < st->nrings; i++) {
        st->rings[i].acked_seq = UINT64_MAX - 1;
        st->rings[i].end_seq = UINT64_MAX;
        st->rings[i].from_us = st->rings[i].to_us = UINT64_MAX;
    }
    sql = lb_question_batch(st, "d.t", "x-", 0);
    assert_non_null(sql);
    assert_non_null(strstr(sql, ") FORMAT TabSeparatedRaw"));
    assert_true(strlen(sql) < 1048576); /* max_query_size, as set */
    free(sql);
    free(st);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_counted_rows_are_done),
        cmocka_unit_test(views_are_counted),
        cmocka_unit_test(codes_not_statuses_decide),
        cmocka_unit_test(no_code_says_two_things),
        cmocka_unit_test(a_question_reads_no_hours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
