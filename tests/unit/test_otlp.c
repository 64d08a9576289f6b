/*
 * OTLP's decoders where the official one is no judge: what is refused and what
 * is rejected alone, limits, lengths that lie, contexts between records.
 * tests/e2e/test_otlp_decoder.py holds them against the official one.
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

#include "event/lines.h"
#include "event/otlp_json.h"
#include "event/otlp_proto.h"

#define CONTEXT "\001{\"resource\":{\"service.name\":\"a\"}}\n"
#define REJECTED "\001{\"stream\":\"rejected\"}\n"

static char out[1 << 20];
static uint64_t replaced;

/* A message that is being made. */
typedef struct {
    uint8_t *data;
    size_t len;
    size_t room;
} bytes_t;

static void
add(bytes_t *b, const void *data, size_t len)
{
    if (b->data == NULL || b->len + len > b->room) {
        b->room = 2 * (b->len + len) + 16;
        b->data = realloc(b->data, b->room);
        assert_non_null(b->data);
    }
    if (len > 0) {
        memcpy(b->data + b->len, data, len);
    }
    b->len += len;
}

static void
add_varint(bytes_t *b, uint64_t v)
{
    uint8_t c;

    for (; v >= 0x80; v >>= 7) {
        c = (uint8_t)(v | 0x80);
        add(b, &c, 1);
    }
    c = (uint8_t)v;
    add(b, &c, 1);
}

static void
add_field(bytes_t *b, unsigned number, const void *data, size_t len)
{
    add_varint(b, number << 3 | 2);
    add_varint(b, len);
    add(b, data, len);
}

/* Takes the message. */
static void
add_message(bytes_t *b, unsigned number, bytes_t *message)
{
    add_field(b, number, message->data, message->len);
    free(message->data);
    memset(message, 0, sizeof(*message));
}

static void
add_string(bytes_t *b, unsigned number, const char *s)
{
    add_field(b, number, s, strlen(s));
}

static void
add_attribute(bytes_t *b, unsigned number, const char *key, const char *value)
{
    bytes_t any = {0}, pair = {0};

    add_string(&any, 1, value);
    add_string(&pair, 1, key);
    add_message(&pair, 2, &any);
    add_message(b, number, &pair);
}

static void
add_record(bytes_t *scope_logs, const char *body)
{
    bytes_t any = {0}, record = {0};

    add_string(&any, 1, body);
    add_message(&record, 5, &any);
    add_message(scope_logs, 2, &record);
}

/* A request of one resource ("service.name": "a") with these ScopeLogs. */
static bytes_t
request(bytes_t *scope_logs)
{
    bytes_t all = {0}, resource = {0}, logs = {0};

    add_attribute(&resource, 1, "service.name", "a");
    add_message(&logs, 1, &resource);
    add_message(&logs, 2, scope_logs);
    add_message(&all, 1, &logs);

    return all;
}

/* In memory of exactly the sizes. */
static lb_scan_status_t
scan(const lb_format_t *format, const void *body, size_t len, size_t cap,
     size_t max_event, lb_scan_result_t *res)
{
    lb_reply_t reply = {0};
    lb_scan_options_t options = {
        .max_event = max_event,
        .patient = 1,
        .reply = &reply,
    };
    uint8_t *in = malloc(len + 1), *to = malloc(cap + 1);
    lb_scan_status_t rc;
    lb_otlp_reply_t note = {0};

    assert_non_null(in);
    assert_non_null(to);
    if (len > 0) {
        memcpy(in + 1, body, len);
    }
    rc = format->scan(in + 1, len, to + 1, cap, &options, res);
    if (rc == LB_SCAN_OK) {
        assert_int_equal(res->contexts,
                         lb_lines_contexts(to + 1, res->out_len));
        if (res->out_len < sizeof(out)) {
            memcpy(out, to + 1, res->out_len);
            out[res->out_len] = '\0';
        }
        if (reply.len > 0) {
            assert_int_equal(reply.len, sizeof(note));
            memcpy(&note, reply.data, sizeof(note));
        }
    }
    replaced = note.replaced;
    free(in);
    free(to);
    lb_reply_free(&reply);

    return rc;
}

static lb_scan_status_t
proto(bytes_t *body, size_t max_event, lb_scan_result_t *res)
{
    lb_scan_status_t rc = scan(&lb_format_otlp_proto, body->data, body->len,
                               1 << 20, max_event, res);

    free(body->data);
    memset(body, 0, sizeof(*body));

    return rc;
}

static lb_scan_status_t
json(const char *body, size_t max_event, lb_scan_result_t *res)
{
    return scan(&lb_format_otlp_json, body, strlen(body), 1 << 20, max_event,
                res);
}

/* One record that cannot be read, between two that can. */
static void
test_rejected(void **state)
{
    size_t i;
    bytes_t body, logs = {0};
    lb_scan_result_t res;

    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"\x09\x01", 2},             /* a fixed64 of one byte */
        {"\x2a\x05", 2},             /* a body beyond the record */
        {"\x2a\x02\x0a\x05", 4},     /* a string beyond its value */
        {"\x2a\x02\x32\x01\x0a", 5}, /* a length that is cut off */
        {"\x32\x03\x12\x01\x0a", 5}, /* in an attribute */
        {"\x0b\x0c", 2},             /* a group */
        {"\x01", 1},                 /* field 0 */
        {"\x0f", 1},                 /* wire type 7 */
        {"\xf8\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
        {"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10},
    };

    (void)state;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        add_record(&logs, "1");
        add_field(&logs, 2, bad[i].bytes, bad[i].len);
        add_record(&logs, "2");
        body = request(&logs);
        assert_int_equal(proto(&body, 1000, &res), LB_SCAN_OK);
        assert_int_equal(res.events, 3);
        assert_int_equal(res.rejected, 1);
        assert_string_equal(res.error, "the record is malformed");
        assert_memory_equal(out, CONTEXT "{\"message\":\"1\"}\n" REJECTED,
                            sizeof(CONTEXT "{\"message\":\"1\"}\n" REJECTED) -
                                1);
        assert_non_null(strstr(
            out, "\"place\":\"resourceLogs[0].scopeLogs[0].logRecords[1]\""));
        assert_non_null(strstr(out, "}\n" CONTEXT "{\"message\":\"2\"}\n"));
    }

    assert_int_equal(
        json("{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":["
             "{\"timeUnixNano\":\"x\"},{\"body\":{\"stringValue\":\"1\"}},"
             "{\"body\":{\"intValue\":1.5}},{\"attributes\":{}},7,"
             "{\"severityNumber\":\"SEVERITY_NUMBER_INFO\"},"
             "{\"severityText\":1},{\"body\":{\"stringValue\":1}},"
             "{\"body\":{\"boolValue\":\"true\"}},{\"flags\":-1},"
             "{\"body\":{\"doubleValue\":\"1x\"}},"
             "{\"timeUnixNano\":18446744073709551616},"
             "{\"body\":{\"intValue\":\"9223372036854775808\"}},"
             "{\"timeUnixNano\":1772600767123456800.0,\"body\":{\"intValue\":"
             "-9223372036854775808}}]}]}]}",
             1000, &res),
        LB_SCAN_OK);
    assert_int_equal(res.rejected, 12);
    assert_int_equal(res.events, 14);
    assert_non_null(strstr(out, "}\n\001{}\n{\"message\":\"1\"}\n" REJECTED));
    assert_non_null(strstr(out, "\001{}\n{\"timestamp\":\"2026-03-04T05:06:07."
                                "123456768Z\",\"message\":"
                                "-9223372036854775808}\n"));
}

/* What is around records has to be right. */
static void
test_bad(void **state)
{
    size_t i;
    bytes_t body = {0}, logs = {0}, resource = {0};
    lb_scan_result_t res;

    static const char *const bodies[] = {
        "{",
        "[]x",
        "[{}]",
        "7",
        "{}{}",
        "{\"resourceLogs\":7}",
        "{\"resourceLogs\":[7]}",
        "{\"resourceLogs\":[{\"scopeLogs\":{}}]}",
        "{\"resourceLogs\":[{\"scopeLogs\":[[]]}]}",
        "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":\"\"}]}]}",
        "{\"resourceLogs\":[{\"resource\":7,"
        "\"scopeLogs\":[{\"logRecords\":[{}]}]}]}",
        "{\"resourceLogs\":[{\"resource\":{\"attributes\":7},"
        "\"scopeLogs\":[{\"logRecords\":[{}]}]}]}",
        "{\"resourceLogs\":[{\"scopeLogs\":[{\"scope\":{\"name\":7},"
        "\"logRecords\":[{}]}]}]}",
        "{\"resourceLogs\":[{\"schemaUrl\":7,"
        "\"scopeLogs\":[{\"logRecords\":[{}]}]}]}",
    };

    (void)state;

    for (i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        assert_int_equal(json(bodies[i], 1000, &res), LB_SCAN_BAD);
        assert_non_null(res.error);
        assert_int_equal(res.events, 0);
    }

    assert_int_equal(json("{}", 1000, &res), LB_SCAN_EMPTY);
    assert_int_equal(json(" {\"resourceLogs\": null} ", 1000, &res),
                     LB_SCAN_EMPTY);
    assert_int_equal(
        json("{\"resourceLogs\":[{\"scopeLogs\":[{}]},{}]}", 1000, &res),
        LB_SCAN_EMPTY);

    assert_int_equal(proto(&body, 1000, &res), LB_SCAN_EMPTY);

    /* lengths that lie, in each message around a record */
    add(&body, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 10);
    assert_int_equal(proto(&body, 1000, &res), LB_SCAN_BAD);

    add(&logs, "\x12\xff\xff\xff\x7f", 5);
    body = request(&logs);
    assert_int_equal(proto(&body, 1000, &res), LB_SCAN_BAD);

    add_record(&logs, "1");
    add(&resource, "\x0a\x7f", 2);
    add_message(&body, 1, &resource);
    add_message(&body, 2, &logs);
    add_message(&resource, 1, &body);
    assert_int_equal(proto(&resource, 1000, &res), LB_SCAN_BAD);
    assert_non_null(res.error);
}

static void
add_nested(bytes_t *logs, unsigned depth)
{
    bytes_t any = {0}, list = {0}, record = {0};

    while (depth-- > 0) {
        add_message(&list, 1, &any);
        add_message(&any, 5, &list);
    }
    add_message(&record, 5, &any);
    add_message(logs, 2, &record);
}

static void
test_depth(void **state)
{
    bytes_t body, logs = {0};
    lb_scan_result_t res;

    (void)state;

    add_nested(&logs, 127);
    body = request(&logs);
    assert_int_equal(proto(&body, 4000, &res), LB_SCAN_OK);
    assert_int_equal(res.rejected, 0);

    add_nested(&logs, 128);
    add_nested(&logs, 2);
    add_nested(&logs, 30000);
    body = request(&logs);
    assert_int_equal(proto(&body, 4000, &res), LB_SCAN_OK);
    assert_int_equal(res.rejected, 2);
    assert_string_equal(res.error, "the record is nested too deep");
    assert_non_null(strstr(out, CONTEXT "{\"message\":[[null]]}\n"));
}

/* An event may have max_event bytes and no more; out may end anywhere. */
static void
test_limits(void **state)
{
    size_t cap;
    bytes_t body, logs = {0};
    lb_scan_result_t res;

    static const char want[] = CONTEXT "{\"message\":\"0123456789abcdef\"}\n";
    const size_t len = sizeof(want) - sizeof(CONTEXT) - 1;

    (void)state;

    add_record(&logs, "0123456789abcdef");
    body = request(&logs);
    for (cap = 0; cap < sizeof(want) - 1; cap++) {
        assert_int_equal(
            scan(&lb_format_otlp_proto, body.data, body.len, cap, 1000, &res),
            LB_SCAN_NOSPACE);
    }
    assert_int_equal(
        scan(&lb_format_otlp_proto, body.data, body.len, cap, 1000, &res),
        LB_SCAN_OK);
    assert_string_equal(out, want);

    assert_int_equal(
        scan(&lb_format_otlp_proto, body.data, body.len, 4096, len, &res),
        LB_SCAN_OK);
    assert_int_equal(res.rejected, 1); /* the context is longer */
    assert_non_null(strstr(res.error, "resource"));

    free(body.data);
    add_record(&logs, "0123456789abcdef0123456789abcdef");
    add_record(&logs, "0123456789abcdef0123456789abcde");
    body = request(&logs);
    assert_int_equal(proto(&body, len + 15, &res), LB_SCAN_OK);
    assert_int_equal(res.rejected, 1);
    assert_non_null(strstr(res.error, "larger than the limit"));
    assert_non_null(strstr(out, "0123456789abcdef0123456789abcde\"}\n"));
}

/* A resource that fits and scopes that do not, and the other way round: what
 * it costs does not grow with their product. */
static void
test_scopes(void **state)
{
    int i, large;
    size_t n;
    bytes_t all, resource, scope, logs, scope_logs, body;
    lb_scan_result_t res;
    clock_t start = clock();
    char *big = malloc(1 << 20);

    (void)state;

    assert_non_null(big);
    memset(big, 'x', 1 << 20);

    for (large = 0; large < 3; large++) {

        memset(&all, 0, sizeof(all));
        memset(&resource, 0, sizeof(resource));
        memset(&logs, 0, sizeof(logs));
        n = large == 0 ? (1 << 20) - 100 : large == 1 ? (1 << 20) - 1 : 1000;
        big[n] = '\0';
        add_attribute(&resource, 1, "big", big);
        big[n] = 'x';
        add_message(&logs, 1, &resource);

        for (i = 0; i < 20000; i++) {
            memset(&scope, 0, sizeof(scope));
            memset(&scope_logs, 0, sizeof(scope_logs));
            add_string(&scope, 1,
                       large == 0 ? "a name of a scope that is so long that it "
                                    "does not fit behind the resource any more"
                                  : "s");
            add_varint(&scope, 4 << 3);
            add_varint(&scope, (uint64_t)i + 1);
            add_message(&scope_logs, 1, &scope);
            add_record(&scope_logs, "m");
            add_message(&logs, 2, &scope_logs);
        }
        add_message(&all, 1, &logs);
        body = all;

        assert_int_equal(scan(&lb_format_otlp_proto, body.data, body.len,
                              64 << 20, 1 << 20, &res),
                         LB_SCAN_OK);
        assert_int_equal(res.rejected, large < 2 ? 20000 : 0);
        free(body.data);
    }

    free(big);
    assert_true(clock() - start < 20 * CLOCKS_PER_SEC);
}

/* The same resource and scope again need no line of their own. */
static void
test_contexts(void **state)
{
    lb_scan_result_t res;

    static const char part[] =
        "{\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":"
        "{\"stringValue\":\"a\"}}]},\"scopeLogs\":[{\"logRecords\":[{}]},"
        "{\"scope\":{\"name\":\"s\"},\"logRecords\":[{},{}]}]}";
    static const char scoped[] =
        "\001{\"resource\":{\"service.name\":\"a\"},\"scope\":{\"name\":\"s\"}}"
        "\n";
    char body[2048], want[1024];

    (void)state;

    snprintf(body, sizeof(body),
             "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{}]}]},%s,%s,"
             "{\"scopeLogs\":[{\"logRecords\":[{}]}]}]}",
             part, part);
    snprintf(want, sizeof(want),
             "{}\n%s{}\n%s{}\n{}\n%s{}\n%s{}\n{}\n\001{}\n"
             "{}\n",
             CONTEXT, scoped, CONTEXT, scoped);
    assert_int_equal(json(body, 1000, &res), LB_SCAN_OK);
    assert_string_equal(out, want);
    assert_int_equal(res.events, 8);
}

/* What is no UTF-8 is replaced and counted; in JSON not in the event loop. */
static void
test_utf8(void **state)
{
    bytes_t body, logs = {0};
    lb_reply_t reply = {0};
    lb_scan_options_t options = {.max_event = 1000, .reply = &reply};
    lb_scan_result_t res;
    uint8_t to[4096];

    static const char bad[] = "{\"resourceLogs\":[{\"scopeLogs\":[{"
                              "\"logRecords\":[{\"body\":{\"stringValue\":"
                              "\"a\xff\xe2\x82z\"}}]}]}]}";

    (void)state;

    add_record(&logs, "a\xff\xe2\x82z");
    body = request(&logs);
    assert_int_equal(proto(&body, 1000, &res), LB_SCAN_OK);
    assert_string_equal(out, CONTEXT
                        "{\"message\":\"a\xef\xbf\xbd\xef\xbf\xbdz\"}\n");
    assert_int_equal(replaced, 2);

    assert_int_equal(json(bad, 1000, &res), LB_SCAN_OK);
    assert_string_equal(out, "{\"message\":\"a\xef\xbf\xbd\xef\xbf\xbdz\"}\n");
    assert_int_equal(replaced, 2);

    assert_int_equal(lb_format_otlp_json.scan((const uint8_t *)bad,
                                              sizeof(bad) - 1, to, sizeof(to),
                                              &options, &res),
                     LB_SCAN_LATER);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rejected), cmocka_unit_test(test_bad),
        cmocka_unit_test(test_depth),    cmocka_unit_test(test_limits),
        cmocka_unit_test(test_scopes),   cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
