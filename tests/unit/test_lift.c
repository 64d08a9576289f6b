#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "event/ways.h"
#include "tests/unit/lift_env.h"

#define S(s) (INT64_C(s) * 1000000000)

static void
test_all_fields(void **state)
{
    lb_fields_t f = lift(
        "{\"timestamp\":\"2024-05-17T10:05:03.123456789Z\",\"level\":\"INFO\","
        "\"a\":1,\"service\":\"shop\",\"host\":\"h1\",\"b\":[2],"
        "\"message\":\"hello\",\"trace_id\":\"4bf92f\",\"c\":{\"level\":1}}");

    (void)state;
    assert_int_equal(f.timestamp_ns, INT64_C(1715940303123456789));
    assert_str(f.level, "info");
    assert_str(f.service, "shop");
    assert_str(f.host, "h1");
    assert_str(f.message, "hello");
    assert_str(f.trace_id, "4bf92f");
    assert_str(f.attributes, "{\"a\":1,\"b\":[2],\"c\":{\"level\":1}}");
}

/* What is left, for every way of leaving. */
static void
test_attributes(void **state)
{
    static const char *const cases[][2] = {
        {"{}", "{}"},
        {"{\"a\":1}", "{\"a\":1}"},
        {"{\"msg\":\"x\"}", "{}"},
        {"{\"msg\":\"x\",\"level\":\"WARN\"}", "{}"},
        {"{\"msg\":\"x\",\"level\":\"y\"}", "{\"level\":\"y\"}"},
        {"{\"msg\":\"x\",\"a\":1}", "{\"a\":1}"},
        {"{\"a\":1,\"msg\":\"x\"}", "{\"a\":1}"},
        {"{\"a\":1,\"msg\":\"x\",\"b\":2}", "{\"a\":1,\"b\":2}"},
        {"{\"a\":1,\"msg\":\"x\",\"host\":\"y\",\"b\":2}", "{\"a\":1,\"b\":2}"},
        {"{\"msg\":\"x\",\"a\":1,\"b\":2,\"host\":\"y\"}", "{\"a\":1,\"b\":2}"},
        {"{\"host\":\"x\",\"a\":1,\"level\":\"info\",\"b\":2,\"msg\":\"y\"}",
         "{\"a\":1,\"b\":2}"},
        /* unexpected types and empty strings stay */
        {"{\"log\":1}", "{\"log\":1}"},
        {"{\"msg\":null}", "{\"msg\":null}"},
        {"{\"msg\":{}}", "{\"msg\":{}}"},
        {"{\"msg\":[]}", "{\"msg\":[]}"},
        {"{\"msg\":\"\"}", "{\"msg\":\"\"}"},
        {"{\"level\":35}", "{\"level\":35}"},
        {"{\"level\":3000}", "{\"level\":3000}"},
        {"{\"level\":-3}", "{\"level\":-3}"},
        {"{\"level\":30.0}", "{\"level\":30.0}"},
        {"{\"level\":true}", "{\"level\":true}"},
        {"{\"host\":{\"names\":\"x\"}}", "{\"host\":{\"names\":\"x\"}}"},
        {"{\"host\":[\"x\"]}", "{\"host\":[\"x\"]}"},
        {"{\"time\":true}", "{\"time\":true}"},
        {"{\"time\":\"yesterday\"}", "{\"time\":\"yesterday\"}"},
        {"{\"time\":0.25}", "{\"time\":0.25}"},
        /* only the first of its name goes */
        {"{\"msg\":\"x\",\"msg\":\"y\"}", "{\"msg\":\"y\"}"},
        {"{\"msg\":1,\"msg\":\"y\"}", "{\"msg\":1}"},
        {"{\"msg\":1,\"msg\":2}", "{\"msg\":2}"},
        {"{\"msg\":1,\"msg\":\"y\",\"msg\":\"z\"}",
         "{\"msg\":1,\"msg\":\"z\"}"},
        /* a key written with escapes is no alias */
        {"{\"mess\\u0061ge\":\"x\"}", "{\"mess\\u0061ge\":\"x\"}"},
        {"{\"mEssage\":\"x\"}", "{\"mEssage\":\"x\"}"},
        {"{\"messages\":\"x\"}", "{\"messages\":\"x\"}"},
        {"{\"o\":{\"message\":\"x\"}}", "{\"o\":{\"message\":\"x\"}}"},
        /* bytes stay as they are */
        {"{\"n\":1.50e+2,\"s\":\"\\u0041\\/\",\"msg\":\"x\"}",
         "{\"n\":1.50e+2,\"s\":\"\\u0041\\/\"}"},
        {"{\"s\":\"a,\\\"}{\",\"msg\":\"x\",\"t\":\"\\\\\"}",
         "{\"s\":\"a,\\\"}{\",\"t\":\"\\\\\"}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_str(lift(cases[i][0]).attributes, cases[i][1]);
        assert_null(lift_oracle_event((const uint8_t *)cases[i][0],
                                      strlen(cases[i][0])));
    }
}

/* Every alias lifts, and the earlier in its list wins wherever it stands. */
static void
test_aliases(void **state)
{
    /* the first of them, as docs/events.md has them; the oracle knows all */
    static const char *const names[6][8] = {
        {"timestamp", "time", "ts", "@timestamp"},
        {"level", "severity", "lvl", "log.level", "levelname", "loglevel"},
        {"service", "service.name", "service_name", "app", "application"},
        {"host", "hostname", "host.name"},
        {"message", "msg", "log", "body", "event"},
        {"trace_id", "traceId", "trace.id", "traceid", "traceID", "dd.trace_id",
         "otelTraceID"},
    };
    static const char *const values[2][3] = {
        {"first", "2024-05-17T10:05:03Z", "error"},
        {"second", "2030-01-01T00:00:00Z", "debug"},
    };

    (void)state;
    for (int field = 0; field < 6; field++) {
        int kind = field == 0 ? 1 : field == 1 ? 2 : 0;

        for (int a = 0; a < 8 && names[field][a]; a++) {
            char event[400];
            lb_fields_t f;
            const lb_str_t *strings[] = {NULL,    &f.level,   &f.service,
                                         &f.host, &f.message, &f.trace_id};

            sprintf(event, "{\"%s\":\"%s\"}", names[field][a], values[0][kind]);
            f = lift(event);
            assert_str(f.attributes, "{}");
            if (field == 0) {
                assert_int_equal(f.timestamp_ns, INT64_C(1715940303000000000));
            } else {
                assert_str(*strings[field], values[0][kind]);
                assert_int_equal(f.timestamp_ns, RECEIVED * 1000);
            }

            for (int b = a + 1; b < 8 && names[field][b]; b++) {
                char left[100];

                sprintf(left, "{\"%s\":\"%s\"}", names[field][b],
                        values[1][kind]);
                for (int swap = 0; swap < 2; swap++) {
                    sprintf(event, "{\"%s\":\"%s\",\"%s\":\"%s\"}",
                            names[field][swap ? b : a], values[swap][kind],
                            names[field][swap ? a : b], values[!swap][kind]);
                    f = lift(event);
                    assert_str(f.attributes, left);
                    if (field != 0) {
                        assert_str(*strings[field], values[0][kind]);
                    }
                }
                /* Not if it has an unexpected type. */
                sprintf(event, "{\"%s\":[],\"%s\":\"%s\"}", names[field][a],
                        names[field][b], values[0][kind]);
                sprintf(left, "{\"%s\":[]}", names[field][a]);
                f = lift(event);
                assert_str(f.attributes, left);
            }
        }
    }
}

/* Words and numbers of every convention; what is not the canonical word stays
 * beside it. */
static void
test_levels(void **state)
{
    static const struct {
        const char *members;
        const char *level;
        const char *rest; /* NULL: all of it */
    } cases[] = {
        {"\"level\":\"info\"", "info", "{}"},
        {"\"level\":\"ERROR\"", "error", "{}"},
        {"\"level\":\"\\u0049NF\\u004f\"", "info", "{}"},
        {"\"level\":\"Warning\"", "warn", NULL},
        {"\"level\":\"WRN\"", "warn", NULL},
        {"\"level\":\"crit\"", "fatal", NULL},
        {"\"level\":\"Critical\"", "fatal", NULL},
        {"\"level\":\"EMERGENCY\"", "fatal", NULL},
        {"\"level\":\"Informational\"", "info", NULL},
        {"\"level\":\"Information\"", "info", NULL},
        {"\"level\":\"Notice\"", "notice", "{}"},
        {"\"level\":\"SEVERE\"", "error", NULL},
        {"\"level\":\"FINEST\"", "trace", NULL},
        {"\"level\":\"verbose\"", "trace", NULL},
        {"\"level\":\"E\"", "error", NULL},
        {"\"level\":\"debug1\"", "debug", NULL},
        {"\"level\":\"INFO2\"", "info", NULL},
        {"\"level\":\"ERROR+2\"", "error", NULL},
        {"\"level\":\"DEBUG-4\"", "debug", NULL},
        /* pino, bunyan */
        {"\"level\":10", "trace", NULL},
        {"\"level\":20", "debug", NULL},
        {"\"level\":30", "info", NULL},
        {"\"level\":40", "warn", NULL},
        {"\"level\":50", "error", NULL},
        {"\"level\":60", "fatal", NULL},
        {"\"level\":\"30\"", "info", NULL},
        /* syslog, GELF */
        {"\"level\":0", "fatal", NULL},
        {"\"level\":3", "error", NULL},
        {"\"level\":5", "notice", NULL},
        {"\"level\":\"7\"", "debug", NULL},
        {"\"PRIORITY\":\"4\"", "warn", NULL},
        {"\"PRIORITY\":6", "info", NULL},
        /* OpenTelemetry */
        {"\"severity_number\":1", "trace", NULL},
        {"\"SeverityNumber\":\"8\"", "debug", NULL},
        {"\"severityNumber\":9", "info", NULL},
        {"\"SeverityNumber\":16", "warn", NULL},
        {"\"SeverityNumber\":24", "fatal", NULL},
        {"\"SeverityNumber\":17,\"SeverityText\":\"ERROR\"", "error",
         "{\"SeverityNumber\":17}"},
        /* monolog, Python's logging */
        {"\"level\":250", "notice", NULL},
        {"\"level\":300,\"level_name\":\"WARNING\"", "warn", NULL},
        {"\"level\":550", "fatal", NULL},
        {"\"levelno\":40", "error", NULL},
        {"\"levelno\":50", "fatal", NULL},
        {"\"levelno\":25", "info", NULL},
        /* each number by the name it has */
        {"\"PRIORITY\":30", "", NULL},
        {"\"SeverityNumber\":0", "", NULL},
        {"\"SeverityNumber\":25", "", NULL},
        {"\"loglevel\":3", "", NULL},
        {"\"priority\":1", "", NULL},
        {"\"priority\":\"high\"", "", NULL},
        {"\"level\":35", "", NULL},
        {"\"level\":8", "", NULL},
        {"\"level\":\"030\"", "", NULL},
        {"\"level\":\"\"", "", NULL},
        {"\"level\":\"12345678901234567890\"", "", NULL},
        {"\"level\":\"inform\"", "", NULL},
        {"\"level\":\"informations\"", "", NULL},
        {"\"level\":\"emergencies\"", "", NULL},
        {"\"level\":\"\xd0\x98NFO\"", "", NULL},
        {"\"level\":\"+2\"", "", NULL},
        {"\"level\":true", "", NULL},
        /* the next name counts where a better one says nothing */
        {"\"level\":\"custom\",\"severity\":\"ERROR\"", "error",
         "{\"level\":\"custom\"}"},
        {"\"severity\":50,\"level\":\"Info\"", "info", "{\"severity\":50}"},
        {"\"severity\":\"Info\",\"level\":50", "error", NULL},
        /* names that count beside a sign of who wrote the event */
        {"\"status\":\"warn\"", "", NULL},
        {"\"status\":\"warn\",\"ddsource\":\"go\"", "warn",
         "{\"ddsource\":\"go\"}"},
        {"\"ddtags\":\"a:b\",\"status\":\"error\"", "error",
         "{\"ddtags\":\"a:b\"}"},
        {"\"s\":\"W\"", "", NULL},
        {"\"s\":\"W\",\"t\":{\"$date\":\"2024-05-17T10:05:03Z\"}", "warn",
         "{\"s\":\"W\"}"},
    };
    lb_fields_t f;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char event[200];
        const char *error;

        sprintf(event, "{%s}", cases[i].members);
        f = lift(event);
        error = lift_oracle_event((const uint8_t *)event, strlen(event));
        if (error) {
            fail_msg("%s: %s", event, error);
        }
        if (f.level.len != strlen(cases[i].level)) {
            fail_msg("%s: level '%.*s'", event, (int)f.level.len,
                     (const char *)f.level.data);
        }
        assert_str(f.level, cases[i].level);
        assert_str(f.attributes, cases[i].rest ? cases[i].rest : event);
    }

    f = lift("{\"level\":\"\\u0049nfo\",\"message\":\"\\u0041B\"}");
    assert_str(f.level, "info");
    assert_str(f.message, "AB");
}

/* Objects that are looked into, and what is left of them. */
static void
test_inside(void **state)
{
    static const struct {
        const char *event;
        const char *level, *service, *host, *message, *trace_id, *rest;
    } cases[] = {
        /* ECS, as objects and as dotted keys */
        {"{\"log\":{\"level\":\"ERROR\",\"logger\":\"a.B\"},\"message\":"
         "\"boom\",\"service\":{\"name\":\"pay\"},\"host\":{\"name\":\"h1\"},"
         "\"trace\":{\"id\":\"abc\"}}",
         "error", "pay", "h1", "boom", "abc", "{\"log\":{\"logger\":\"a.B\"}}"},
        {"{\"log.level\":\"ERROR\",\"message\":\"boom\",\"service.name\":"
         "\"pay\",\"host.name\":\"h1\",\"trace.id\":\"abc\"}",
         "error", "pay", "h1", "boom", "abc", "{}"},
        /* Rust's tracing */
        {"{\"level\":\"INFO\",\"fields\":{\"message\":\"up\",\"n\":1},"
         "\"target\":\"a::b\"}",
         "info", "", "", "up", "",
         "{\"fields\":{\"n\":1},\"target\":\"a::b\"}"},
        /* OpenTelemetry's resource, kubernetes */
        {"{\"resource\":{\"service.name\":\"pay\",\"host.name\":\"h1\",\"x\":1}"
         ","
         "\"body\":\"m\"}",
         "", "pay", "h1", "m", "", "{\"resource\":{\"x\":1}}"},
        {"{\"kubernetes\":{\"container_name\":\"web\",\"host\":\"n1\","
         "\"labels\":{\"app\":\"x\"}},\"log\":\"m\"}",
         "", "web", "n1", "m", "",
         "{\"kubernetes\":{\"labels\":{\"app\":\"x\"}}}"},
        /* GCP, Splunk */
        {"{\"severity\":\"NOTICE\",\"jsonPayload\":{\"message\":\"m\"}}",
         "notice", "", "", "m", "", "{}"},
        {"{\"host\":\"h1\",\"event\":{\"message\":\"boom\",\"severity\":"
         "\"ERROR\"},\"fields\":{\"k\":\"v\"}}",
         "error", "", "h1", "boom", "", "{\"fields\":{\"k\":\"v\"}}"},
        {"{\"logging.googleapis.com/trace\":\"projects/p/traces/abc\"}", "", "",
         "", "", "abc",
         "{\"logging.googleapis.com/trace\":\"projects/p/traces/abc\"}"},
        {"{\"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e4736-"
         "00f067aa0ba902b7-01\"}",
         "", "", "", "", "4bf92f3577b34da6a3ce929d0e0e4736",
         "{\"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e4736-"
         "00f067aa0ba902b7-01\"}"},
        {"{\"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e473-\"}", "", "",
         "", "", "",
         "{\"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e473-\"}"},
        /* outside goes before inside, a dotted name has its own place */
        {"{\"fields\":{\"message\":\"in\"},\"line\":\"out\"}", "", "", "",
         "out", "", "{\"fields\":{\"message\":\"in\"}}"},
        {"{\"levelname\":\"info\",\"log\":{\"level\":\"error\"}}", "error", "",
         "", "", "", "{\"levelname\":\"info\"}"},
        /* one level, and only where it is looked into */
        {"{\"event\":{\"a\":{\"message\":\"x\"}}}", "", "", "", "", "",
         "{\"event\":{\"a\":{\"message\":\"x\"}}}"},
        {"{\"other\":{\"message\":\"x\",\"level\":\"info\"}}", "", "", "", "",
         "", "{\"other\":{\"message\":\"x\",\"level\":\"info\"}}"},
        {"{\"resource\":{\"message\":\"x\"}}", "", "", "", "", "",
         "{\"resource\":{\"message\":\"x\"}}"},
        {"{\"fields\":{}}", "", "", "", "", "", "{\"fields\":{}}"},
        {"{\"fields\":[{\"message\":\"x\"}]}", "", "", "", "", "",
         "{\"fields\":[{\"message\":\"x\"}]}"},
        /* what goes, at every place */
        {"{\"a\":1,\"host\":{\"name\":\"h\"},\"b\":2}", "", "", "h", "", "",
         "{\"a\":1,\"b\":2}"},
        {"{\"host\":{\"x\":1,\"name\":\"h\"},\"level\":\"info\"}", "info", "",
         "h", "", "", "{\"host\":{\"x\":1}}"},
        {"{\"level\":\"info\",\"event\":{\"host\":\"h\",\"msg\":\"m\"},"
         "\"service\":\"s\",\"x\":1}",
         "info", "s", "h", "m", "", "{\"x\":1}"},
        {"{\"x\":1,\"event\":{\"host\":\"h\",\"y\":2,\"msg\":\"m\"},\"level\":"
         "\"info\"}",
         "info", "", "h", "m", "", "{\"x\":1,\"event\":{\"y\":2}}"},
        /* bunyan's name, known by the pid beside it */
        {"{\"name\":\"svc\",\"pid\":1}", "", "svc", "", "", "", "{\"pid\":1}"},
        {"{\"name\":\"Bob\"}", "", "", "", "", "", "{\"name\":\"Bob\"}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        lb_fields_t f = lift(cases[i].event);
        const char *error = lift_oracle_event((const uint8_t *)cases[i].event,
                                              strlen(cases[i].event));

        if (error) {
            fail_msg("%s: %s", cases[i].event, error);
        }
        assert_str(f.level, cases[i].level);
        assert_str(f.service, cases[i].service);
        assert_str(f.host, cases[i].host);
        assert_str(f.message, cases[i].message);
        assert_str(f.trace_id, cases[i].trace_id);
        assert_str(f.attributes, cases[i].rest);
    }
}

/* Messages that are no strings. */
static void
test_messages(void **state)
{
    static const char *const cases[][3] = {
        {"{\"message\":{\"code\":5,\"why\":\"x\"}}",
         "{\"code\":5,\"why\":\"x\"}", "{}"},
        {"{\"message\":[\"a\",1]}", "[\"a\",1]", "{}"},
        {"{\"message\":-1.5e3}", "-1.5e3", "{}"},
        {"{\"msg\":10}", "10", "{}"},
        {"{\"msg\":true}", "true", "{}"},
        {"{\"msg\":null}", "", "{\"msg\":null}"},
        {"{\"message\":\"\"}", "", "{\"message\":\"\"}"},
        /* a string goes before them */
        {"{\"message\":{\"a\":1},\"msg\":\"m\"}", "m",
         "{\"message\":{\"a\":1}}"},
        {"{\"msg\":\"m\",\"message\":5}", "m", "{\"message\":5}"},
        {"{\"msg\":1,\"message\":5}", "5", "{\"msg\":1}"},
        /* journald's */
        {"{\"MESSAGE\":[72,105,13]}", "Hi\r", "{}"},
        {"{\"MESSAGE\":[208,191,10]}", "\xd0\xbf", "{}"},
        {"{\"MESSAGE\":[104,255,195,40]}", "h\xef\xbf\xbd\xef\xbf\xbd(",
         "{\"MESSAGE\":[104,255,195,40]}"},
        {"{\"MESSAGE\":[256]}", "[256]", "{}"},
        {"{\"MESSAGE\":[72,-1]}", "[72,-1]", "{}"},
        {"{\"MESSAGE\":[72,1.5]}", "[72,1.5]", "{}"},
        {"{\"MESSAGE\":[[72]]}", "[[72]]", "{}"},
        {"{\"MESSAGE\":[]}", "", "{\"MESSAGE\":[]}"},
        {"{\"message\":[72,105]}", "[72,105]", "{}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        lb_fields_t f = lift(cases[i][0]);
        const char *error = lift_oracle_event((const uint8_t *)cases[i][0],
                                              strlen(cases[i][0]));

        if (error) {
            fail_msg("%s: %s", cases[i][0], error);
        }
        assert_str(f.message, cases[i][1]);
        assert_str(f.attributes, cases[i][2]);
    }
}

static void
test_strings(void **state)
{
    static const char *const cases[][2] = {
        {"a\\\"b\\\\c\\/d", "a\"b\\c/d"},
        {"\\b\\f\\n\\r\\t", "\b\f\n\r\t"},
        {"\\u0041\\u00e9\\u20AC", "A\xc3\xa9\xe2\x82\xac"},
        {"\\ud83d\\ude00!", "\xf0\x9f\x98\x80!"},
        {"\\uD83D\\uDE00", "\xf0\x9f\x98\x80"},
        {"\\udbff\\udfff", "\xf4\x8f\xbf\xbf"},
        {"\\ud800", "\xef\xbf\xbd"},
        {"\\ud800x", "\xef\xbf\xbdx"},
        {"\\udc00", "\xef\xbf\xbd"},
        {"\\udc00\\ud800", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\\ud800\\ud800\\udc00", "\xef\xbf\xbd\xf0\x90\x80\x80"},
        {"\\ud800\\u0041", "\xef\xbf\xbd"
                           "A"},
        {"\\ud800\\n!", "\xef\xbf\xbd\n!"},
        {"\\ud800\\ue000", "\xef\xbf\xbd\xee\x80\x80"},
        {"\\ud800\\udbff", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\\uffff\\ufffd", "\xef\xbf\xbf\xef\xbf\xbd"},
        {"\\\\u0041", "\\u0041"},
        {"\xd0\xbf\\n\xd1\x80", "\xd0\xbf\n\xd1\x80"},
    };
    char event[4096];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        /* At every distance from the start, the end and a block's edge. */
        for (int before = 0; before < 150; before++) {
            char want[400];

            sprintf(event, "{\"msg\":\"%.*s%s%.*s\",\"a\":%d}", before,
                    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
                    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
                    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
                    cases[i][0], before % 37,
                    "0123456789012345678901234567890123456789", before);
            sprintf(want, "%.*s%s%.*s", before,
                    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
                    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
                    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
                    cases[i][1], before % 37,
                    "0123456789012345678901234567890123456789");
            assert_str(lift(event).message, want);
            assert_null(
                lift_oracle_event((const uint8_t *)event, strlen(event)));
        }
    }

    /* NUL is a byte. */
    {
        lb_fields_t f = lift("{\"msg\":\"a\\u0000b\"}");

        assert_int_equal(f.message.len, 3);
        assert_memory_equal(f.message.data, "a\0b", 3);
    }

    /* Several strings with escapes do not meet in scratch. */
    {
        lb_fields_t f = lift(
            "{\"msg\":\"\\nm\",\"x\":\"\\n\",\"host\":\"\\nh\",\"level\":"
            "\"\\u0049\",\"service\":\"\\ns\",\"trace_id\":\"\\nt\",\"y\":2}");

        assert_str(f.message, "\nm");
        assert_str(f.host, "\nh");
        assert_str(f.level, "info");
        assert_str(f.service, "\ns");
        assert_str(f.trace_id, "\nt");
        assert_str(f.attributes,
                   "{\"x\":\"\\n\",\"level\":\"\\u0049\",\"y\":2}");
    }
}

/* The end of a line is none of the message. */
static void
test_line_ends(void **state)
{
    static const char *const cases[][2] = {
        {"a\\n", "a"},      {"a\\r\\n", "a"},
        {"a\\u000a", "a"},  {"a\\n\\n", "a\n"},
        {"a\\r", "a\r"},    {"\\n", "\n"},
        {"\\r\\n", "\r"},   {"a\\nb", "a\nb"},
        {"a\\\\n", "a\\n"}, {"\\ud800\\n", "\xef\xbf\xbd"},
    };
    static const char *const names[] = {"message", "msg", "log"};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t k = 0; k < 3; k++) {
            char event[200];
            lb_fields_t f;

            sprintf(event, "{\"%s\":\"%s\",\"host\":\"h\\n\"}", names[k],
                    cases[i][0]);
            f = lift(event);
            assert_str(f.message, cases[i][1]);
            assert_str(f.host, "h\n");
            assert_str(f.attributes, "{}");
            assert_null(
                lift_oracle_event((const uint8_t *)event, strlen(event)));
        }
    }
}

/* Bytes that no scanner wrote are attributes. */
static void
test_foreign(void **state)
{
    static const char *const cases[] = {
        "",
        "{",
        "}",
        "[]",
        "{}}",
        "{\"msg\"}",
        "{\"msg\":}",
        "{\"msg\":\"x}",
        "{\"msg\":\"x\\\"}",
        "{\"msg\":\"x\"",
        "{\"msg\":\"x\",}",
        "{\"msg\":\"x\" }",
        "{\"msg\":\"x\",\"level\":30,a}",
        "{\"level\":30,\"time\":1715940303,\"a\":[}",
        "{\"level\":30,\"time\":1715940303,\"a\":{}",
        "{msg:1}",
        "\"msg\":\"x\"",
        "{\"msg\":\"x\"}\n",
        "{\"msg\":\"x\"}{\"msg\":\"x\"}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        lb_fields_t f = lift(cases[i]);

        if (strcmp(cases[i], "{\"msg\":}") != 0) {
            assert_str(f.attributes, cases[i]);
            assert_int_equal(f.timestamp_ns, RECEIVED * 1000);
            assert_int_equal(f.message.len, 0);
            assert_int_equal(f.level.len, 0);
        }
        assert_null(
            lift_oracle_bytes((const uint8_t *)cases[i], strlen(cases[i])));
    }
}

/* Nothing is read beyond the event, wherever it is cut. */
static void
test_page_end(void **state)
{
    static const char event[] =
        "{\"time\":\"2024-05-17T10:05:03.123456Z\",\"level\":\"INFO\","
        "\"n\":{\"a\":[1,\"\\u0041\",{}]},\"msg\":\"say \\\"hi\\\" and "
        "something longer than two blocks of sixty-four bytes, with \\n "
        "escapes \\ud83d\\ude00 near its end\\t\",\"x\":-1.5e3}";
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const size_t n = lb_ways();

    (void)state;
    assert_true(map != MAP_FAILED);
    assert_int_equal(mprotect(map + page, page, PROT_NONE), 0);
    for (size_t len = 0; len < sizeof(event); len++) {
        uint8_t *at = map + page - len;
        uint8_t *room = malloc(lb_lift_scratch(len));

        assert_non_null(room);
        memcpy(at, event, len);
        for (size_t k = 0; k < n; k++) {
            lb_fields_t f;

            lb_lift_by((unsigned)k, at, len, RECEIVED, 0, room, &f);
            if (len + 1 == sizeof(event)) {
                assert_str(f.level, "info");
                assert_str(f.attributes,
                           "{\"n\":{\"a\":[1,\"\\u0041\",{}]},\"x\":-1.5e3}");
                assert_int_equal(f.timestamp_ns, S(1715940303) + 123456000);
            }
        }
        free(room);
    }
    munmap(map, 2 * page);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_fields), cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_aliases),    cmocka_unit_test(test_levels),
        cmocka_unit_test(test_inside),     cmocka_unit_test(test_messages),
        cmocka_unit_test(test_strings),    cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_page_end),   cmocka_unit_test(test_line_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
