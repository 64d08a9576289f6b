/*
 * Amazon Data Firehose: what records become, what of them is rejected; base64.
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

#include "event/base64.h"
#include "event/firehose.h"
#include "event/reject.h"
#include "tests/unit/scan_env.h"

#define CAP 100000

static char body[1 << 20];

/* The n bytes at p, in base64. */
static size_t
encode(char *to, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqr"
                                 "stuvwxyz0123456789+/";
    char *o = to;

    for (size_t i = 0; i < n; i += 3) {
        uint32_t bits = (uint32_t)p[i] << 16 |
                        (i + 1 < n ? (uint32_t)p[i + 1] << 8 : 0) |
                        (i + 2 < n ? p[i + 2] : 0);

        *o++ = digits[bits >> 18];
        *o++ = digits[bits >> 12 & 63];
        *o++ = i + 1 < n ? digits[bits >> 6 & 63] : '=';
        *o++ = i + 2 < n ? digits[bits & 63] : '=';
    }
    *o = '\0';
    return (size_t)(o - to);
}

/* Adds a record to the request in body. */
static void
add(const void *data, size_t len)
{
    size_t n = strlen(body);

    n += (size_t)sprintf(body + n, n > 0 ? ","
                                         : "{\"requestId\":\"r1\","
                                           "\"timestamp\":7,"
                                           "\"records\":[");
    n += (size_t)sprintf(body + n, "{\"data\":\"");
    n += encode(body + n, data, len);
    sprintf(body + n, "\"}");
}

static void
add_packed(const char *text)
{
    static uint8_t packed[1 << 16];
    z_stream z = {0};

    assert_int_equal(
        deflateInit2(&z, 9, Z_DEFLATED, MAX_WBITS + 16, 9, Z_DEFAULT_STRATEGY),
        Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text;
    z.avail_in = (uInt)strlen(text);
    z.next_out = packed;
    z.avail_out = sizeof(packed);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    add(packed, z.total_out);
    deflateEnd(&z);
}

static lb_scan_status_t
scan_with(const char *params, size_t params_len, int patient,
          lb_scan_result_t *res)
{
    lb_scan_status_t rc;

    strcat(body, "]}");
    rc = scan_format(&lb_format_firehose, body, strlen(body), CAP, params,
                     params_len, patient, res);
    body[0] = '\0';
    return rc;
}

static lb_scan_status_t
scan(lb_scan_result_t *res)
{
    return scan_with("", 0, 1, res);
}

static void
test_base64(void **state)
{
    static const char *const wrong[] = {
        "A",    "AA=A", "A===", "====",  "=",    "AAA?",
        "A A=", "AAB",  "AB==", "AAAAA", "AA-_", "\377AAA"};
    uint8_t bytes[256], back[256];
    char text[400];
    size_t len;

    (void)state;
    for (size_t n = 0; n < sizeof(bytes); n++) {
        size_t full;

        bytes[n] = (uint8_t)(n * 37 + 11);
        full = encode(text, bytes, n);
        for (size_t end = full; end + 2 > full && end <= full; end--) {
            if (end < full && text[end] != '=') {
                break;
            }
            assert_int_equal(lb_base64((uint8_t *)text, full, back, &len), 0);
            assert_int_equal(len, n);
            assert_memory_equal(back, bytes, n);
        }
        len = strcspn(text, "=");
        assert_int_equal(lb_base64((uint8_t *)text, len, back, &len), 0);
        assert_int_equal(len, n);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(
            lb_base64((const uint8_t *)wrong[i], strlen(wrong[i]), back, &len),
            -1);
    }
}

static void
test_records(void **state)
{
    static const struct {
        const char *record, *want;
        int events;
    } cases[] = {
        {"{\"a\":1}", "{\"a\":1}\n", 1},
        {"{\"a\":1}{\"b\":2}\n[{\"c\" : 3}]",
         "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n", 3},
        {"one\r\n\ntwo \"q\"\n",
         "{\"message\":\"one\"}\n{\"message\":\"two \\\"q\\\"\"}\n", 2},
        {"one\n{\"a\":1}\n{no}\n\xff",
         "{\"message\":\"one\"}\n{\"a\":1}\n{\"message\":\"{no}\"}\n"
         "{\"message\":\"\xef\xbf\xbd\"}\n",
         4},
        {"{}", "{}\n", 1},
        {"{\"logEvents\":[{\"message\":\"m\"}]}",
         "{\"logEvents\":[{\"message\":\"m\"}]}\n", 1},
    };
    lb_scan_result_t res;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) * 2; i++) {
        if (i % 2) {
            add_packed(cases[i / 2].record);
        } else {
            add(cases[i / 2].record, strlen(cases[i / 2].record));
        }
        assert_int_equal(scan(&res), LB_SCAN_OK);
        assert_string_equal(out, cases[i / 2].want);
        assert_int_equal(res.events, cases[i / 2].events);
        assert_int_equal(res.rejected, 0);
        assert_string_equal(reply, "r1");
    }

    /* what is not there brings nothing */
    add("", 0);
    assert_int_equal(scan(&res), LB_SCAN_EMPTY);
    add("a", 1);
    assert_int_equal(scan_with("id\0r1", 6, 0, &res), LB_SCAN_OK);
    add_packed("a");
    assert_int_equal(scan_with("", 0, 0, &res), LB_SCAN_LATER);
}

#define DATA                                                                   \
    "{\"messageType\":\"DATA_MESSAGE\",\"owner\":\"1\",\"logGroup\":\"g\","
#define EVENTS "\"logEvents\":["

static void
test_cloudwatch(void **state)
{
    static const char attributes[] =
        "attributes\0{\"commonAttributes\":{\"k\":\"v\"}}";
    lb_scan_result_t res;

    (void)state;
    add_packed(DATA "\"subscriptionFilters\":[\"f\"]," EVENTS
                    "{\"id\":\"3\",\"timestamp\":1772600767123,"
                    "\"message\":\"one\"},7,{\"message\":\"{\\\"msg\\\":\\\"x"
                    "\\\",\\\"id\\\":4,\\\"time\\\":\\\"2026-03-04T05:06:07Z"
                    "\\\"}\",\"id\":\"5\",\"timestamp\":1772600767123}]}");
    add_packed("{\"messageType\":\"CONTROL_MESSAGE\",\"logEvents\":[{"
               "\"message\":\"CWL CONTROL MESSAGE: Checking health\"}]}");
    add("plain", 5);
    assert_int_equal(scan(&res), LB_SCAN_OK);
    assert_string_equal(
        out, "\001{\"fields\":{\"owner\":\"1\",\"logGroup\":\"g\","
             "\"subscriptionFilters\":[\"f\"]}}\n"
             "{\"id\":\"3\",\"timestamp\":\"2026-03-04T05:06:07.123000000Z\","
             "\"message\":\"one\"}\n" LB_REJECT_CONTEXT
             "{\"reason\":\"an event of CloudWatch is an object\",\"origin\":"
             "\"\",\"place\":\"record 0\",\"body\":\"7\"}\n"
             "\001{\"fields\":{\"owner\":\"1\",\"logGroup\":\"g\","
             "\"subscriptionFilters\":[\"f\"]}}\n"
             "{\"msg\":\"x\",\"id\":4,\"time\":\"2026-03-04T05:06:07Z\","
             "\"cloudwatch.id\":\"5\",\"cloudwatch.timestamp\":1772600767123}\n"
             "\001{}\n{\"message\":\"plain\"}\n");
    assert_int_equal(res.events, 4);
    assert_int_equal(res.contexts, 1);

    /* with the attributes of the request, each context once */
    for (int i = 0; i < 2; i++) {
        add_packed(DATA EVENTS "{\"message\":\"a\"}]}");
    }
    add("b", 1);
    add("c", 1);
    assert_int_equal(scan_with(attributes, sizeof(attributes), 1, &res),
                     LB_SCAN_OK);
    assert_string_equal(
        out, "\001{\"fields\":{\"k\":\"v\",\"owner\":\"1\",\"logGroup\":\"g\"}}"
             "\n{\"message\":\"a\"}\n{\"message\":\"a\"}\n"
             "\001{\"fields\":{\"k\":\"v\"}}\n"
             "{\"message\":\"b\"}\n{\"message\":\"c\"}\n");

    /* an envelope larger than an event may be; one of its events as well */
    sprintf(out,
            DATA EVENTS "{\"message\":\"%0900d\"},{\"message\":\"%01100d\"},"
                        "{\"message\":\"b\"}]}",
            0, 0);
    add_packed(out);
    assert_int_equal(scan(&res), LB_SCAN_OK);
    assert_int_equal(res.events, 3);
    assert_int_equal(res.rejected, 1);
    assert_non_null(strstr(out, "\"body\":\"{\\\"message\\\":\\\"000"));

    add_packed("{\"messageType\":\"CONTROL_MESSAGE\",\"logEvents\":[]}");
    assert_int_equal(scan(&res), LB_SCAN_EMPTY);
}

static void
test_attributes(void **state)
{
    static const char *const given[][2] = {
        {"{\"commonAttributes\":{}}", ""},
        {"{\"commonAttributes\":{},\"x\":1}", "\001{\"fields\":{\"x\":1}}\n"},
        {"no \"json\"",
         "\001{\"fields\":{\"commonAttributes\":\"no \\\"json\\\"\"}}\n"},
    };
    char params[4000], want[200];
    lb_scan_result_t res;

    (void)state;
    for (int i = 0; i < 3; i++) {
        int n = sprintf(params, "attributes%c%s", 0, given[i][0]) + 1;

        add("a", 1);
        assert_int_equal(scan_with(params, (size_t)n, 0, &res), LB_SCAN_OK);
        sprintf(want, "%s{\"message\":\"a\"}\n", given[i][1]);
        assert_string_equal(out, want);
    }
    memset(params + 11, 'x', 3000);
    params[3011] = '\0';
    add("a", 1);
    assert_int_equal(scan_with(params, 3012, 0, &res), LB_SCAN_BAD);
    memset(params + 11, '\1', 2700);
    params[2711] = '\0';
    add("a", 1);
    assert_int_equal(scan_with(params, 2712, 0, &res), LB_SCAN_BAD);
}

static void
test_rejected(void **state)
{
    static const char *const records[] = {
        "7",
        "{\"data\":7}",
        "{}",
        "{\"data\":\"a?==\"}",
        "{\"data\":\"H4sIAA==\"}",
    };
    lb_scan_result_t res;
    char *bomb = malloc(600001);

    (void)state;
    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        add("a", 1);
        sprintf(body + strlen(body), ",%s", records[i]);
        add("b", 1);
        assert_int_equal(scan_with("stream\0app", 11, 1, &res), LB_SCAN_OK);
        assert_int_equal(res.events, 3);
        assert_int_equal(res.rejected, 1);
        assert_non_null(
            strstr(out, "\"origin\":\"app\",\"place\":\"record 1\""));
        assert_non_null(strstr(out, "\n\001{}\n{\"message\":\"b\"}\n"));
    }

    /* escapes are no fault */
    strcpy(body, "{\"requestId\":\"r\",\"records\":[{\"data\":\"\\u0059Q==\"}");
    assert_int_equal(scan_with("", 0, 0, &res), LB_SCAN_OK);
    assert_string_equal(out, "{\"message\":\"a\"}\n");

    /* one that becomes too large, and all of them together */
    assert_non_null(bomb);
    memset(bomb, '\n', 600000);
    bomb[600000] = '\0';
    add_packed(bomb);
    add("b", 1);
    assert_int_equal(scan(&res), LB_SCAN_OK);
    assert_int_equal(res.rejected, 1);
    bomb[400000] = '\0';
    for (int i = 0; i < 3; i++) {
        add_packed(bomb);
    }
    assert_int_equal(scan(&res), LB_SCAN_TOOBIG);
    free(bomb);
}

static void
test_whole_body(void **state)
{
    static const char *const none[] = {
        "words",
        "[]",
        "{}",
        "{\"records\":[]}",
        "{\"requestId\":7,\"records\":[]}",
        "{\"requestId\":\"r\",\"records\":{}}",
        "{\"requestId\":\"s\",\"records\":[]}",
        "{\"requestId\":\"r\",\"records\":[]}{}",
        "{\"requestId\":\"r\",\"records\":[",
    };
    lb_scan_result_t res;

    (void)state;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        assert_int_equal(scan_format(&lb_format_firehose, none[i],
                                     strlen(none[i]), CAP, "id\0r", 5, 0, &res),
                         LB_SCAN_BAD);
        assert_non_null(res.error);
    }
    assert_int_equal(scan_format(&lb_format_firehose,
                                 "{\"requestId\":\"r\",\"records\":[]}", 30,
                                 CAP, "id\0r", 5, 0, &res),
                     LB_SCAN_EMPTY);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64),     cmocka_unit_test(test_records),
        cmocka_unit_test(test_cloudwatch), cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_rejected),   cmocka_unit_test(test_whole_body),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
