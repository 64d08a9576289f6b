/*
 * Loki's push in both of its forms, its labels as text, and snappy.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/loki_json.h"
#include "event/loki_labels.h"
#include "event/loki_proto.h"
#include "event/loki_write.h"
#include "event/reject.h"
#include "event/snappy.h"
#include "tests/unit/scan_env.h"

static lb_scan_status_t
scan(const lb_format_t *format, const void *body, size_t len, size_t cap,
     lb_scan_result_t *res)
{
    return scan_format(format, body, len, cap, "", 0, 1, res);
}

static void
test_json(void **state)
{
    static const struct {
        const char *body, *want;
        int events;
    } cases[] = {
        {"{\"streams\":[{\"stream\":{\"app\":\"x\"},\"values\":["
         "[\"1764151200000000001\",\"a\"],[1764151201999999999,\"b\\n\","
         "{\"trace_id\":\"7\"}]]}, {\"stream\":{\"app\":\"x\"},\"values\":["
         "[\"0\",\"c\"]]},{\"stream\":{},\"values\":[[\"0\",\"d\"]]},"
         "{\"stream\":{}}]}",
         "\001{\"fields\":{\"app\":\"x\"}}\n"
         "{\"timestamp\":\"2025-11-26T10:00:00.000000001Z\","
         "\"message\":\"a\"}\n"
         "{\"timestamp\":\"2025-11-26T10:00:01.999999999Z\","
         "\"message\":\"b\\n\",\"trace_id\":\"7\"}\n"
         "{\"message\":\"c\"}\n\001{}\n{\"message\":\"d\"}\n",
         4},

        /* no label is lost to a member of its name */
        {"{\"streams\":[{\"stream\":{\"message\":\"x\",\"k\":\"y\"},"
         "\"values\":[[\"0\",\"a\",{\"k\":\"z\"}]]}]}",
         "\001{\"fields\":{\"message\":\"x\",\"k\":\"y\"}}\n"
         "{\"message\":\"a\",\"k\":\"z\",\"labels.message\":\"x\","
         "\"labels.k\":\"y\"}\n",
         1},

        /* the older form */
        {"{\"streams\":[{\"labels\":\"{a=\\\"\\\\\\\"\\u00e9\\\"}\","
         "\"entries\":[{\"ts\":\"2026-05-17T10:05:03Z\",\"line\":\"a\"}]}]}",
         "\001{\"fields\":{\"a\":\"\\\"\xc3\xa9\"}}\n"
         "{\"timestamp\":\"2026-05-17T10:05:03Z\",\"message\":\"a\"}\n",
         1},
    };
    lb_scan_result_t res;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].body), want = strlen(cases[i].want);

        for (size_t cap = 0; cap < want; cap++) {
            assert_int_equal(
                scan(&lb_format_loki_json, cases[i].body, len, cap, &res),
                LB_SCAN_NOSPACE);
        }
        assert_int_equal(
            scan(&lb_format_loki_json, cases[i].body, len, want + 1, &res),
            LB_SCAN_OK);
        assert_string_equal(out, cases[i].want);
        assert_int_equal(res.events, cases[i].events);
        assert_int_equal(res.rejected, 0);
    }
}

static void
test_json_rejected(void **state)
{
    static const char *const entries[] = {
        "[\"x\",\"a\"]",
        "[\"\",\"a\"]",
        "[\"12345678901234567890\",\"a\"]",
        "[]",
        "[\"1\"]",
        "[\"1\",2]",
        "7",
        "{}",
        "[\"1\",\"a\",7]",
        "[null,\"a\"]",
        "\"\"",
        "[\"1\",\"a\",{},1]",
    };
    static const char *const bodies[] = {
        "7", "{}", "[]", "{\"streams\":{}}", "{\"streams\":[7]}", "{\"streams",
    };
    char body[300], big[2200];
    lb_scan_result_t res;

    (void)state;
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        int n = snprintf(body, sizeof(body),
                         "{\"streams\":[{\"stream\":{\"a\":\"b\"},\"values\":"
                         "[[\"0\",\"1\"],%s,[\"0\",\"2\"]]}]}",
                         entries[i]);

        assert_int_equal(
            scan(&lb_format_loki_json, body, (size_t)n, 5000, &res),
            LB_SCAN_OK);
        assert_int_equal(res.events, 3);
        assert_int_equal(res.rejected, 1);
        assert_memory_equal(out,
                            "\001{\"fields\":{\"a\":\"b\"}}\n"
                            "{\"message\":\"1\"}\n" LB_REJECT_CONTEXT,
                            60);
        assert_non_null(strstr(out, "\"place\":\"stream 0, entry 1\""));
        assert_non_null(strstr(out, "}\n\001{\"fields\":{\"a\":\"b\"}}\n"
                                    "{\"message\":\"2\"}\n"));
    }
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        lb_scan_status_t rc = scan(&lb_format_loki_json, bodies[i],
                                   strlen(bodies[i]), 5000, &res);

        assert_true(rc == LB_SCAN_BAD || rc == LB_SCAN_EMPTY);
        assert_true(rc == LB_SCAN_EMPTY || res.error != NULL);
    }
    assert_int_equal(
        scan(&lb_format_loki_json, "{\"streams\":[]}", 14, 100, &res),
        LB_SCAN_EMPTY);

    /* an entry that is too large, labels that are wrong */
    sprintf(big,
            "{\"streams\":[{\"labels\":\"{a}\",\"entries\":[{\"line\":\"a\"}]}"
            ",{\"labels\":{},\"entries\":[{\"line\":\"a\"}]}"
            ",{\"stream\":{},\"values\":[[\"0\",\"%01999d\"],[\"0\",\"1\"]]}]}",
            7);
    assert_int_equal(scan(&lb_format_loki_json, big, strlen(big), 20000, &res),
                     LB_SCAN_OK);
    assert_int_equal(res.rejected, 3);
    assert_int_equal(res.events, 4);
    assert_non_null(strstr(out, "labels of the stream are malformed"));
    assert_non_null(strstr(out, "entry is too large"));
}

static void
test_labels(void **state)
{
    static const struct {
        const char *text, *want; /* NULL: malformed */
    } cases[] = {
        {"{}", ""},
        {" { } ", ""},
        {"{a=\"b\"}", "\"a\":\"b\""},
        {"{a=\"b\", c = `d\\n` ,}", "\"a\":\"b\",\"c\":\"d\\\\n\""},
        {"{\"a b\"=\"\"}", "\"a b\":\"\""},
        {"{a=\"\\a\\b\\f\\n\\r\\t\\v\\\\\\'\\\"\"}",
         "\"a\":\"\\u0007\\u0008\\u000c\\u000a\\u000d\\u0009\\u000b\\\\'"
         "\\\"\""},
        {"{a=\"\\101\\x41\\u00e9\\U0001F600\"}",
         "\"a\":\"AA\xc3\xa9\xf0\x9f\x98\x80\""},
        {"{a=\"\\xff\\ud800\xff\"}",
         "\"a\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"", NULL},
        {"a", NULL},
        {"{", NULL},
        {"{a", NULL},
        {"{a=", NULL},
        {"{a=b}", NULL},
        {"{a=\"b}", NULL},
        {"{a=\"b\"", NULL},
        {"{a=\"b\"}x", NULL},
        {"{=\"b\"}", NULL},
        {"{a=\"b\" c=\"d\"}", NULL},
        {"{a=\"\\q\"}", NULL},
        {"{a=\"\\x4\"}", NULL},
        {"{a=\"\\400\"}", NULL},
        {"{a=\"\\U00110000\"}", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].text);
        uint8_t *in = malloc(len + 1), *to = malloc(1000);
        int n;

        memcpy(in + 1, cases[i].text, len);
        n = lb_loki_labels(in + 1, len, to, 1000, NULL);
        if (cases[i].want == NULL) {
            assert_int_equal(n, -1);
        } else {
            assert_int_equal(n, strlen(cases[i].want));
            assert_memory_equal(to, cases[i].want, (size_t)n);
        }
        for (size_t size = 0; size < 60; size++) {
            uint8_t *tight = malloc(size + 1);

            assert_true(lb_loki_labels(in + 1, len, tight + 1, size, NULL) <=
                        (int)size);
            free(tight);
        }
        free(in);
        free(to);
    }
}

static void
test_snappy(void **state)
{
    /* a literal, copies of each kind, one that overlaps itself */
    static const uint8_t packed[] = {20, 12,   'a', 'b', 'c',  'd', 1,
                                     4,  0x0e, 8,   0,   0x13, 4,   0,
                                     0,  0,    8,   'x', 'y',  'z'};
    static const uint8_t long_literal[] = {3, 61 << 2, 2, 0, 'x', 'y', 'z'};
    uint8_t to[64];
    size_t size;

    (void)state;
    assert_int_equal(lb_snappy_size(packed, sizeof(packed), &size), 0);
    assert_int_equal(size, 20);
    assert_int_equal(lb_snappy(packed, sizeof(packed), to, size), 0);
    assert_memory_equal(to, "abcdabcdabcdabcdaxyz", 20);
    for (size_t len = 0; len < sizeof(packed); len++) {
        uint8_t *in = malloc(len + 1), *tight = malloc(20);

        memcpy(in + 1, packed, len);
        assert_int_equal(lb_snappy(in + 1, len, tight, 20), -1);
        free(in);
        free(tight);
    }

    assert_int_equal(lb_snappy(long_literal, sizeof(long_literal), to, 3), 0);
    assert_memory_equal(to, "xyz", 3);

    /* an offset before the begin, of 0, more than was said */
    assert_int_equal(lb_snappy((const uint8_t *)"\x05\x00x\x01\x02", 5, to, 5),
                     -1);
    assert_int_equal(lb_snappy((const uint8_t *)"\x05\x00x\x01\x00", 5, to, 5),
                     -1);
    assert_int_equal(lb_snappy((const uint8_t *)"\x03\x00x\x01\x01", 5, to, 3),
                     -1);
    /* a size that nothing can become */
    assert_int_equal(
        lb_snappy_size((const uint8_t *)"\xff\xff\xff\x07\x00x", 6, &size), -1);
}

/* Length-prefixed, of less than 128 bytes. */
static size_t
field(uint8_t *to, int number, const void *data, size_t len)
{
    to[0] = (uint8_t)(number << 3 | 2);
    to[1] = (uint8_t)len;
    memmove(to + 2, data, len);
    return len + 2;
}

static void
test_proto(void **state)
{
    static const uint8_t time[] = {8,   0xa0, 0x9f, 0x9b, 0xc9,
                                   0x6, 16,   1,    0x78, 1};
    static const uint8_t late[] = {16, 0x80, 0x94, 0xeb, 0xdc, 3};
    uint8_t entry[256], stream[256], push[256], body[256], pair[64];
    lb_scan_result_t res;
    size_t n, s, p, k;

    (void)state;
    /* an entry, one without a time, one that is late, the labels behind */
    n = field(entry, 1, time, sizeof(time));
    n += field(entry + n, 2, "a\"\xff", 3);
    k = field(pair, 1, "k", 1);
    k += field(pair + k, 2, "v", 1);
    n += field(entry + n, 3, pair, k);
    s = field(stream, 2, entry, n);
    n = field(entry, 2, "b", 1);
    s += field(stream + s, 2, entry, n);
    n = field(entry, 1, late, sizeof(late));
    s += field(stream + s, 2, entry, n);
    s += field(stream + s, 2, "\x0a\x05", 2);
    s += field(stream + s, 1, "{app=\"x\"}", 9);
    p = field(push, 1, stream, s);
    body[0] = (uint8_t)p;
    body[1] = 60 << 2;
    body[2] = (uint8_t)(p - 1);
    assert_true(p < 128);
    memcpy(body + 3, push, p);

    assert_int_equal(scan(&lb_format_loki_proto, body, p + 3, 5000, &res),
                     LB_SCAN_OK);
    assert_int_equal(res.events, 4);
    assert_int_equal(res.rejected, 2);
    assert_memory_equal(out,
                        "\001{\"fields\":{\"app\":\"x\"}}\n"
                        "{\"timestamp\":\"2025-11-26T10:00:00.000000001Z\","
                        "\"message\":\"a\\\"\xef\xbf\xbd\",\"k\":\"v\"}\n"
                        "{\"message\":\"b\"}\n" LB_REJECT_CONTEXT,
                        130);
    assert_non_null(strstr(out, "out of range"));
    assert_non_null(strstr(out, "entry is malformed"));

    for (size_t len = 0; len < p + 3; len++) {
        assert_int_equal(scan(&lb_format_loki_proto, body, len, 5000, &res),
                         LB_SCAN_BAD);
        assert_non_null(res.error);
    }
    assert_int_equal(scan(&lb_format_loki_proto, "\0", 1, 10, &res),
                     LB_SCAN_EMPTY);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),   cmocka_unit_test(test_json_rejected),
        cmocka_unit_test(test_labels), cmocka_unit_test(test_snappy),
        cmocka_unit_test(test_proto),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
