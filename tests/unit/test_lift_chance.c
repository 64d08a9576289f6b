/* The lifter against its slow twin. */

#include "tests/unit/lift_env.h"
#include "tests/unit/rounds.h"

#define LONG_TEXT                                                              \
    "\"a text of more than sixty-four bytes, so that it spans two blocks "     \
    "and has \\\"quotes\\\" at its \\\"end\\\"\""

/* Events made by chance. */
static void
test_chance(void **state)
{
    static const char *const keys[] = {
        "timestamp",
        "time",
        "ts",
        "@timestamp",
        "level",
        "severity",
        "lvl",
        "msg",
        "message",
        "log",
        "service",
        "app",
        "host",
        "hostname",
        "trace_id",
        "traceId",
        "a",
        "status",
        "mess\\u0061ge",
        "",
        "event",
        "fields",
        "resource",
        "trace",
        "kubernetes",
        "MESSAGE",
        "PRIORITY",
        "traceparent",
        "name",
        "pid",
        "log.level",
        "levelno",
        "instant",
        "body",
        "t",
        "ddsource",
        "s",
        "span_id",
        "spanId",
        "span",
        "flags",
        "scope",
        "event_name",
        "trace_flags",
        "Resource",
        "otel",
        "severity_number",
    };
    static const char *const inner[] = {
        "level",
        "name",
        "message",
        "id",
        "host",
        "time",
        "$date",
        "x",
        "y",
        "level",
        "msg",
        "service.name",
        "flags",
        "span_id",
        "SpanID",
        "trace_flags",
        "severity_number",
    };
    static const char *const values[] = {
        "1",
        "30",
        "60",
        "true",
        "null",
        "1715940303",
        "1715940303.123",
        "1715940303123",
        "1.715940303123e9",
        "\"\"",
        "\"x\"",
        "\"ERROR\"",
        "\"warning\"",
        "\"a\\nb\"",
        "\"b\\r\\n\"",
        "1500000000",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"2024-05-17T10:05:03Z\"",
        "\"2024-05-17 10:05:03.1234567899\"",
        "\"17\\/May\\/2024:13:05:03 +0300\"",
        "{}",
        "[]",
        "{\"msg\":\"x\",\"level\":[\"}\"]}",
        "[{},\"]\",[1,2]]",
        "[72,105,200]",
        "{\"epochSecond\":1715940303,\"nanoOfSecond\":5}",
        "\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"",
        LONG_TEXT,
        "-0.5e-10",
        "17",
        "255",
        "\"01\"",
        "\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bx-01\"",
        "\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\"",
        "{\"service.name\":\"s\",\"z\":1}",
    };
    const size_t nkeys = sizeof(keys) / sizeof(keys[0]);
    const size_t ninner = sizeof(inner) / sizeof(inner[0]);
    const size_t nvalues = sizeof(values) / sizeof(values[0]);
    uint64_t dice = 88172645463325252u;
    const unsigned all = (unsigned)rounds(20000);
    char event[8192];

    (void)state;
    lift_oracle_lifted = 0;
    for (unsigned round = 0; round < all; round++) {
        char *p = event;
        unsigned members;
        const char *error;

        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        *p++ = '{';
        for (members = (unsigned)(dice >> 33) % 14; members > 0; members--) {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            if ((dice >> 3) % 4 > 0) {
                p += sprintf(p, "\"%s\":%s,", keys[(dice >> 20) % nkeys],
                             values[(dice >> 40) % nvalues]);
                continue;
            }
            p += sprintf(p, "\"%s\":{", keys[(dice >> 20) % nkeys]);
            for (unsigned k = (unsigned)(dice >> 5) % 4; k > 0; k--) {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                p += sprintf(p, "\"%s\":%s%s", inner[(dice >> 20) % ninner],
                             values[(dice >> 40) % nvalues], k > 1 ? "," : "");
            }
            p += sprintf(p, "},");
        }
        if (p[-1] == ',') {
            p--;
        }
        *p++ = '}';
        *p = '\0';
        error = lift_oracle_event((uint8_t *)event, (size_t)(p - event));
        if (error) {
            fail_msg("%s: %s", error, event);
        }
    }
    assert_true(lift_oracle_lifted > all * 4 / 5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chance),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
