/*
 * Splunk's HTTP Event Collector: what becomes an event, what holds for those
 * behind it, what is rejected and kept, and the answer word for word.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/reject.h"
#include "event/splunk.h"
#include "event/splunk_raw.h"
#include "tests/unit/scan_env.h"

static lb_scan_status_t
scan(const char *body, lb_scan_result_t *res)
{
    return scan_format(&lb_format_splunk, body, strlen(body), 200000, "", 0, 0,
                       res);
}

#define SUCCESS "200 {\"text\":\"Success\",\"code\":0}"

static void
test_events(void **state)
{
    static const struct {
        const char *body, *want;
        int events;
    } cases[] = {
        {"{\"event\":\"a\"}", "{\"message\":\"a\"}\n", 1},
        {"{\"event\":\"a\"}{\"event\":7}\n[{\"event\":true},{\"event\":[1]}]",
         "{\"message\":\"a\"}\n{\"message\":7}\n{\"message\":true}\n"
         "{\"message\":[1]}\n",
         4},
        {"\xef\xbb\xbf{ \"event\" : { \"a\" : 1 } }", "{\"a\":1}\n", 1},
        {"{\"event\":{}}", "{}\n", 1},
        {"{\"time\":1.5,\"event\":{}}", "{\"timestamp\":1.5}\n", 1},
        {"{\"time\":\"1.5\",\"event\":\"a\"}",
         "{\"timestamp\":\"1.5\",\"message\":\"a\"}\n", 1},
        {"{\"time\":null,\"event\":\"a\",\"fields\":{\"k\":\"v\"},\"x\":[2]}",
         "{\"message\":\"a\",\"k\":\"v\",\"x\":[2]}\n", 1},
        {"{\"event\":\"}{\\\"\"}{\"event\":1}",
         "{\"message\":\"}{\\\"\"}\n{\"message\":1}\n", 2},

        /* what holds for those behind it, once */
        {"{\"host\":\"h\",\"source\":\"s\",\"event\":1}{\"event\":2}"
         "{\"host\":\"h\",\"event\":3}{\"host\":\"i\",\"event\":4}",
         "\001{\"fields\":{\"host\":\"h\",\"source\":\"s\"}}\n"
         "{\"message\":1}\n{\"message\":2}\n{\"message\":3}\n"
         "\001{\"fields\":{\"host\":\"i\",\"source\":\"s\"}}\n"
         "{\"message\":4}\n",
         4},
        {"{\"index\":\"main\",\"event\":1}{\"index\":\"a/b\",\"event\":2}",
         "\001{\"stream\":\"main\"}\n{\"message\":1}\n"
         "\001{\"fields\":{\"index\":\"a/b\"}}\n{\"message\":2}\n",
         2},
        {"{\"sourcetype\":\"t\",\"index\":\"main\",\"host\":\"\",\"event\":1}",
         "\001{\"stream\":\"main\",\"fields\":{\"sourcetype\":\"t\"}}\n"
         "{\"message\":1}\n",
         1},
        {"{\"host\":7,\"event\":1}", "{\"message\":1,\"host\":7}\n", 1},

        /* what the event says too is not lost */
        {"{\"host\":\"h\",\"source\":\"s\",\"event\":{\"host\":\"x\","
         "\"source\":\"y\"}}",
         "\001{\"fields\":{\"host\":\"h\",\"source\":\"s\"}}\n"
         "{\"host\":\"h\",\"hec.source\":\"s\",\"host\":\"x\","
         "\"source\":\"y\"}\n",
         1},
        {"{\"source\":\"s\",\"event\":1,\"fields\":{\"source\":2}}",
         "\001{\"fields\":{\"source\":\"s\"}}\n"
         "{\"hec.source\":\"s\",\"message\":1,\"source\":2}\n",
         1},

        /* Docker's driver */
        {"{\"event\":{\"line\":{\"m\":1},\"source\":\"stdout\",\"tag\":\"t\"}}",
         "{\"m\":1,\"source\":\"stdout\",\"tag\":\"t\"}\n", 1},
        {"{\"event\":{\"line\":\"a\",\"source\":\"stderr\"}}",
         "{\"line\":\"a\",\"source\":\"stderr\"}\n", 1},
        {"{\"event\":{\"line\":{\"m\":1}}}", "{\"line\":{\"m\":1}}\n", 1},
    };
    lb_scan_result_t res;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].body), want = strlen(cases[i].want);

        for (size_t cap = 0; cap < want; cap++) {
            assert_int_equal(scan_format(&lb_format_splunk, cases[i].body, len,
                                         cap, "", 0, 0, &res),
                             LB_SCAN_NOSPACE);
        }
        assert_int_equal(scan(cases[i].body, &res), LB_SCAN_OK);
        assert_string_equal(out, cases[i].want);
        assert_int_equal(res.events, cases[i].events);
        assert_int_equal(res.rejected, 0);
        assert_string_equal(reply, SUCCESS);
    }
}

/* Each bad one is kept and named; its neighbours are taken. */
static void
test_rejected(void **state)
{
    static const struct {
        const char *piece, *text;
        int code;
    } cases[] = {
        {"{\"a\":1}", "Event field is required", 12},
        {"{\"event\":null}", "Event field is required", 12},
        {"{\"event\":\"\"}", "Event field cannot be blank", 13},
        {"{\"event\":}", "Invalid data format", 6},
        {"{\"event\":\"\xff\"}", "Invalid data format", 6},
        {"{\"event\":\"cut}", "Invalid data format", 6},
        {"{\"event\":[}", "Invalid data format", 6},
        {"words", "Invalid data format", 6},
    };
    char body[200], want[200];
    lb_scan_result_t res;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *p;

        snprintf(body, sizeof(body),
                 "{\"index\":\"x\",\"event\":1}\n%s\n{\"event\":2}",
                 cases[i].piece);
        assert_int_equal(scan(body, &res), LB_SCAN_OK);
        assert_int_equal(res.events, 3);
        assert_int_equal(res.rejected, 1);
        snprintf(want, sizeof(want),
                 "200 {\"text\":\"%s\",\"code\":%d,"
                 "\"invalid-event-number\":1,\"reason\":\"",
                 cases[i].text, cases[i].code);
        assert_memory_equal(reply, want, strlen(want));
        p = strstr(out, LB_REJECT_CONTEXT "{\"reason\":\"");
        assert_non_null(p);
        assert_non_null(strstr(p, "\"origin\":\"x\",\"place\":\"envelope 1\""));
        assert_non_null(
            strstr(p, "}\n\001{\"stream\":\"x\"}\n{\"message\":2}\n"));
    }

    /* none was taken */
    assert_int_equal(scan("{\"event\":\"\"}", &res), LB_SCAN_OK);
    assert_int_equal(res.events, 1);
    assert_memory_equal(reply, "400 {\"text\":\"Event field cannot", 31);
}

static void
test_whole_body(void **state)
{
    static const char params[] = "host\0a\"b\0index\0app\0";
    static const char *const none[] = {"words", "7", "\"a\"",
                                       "{\"event\":", "[1,2]"};
    const size_t n = 60000;
    char *big = malloc(n);
    lb_scan_result_t res;

    (void)state;
    assert_int_equal(scan("", &res), LB_SCAN_EMPTY);
    assert_int_equal(scan(" \n[]", &res), LB_SCAN_EMPTY);
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        assert_int_equal(scan(none[i], &res), LB_SCAN_BAD);
        assert_non_null(res.error);
    }

    assert_int_equal(scan_format(&lb_format_splunk, "{\"event\":1}", 11, 1000,
                                 params, sizeof(params) - 1, 0, &res),
                     LB_SCAN_OK);
    assert_string_equal(out, "\001{\"stream\":\"app\",\"fields\":{\"host\":"
                             "\"a\\\"b\"}}\n{\"message\":1}\n");

    /* larger than an event may be, and than the stack */
    assert_non_null(big);
    memset(big, 'x', n);
    memcpy(big, "{\"event\":1}{\"event\":\"", 21);
    memcpy(big + n - 2, "\"}", 2);
    assert_int_equal(
        scan_format(&lb_format_splunk, big, n, 200000, "", 0, 0, &res),
        LB_SCAN_LATER);
    assert_int_equal(
        scan_format(&lb_format_splunk, big, n, 200000, "", 0, 1, &res),
        LB_SCAN_OK);
    assert_int_equal(res.rejected, 1);
    assert_non_null(strstr(reply, "too large"));

    /* each brace looks for its end up to that of the body: not for ever */
    for (size_t i = 0; i < n; i += 2) {
        memcpy(big + i, "{\n", 2);
    }
    assert_int_equal(
        scan_format(&lb_format_splunk, big, n, 1 << 23, "", 0, 1, &res),
        LB_SCAN_BAD);
    free(big);
}

static void
test_raw(void **state)
{
    static const char params[] = "sourcetype\0t\0";
    lb_scan_result_t res;

    (void)state;
    assert_int_equal(scan_format(&lb_format_splunk_raw, "a\r\n\n{b\"\n", 8,
                                 1000, params, sizeof(params) - 1, 0, &res),
                     LB_SCAN_OK);
    assert_string_equal(out, "\001{\"fields\":{\"sourcetype\":\"t\"}}\n"
                             "{\"message\":\"a\"}\n{\"message\":\"{b\\\"\"}\n");
    assert_int_equal(res.events, 2);
    assert_string_equal(reply, SUCCESS);

    assert_int_equal(
        scan_format(&lb_format_splunk_raw, "a\xff", 2, 1000, "", 0, 0, &res),
        LB_SCAN_LATER);
    assert_int_equal(
        scan_format(&lb_format_splunk_raw, "a\xff", 2, 1000, "", 0, 1, &res),
        LB_SCAN_OK);
    assert_string_equal(out, "{\"message\":\"a\xef\xbf\xbd\"}\n");
    assert_int_equal(
        scan_format(&lb_format_splunk_raw, "\n", 1, 1000, "", 0, 0, &res),
        LB_SCAN_EMPTY);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_rejected),
        cmocka_unit_test(test_whole_body),
        cmocka_unit_test(test_raw),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
