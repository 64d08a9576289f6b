/*
 * Datadog's log intake: what becomes an event, which of its members are another
 * one's, what is rejected.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/datadog.h"
#include "event/reject.h"
#include "tests/unit/scan_env.h"

#define CAP 100000

static lb_scan_status_t
scan(const lb_format_t *format, const char *body, lb_scan_result_t *res)
{
    return scan_format(format, body, strlen(body), CAP, "stream\0app", 11, 1,
                       res);
}

typedef struct {
    const char *body, *want;
    int events;
} case_t;

static void
check(const lb_format_t *format, const case_t *cases, size_t n)
{
    lb_scan_result_t res, tight;

    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(cases[i].body);
        lb_scan_status_t rc = LB_SCAN_NOSPACE;

        assert_int_equal(scan(format, cases[i].body, &res), LB_SCAN_OK);
        assert_string_equal(out, cases[i].want);
        assert_int_equal(res.events, cases[i].events);
        assert_int_equal(res.rejected, 0);
        for (size_t cap = 0; cap < len * 4 + 300; cap++) {
            rc = scan_format(format, cases[i].body, len, cap, "", 0, 1, &tight);
            if (rc == LB_SCAN_OK) {
                assert_string_equal(out, cases[i].want);
            } else {
                assert_int_equal(rc, LB_SCAN_NOSPACE);
            }
        }
        assert_int_equal(rc, LB_SCAN_OK);
    }
}

static void
test_events(void **state)
{
    static const case_t cases[] = {
        {"[{\"message\":\"m\",\"status\":\"warn\",\"timestamp\":1772600767123,"
         "\"hostname\":\"h1\",\"service\":\"pay\",\"ddsource\":\"go\","
         "\"ddtags\":\"env:prod\"}]",
         "{\"message\":\"m\",\"level\":\"warn\","
         "\"timestamp\":\"2026-03-04T05:06:07.123000000Z\","
         "\"hostname\":\"h1\",\"service\":\"pay\",\"ddsource\":\"go\","
         "\"env\":\"prod\"}\n",
         1},
        {"{\"message\":\"a\"}\n{\"message\":\"b\"}\n{}",
         "{\"message\":\"a\"}\n{\"message\":\"b\"}\n", 2},
        {"{\"message\":\"a\",\"timestamp\":\"2026-03-04\"}",
         "{\"message\":\"a\",\"timestamp\":\"2026-03-04\"}\n", 1},

        /* a status that is none, or one of two */
        {"{\"message\":\"a\",\"status\":200}",
         "{\"message\":\"a\",\"status\":200}\n", 1},
        {"{\"message\":\"a\",\"status\":\"pending\"}",
         "{\"message\":\"a\",\"status\":\"pending\"}\n", 1},
        {"{\"message\":\"a\",\"status\":\"3\"}",
         "{\"message\":\"a\",\"level\":\"3\"}\n", 1},
        {"{\"message\":\"a\",\"status\":\"ok\",\"level\":\"error\"}",
         "{\"message\":\"a\",\"datadog.status\":\"ok\",\"level\":\"error\"}\n",
         1},

        /* tags */
        {"{\"ddtags\":\"a:1, b:x:y ,urgent,a:2,c:,message:m,service:s,:d\","
         "\"c\":1}",
         "{\"a\":\"1\",\"b\":\"x:y\",\"service\":\"s\",\"ddtags\":\"urgent,"
         "a:2,c:,message:m,:d\",\"c\":1}\n",
         1},
        {"{\"hostname\":\"h\",\"ddtags\":\"host:i,pod_name:p,service:s\"}",
         "{\"hostname\":\"h\",\"pod_name\":\"p\",\"service\":\"s\","
         "\"ddtags\":\"host:i\"}\n",
         1},
        {"{\"hostname\":\"\",\"ddtags\":\"host:i\"}",
         "{\"hostname\":\"\",\"host\":\"i\"}\n", 1},
        {"{\"ddtags\":\"c:1\",\"c\":1}", "{\"ddtags\":\"c:1\",\"c\":1}\n", 1},
        {"{\"ddtags\":\"\",\"a\":1}", "{\"a\":1}\n", 1},
        {"{\"ddtags\":[\"a:1\"]}", "{\"ddtags\":[\"a:1\"]}\n", 1},
        {"{\"ddtags\":\"k\\\"\\u00e9:v\\\\\"}",
         "{\"k\\\"\\u00e9\":\"v\\\\\"}\n", 1},

        /* messages that are JSON */
        {"{\"service\":\"s\",\"status\":\"info\",\"timestamp\":1772600767123,"
         "\"message\":\"{ \\\"msg\\\": \\\"x\\\\n\\\", \\\"level\\\":"
         "\\\"error\\\", \\\"ts\\\":\\\"2026-03-04T05:06:07Z\\\"}\","
         "\"ddtags\":\"msg:1,k:v\"}",
         "{\"msg\":\"x\\n\",\"level\":\"error\",\"ts\":\"2026-03-04T05:06:07Z\""
         ",\"service\":\"s\",\"datadog.status\":\"info\","
         "\"datadog.timestamp\":1772600767123,\"k\":\"v\",\"ddtags\":\"msg:1\"}"
         "\n",
         1},
        {"{\"message\":{\"msg\":\"x\",\"status\":404},\"status\":\"info\"}",
         "{\"msg\":\"x\",\"status\":404,\"level\":\"info\"}\n", 1},
        {"{\"message\":{\"level\":\"?\",\"time\":7},\"timestamp\":"
         "1772600767123,\"status\":\"info\"}",
         "{\"level\":\"?\",\"time\":7,\"timestamp\":"
         "\"2026-03-04T05:06:07.123000000Z\",\"datadog.status\":\"info\"}\n",
         1},
        {"{\"message\":\"{}\"}", "{\"message\":\"{}\"}\n", 1},
        {"{\"message\":{}}", "{\"message\":{}}\n", 1},
        {"{\"message\":\"{not}\"}", "{\"message\":\"{not}\"}\n", 1},
        {"{\"message\":\"{}{}\"}", "{\"message\":\"{}{}\"}\n", 1},
        {"{\"message\":\"{\\\"a\\\":\\\"\\ud800\\\"}\"}",
         "{\"a\":\"\xef\xbf\xbd\"}\n", 1},
        {"{\"message\":[1],\"a\":2}", "{\"message\":[1],\"a\":2}\n", 1},
    };

    (void)state;
    check(&lb_format_datadog, cases, sizeof(cases) / sizeof(cases[0]));
    check(&lb_format_datadog_text, cases, sizeof(cases) / sizeof(cases[0]));
}

static void
test_text(void **state)
{
    static const case_t cases[] = {
        {"one\r\n\ntwo \"q\"\n",
         "{\"message\":\"one\"}\n{\"message\":\"two \\\"q\\\"\"}\n", 2},
        {"one\n{\"message\":\"m\",\"status\":\"warn\"}\n{no}\n[1]\n",
         "{\"message\":\"one\"}\n{\"message\":\"m\",\"level\":\"warn\"}\n"
         "{\"message\":\"{no}\"}\n{\"message\":\"[1]\"}\n",
         4},
        {"a\xff\n\n\xc3\xa9\x01\r\n",
         "{\"message\":\"a\xef\xbf\xbd\"}\n{\"message\":\"\xc3\xa9\\u0001\"}\n",
         2},
    };
    lb_scan_result_t res;

    (void)state;
    check(&lb_format_datadog_text, cases, sizeof(cases) / sizeof(cases[0]));
    assert_int_equal(scan(&lb_format_datadog_text, "\n\r\n", &res),
                     LB_SCAN_EMPTY);
}

static void
test_rejected(void **state)
{
    lb_scan_result_t res;
    char line[1200];

    (void)state;
    assert_int_equal(
        scan(&lb_format_datadog, "[{\"a\":1},7,{\"a\":},{\"a\":2}]", &res),
        LB_SCAN_OK);
    assert_int_equal(res.rejected, 2);
    assert_int_equal(res.events, 4);
    assert_non_null(
        strstr(out, "\"reason\":\"it is no JSON object\",\"origin\":\"app\","
                    "\"place\":\"event 1\",\"body\":\"7,\"}"));
    assert_non_null(strstr(out, "\n\001{}\n{\"a\":2}\n"));

    assert_int_equal(scan(&lb_format_datadog, "words", &res), LB_SCAN_BAD);
    assert_int_equal(scan(&lb_format_datadog, "", &res), LB_SCAN_EMPTY);
    assert_int_equal(scan(&lb_format_datadog, "[{}]", &res), LB_SCAN_EMPTY);

    /* the line that is too large is the one that is kept */
    memset(line, 'x', sizeof(line));
    memcpy(line, "a\n\xff", 3);
    memcpy(line + 1195, "\nb\n", 4);
    assert_int_equal(scan(&lb_format_datadog_text, line, &res), LB_SCAN_OK);
    assert_int_equal(res.rejected, 1);
    assert_int_equal(res.events, 3);
    assert_non_null(strstr(out, "\"body\":\"\xef\xbf\xbdxxx"));
    assert_non_null(strstr(out, "xxx\"}\n\001{}\n{\"message\":\"b\"}\n"));
}

static void
test_parameters(void **state)
{
    static const char params[] = "stream\0s\0ddsource\0heroku\0service\0a\"b"
                                 "\0ddtags\0env:prod,k:v";
    char many[1100] = "service";
    lb_scan_result_t res;

    (void)state;
    assert_int_equal(scan_format(&lb_format_datadog, "[{\"a\":1},7,{\"a\":2}]",
                                 19, CAP, params, sizeof(params), 0, &res),
                     LB_SCAN_OK);
    assert_memory_equal(
        out,
        "\001{\"fields\":{\"ddsource\":\"heroku\",\"service\":\"a\\\"b\","
        "\"env\":\"prod\",\"k\":\"v\"}}\n{\"a\":1}\n" LB_REJECT_CONTEXT,
        103);
    assert_non_null(strstr(out, "}\n\001{\"fields\":{\"ddsource\""));
    assert_int_equal(res.contexts, 1);
    assert_int_equal(scan_format(&lb_format_datadog_text, "x", 1, CAP, params,
                                 sizeof(params), 0, &res),
                     LB_SCAN_OK);
    assert_non_null(strstr(out, "\"k\":\"v\"}}\n{\"message\":\"x\"}\n"));

    memset(many + 8, 'x', 1025);
    assert_int_equal(scan_format(&lb_format_datadog, "{\"a\":1}", 7, CAP, many,
                                 1034, 0, &res),
                     LB_SCAN_BAD);
    /* the largest there is */
    memset(many + 8, '\1', 1024);
    many[8 + 1024] = '\0';
    assert_int_equal(scan_format(&lb_format_datadog, "{\"a\":1}", 7, CAP, many,
                                 1033, 0, &res),
                     LB_SCAN_OK);
}

static void
test_logplex(void **state)
{
    static const char params[] = "count\0002\0service\0s";
    static const char body[] =
        "48 <40>1 2026-03-04T05:06:07+00:00 h app web.1 - x\n"
        "46 <40>1 2026-03-04T05:06:07+00:00 h app web.1 -\n";
    lb_scan_result_t res;

    (void)state;
    assert_int_equal(scan_format(&lb_format_datadog_logplex, body,
                                 sizeof(body) - 1, CAP, params, sizeof(params),
                                 0, &res),
                     LB_SCAN_OK);
    assert_int_equal(res.events, 2);
    assert_memory_equal(out, "\001{\"fields\":{\"service\":\"s\"}}\n{", 29);
    assert_int_equal(scan_format(&lb_format_datadog_logplex, body, 51, CAP,
                                 params, sizeof(params), 0, &res),
                     LB_SCAN_BAD);
}

/* More members and tags than are looked at. */
static void
test_many(void **state)
{
    char body[6000], *p;
    lb_scan_result_t res;

    (void)state;
    p = body + sprintf(body, "{\"ddtags\":\"t0:0");
    for (int i = 1; i < 70; i++) {
        p += sprintf(p, ",t%d:%d", i, i);
    }
    sprintf(p, "\"}");
    assert_int_equal(scan(&lb_format_datadog, body, &res), LB_SCAN_OK);
    assert_non_null(strstr(out, "\"t63\":\"63\",\"ddtags\":\"t64:64,t65:65,"));

    p = body + sprintf(body, "{\"ddtags\":\"m3:1,t:1\"");
    for (int i = 0; i < 130; i++) {
        p += sprintf(p, ",\"m%d\":%d", i, i);
    }
    sprintf(p, "}");
    assert_int_equal(scan_format(&lb_format_datadog, body, strlen(body), CAP,
                                 "", 0, 1, &res),
                     LB_SCAN_OK);
    assert_int_equal(res.rejected, strlen(body) > 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),   cmocka_unit_test(test_text),
        cmocka_unit_test(test_rejected), cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_logplex),  cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
