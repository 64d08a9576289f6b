/*
 * Elasticsearch's _bulk: what becomes an event, what is rejected and kept, and
 * the answer word for word.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/bulk.h"
#include "event/lines.h"
#include "event/reject.h"
#include "event/stream.h"
#include "tests/unit/scan_env.h"

static lb_scan_status_t
scan(const char *body, size_t len, size_t cap, const char *params,
     size_t params_len, lb_scan_result_t *res)
{
    return scan_format(&lb_format_bulk, body, len, cap, params, params_len, 0,
                       res);
}

static void
test_pairs(void **state)
{
    static const char body[] =
        "{\"index\":{\"_index\":\"logs-2026.11.26\"}}\n"
        "{ \"message\": \"one\" }\r\n"
        "\n"
        "{\"create\":{\"_index\":\"logs-2026.11.27\",\"_id\":\"a\\\"b\"}}\n"
        "{\"message\":\"two\"}\n"
        "{\"create\":{\"_id\":7}}\n"
        "{}";
    static const char want[] = "\001{\"stream\":\"logs\"}\n"
                               "{\"message\":\"one\"}\n"
                               "{\"message\":\"two\",\"_id\":\"a\\\"b\"}\n"
                               "\001{}\n"
                               "{\"_id\":7}\n";
    static const char answer[] =
        "{\"took\":0,\"errors\":false,\"items\":["
        "{\"index\":{\"_index\":\"logs-2026.11.26\","
        "\"result\":\"created\",\"status\":201}},"
        "{\"create\":{\"_index\":\"logs-2026.11.27\",\"_id\":\"a\\\"b\","
        "\"result\":\"created\",\"status\":201}},"
        "{\"create\":{\"_index\":\"\",\"_id\":\"7\","
        "\"result\":\"created\",\"status\":201}}]}";
    lb_scan_result_t res;

    (void)state;
    for (size_t cap = 0; cap < sizeof(want) - 1; cap++) {
        assert_int_equal(scan(body, sizeof(body) - 1, cap, "", 0, &res),
                         LB_SCAN_NOSPACE);
    }
    assert_int_equal(scan(body, sizeof(body) - 1, 1000, "", 0, &res),
                     LB_SCAN_OK);
    assert_string_equal(out, want);
    assert_int_equal(res.events, 3);
    assert_int_equal(res.rejected, 0);
    assert_string_equal(reply, answer);
}

static void
test_parameters(void **state)
{
    static const char params[] = "index\0app\0filter_path\0items.*.status\0";
    static const char body[] = "{\"index\":{}}\n{}\n";
    lb_scan_result_t res;

    (void)state;
    assert_int_equal(
        scan(body, sizeof(body) - 1, 1000, params, sizeof(params) - 1, &res),
        LB_SCAN_OK);
    assert_string_equal(out, "\001{\"stream\":\"app\"}\n{}\n");
    assert_string_equal(reply, "{\"took\":0,\"errors\":false,\"items\":"
                               "[{\"index\":{\"status\":201}}]}");
}

/* Each bad one has its item and is kept; its neighbours are taken. */
static void
test_rejected(void **state)
{
    static const struct {
        const char *line, *reason; /* of the second line of three pairs */
        const char *verb;
        int events;
    } cases[] = {
        {"{\"index\":{}}\n{\"a\":}", "no valid JSON", "index", 1},
        {"{\"index\":{}}\n[{}]", "one JSON object", "index", 1},
        {"{\"index\":{}}\n[]", "no valid JSON", "index", 1},
        {"{\"index\":{}}\n{}{}", "one JSON object", "index", 1},
        {"{\"index\":{}}\n\xff", "no valid JSON", "index", 1},
        {"{\"index\":{\"_index\":\"a/b\"}}\n{}", "name of a stream", "index",
         1},
        {"{\"update\":{}}\n{\"doc\":{}}", "not supported", "update", 1},
        {"{\"delete\":{\"_id\":\"1\"}}", "not supported", "delete", 1},
        {"{\"a\":1}", "an action is", "index", 1},
        {"{\"index\":1}", "an action is", "index", 1},
        {"{\"index\":{},\"b\":1}", "an action is", "index", 1},
        {"word \x01 \"", "an action is", "index", 1},
    };
    char body[400], item[100];
    lb_scan_result_t res;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *p;
        int n = snprintf(body, sizeof(body),
                         "{\"index\":{}}\n{\"n\":1}\n%s\n"
                         "{\"index\":{}}\n{\"n\":2}\n",
                         cases[i].line);
        size_t cap = 0;

        while (scan(body, (size_t)n, cap, "", 0, &res) == LB_SCAN_NOSPACE) {
            cap++;
        }
        assert_int_equal(scan(body, (size_t)n, cap, "", 0, &res), LB_SCAN_OK);
        assert_int_equal(res.events, 2 + cases[i].events);
        assert_int_equal(res.rejected, 1);
        assert_int_equal(res.row,
                         strncmp(cases[i].line, "{\"index\":{", 10) &&
                                 strncmp(cases[i].line, "{\"up", 4)
                             ? 3
                             : 3 + (strchr(cases[i].line, '\n') != NULL));
        assert_non_null(strstr(res.error, cases[i].reason));

        assert_memory_equal(out, "{\"n\":1}\n" LB_REJECT_CONTEXT, 31);
        p = strstr(out, "\"reason\":\"");
        assert_non_null(p);
        assert_non_null(strstr(p, cases[i].reason));
        assert_non_null(strstr(p, "}\n\001{}\n{\"n\":2}\n"));

        assert_memory_equal(reply, "{\"took\":0,\"errors\":true, \"items\":[",
                            34);
        snprintf(item, sizeof(item), "{\"%s\":{\"_index\":", cases[i].verb);
        p = strstr(reply, "201}},{");
        assert_non_null(p);
        assert_memory_equal(p + 6, item, strlen(item));
        assert_non_null(strstr(p, "\"status\":400,\"error\":{\"type\":\""));
        assert_non_null(strstr(p, "}}},{\"index\":{"));
    }
}

static void
test_whole_body(void **state)
{
    lb_scan_result_t res;
    char *big = malloc(20000);
    int n;

    (void)state;
    assert_int_equal(scan("", 0, 100, "", 0, &res), LB_SCAN_EMPTY);
    assert_int_equal(scan("\n \r\n", 4, 100, "", 0, &res), LB_SCAN_EMPTY);

    /* plain events, sent to the wrong place */
    assert_int_equal(scan("{\"a\":1}\n{\"b\":2}\n", 16, 2000, "", 0, &res),
                     LB_SCAN_BAD);
    assert_int_equal(res.row, 1);

    /* cut behind an action */
    assert_int_equal(
        scan("{\"index\":{}}\n{}\n{\"index\":{}}\n", 29, 2000, "", 0, &res),
        LB_SCAN_OK);
    assert_int_equal(res.events, 1);
    assert_int_equal(res.rejected, 1);
    assert_non_null(strstr(reply, "without its document"));

    /* larger than an event may be: the first 8 KB are kept */
    assert_non_null(big);
    n = sprintf(big, "{\"index\":{}}\n{\"a\":\"");
    memset(big + n, 'x', 12000);
    n += 12000;
    n += sprintf(big + n, "\"}\n");
    assert_int_equal(scan(big, (size_t)n, 200000, "", 0, &res), LB_SCAN_OK);
    assert_int_equal(res.events, 1);
    assert_int_equal(res.rejected, 1);
    assert_non_null(strstr(out, "\"body_bytes\":12008}\n"));
    assert_true(res.out_len > LB_REJECT_BODY && res.out_len < 8500);
    free(big);
}

static void
test_streams(void **state)
{
    static const struct {
        const char *index, *stream;
    } cases[] = {
        {"app", "app"},
        {"app-2026.11.26", "app"},
        {"app-2026-11-26", "app"},
        {"app-2026.11", "app"},
        {"app-2026.11-26", "app-2026.11-26"},
        {"app-1.2.3", "app-1.2.3"},
        {"2026.11.26", "2026.11.26"},
        {"-2026.11.26", "-2026.11.26"},
        {"logs-nginx-prod", "logs-nginx-prod"},
        {".ds-logs-nginx-prod-2026.11.26-000001", "logs-nginx-prod"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].index);
        const char *p = lb_bulk_stream(cases[i].index, &len);

        assert_int_equal(len, strlen(cases[i].stream));
        assert_memory_equal(p, cases[i].stream, len);
    }
}

static void
test_streams_of_a_sender(void **state)
{
    static const char *const good[] = {"a", "a,b", "a,b*", "a,*", "a.b_C-1,x"};
    static const char *const bad[] = {"",     "*",     "a*",  "a,", ",a",
                                      "a,,b", "a,b c", "a,/", "a;b"};
    static const struct {
        const char *list, *name;
        int in;
    } cases[] = {
        {"a", "a", 1},       {"a", "ab", 0},      {"a", "", 0},
        {"ab", "a", 0},      {"a,b", "b", 1},     {"a,b", "a,b", 0},
        {"a,b-*", "b-", 1},  {"a,b-*", "b-c", 1}, {"a,b-*", "b", 0},
        {"a,b-*", "ab-", 0}, {"a,*", "x", 1},     {"a,b-*,c", "c", 1},
        {"", "a", 0},
    };
    static const char body[] = "{\"create\":{\"_index\":\"a\"}}\n{}\n"
                               "{\"create\":{\"_index\":\"b\"}}\n{}\n"
                               "{\"create\":{\"_index\":\"b-1\"}}\n{}\n"
                               "{\"create\":{}}\n{}\n";
    static const char params[] = "streams\0a,b-*";
    lb_scan_result_t res;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(lb_streams_valid(good[i], strlen(good[i])));
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(lb_streams_valid(bad[i], strlen(bad[i])));
    }
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(lb_streams_have(cases[i].list, strlen(cases[i].list),
                                         cases[i].name, strlen(cases[i].name)),
                         cases[i].in);
    }

    assert_int_equal(
        scan(body, sizeof(body) - 1, 10000, params, sizeof(params), &res),
        LB_SCAN_OK);
    assert_int_equal(res.events, 4);
    assert_int_equal(res.rejected, 1);
    assert_non_null(strstr(out, "\"reason\":\"this sender may not write to "
                                "this index\",\"origin\":"));
    assert_null(strstr(out, "{\"stream\":\"b\"}"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_rejected),
        cmocka_unit_test(test_whole_body),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_streams_of_a_sender),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
