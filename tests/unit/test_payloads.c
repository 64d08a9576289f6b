/*
 * Bodies as real senders make them (tests/data/payloads.json), through the
 * format and the lifter: each row must have the columns that it says.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <jansson.h>

#include "event/bulk.h"
#include "event/context.h"
#include "event/datadog.h"
#include "event/form.h"
#include "event/format.h"
#include "event/gelf.h"
#include "event/level.h"
#include "event/lift.h"
#include "event/lines.h"
#include "event/logplex.h"
#include "event/loki_json.h"
#include "event/otlp_json.h"

/* An hour behind the events. */
#define RECEIVED UINT64_C(1772604367000000)

/* What comes by a door of its own; all else is JSON. */
static const struct {
    const char *name;
    const lb_format_t *format;
} doors[] = {
    {"es-bulk", &lb_format_bulk},
    {"heroku-drain", &lb_format_logplex},
    {"loki-push", &lb_format_loki_json},
    {"otlp-json", &lb_format_otlp_json},
    {"python-HTTPHandler-form", &lb_format_form},
};

/* And what comes by one as well. */
static const struct {
    const char *name;
    const lb_format_t *format;
} as_well[] = {
    {"datadog", &lb_format_datadog},
    {"gelf", &lb_format_gelf},
};

static const lb_format_t *
door(const char *name)
{
    for (size_t i = 0; i < sizeof(doors) / sizeof(doors[0]); i++) {
        if (strcmp(doors[i].name, name) == 0) {
            return doors[i].format;
        }
    }
    return &lb_format_json;
}

static void
check_text(const char *name, const json_t *want, const char *column,
           lb_str_t have)
{
    const json_t *value = json_object_get(want, column);

    if (value != NULL &&
        (json_string_length(value) != have.len ||
         memcmp(json_string_value(value), have.data, have.len) != 0)) {
        fail_msg("%s: %s is '%.*s' instead of '%s'", name, column,
                 (int)have.len, (const char *)have.data,
                 json_string_value(value));
    }
}

static void
check_row(const char *name, const json_t *want, const lb_fields_t *f)
{
    const json_t *level = json_object_get(want, "level");
    const json_t *t = json_object_get(want, "t");
    char text[64];
    time_t seconds = (time_t)(f->timestamp_ns / 1000000000);
    struct tm tm;

    if (t != NULL) {
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S",
                 gmtime_r(&seconds, &tm));
        sprintf(text + strlen(text), ".%09lld",
                (long long)(f->timestamp_ns % 1000000000));
        if (strcmp(text, json_string_value(t)) != 0) {
            fail_msg("%s: timestamp is %s instead of %s", name, text,
                     json_string_value(t));
        }
    }
    if (level != NULL) {
        /* the file has the sender's word where it is not the canonical one */
        const uint8_t *word = (const uint8_t *)json_string_value(level);
        int same, i = lb_level(word, word + json_string_length(level),
                               LB_READ_WORD, &same);

        assert_true(i >= 0);
        if (f->level.data != lb_level_names[i].data) {
            fail_msg("%s: level is '%.*s' instead of '%s'", name,
                     (int)f->level.len, (const char *)f->level.data,
                     json_string_value(level));
        }
    }
    check_text(name, want, "service", f->service);
    check_text(name, want, "host", f->host);
    check_text(name, want, "message", f->message);
    check_text(name, want, "trace_id", f->trace_id);
}

static void
check_payload(const json_t *payload, const lb_format_t *format)
{
    static uint8_t out[65536], scratch[65536];
    const char *name = json_string_value(json_object_get(payload, "name"));
    const char *body = json_string_value(json_object_get(payload, "body"));
    const json_t *want = json_object_get(payload, "want");
    lb_reply_t reply = {0};
    lb_scan_options_t options = {.max_event = 4096, .patient = 1};
    lb_scan_result_t res;
    lb_lines_t lines;
    lb_line_t line;
    lb_context_t context = {0};
    size_t row = 0;

    options.reply = &reply;
    if (lb_format_scan(format, (const uint8_t *)body, strlen(body), out,
                       sizeof(out), &options, &res) != LB_SCAN_OK) {
        fail_msg("%s: %s", name, res.error);
    }
    lb_reply_free(&reply);

    lb_lines_start(&lines);
    lb_lines_view(&lines, out, res.out_len);
    while (lb_lines_next(&lines, &line)) {
        lb_fields_t f;

        if (line.context) {
            assert_int_equal(lb_context_line(&context, &line), 0);
            continue;
        }
        if (context.stream.len == strlen("rejected") &&
            memcmp(context.stream.data, "rejected", context.stream.len) == 0) {
            continue;
        }
        lb_lift(line.data, line.len, RECEIVED, LB_LIFT_ALL, scratch, &f);
        f.service = f.service.len > 0 ? f.service : context.service;
        f.host = f.host.len > 0 ? f.host : context.host;
        if (row < json_array_size(want)) {
            check_row(name, json_array_get(want, row), &f);
        }
        row++;
    }
    lb_context_free(&context);
    if (row != json_array_size(want)) {
        fail_msg("%s: %zu rows instead of %zu", name, row,
                 json_array_size(want));
    }
}

static void
payloads_become_the_columns_they_should(void **state)
{
    json_error_t error;
    json_t *payloads = json_load_file(LB_PAYLOADS, 0, &error);
    size_t i, checked = 0;
    json_t *payload;

    (void)state;
    if (payloads == NULL) {
        fail_msg("%s: %s", LB_PAYLOADS, error.text);
    }
    assert_true(json_array_size(payloads) >= 28);
    json_array_foreach(payloads, i, payload)
    {
        const char *name = json_string_value(json_object_get(payload, "name"));

        check_payload(payload, door(name));
        for (size_t k = 0; k < sizeof(as_well) / sizeof(as_well[0]); k++) {
            if (strcmp(as_well[k].name, name) == 0) {
                check_payload(payload, as_well[k].format);
                checked++;
            }
        }
    }
    assert_int_equal(checked, 2);
    json_decref(payloads);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(payloads_become_the_columns_they_should),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
