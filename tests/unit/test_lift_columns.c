/* Columns that a table may lack, out of an event. */

#include "tests/unit/lift_env.h"

/* With them and without. */
static void
test_columns(void **state)
{
    static const struct {
        const char *event;
        const char *span_id, *event_name, *resource, *scope;
        unsigned flags, severity;
        const char *rest;
    } cases[] = {
        {"{\"span_id\":\"a\\u0062\",\"x\":1}", "ab", "", "", "", 0, 0,
         "{\"x\":1}"},
        {"{\"SpanId\":\"s\",\"spanId\":\"t\"}", "t", "", "", "", 0, 0,
         "{\"SpanId\":\"s\"}"},
        {"{\"span\":{\"id\":\"s\",\"name\":\"n\"}}", "s", "", "", "", 0, 0,
         "{\"span\":{\"name\":\"n\"}}"},
        {"{\"contextMap\":{\"span_id\":\"s\",\"trace_flags\":\"01\"}}", "s", "",
         "", "", 1, 0, "{}"},
        {"{\"fields\":{\"span_id\":\"s\",\"flags\":3}}", "s", "", "", "", 3, 0,
         "{}"},
        {"{\"traceparent\":"
         "\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-81\"}",
         "00f067aa0ba902b7", "", "", "", 0x81, 0, NULL},
        {"{\"span_id\":\"s\",\"traceparent\":"
         "\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\"}",
         "s", "", "", "", 0, 0,
         "{\"traceparent\":"
         "\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\"}"},
        /* flags are of a trace only beside a span */
        {"{\"flags\":1}", "", "", "", "", 0, 0, NULL},
        {"{\"flags\":1,\"spanId\":\"s\"}", "s", "", "", "", 1, 0, "{}"},
        {"{\"trace_flags\":256}", "", "", "", "", 0, 0, NULL},
        {"{\"trace_flags\":\"1\"}", "", "", "", "", 0, 0, NULL},
        {"{\"trace_flags\":0,\"TraceFlags\":\"00\"}", "", "", "", "", 0, 0,
         NULL},
        {"{\"TraceFlags\":\"fF\"}", "", "", "", "", 255, 0, "{}"},
        /* the number is there beside any level, and makes one */
        {"{\"level\":\"info\"}", "", "", "", "", 0, 9, "{}"},
        {"{\"level\":\"notice\"}", "", "", "", "", 0, 10, "{}"},
        {"{\"level\":\"fatal\"}", "", "", "", "", 0, 21, "{}"},
        {"{\"severity_number\":18}", "", "", "", "", 0, 18, "{}"},
        {"{\"level\":\"info\",\"SeverityNumber\":\"24\"}", "", "", "", "", 0,
         24, "{}"},
        {"{\"severityNumber\":25}", "", "", "", "", 0, 0, NULL},
        {"{\"severity_number\":\"error\"}", "", "", "", "", 0, 17, "{}"},
        {"{\"event_name\":\"e\",\"EventName\":\"f\"}", "", "e", "", "", 0, 0,
         "{\"EventName\":\"f\"}"},
        {"{\"event\":{\"name\":\"e\"}}", "", "e", "", "", 0, 0, "{}"},
        {"{\"event_name\":\"\",\"span_id\":7}", "", "", "", "", 0, 0, NULL},
        /* whole, with what is a column of its own */
        {"{\"a\":1,\"resource\":{\"service.name\":\"s\",\"z\":{}},\"b\":2}", "",
         "", "{\"service.name\":\"s\",\"z\":{}}", "", 0, 0,
         "{\"a\":1,\"b\":2}"},
        {"{\"Resource\":{\"x\":1},\"resource\":{\"host\":\"h\"}}", "", "",
         "{\"host\":\"h\"}", "", 0, 0, "{\"Resource\":{\"x\":1}}"},
        {"{\"resource\":{},\"scope\":\"x\"}", "", "", "", "", 0, 0, NULL},
        {"{\"instrumentationScope\":{\"name\":\"l\"}}", "", "", "",
         "{\"name\":\"l\"}", 0, 0, "{}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const uint8_t *event = (const uint8_t *)cases[i].event;
        const char *error = lift_oracle_event(event, strlen(cases[i].event));
        lb_fields_t f;
        lb_str_t none = {event, 0};

        if (error) {
            fail_msg("%s: %s", cases[i].event, error);
        }
        lb_lift(event, strlen(cases[i].event), RECEIVED, LB_LIFT_ALL, scratch,
                &f);
        assert_str(f.more & LB_LIFT_SPAN_ID ? f.span_id : none,
                   cases[i].span_id);
        assert_str(f.more & LB_LIFT_EVENT_NAME ? f.event_name : none,
                   cases[i].event_name);
        assert_str(f.more & LB_LIFT_RESOURCE ? f.resource : none,
                   cases[i].resource);
        assert_str(f.more & LB_LIFT_SCOPE ? f.scope : none, cases[i].scope);
        assert_int_equal(f.more & LB_LIFT_TRACE_FLAGS ? f.trace_flags : 0,
                         cases[i].flags);
        assert_int_equal(f.severity_number, cases[i].severity);
        assert_str(f.attributes,
                   cases[i].rest ? cases[i].rest : cases[i].event);

        /* none asked for: none taken */
        assert_int_equal(lift(cases[i].event).more, 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
