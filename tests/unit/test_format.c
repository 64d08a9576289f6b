/*
 * Input formats: which one takes a media type, what a format does beyond the
 * scanner, and what a scan may use: parameters and a reply.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/format.h"

#define ROOM 4096

/* Takes lines "+word" and leaves out the others; needs every feature that a
 * scan may use. */
static lb_scan_status_t
scan_picky(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
           const lb_scan_options_t *options, lb_scan_result_t *res)
{
    const char *host = lb_param(options, "host");
    const uint8_t *end = in + len;
    size_t row = 0, n;

    memset(res, 0, sizeof(*res));
    n = (size_t)snprintf((char *)out, cap, "[\"%s\"]\n", host ? host : "?");

    for (const uint8_t *p = in; p < end;) {
        const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
        size_t word = (size_t)((nl ? nl : end) - p);

        row++;
        if (word > 1 && *p == '+') {
            if (cap - n < word + 16) {
                return LB_SCAN_NOSPACE;
            }
            n += (size_t)snprintf((char *)out + n, cap - n,
                                  "{\"message\":\"%.*s\"}\n", (int)word - 1,
                                  (const char *)p + 1);
            res->events++;
        } else if (res->rejected++ == 0) {
            res->error = "a line must begin with +";
            res->row = row;
            res->column = 1;
        }
        if (lb_reply_put(options->reply, word > 1 && *p == '+' ? "y" : "n",
                         1) != 0) {
            return LB_SCAN_NOMEM;
        }
        p += word + 1;
    }

    res->out_len = n;
    return res->events ? LB_SCAN_OK : LB_SCAN_EMPTY;
}

static const char *const picky_types[] = {"application/x-picky", "picky/",
                                          NULL};
static const char *const all_types[] = {"", NULL};

static const lb_format_t picky = {
    .name = "picky", .types = picky_types, .scan = scan_picky};
static const lb_format_t all = {
    .name = "all", .types = all_types, .scan = scan_picky};

static const lb_format_t *
find(const lb_format_t *const *formats, const char *type)
{
    return lb_format_find(formats, type, strlen(type));
}

static void
test_find(void **state)
{
    static const lb_format_t *const log[] = {&lb_format_json, &lb_format_text,
                                             NULL};
    static const lb_format_t *const strict[] = {&picky, NULL};
    static const lb_format_t *const loose[] = {&picky, &all, NULL};
    static const char *const json[] = {
        "",
        "application/json",
        "APPLICATION/JSON",
        "application/x-www-form-urlencoded",
        "text/json",
        "text/jsonlines",
        "application/octet-stream",
        "application/vnd.of.somebody+json",
        "application/cborish",
        "x",
    };
    static const char *const none[] = {
        "text/html",           "text/",          "Image/PNG",
        "application/cbor",    "x/y+protobuf",   "application/grpc+proto",
        "application/msgpack", "multipart/form", "application/x-protobuf",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(json) / sizeof(json[0]); i++) {
        assert_ptr_equal(find(log, json[i]), &lb_format_json);
    }
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        assert_null(find(log, none[i]));
        assert_ptr_equal(find(loose, none[i]), &all);
    }
    assert_ptr_equal(find(log, "text/plain"), &lb_format_text);
    assert_ptr_equal(find(log, "Text/Plain"), &lb_format_text);
    assert_null(find(log, "text/plainer"));
    /* only len bytes of it */
    assert_ptr_equal(lb_format_find(log, "text/plainer", 10), &lb_format_text);

    assert_ptr_equal(find(strict, "application/X-picky"), &picky);
    assert_ptr_equal(find(strict, "picky/anything"), &picky);
    assert_null(find(strict, "picky"));
    assert_null(find(strict, "application/x-pick"));
    assert_null(find(strict, "application/json"));
    assert_null(find(strict, ""));
    assert_ptr_equal(find(loose, "picky/a"), &picky);
    assert_ptr_equal(find(loose, ""), &all);
}

/* Scans a string; what came out is in text. */
static lb_scan_status_t
scan(const lb_format_t *format, const char *body, size_t max_event, int patient,
     lb_scan_result_t *res, char *text)
{
    lb_reply_t reply = {0};
    lb_scan_options_t options = {
        .max_event = max_event, .patient = patient, .reply = &reply};
    size_t len = strlen(body);
    lb_scan_status_t rc = format->scan(
        (const uint8_t *)body, len, (uint8_t *)text, ROOM - 1, &options, res);

    text[rc == LB_SCAN_OK ? res->out_len : 0] = '\0';
    lb_reply_free(&reply);
    return rc;
}

static void
test_json(void **state)
{
    static const char wrapper[] =
        "{\"logs\":[{\"a\":1},{\"a\":2}], \"app\":\"x\"}";
    char text[ROOM];
    char words[256];
    lb_scan_result_t res;

    (void)state;
    assert_int_equal(
        scan(&lb_format_json, "[{\"a\":1},{\"a\":[{}]}]", 100, 0, &res, text),
        LB_SCAN_OK);
    assert_string_equal(text, "{\"a\":1}\n{\"a\":[{}]}\n");
    assert_int_equal(res.events, 2);
    assert_int_equal(res.rejected, 0);

    /* a wrapper, within the limit and above it: not in the event loop */
    for (size_t max = 40; max > 15; max /= 2) {
        assert_int_equal(scan(&lb_format_json, wrapper, max, 0, &res, text),
                         LB_SCAN_LATER);
        assert_int_equal(scan(&lb_format_json, wrapper, max, 1, &res, text),
                         LB_SCAN_OK);
        assert_string_equal(text, "{\"a\":1,\"app\":\"x\"}\n"
                                  "{\"a\":2,\"app\":\"x\"}\n");
        assert_int_equal(res.events, 2);
    }
    /* one of its events is above it */
    assert_int_equal(scan(&lb_format_json, wrapper, 10, 1, &res, text),
                     LB_SCAN_TOOBIG);
    assert_non_null(
        strstr(lb_format_explain(&lb_format_json, (const uint8_t *)wrapper,
                                 strlen(wrapper), &res, words, sizeof(words)),
               "in the array"));

    /* looks like one, and is none */
    assert_int_equal(scan(&lb_format_json, "{\"x\":[{}]}", 100, 0, &res, text),
                     LB_SCAN_LATER);
    assert_int_equal(scan(&lb_format_json, "{\"x\":[{}]}", 100, 1, &res, text),
                     LB_SCAN_OK);
    assert_string_equal(text, "{\"x\":[{}]}\n");
    assert_int_equal(scan(&lb_format_json, "{\"x\":[{}]}", 5, 1, &res, text),
                     LB_SCAN_TOOBIG);
    assert_int_equal(res.row, 1);

    /* ours are never unfolded */
    assert_int_equal(scan(&lb_format_event, wrapper, 100, 0, &res, text),
                     LB_SCAN_OK);
    assert_int_equal(res.events, 1);

    assert_int_equal(scan(&lb_format_json, "{\"a\":1}\n{x", 100, 0, &res, text),
                     LB_SCAN_BAD);
    assert_non_null(strstr(lb_format_explain(&lb_format_json,
                                             (const uint8_t *)"{\"a\":1}\n{x",
                                             10, &res, words, sizeof(words)),
                           "near 'x'"));
    assert_int_equal(scan(&lb_format_json, " \n", 100, 0, &res, text),
                     LB_SCAN_EMPTY);
    /* never none */
    assert_non_null(
        lb_format_explain(&lb_format_json, NULL, 0, &res, words, 1));
}

/* Room for the body is not room for what it unfolds to. */
static void
test_room(void **state)
{
    static const char wrapper[] =
        "{\"logs\":[{\"a\":1},{\"a\":2}],\"application\":\"x\"}";
    lb_reply_t reply = {0};
    lb_scan_options_t options = {
        .max_event = 100, .patient = 1, .reply = &reply};
    lb_scan_result_t res;
    uint8_t out[2 * sizeof(wrapper)];
    size_t len = strlen(wrapper), cap, need = 0;

    (void)state;
    for (cap = 0; cap <= sizeof(out); cap++) {
        lb_scan_status_t rc = lb_format_json.scan((const uint8_t *)wrapper, len,
                                                  out, cap, &options, &res);
        if (rc == LB_SCAN_OK) {
            need = need ? need : cap;
            assert_int_equal(res.events, 2);
        } else {
            assert_int_equal(rc, LB_SCAN_NOSPACE);
            assert_int_equal(need, 0);
        }
    }
    assert_true(need > len && need == res.out_len);
}

static void
test_text(void **state)
{
    char text[ROOM];
    char words[64];
    lb_scan_result_t res;

    (void)state;
    assert_int_equal(scan(&lb_format_text, "a\r\n{\"b\"\n", 100, 0, &res, text),
                     LB_SCAN_OK);
    assert_string_equal(text,
                        "{\"message\":\"a\"}\n{\"message\":\"{\\\"b\\\"\"}\n");
    assert_int_equal(scan(&lb_format_text, "a\n\xff", 100, 0, &res, text),
                     LB_SCAN_BAD);
    assert_ptr_equal(lb_format_explain(&lb_format_text,
                                       (const uint8_t *)"a\n\xff", 3, &res,
                                       words, sizeof(words)),
                     res.error);
}

/* A context before the events, one left out, a parameter, a reply. */
static void
test_features(void **state)
{
    static const char params[] = "tenant\0\0host\0web-1\0host\0second";
    static const char body[] = "+a\nb\n+c\nd";
    lb_reply_t reply = {0};
    lb_scan_options_t options = {.max_event = 100,
                                 .params = params,
                                 .params_len = sizeof(params),
                                 .reply = &reply};
    lb_scan_result_t res;
    uint8_t out[256];

    (void)state;
    assert_int_equal(picky.scan((const uint8_t *)body, strlen(body), out,
                                sizeof(out), &options, &res),
                     LB_SCAN_OK);
    assert_int_equal(res.events, 2);
    assert_int_equal(res.rejected, 2);
    assert_int_equal(res.row, 2);
    assert_string_equal(res.error, "a line must begin with +");
    assert_memory_equal(out, "[\"web-1\"]\n{\"message\":\"a\"}\n", 26);
    assert_int_equal(reply.len, 4);
    assert_memory_equal(reply.data, "ynyn", 4);

    assert_string_equal(lb_param(&options, "tenant"), "");
    assert_null(lb_param(&options, "web-1"));
    assert_null(lb_param(&options, "hos"));
    options.params_len = 0;
    assert_null(lb_param(&options, "host"));

    lb_reply_free(&reply);
    assert_null(reply.data);
}

/* Grows in steps and in leaps. */
static void
test_reply(void **state)
{
    static uint8_t block[100000];
    lb_reply_t reply = {0};
    size_t sum = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(block); i++) {
        block[i] = (uint8_t)(i * 7);
    }
    for (size_t n = 1; n <= sizeof(block); n = n * 3 + 1) {
        assert_int_equal(lb_reply_put(&reply, block, n), 0);
        assert_memory_equal(reply.data + sum, block, n);
        sum += n;
        assert_int_equal(reply.len, sum);
        assert_true(reply.size >= sum);
    }
    assert_int_equal(lb_reply_put(&reply, block, 0), 0);
    lb_reply_free(&reply);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),     cmocka_unit_test(test_json),
        cmocka_unit_test(test_room),     cmocka_unit_test(test_text),
        cmocka_unit_test(test_features), cmocka_unit_test(test_reply),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
