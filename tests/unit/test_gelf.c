/*
 * GELF over HTTP: what becomes an event, what is rejected and kept.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include "event/gelf.h"
#include "event/reject.h"
#include "tests/unit/scan_env.h"

static const char params[] = "stream\0app";

static lb_scan_status_t
scan(const void *body, size_t len, size_t cap, int patient,
     lb_scan_result_t *res)
{
    return scan_format(&lb_format_gelf, body, len, cap, params, sizeof(params),
                       patient, res);
}

static void
test_messages(void **state)
{
    static const struct {
        const char *body, *want;
        int events;
    } cases[] = {
        {"{\"version\":\"1.1\",\"host\":\"h\",\"short_message\":\"boom\","
         "\"full_message\":\"boom\\nstack\",\"timestamp\":1772600767.1234,"
         "\"level\":3,\"_app\":\"pay\",\"facility\":\"f\"}",
         "{\"timestamp\":\"2026-03-04T05:06:07.123400000Z\",\"level\":3,"
         "\"host\":\"h\",\"message\":\"boom\",\"full_message\":\"boom\\nstack\""
         ",\"app\":\"pay\",\"facility\":\"f\"}\n",
         1},
        /* times */
        {"{\"short_message\":\"a\",\"timestamp\":\"1772600767\"}",
         "{\"timestamp\":\"2026-03-04T05:06:07.000000000Z\",\"message\":\"a\"}"
         "\n",
         1},
        {"{\"short_message\":\"a\",\"timestamp\":1.7726007671234E9}",
         "{\"timestamp\":\"2026-03-04T05:06:07.123400000Z\",\"message\":\"a\"}"
         "\n",
         1},
        {"{\"short_message\":\"a\",\"timestamp\":1772600767.1234567891}",
         "{\"timestamp\":\"2026-03-04T05:06:07.123456789Z\","
         "\"timestamp\":1772600767.1234567891,\"message\":\"a\"}\n",
         1},
        {"{\"timestamp\":\"2026-03-04\",\"short_message\":\"a\"}",
         "{\"timestamp\":\"2026-03-04\",\"message\":\"a\"}\n", 1},
        {"{\"timestamp\":-5,\"short_message\":\"a\"}",
         "{\"timestamp\":-5,\"message\":\"a\"}\n", 1},
        /* names */
        {"{\"_\":1,\"_host\":2,\"__x\":3,\"x\":4,\"short_message\":\"a\"}",
         "{\"message\":\"a\",\"_\":1,\"_host\":2,\"_x\":3,\"x\":4}\n", 1},
        {"{\"_timestamp\":1,\"_version\":\"7\",\"short_message\":\"a\","
         "\"message\":\"b\"}",
         "{\"message\":\"a\",\"message\":\"b\",\"_timestamp\":1,"
         "\"_version\":\"7\"}\n",
         1},
        {"{\"short_message\":\"a\",\"short_message\":\"b\"}",
         "{\"message\":\"a\",\"short_message\":\"b\"}\n", 1},
        {"{\"message\":\"a\"}", "{\"message\":\"a\"}\n", 1},
        {"{\"short_message\":7,\"level\":\"3\"}",
         "{\"level\":\"3\",\"message\":7}\n", 1},
        {"{\"full_message\":\"a\"}", "{\"full_message\":\"a\"}\n", 1},
        /* several */
        {"\xef\xbb\xbf{\"short_message\":\"a\"}\r\n{\"short_message\":\"b\"}\n",
         "{\"message\":\"a\"}\n{\"message\":\"b\"}\n", 2},
        {"[{\"short_message\":\"a\"},\n{ \"short_message\" : \"b\" }]",
         "{\"message\":\"a\"}\n{\"message\":\"b\"}\n", 2},
        {"[{\"short_message\":\"a\"}]{\"short_message\":\"b\"}",
         "{\"message\":\"a\"}\n{\"message\":\"b\"}\n", 2},
    };
    lb_scan_result_t res;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].body), want = strlen(cases[i].want);

        for (size_t cap = 0; cap < want; cap++) {
            assert_int_equal(scan(cases[i].body, len, cap, 0, &res),
                             LB_SCAN_NOSPACE);
        }
        assert_int_equal(scan(cases[i].body, len, want, 0, &res), LB_SCAN_OK);
        assert_string_equal(out, cases[i].want);
        assert_int_equal(res.events, cases[i].events);
        assert_int_equal(res.rejected, 0);
    }

    assert_int_equal(
        scan("{\"short_message\":\"a\"}\0{\"short_message\":\"b\"}", 43, 1000,
             0, &res),
        LB_SCAN_OK);
    assert_string_equal(out, "{\"message\":\"a\"}\n{\"message\":\"b\"}\n");
}

static void
test_rejected(void **state)
{
    static const char *const pieces[] = {
        "{\"host\":\"h\"}",
        "{\"short_message\":null}",
        "{\"short_message\":\"\",\"host\":\"h\"}",
        "{\"short_message\":}",
        "{\"short_message\":\"\xff\"}",
        "{\"short_message\":\"cut}",
        "{\"short_message\":[}",
        "words",
        "17",
    };
    static const char *const between[][3] = {
        {"{\"short_message\":1}\n", "\n", "{\"short_message\":2}"},
        {"[{\"short_message\":1},\n", ",\n", "{\"short_message\":2}]"},
    };
    char body[200];
    lb_scan_result_t res;

    (void)state;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]) * 2; i++) {
        snprintf(body, sizeof(body), "%s%s%s%s", between[i % 2][0],
                 pieces[i / 2], between[i % 2][1], between[i % 2][2]);
        assert_int_equal(scan(body, strlen(body), 9000, 0, &res), LB_SCAN_OK);
        assert_int_equal(res.events, 3);
        assert_int_equal(res.rejected, 1);
        assert_non_null(res.error);
        assert_memory_equal(
            out, "{\"message\":1}\n" LB_REJECT_CONTEXT "{\"reason\":\"", 48);
        assert_non_null(strstr(out,
                               "\"origin\":\"app\",\"place\":\"message 1\","
                               "\"body\":\""));
        assert_non_null(strstr(out, "}\n\001{}\n{\"message\":2}\n"));
    }

    /* white space and all */
    assert_int_equal(
        scan("[{\"short_message\":\"a\"},{ \"x\" : 1 }]", 36, 999, 0, &res),
        LB_SCAN_OK);
    assert_non_null(strstr(out, "\"body\":\"{ \\\"x\\\" : 1 }\"}\n"));
}

static void
test_whole_body(void **state)
{
    static const char *const none[] = {"words", "7",
                                       "{\"short_message\":", "[1,2]", "\"a\""};
    char *big = malloc(30000);
    lb_scan_result_t res;

    (void)state;
    assert_int_equal(scan("", 0, 99, 0, &res), LB_SCAN_EMPTY);
    assert_int_equal(scan(" \n[]\0", 5, 99, 0, &res), LB_SCAN_EMPTY);
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        assert_int_equal(scan(none[i], strlen(none[i]), 9000, 0, &res),
                         LB_SCAN_BAD);
        assert_non_null(res.error);
    }

    /* an event that is too large, as it came and as it becomes */
    assert_non_null(big);
    memset(big, 'x', 30000);
    memcpy(big, "{\"short_message\":1}{\"short_message\":\"", 37);
    memcpy(big + 29998, "\"}", 2);
    assert_int_equal(scan(big, 30000, 100000, 0, &res), LB_SCAN_LATER);
    assert_int_equal(scan(big, 30000, 100000, 1, &res), LB_SCAN_OK);
    assert_int_equal(res.rejected, 1);
    assert_non_null(strstr(out, "\"body_bytes\":29981"));
    sprintf(big, "{\"short_message\":\"%0960d\",\"timestamp\":1772600767}", 0);
    assert_int_equal(scan(big, strlen(big), 100000, 1, &res), LB_SCAN_OK);
    assert_int_equal(res.rejected, 1);
    free(big);
}

/* As GELF has it: what the body is, its first bytes tell. */
static void
test_compressed(void **state)
{
    static const char body[] = "{\"short_message\":\"a\"}";
    uint8_t packed[4096], *big;
    uLongf len = sizeof(packed);
    lb_scan_result_t res;

    (void)state;
    assert_int_equal(compress(packed, &len, (const Bytef *)body, 21), Z_OK);
    assert_int_equal(scan(packed, len, 100, 0, &res), LB_SCAN_LATER);
    assert_int_equal(scan(packed, len, 16, 1, &res), LB_SCAN_OK);
    assert_string_equal(out, "{\"message\":\"a\"}\n");
    assert_int_equal(scan(packed, len, 15, 1, &res), LB_SCAN_NOSPACE);
    for (size_t cut = 2; cut < len; cut++) {
        assert_int_equal(scan(packed, cut, 100, 1, &res), LB_SCAN_BAD);
    }

    /* more than may be made of one */
    big = calloc(1, (1 << 20) + 1);
    assert_non_null(big);
    len = sizeof(packed);
    assert_int_equal(compress(packed, &len, big, (1 << 20) + 1), Z_OK);
    assert_int_equal(scan(packed, len, 100, 1, &res), LB_SCAN_TOOBIG);
    assert_non_null(res.error);
    len = sizeof(packed);
    assert_int_equal(compress(packed, &len, big, 1 << 20), Z_OK);
    assert_int_equal(scan(packed, len, 100, 1, &res), LB_SCAN_EMPTY);
    free(big);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_rejected),
        cmocka_unit_test(test_whole_body),
        cmocka_unit_test(test_compressed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
