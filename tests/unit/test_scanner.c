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

#include "event/block.h"
#include "event/explain.h"
#include "event/json.h"
#include "event/text.h"
#include "event/utf8.h"
#include "tests/fuzz/scanner_oracle.h"
#include "tests/unit/rounds.h"

#define BIG 1000000
#define ROOM 65536

/*
 * Memory that ends where the next page cannot be touched.
 */
typedef struct {
    uint8_t *map;
    uint8_t *end;
    size_t size;
} guard_t;

static guard_t
guard_new(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    guard_t g;

    size = (size + page - 1) / page * page;
    g.size = size + page;
    g.map = mmap(NULL, g.size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(g.map != MAP_FAILED);
    assert_int_equal(mprotect(g.map + size, page, PROT_NONE), 0);
    g.end = g.map + size;
    return g;
}

static void
guard_free(guard_t *g)
{
    munmap(g->map, g->size);
}

/*
 * Tables
 */
typedef struct {
    const char *in;
    const char *out;
} take_t;

static const take_t takes[] = {
    {"{}", "{}\n"},
    {"{}\n", "{}\n"},
    {"  {}  ", "{}\n"},
    {"{ }", "{}\n"},
    {"{\t\r\n }", "{}\n"},
    {"{\"a\":1}", "{\"a\":1}\n"},
    {" { \"a\" : 1 } ", "{\"a\":1}\n"},
    {"{\"a\":1}\n{\"b\":2}\n", "{\"a\":1}\n{\"b\":2}\n"},
    {"{\"a\":1}\r\n{\"b\":2}\r\n", "{\"a\":1}\n{\"b\":2}\n"},
    {"{\"a\":1}\n\n\n{\"b\":2}", "{\"a\":1}\n{\"b\":2}\n"},
    {"{\"a\":1}{\"b\":2}{}", "{\"a\":1}\n{\"b\":2}\n{}\n"},
    {"{\"a\":1} {\"b\":2}", "{\"a\":1}\n{\"b\":2}\n"},
    {"[{\"a\":1},{\"b\":2}]", "{\"a\":1}\n{\"b\":2}\n"},
    {" [ {\"a\":1} , {\"b\":2} ] ", "{\"a\":1}\n{\"b\":2}\n"},
    {"[{\"a\":1}\n,\n{\"b\":2}\n]\n", "{\"a\":1}\n{\"b\":2}\n"},
    {"[\n{\"a\":1},\n{\"b\":2}\n]{}", "{\"a\":1}\n{\"b\":2}\n{}\n"},
    {"[]{}", "{}\n"},
    {"{}[]", "{}\n"},
    {"{}[{}][][{},{}]\n{}", "{}\n{}\n{}\n{}\n{}\n"},
    {"{\"a\":{\"b\":[1,{\"c\":[]},[[]],{}]}}",
     "{\"a\":{\"b\":[1,{\"c\":[]},[[]],{}]}}\n"},
    {"{ \"a\" : { \"b\" : [ 1 , { \"c\" : [ ] } , [ [ ] ] , { } ] } }",
     "{\"a\":{\"b\":[1,{\"c\":[]},[[]],{}]}}\n"},
    {"{\"a\":true,\"b\":false,\"c\":null}",
     "{\"a\":true,\"b\":false,\"c\":null}\n"},
    {"{\"a\": true , \"b\": false , \"c\": null }",
     "{\"a\":true,\"b\":false,\"c\":null}\n"},
    /* numbers are kept byte for byte, whatever their size */
    {"{\"a\":[0,-0,1,-1,0.0,-0.10,1e5,1E5,1e+5,1e-5,0e0,10.01E-02]}",
     "{\"a\":[0,-0,1,-1,0.0,-0.10,1e5,1E5,1e+5,1e-5,0e0,10.01E-02]}\n"},
    {"{\"a\":123456789012345678901234567890123456789012345678901234567890.1}",
     "{\"a\":123456789012345678901234567890123456789012345678901234567890.1}"
     "\n"},
    {"{\"a\":1e99999}", "{\"a\":1e99999}\n"},
    /* strings too */
    {"{\"a\":\" x  y \"}", "{\"a\":\" x  y \"}\n"},
    {"{\"a b\" :\"{[,:]}\"}", "{\"a b\":\"{[,:]}\"}\n"},
    {"{\"\":\"\"}", "{\"\":\"\"}\n"},
    {"{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}",
     "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}\n"},
    {"{\"a\":\"\\u0041\\uABCD\\uabcd\\u20ac\"}",
     "{\"a\":\"\\u0041\\uABCD\\uabcd\\u20ac\"}\n"},
    {"{\"a\":\"\\u0000\"}", "{\"a\":\"\\u0000\"}\n"},
    {"{\"\\u0000\":1}", "{\"\\u0000\":1}\n"},
    {"{\"a\":\"\\ud83d\\ude00\"}", "{\"a\":\"\\ud83d\\ude00\"}\n"},
    {"{\"a\":\"\\ud83d\"}", "{\"a\":\"\\ud83d\"}\n"},
    {"{\"a\":\"\\ude00\\ud83d\"}", "{\"a\":\"\\ude00\\ud83d\"}\n"},
    {"{\"a\":\"\\\\\"}", "{\"a\":\"\\\\\"}\n"},
    {"{\"a\":\"\\\\\\\"\"}", "{\"a\":\"\\\\\\\"\"}\n"},
    {"{\"a\":\"\x7f\"}", "{\"a\":\"\x7f\"}\n"},
    {"{\"a\":\"\xd0\xbf\xd1\x80\xd0\xb8\"}",
     "{\"a\":\"\xd0\xbf\xd1\x80\xd0\xb8\"}\n"},
    {"{\"\xe2\x82\xac\":\"\xf0\x9f\x98\x80\"}",
     "{\"\xe2\x82\xac\":\"\xf0\x9f\x98\x80\"}\n"},
    {"{\"a\":\"\xef\xbb\xbf\"}", "{\"a\":\"\xef\xbb\xbf\"}\n"},
    {"{\"a\":\"\xef\xbf\xbf\xef\xbf\xbe\"}",
     "{\"a\":\"\xef\xbf\xbf\xef\xbf\xbe\"}\n"},
    /* duplicate keys and key order are the client's */
    {"{\"a\":1,\"a\":2,\"b\":3,\"a\":1}",
     "{\"a\":1,\"a\":2,\"b\":3,\"a\":1}\n"},
};

static void
test_takes(void **state)
{
    const size_t n = lb_ways();
    static uint8_t out[ROOM];

    (void)state;
    for (size_t i = 0; i < sizeof(takes) / sizeof(takes[0]); i++) {
        const take_t *t = &takes[i];

        for (size_t k = 0; k < n; k++) {
            lb_scan_result_t res;
            uint32_t events = 0;

            if (lb_json_ways[k]((const uint8_t *)t->in, strlen(t->in), out,
                                sizeof(out), BIG, &res) != LB_SCAN_OK) {
                fail_msg("%s refuses %s: %s", lb_way_names[k], t->in,
                         res.error);
            }
            assert_int_equal(res.out_len, strlen(t->out));
            assert_memory_equal(out, t->out, res.out_len);
            for (size_t b = 0; b < res.out_len; b++) {
                events += out[b] == '\n';
            }
            assert_int_equal(res.events, events);
        }
        assert_null(scanner_oracle_json((const uint8_t *)t->in, strlen(t->in)));
    }
}

typedef struct {
    const char *in;
    size_t offset;
    size_t row;
    size_t column;
    const char *words; /* the error begins with them */
} refuse_t;

#define OBJECT "an event must be a JSON object"
#define VALUE "expected a value"
#define UTF8 "this is not valid UTF-8"
#define CUT "the body ends inside an event"
#define CUT_STRING "the body ends inside a string"
#define CUT_ARRAY "the body ends inside an array of events"

static const refuse_t refuses[] = {
    /* what is no event */
    {"1", 0, 1, 1, OBJECT},
    {"\"a\"", 0, 1, 1, OBJECT},
    {"null", 0, 1, 1, OBJECT},
    {"true", 0, 1, 1, OBJECT},
    {"{} x", 3, 1, 4, OBJECT},
    {"{}\n{}\n-1", 6, 3, 1, OBJECT},
    {"[1]", 1, 1, 2, OBJECT},
    {"[{},\"x\"]", 4, 1, 5, OBJECT},
    {"[[{}]]", 1, 1, 2, OBJECT},
    {"[[]]", 1, 1, 2, OBJECT},
    {"[{},[]]", 4, 1, 5, OBJECT},
    {"[,{}]", 1, 1, 2, OBJECT},
    {"[{},,{}]", 4, 1, 5, OBJECT},
    {"\xd0\xbf", 0, 1, 1, OBJECT},
    {"\x0b{}", 0, 1, 1, OBJECT},
    {"\xc2\xa0{}", 0, 1, 1, OBJECT},
    {"// {}", 0, 1, 1, OBJECT},
    {"{}#", 2, 1, 3, OBJECT},
    {"<html>", 0, 1, 1, OBJECT},
    {"\xef\xbb\xbf{}", 0, 1, 1, "an event must be a JSON object"},
    {"{}\xef\xbb\xbf", 2, 1, 3, OBJECT},
    {"\xff\xfe{\0}", 0, 1, 1, OBJECT},
    /* commas and brackets */
    {"{},{}", 2, 1, 3, "unexpected ',' between events"},
    {",{}", 0, 1, 1, "unexpected ',' between events"},
    {"{}}", 2, 1, 3, "nothing is open here"},
    {"{}]", 2, 1, 3, "nothing is open here"},
    {"]", 0, 1, 1, "nothing is open here"},
    {"[{},]", 4, 1, 5, "an event must follow the ','"},
    {"[{} {}]", 4, 1, 5, "expected ',' or ']' after an event"},
    {"[{}\n{}]", 4, 2, 1, "expected ',' or ']' after an event"},
    {"[{}}", 3, 1, 4, "expected ',' or ']' after an event"},
    {"{\"a\":1,}", 7, 1, 8, "expected a key in double quotes after ','"},
    {"{\"a\":1,,\"b\":2}", 7, 1, 8, "expected a key"},
    {"{,}", 1, 1, 2, "expected a key in double quotes, or '}'"},
    {"{\"a\":[1,]}", 8, 1, 9, VALUE},
    {"{\"a\":[,1]}", 6, 1, 7, VALUE},
    {"{\"a\":[1 2]}", 8, 1, 9, "expected ',' or ']' after an array element"},
    {"{\"a\":[1}", 7, 1, 8, "expected ',' or ']' after an array element"},
    {"{\"a\":1]", 6, 1, 7, "expected ',' or '}' after a value"},
    {"{\"a\":1 \"b\":2}", 7, 1, 8, "expected ',' or '}' after a value"},
    {"{\"a\":1;}", 6, 1, 7, "expected ',' or '}' after a value"},
    {"{\"a\":\"b\":1}", 8, 1, 9, "expected ',' or '}' after a value"},
    /* keys and colons */
    {"{a:1}", 1, 1, 2, "expected a key"},
    {"{'a':1}", 1, 1, 2, "expected a key"},
    {"{1:1}", 1, 1, 2, "expected a key"},
    {"{null:1}", 1, 1, 2, "expected a key"},
    {"{{}:1}", 1, 1, 2, "expected a key"},
    {"{\"a\" 1}", 5, 1, 6, "expected ':' after a key"},
    {"{\"a\"}", 4, 1, 5, "expected ':' after a key"},
    {"{\"a\",1}", 4, 1, 5, "expected ':' after a key"},
    {"{\"a\"::1}", 5, 1, 6, VALUE},
    {"{\"a\":}", 5, 1, 6, VALUE},
    {"{\"a\":,}", 5, 1, 6, VALUE},
    {"{/*x*/}", 1, 1, 2, "expected a key"},
    /* words and numbers */
    {"{\"a\":tru}", 5, 1, 6, VALUE},
    {"{\"a\":True}", 5, 1, 6, VALUE},
    {"{\"a\":nul}", 5, 1, 6, VALUE},
    {"{\"a\":truex}", 9, 1, 10, "expected ',' or '}'"},
    {"{\"a\":NaN}", 5, 1, 6, VALUE},
    {"{\"a\":Infinity}", 5, 1, 6, VALUE},
    {"{\"a\":-Infinity}", 6, 1, 7, "expected a digit"},
    {"{\"a\":undefined}", 5, 1, 6, VALUE},
    {"{\"a\":'b'}", 5, 1, 6, VALUE},
    {"{\"a\":+1}", 5, 1, 6, VALUE},
    {"{\"a\":.5}", 5, 1, 6, VALUE},
    {"{\"a\":01}", 5, 1, 6, "a number must not begin with a superfluous 0"},
    {"{\"a\":-01}", 6, 1, 7, "a number must not begin with a superfluous 0"},
    {"{\"a\":00}", 5, 1, 6, "a number must not begin with a superfluous 0"},
    {"{\"a\":1.}", 7, 1, 8, "expected a digit"},
    {"{\"a\":1.e1}", 7, 1, 8, "expected a digit"},
    {"{\"a\":1e}", 7, 1, 8, "expected a digit"},
    {"{\"a\":1e+}", 8, 1, 9, "expected a digit"},
    {"{\"a\":-}", 6, 1, 7, "expected a digit"},
    {"{\"a\":--1}", 6, 1, 7, "expected a digit"},
    {"{\"a\":0x10}", 6, 1, 7, "expected ',' or '}'"},
    {"{\"a\":1.2.3}", 8, 1, 9, "expected ',' or '}'"},
    {"{\"a\":1e1.5}", 8, 1, 9, "expected ',' or '}'"},
    {"{\"a\":1_000}", 6, 1, 7, "expected ',' or '}'"},
    {"{\"a\":1 000}", 7, 1, 8, "expected ',' or '}'"},
    /* strings */
    {"{\"a\":\"\\x\"}", 6, 1, 7, "unknown escape"},
    {"{\"a\":\"\\'\"}", 6, 1, 7, "unknown escape"},
    {"{\"a\":\"\\0\"}", 6, 1, 7, "unknown escape"},
    {"{\"a\":\"\\U0041\"}", 6, 1, 7, "unknown escape"},
    {"{\"a\":\"\\\n\"}", 6, 1, 7, "unknown escape"},
    {"{\"a\":\"\\\xd0\xbf\"}", 6, 1, 7, "unknown escape"},
    {"{\"a\":\"\\u\"}", 8, 1, 9, "\\u must be followed by four"},
    {"{\"a\":\"\\u00\"}", 10, 1, 11, "\\u must be followed by four"},
    {"{\"a\":\"\\u00g0\"}", 10, 1, 11, "\\u must be followed by four"},
    {"{\"a\":\"\\u-123\"}", 8, 1, 9, "\\u must be followed by four"},
    {"{\"a\":\"x\ny\"}", 7, 1, 8, "a control character in a string"},
    {"{\"a\":\"x\ty\"}", 7, 1, 8, "a control character in a string"},
    {"{\"a\":\"\x01\"}", 6, 1, 7, "a control character in a string"},
    {"{\"a\":\"\x1f\"}", 6, 1, 7, "a control character in a string"},
    {"{\"a\x01\":1}", 3, 1, 4, "a control character in a string"},
    /* UTF-8 */
    {"{\"a\":\"\x80\"}", 6, 1, 7, UTF8},
    {"{\"a\":\"\xff\"}", 6, 1, 7, UTF8},
    {"{\"a\":\"caf\xe9\"}", 9, 1, 10, UTF8},
    {"{\"a\":\"\xc0\x80\"}", 6, 1, 7, UTF8},
    {"{\"a\":\"\xc1\xbf\"}", 6, 1, 7, UTF8},
    {"{\"a\":\"\xe0\x9f\xbf\"}", 6, 1, 7, UTF8},
    {"{\"a\":\"\xed\xa0\x80\"}", 6, 1, 7, UTF8},
    {"{\"a\":\"\xed\xbf\xbf\"}", 6, 1, 7, UTF8},
    {"{\"a\":\"\xf0\x8f\xbf\xbf\"}", 6, 1, 7, UTF8},
    {"{\"a\":\"\xf4\x90\x80\x80\"}", 6, 1, 7, UTF8},
    {"{\"a\":\"\xf5\x80\x80\x80\"}", 6, 1, 7, UTF8},
    {"{\"a\":\"\xf8\x88\x80\x80\x80\"}", 6, 1, 7, UTF8},
    {"{\"a\":\"\xe2\x82\"}", 6, 1, 7, UTF8},
    {"{\"a\":\"\xd0\xbf\xd0\"}", 8, 1, 8, UTF8},
    {"{\"a\":\"\xd0\xbf\xbf\"}", 8, 1, 8, UTF8},
    {"{\"\xd0\":1}", 2, 1, 3, UTF8},
    {"{\"a\":\xff}", 5, 1, 6, VALUE},
    {"{\xff}", 1, 1, 2, "expected a key"},
    /* a column counts characters, a row counts \n */
    {"{\"\xd0\xbf\xd1\x80\":x}", 8, 1, 7, VALUE},
    {"{\"a\":1}\n{\"b\":\"\xe2\x82\xac\xf0\x9f\x98\x80\",}", 23, 2, 11,
     "expected a key"},
    {"{\n\n \"a\":\n  x}", 11, 4, 3, VALUE},
    {"\r\n{\r\n\"a\" x}", 9, 3, 5, "expected ':'"},
    /* cut short */
    {"{", 1, 1, 2, CUT},
    {"{\n", 2, 2, 1, CUT},
    {"{\"", 2, 1, 3, CUT_STRING},
    {"{\"a", 3, 1, 4, CUT_STRING},
    {"{\"a\"", 4, 1, 5, CUT},
    {"{\"a\":", 5, 1, 6, CUT},
    {"{\"a\":\"b\\", 8, 1, 9, CUT_STRING},
    {"{\"a\":\"b\\u12", 11, 1, 12, CUT_STRING},
    {"{\"a\":\"\xd0", 6, 1, 7, UTF8},
    {"{\"a\":1", 6, 1, 7, CUT},
    {"{\"a\":-", 6, 1, 7, CUT},
    {"{\"a\":1.", 7, 1, 8, CUT},
    {"{\"a\":1e", 7, 1, 8, CUT},
    {"{\"a\":tr", 7, 1, 8, CUT},
    {"{\"a\":1,", 7, 1, 8, CUT},
    {"{\"a\":[", 6, 1, 7, CUT},
    {"{\"a\":[1,", 8, 1, 9, CUT},
    {"{\"a\":[{}", 8, 1, 9, CUT},
    {"[", 1, 1, 2, CUT_ARRAY},
    {"[{}", 3, 1, 4, CUT_ARRAY},
    {"[{},", 4, 1, 5, CUT_ARRAY},
    {"[{}\n", 4, 2, 1, CUT_ARRAY},
    {"{}\n[", 4, 2, 2, CUT_ARRAY},
};

static void
test_refuses(void **state)
{
    const size_t n = lb_ways();
    static uint8_t out[ROOM];

    (void)state;
    for (size_t i = 0; i < sizeof(refuses) / sizeof(refuses[0]); i++) {
        const refuse_t *t = &refuses[i];

        for (size_t k = 0; k < n; k++) {
            lb_scan_result_t res;
            lb_scan_status_t s;

            s = lb_json_ways[k]((const uint8_t *)t->in, strlen(t->in), out,
                                sizeof(out), BIG, &res);
            if (s != LB_SCAN_BAD || res.offset != t->offset ||
                res.row != t->row || res.column != t->column ||
                strncmp(res.error, t->words, strlen(t->words)) != 0) {
                fail_msg("%s, %s: %d at %zu, row %zu, column %zu: %s",
                         lb_way_names[k], t->in, (int)s, res.offset, res.row,
                         res.column, res.error ? res.error : "");
            }
        }
        assert_null(scanner_oracle_json((const uint8_t *)t->in, strlen(t->in)));
    }
}

static void
test_empty(void **state)
{
    static const char *const bodies[] = {"",   " ",     "\n\r\t ",
                                         "[]", " [ ] ", "[][]\n[ ]"};
    const size_t n = lb_ways();
    uint8_t out[64];

    (void)state;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        for (size_t k = 0; k < n; k++) {
            lb_scan_result_t res;

            assert_int_equal(lb_json_ways[k]((const uint8_t *)bodies[i],
                                             strlen(bodies[i]), out,
                                             sizeof(out), BIG, &res),
                             LB_SCAN_EMPTY);
            assert_int_equal(res.events, 0);
            assert_int_equal(res.out_len, 0);
        }
    }
}

/* A NUL is a byte like any other wherever it stands. */
static void
test_nul(void **state)
{
    static const char outside[] = "{\"a\"\0:1}";
    static const char inside[] = "{\"a\0\":1}";
    static const char behind[] = "{}\0";
    lb_scan_result_t res;
    uint8_t out[64];

    (void)state;
    assert_int_equal(lb_scan_json((const uint8_t *)outside, sizeof(outside) - 1,
                                  out, 64, BIG, &res),
                     LB_SCAN_BAD);
    assert_int_equal(res.offset, 4);
    assert_int_equal(lb_scan_json((const uint8_t *)inside, sizeof(inside) - 1,
                                  out, 64, BIG, &res),
                     LB_SCAN_BAD);
    assert_int_equal(res.offset, 3);
    assert_int_equal(lb_scan_json((const uint8_t *)behind, sizeof(behind) - 1,
                                  out, 64, BIG, &res),
                     LB_SCAN_BAD);
    assert_int_equal(res.offset, 2);
}

static size_t
nest(char *to, size_t depth, int arrays)
{
    char *p = to;

    p += sprintf(p, "{\"a\":");
    for (size_t i = 1; i < depth; i++) {
        p += sprintf(p, "%s", arrays ? "[" : "{\"a\":");
    }
    p += sprintf(p, "1");
    for (size_t i = 1; i < depth; i++) {
        *p++ = arrays ? ']' : '}';
    }
    *p++ = '}';
    return (size_t)(p - to);
}

static void
test_depth(void **state)
{
    static char in[2048];
    static uint8_t out[4096];
    lb_scan_result_t res;
    size_t len;

    (void)state;
    for (int arrays = 0; arrays < 2; arrays++) {
        for (size_t depth = 1; depth <= LB_SCAN_DEPTH_MAX; depth++) {
            len = nest(in, depth, arrays);
            assert_int_equal(
                lb_scan_json((uint8_t *)in, len, out, 4096, BIG, &res),
                LB_SCAN_OK);
            assert_int_equal(res.out_len, len + 1);
        }
        len = nest(in, LB_SCAN_DEPTH_MAX + 1, arrays);
        assert_int_equal(lb_scan_json((uint8_t *)in, len, out, 4096, BIG, &res),
                         LB_SCAN_BAD);
        assert_string_equal(res.error,
                            "the event is nested deeper than 128 levels");
        assert_int_equal(in[res.offset], arrays ? '[' : '{');
        assert_int_equal(res.offset, arrays ? 5 + LB_SCAN_DEPTH_MAX - 1
                                            : 5 * LB_SCAN_DEPTH_MAX);
    }

    /* The array of events is none of the event's levels, and depth does not
     * add up over events. */
    in[0] = '[';
    len = 1 + nest(in + 1, LB_SCAN_DEPTH_MAX, 1);
    in[len++] = ',';
    len += nest(in + len, LB_SCAN_DEPTH_MAX, 0);
    in[len++] = ']';
    assert_int_equal(lb_scan_json((uint8_t *)in, len, out, 4096, BIG, &res),
                     LB_SCAN_OK);
    assert_int_equal(res.events, 2);

    /* The stack keeps objects and arrays apart. */
    memcpy(in, "{\"a\":[{\"b\":[1}]}]}", 19);
    assert_int_equal(lb_scan_json((uint8_t *)in, 18, out, 4096, BIG, &res),
                     LB_SCAN_BAD);
    assert_int_equal(res.offset, 13);
}

static void
test_max_event(void **state)
{
    static const char in[] = "{\"a\":1} { \"b\" : 22 }\n{\"c\":3}";
    lb_scan_result_t res;
    uint8_t out[64];

    (void)state;
    assert_int_equal(
        lb_scan_json((const uint8_t *)in, strlen(in), out, 64, 8, &res),
        LB_SCAN_OK);
    assert_int_equal(
        lb_scan_json((const uint8_t *)in, strlen(in), out, 64, 7, &res),
        LB_SCAN_TOOBIG);
    assert_int_equal(res.offset, 8);
    assert_int_equal(res.event_start, 8);
    assert_int_equal(res.row, 1);
    assert_int_equal(res.column, 9);
    assert_non_null(strstr(res.error, "larger than the limit"));
    assert_int_equal(
        lb_scan_json((const uint8_t *)in, strlen(in), out, 64, 0, &res),
        LB_SCAN_TOOBIG);
    assert_int_equal(res.offset, 0);

    /* {"message":"ab\""} is 18 bytes */
    assert_int_equal(
        lb_scan_text((const uint8_t *)"\nx\nab\"\n", 7, out, 64, 18, &res),
        LB_SCAN_OK);
    assert_int_equal(
        lb_scan_text((const uint8_t *)"\nx\nab\"\n", 7, out, 64, 17, &res),
        LB_SCAN_TOOBIG);
    assert_int_equal(res.offset, 3);
    assert_int_equal(res.row, 3);
    assert_int_equal(res.column, 1);
}

/*
 * Text
 */
static const take_t texts[] = {
    {"a", "{\"message\":\"a\"}\n"},
    {"a\n", "{\"message\":\"a\"}\n"},
    {"a\nb", "{\"message\":\"a\"}\n{\"message\":\"b\"}\n"},
    {"a\r\nb\r\n", "{\"message\":\"a\"}\n{\"message\":\"b\"}\n"},
    {"a\r", "{\"message\":\"a\"}\n"},
    {"a\rb", "{\"message\":\"a\\rb\"}\n"},
    {"a\r\r\n", "{\"message\":\"a\\r\"}\n"},
    {"\n\n a \n\r\n\n", "{\"message\":\" a \"}\n"},
    {"\r\n\r\n\rx", "{\"message\":\"\\rx\"}\n"},
    {"say \"hi\" \\o/", "{\"message\":\"say \\\"hi\\\" \\\\o/\"}\n"},
    {"\"", "{\"message\":\"\\\"\"}\n"},
    {"\b\t\f\x01\x1b[0m\x1f\x7f",
     "{\"message\":\"\\b\\t\\f\\u0001\\u001b[0m\\u001f\x7f\"}\n"},
    {"\xd0\xbf\xf0\x9f\x98\x80",
     "{\"message\":\"\xd0\xbf\xf0\x9f\x98\x80\"}\n"},
    {"{\"a\":1}", "{\"message\":\"{\\\"a\\\":1}\"}\n"},
    {"\xef\xbb\xbf"
     "a",
     "{\"message\":\"\xef\xbb\xbf"
     "a\"}\n"},
};

static void
test_text(void **state)
{
    const size_t n = lb_ways();
    static uint8_t out[ROOM];
    lb_scan_result_t res;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const take_t *t = &texts[i];

        for (size_t k = 0; k < n; k++) {
            assert_int_equal(lb_text_ways[k]((const uint8_t *)t->in,
                                             strlen(t->in), out, sizeof(out),
                                             BIG, &res),
                             LB_SCAN_OK);
            assert_int_equal(res.out_len, strlen(t->out));
            assert_memory_equal(out, t->out, res.out_len);
        }
        assert_null(scanner_oracle_text((const uint8_t *)t->in, strlen(t->in)));
    }

    for (size_t k = 0; k < n; k++) {
        assert_int_equal(lb_text_ways[k]((const uint8_t *)"\n\r\n\n\r", 5, out,
                                         64, BIG, &res),
                         LB_SCAN_EMPTY);
        assert_int_equal(
            lb_text_ways[k]((const uint8_t *)"", 0, out, 64, BIG, &res),
            LB_SCAN_EMPTY);
        assert_int_equal(
            lb_text_ways[k]((const uint8_t *)"a\0b", 3, out, 64, BIG, &res),
            LB_SCAN_OK);
        assert_memory_equal(out, "{\"message\":\"a\\u0000b\"}\n", 23);
        assert_int_equal(lb_text_ways[k]((const uint8_t *)"ok\n\xd0\xbf\xff", 6,
                                         out, 64, BIG, &res),
                         LB_SCAN_BAD);
        assert_int_equal(res.offset, 5);
        assert_int_equal(res.row, 2);
        assert_int_equal(res.column, 2);
        assert_string_equal(res.error, "this is not valid UTF-8");
    }
}

/*
 * Every alignment: bodies that end at a page that cannot be read, into room
 * that ends at one that cannot be written.
 */
static void
test_alignment(void **state)
{
    guard_t in = guard_new(8192);
    guard_t out = guard_new(16384);
    const size_t n = lb_ways();

    (void)state;
    for (size_t fill = 0; fill < 200; fill++) {
        for (int kind = 0; kind < 7; kind++) {
            static const char *const middle[] = {
                "",         "\\\"",         "\\u20ac",
                "\xd0\xbf", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                "\\\\",
            };
            char body[1024], want[1024];
            size_t len, want_len, shift;

            len = (size_t)sprintf(
                body, "{\"k\": \"%.*s%s%.*s\"} {\"n\": [1, 2.5e3, null]}",
                (int)fill,
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                "aaaaaaaaaaaaaaaaaaaa",
                middle[kind], (int)(fill % 67),
                "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
                "bbbbbbb");
            want_len = 0;
            for (size_t i = 0; i < len; i++) {
                if (body[i] == ' ') {
                    if (body[i + 1] == '{') {
                        want[want_len++] = '\n';
                    }
                    continue;
                }
                want[want_len++] = body[i];
            }
            want[want_len++] = '\n';

            for (size_t k = 0; k < n; k++) {
                lb_scan_result_t res;
                uint8_t *at = in.end - len;
                uint8_t *to = out.end - want_len;

                memcpy(at, body, len);
                assert_int_equal(
                    lb_json_ways[k](at, len, to, want_len, BIG, &res),
                    LB_SCAN_OK);
                assert_int_equal(res.out_len, want_len);
                assert_memory_equal(to, want, want_len);
                if (fill % 8 == 0) {
                    /* Cut anywhere, one byte at a time. */
                    for (shift = 1; shift < len; shift++) {
                        lb_scan_status_t s;

                        at = in.end - (len - shift);
                        memcpy(at, body, len - shift);
                        s = lb_json_ways[k](at, len - shift, to, want_len, BIG,
                                            &res);
                        assert_true(s == LB_SCAN_BAD || s == LB_SCAN_OK);
                        assert_int_equal(s == LB_SCAN_OK, res.error == NULL);
                        lb_text_ways[k](at, len - shift, to, want_len, BIG,
                                        &res);
                    }
                }
            }
        }
    }
    guard_free(&in);
    guard_free(&out);
}

/* The end of a string, an escape, a control character and a broken byte, each
 * at every place of a block. */
static void
test_places(void **state)
{
    const size_t n = lb_ways();
    static uint8_t out[ROOM];

    (void)state;
    for (size_t at = 0; at < 200; at++) {
        for (unsigned c = 0; c < 256; c++) {
            uint8_t in[300];
            size_t len = at + 80;

            memcpy(in, "{\"\":\"", 5);
            memset(in + 5, 'x', len);
            in[5 + at] = (uint8_t)c;
            in[5 + len] = '"';
            in[5 + len + 1] = '}';
            len += 7;
            for (size_t k = 0; k < n; k++) {
                lb_scan_result_t res;
                lb_scan_status_t s =
                    lb_json_ways[k](in, len, out, sizeof(out), BIG, &res);

                if (c < 0x20 || c >= 0x80 || c == '\\') {
                    assert_int_equal(s, LB_SCAN_BAD);
                    assert_int_equal(res.offset, 5 + at);
                } else if (c == '"') {
                    assert_int_equal(s, LB_SCAN_BAD);
                    assert_int_equal(res.offset, 5 + at + 1);
                } else {
                    assert_int_equal(s, LB_SCAN_OK);
                    assert_memory_equal(out, in, len);
                }
            }
        }
    }
}

/* The ways of this processor; tests/portability/run.sh reads them. */
static void
test_ways(void **state)
{
    const size_t n = lb_ways();

    (void)state;
    printf("scanner:");
    for (size_t k = 0; k < n; k++) {
        printf(" %s", lb_way_names[k]);
    }
    printf("\n");

    assert_true(n > 1 || !(LB_WAYS_X86 || LB_WAYS_NEON));
}

#if LB_WAYS_X86

LB_FN_avx2 static void
check_avx2(const uint8_t *p, lb_block_t b, lb_quotes_t q)
{
    lb_block_t other = lb_block_avx2(p);
    lb_quotes_t quotes = lb_quotes_avx2(p);

    assert_memory_equal(&b, &other, sizeof(b));
    assert_memory_equal(&q, &quotes, sizeof(q));
}

#endif

/* The masks are the same, bit by bit, for all ways of computing them. */
static void
check_masks(const uint8_t *p)
{
    lb_block_t b = lb_block_plain(p);
    lb_quotes_t q = lb_quotes_plain(p);

    for (size_t i = 0; i < LB_BLOCK; i++) {
        assert_int_equal(b.special >> i & 1,
                         p[i] < 0x20 || p[i] == '"' || p[i] == '\\');
        assert_int_equal(b.wide >> i & 1, p[i] >= 0x80);
        assert_int_equal(q.quote >> i & 1, p[i] == '"');
        assert_int_equal(q.backslash >> i & 1, p[i] == '\\');
    }
#if LB_WAYS_X86
    {
        lb_block_t other = lb_block_sse2(p);
        lb_quotes_t quotes = lb_quotes_sse2(p);

        assert_memory_equal(&b, &other, sizeof(b));
        assert_memory_equal(&q, &quotes, sizeof(q));
        if (lb_ways() > LB_WAY_AVX2) {
            check_avx2(p, b, q);
        }
    }
#elif LB_WAYS_NEON
    {
        lb_block_t other = lb_block_neon(p);
        lb_quotes_t quotes = lb_quotes_neon(p);

        assert_memory_equal(&b, &other, sizeof(b));
        assert_memory_equal(&q, &quotes, sizeof(q));
    }
#endif
}

static void
test_blocks(void **state)
{
    uint64_t seed = 1;
    uint8_t p[LB_BLOCK];

    (void)state;
    /* each byte alone at each place, beside those that differ most from it */
    for (size_t at = 0; at < LB_BLOCK; at++) {
        for (unsigned c = 0; c < 256; c++) {
            memset(p, c < 0x20 ? 'x' : 0, sizeof(p));
            p[at] = (uint8_t)c;
            check_masks(p);
            memset(p, c < 0x80 ? 0xff : 'x', sizeof(p));
            p[at] = (uint8_t)c;
            check_masks(p);
        }
    }

    for (int round = 0; round < 20000; round++) {
        for (size_t i = 0; i < LB_BLOCK; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            p[i] = (uint8_t)(seed >> 56);
            if (round % 2 && (seed >> 40 & 3)) {
                p[i] = "\"\\\x1f \x80\x7f!#"[seed >> 50 & 7];
            }
        }
        check_masks(p);
    }
}

/* Quotes, backslashes, and which bytes they escape, across blocks. */
static void
test_quotes(void **state)
{
    uint64_t seed = 1, carry = 0;
    int backslash = 0; /* the byte before escapes this one */

    (void)state;
    for (int round = 0; round < 20000; round++) {
        uint8_t p[LB_BLOCK];
        uint64_t escaped;
        lb_quotes_t q;

        for (size_t i = 0; i < LB_BLOCK; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
            p[i] = (uint8_t)(seed >> 56);
            if (seed >> 40 & round % 8) {
                p[i] = "\"\\\\\\\\\xdc\xa2"[seed >> 50 & 7];
            }
        }
        q = lb_quotes_plain(p);
        escaped = lb_escaped(q.backslash, &carry);
        check_masks(p);
        for (size_t i = 0; i < LB_BLOCK; i++) {
            if (p[i] != '\\') {
                assert_int_equal(escaped >> i & 1, backslash);
            }
            backslash = p[i] == '\\' && !backslash;
        }
        assert_int_equal(carry, backslash);
    }
}

/*
 * UTF-8: all characters, and all pairs and many longer rows of bytes, at
 * places around the edge of a block.
 */
static size_t
put_character(uint8_t *p, uint32_t c)
{
    if (c < 0x80) {
        p[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        p[0] = (uint8_t)(0xc0 + (c >> 6));
        p[1] = (uint8_t)(0x80 + (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        p[0] = (uint8_t)(0xe0 + (c >> 12));
        p[1] = (uint8_t)(0x80 + (c >> 6 & 63));
        p[2] = (uint8_t)(0x80 + (c & 63));
        return 3;
    }
    p[0] = (uint8_t)(0xf0 + (c >> 18));
    p[1] = (uint8_t)(0x80 + (c >> 12 & 63));
    p[2] = (uint8_t)(0x80 + (c >> 6 & 63));
    p[3] = (uint8_t)(0x80 + (c & 63));
    return 4;
}

static void
test_characters(void **state)
{
    const size_t n = lb_ways();
    static uint8_t in[300], out[1000];

    (void)state;
    /* 63 plain bytes lie before the string's 64th block edge. */
    for (uint32_t c = 0x80; c < 0x110400; c += c < 0x3000 ? 1 : 61) {
        size_t at = 60 + c % 70;
        size_t len = 0;

        memcpy(in, "{\"\":\"", 5);
        memset(in + 5, 'x', sizeof(in) - 5);
        len = at + put_character(in + at, c) + 70;
        memcpy(in + len, "\"}", 2);
        len += 2;
        for (size_t k = 0; k < n; k++) {
            lb_scan_result_t res;
            lb_scan_status_t s =
                lb_json_ways[k](in, len, out, sizeof(out), BIG, &res);

            if ((c >= 0xd800 && c < 0xe000) || c >= 0x110000) {
                assert_int_equal(s, LB_SCAN_BAD);
                assert_int_equal(res.offset, at);
            } else {
                assert_int_equal(s, LB_SCAN_OK);
                assert_memory_equal(in, out, len);
            }
        }
    }
}

static void
test_bytes(void **state)
{
    static const uint8_t edge[] = {0x20, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0,
                                   0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1,
                                   0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3,
                                   0xf4, 0xf5, 0xf8, 0xff};
    enum {
        EDGES = sizeof(edge)
    };
    const size_t n = lb_ways();
    static uint8_t in[400], out[1000];
    unsigned taken = 0;

    (void)state;
    memset(in, 'x', sizeof(in));
    memcpy(in, "{\"\":\"", 5);
    memcpy(in + 300, "\"}", 2);
    for (unsigned rows = 0; rows < EDGES * EDGES * EDGES * EDGES; rows++) {
        size_t at = 120 + rows % 13; /* the edge is at 128 */
        uint8_t *p = in + at;
        size_t i;
        int right = 1;

        p[0] = edge[rows % EDGES];
        p[1] = edge[rows / EDGES % EDGES];
        p[2] = edge[rows / EDGES / EDGES % EDGES];
        p[3] = edge[rows / EDGES / EDGES / EDGES];
        for (i = 0; i < 4;) {
            size_t len = lb_utf8_len(p + i, 10);

            if (len == 0) {
                right = 0;
                break;
            }
            i += len;
        }
        taken += (unsigned)right;
        for (size_t k = 0; k < n; k++) {
            lb_scan_result_t res;
            lb_scan_status_t s =
                lb_json_ways[k](in, 302, out, sizeof(out), BIG, &res);

            if (right != (s == LB_SCAN_OK) ||
                (!right && res.offset != at + i)) {
                fail_msg("%s: %02x %02x %02x %02x at %zu: %d at %zu",
                         lb_way_names[k], p[0], p[1], p[2], p[3], at, (int)s,
                         res.offset);
            }
        }
        if (rows % 17 == 0) {
            assert_null(scanner_oracle_json(in, 302));
        }
        memset(p, 'x', 4);
    }
    assert_true(taken > 100);
}

/*
 * Documents made by chance, and the same ones with a few bytes changed.
 */
static uint64_t dice = UINT64_C(0x9e3779b97f4a7c15);

static unsigned
roll(unsigned sides)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (unsigned)((dice >> 20) % sides);
}

typedef struct {
    char data[40000];
    size_t len;
    unsigned spaces; /* one in so many places has white space; 0: none */
} doc_t;

static void
doc_put(doc_t *d, const char *s)
{
    size_t n = strlen(s);

    if (d->len + n < sizeof(d->data)) {
        memcpy(d->data + d->len, s, n);
        d->len += n;
    }
}

static void
doc_space(doc_t *d)
{
    static const char *const kinds[] = {" ",  "  ",   "\n",
                                        "\t", "\r\n", "                     "};

    while (d->spaces && roll(d->spaces) == 0) {
        doc_put(d, kinds[roll(6)]);
    }
}

static void
doc_string(doc_t *d)
{
    static const char *const bits[] = {
        "a",
        "message",
        " ",
        "\\n",
        "\\\"",
        "\\\\",
        "\\u0041",
        "\\ud83d\\ude00",
        "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82",
        "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "/",
        "\\/",
        "\x7f",
        "GET /index.html HTTP/1.1",
        "0123456789012345678901234567890123456789",
        "\\u0000",
        "\\ud800",
    };
    unsigned n = roll(4) ? roll(6) : roll(60);

    doc_put(d, "\"");
    while (n--) {
        /* The last two are what jansson cannot hold: seldom. */
        doc_put(d, bits[roll(roll(50) ? 22 : 24)]);
    }
    doc_put(d, "\"");
}

static void
doc_value(doc_t *d, unsigned depth)
{
    static const char *const numbers[] = {"0",
                                          "-0",
                                          "1",
                                          "-17",
                                          "3.25",
                                          "1e5",
                                          "1E-5",
                                          "-0.5e+3",
                                          "1700000000.123456",
                                          "12345678901234567890123456789",
                                          "1e400"};
    unsigned n;

    switch (roll(depth < 6 ? 9 : 6)) {
    case 0:
        doc_put(d, "true");
        break;
    case 1:
        doc_put(d, roll(2) ? "false" : "null");
        break;
    case 2:
    case 3:
        doc_put(d, numbers[roll(roll(50) ? 10 : 11)]);
        break;
    case 4:
    case 5:
        doc_string(d);
        break;
    case 6:
        doc_put(d, "[");
        doc_space(d);
        for (n = roll(4); n > 0; n--) {
            doc_value(d, depth + 1);
            doc_space(d);
            if (n > 1) {
                doc_put(d, ",");
                doc_space(d);
            }
        }
        doc_put(d, "]");
        break;
    default:
        doc_put(d, "{");
        doc_space(d);
        for (n = roll(5); n > 0; n--) {
            doc_string(d);
            doc_space(d);
            doc_put(d, ":");
            doc_space(d);
            doc_value(d, depth + 1);
            doc_space(d);
            if (n > 1) {
                doc_put(d, ",");
                doc_space(d);
            }
        }
        doc_put(d, "}");
    }
}

static void
doc_event(doc_t *d)
{
    size_t at;

    do {
        at = d->len;
        doc_value(d, 0);
        if (d->data[at] != '{') {
            d->len = at;
        }
    } while (d->len == at);
}

static void
doc_body(doc_t *d)
{
    unsigned n = roll(5);

    d->len = 0;
    d->spaces = roll(3) ? 2 + roll(6) : 0;
    doc_space(d);
    while (n--) {
        if (roll(4)) {
            doc_event(d);
        } else {
            unsigned m = roll(4);

            doc_put(d, "[");
            doc_space(d);
            while (m--) {
                doc_event(d);
                doc_space(d);
                if (m) {
                    doc_put(d, ",");
                    doc_space(d);
                }
            }
            doc_put(d, "]");
        }
        doc_space(d);
        doc_put(d, roll(2) ? "\n" : "");
    }
}

static void
doc_damage(doc_t *d)
{
    static const char bytes[] = "\"\\{}[],:0-.eEu \n\t\x01\x80\xc3\xff"
                                "ntf+";

    for (unsigned n = 1 + roll(3); n > 0 && d->len > 0; n--) {
        size_t at = roll((unsigned)d->len);

        switch (roll(4)) {
        case 0:
            d->data[at] = bytes[roll(sizeof(bytes) - 1)];
            break;
        case 1:
            memmove(d->data + at, d->data + at + 1, d->len - at - 1);
            d->len--;
            break;
        case 2:
            if (d->len + 1 < sizeof(d->data)) {
                memmove(d->data + at + 1, d->data + at, d->len - at);
                d->data[at] = bytes[roll(sizeof(bytes) - 1)];
                d->len++;
            }
            break;
        default:
            if (roll(4) == 0) {
                d->len = at;
            }
        }
    }
}

static void
test_jansson(void **state)
{
    static doc_t d;
    const unsigned all = (unsigned)rounds(12000);

    (void)state;
    scanner_oracle_compared = 0;
    scanner_oracle_accepted = 0;
    for (unsigned round = 0; round < all; round++) {
        const char *error;

        doc_body(&d);
        for (int twice = 0; twice < 2; twice++) {
            /* Exactly as much memory as the body has: see it read beyond. */
            uint8_t *copy = malloc(d.len ? d.len : 1);

            assert_non_null(copy);
            memcpy(copy, d.data, d.len);
            error = scanner_oracle_json(copy, d.len);
            if (error == NULL && round % 8 == 0) {
                error = scanner_oracle_text(copy, d.len);
            }
            free(copy);
            if (error) {
                fail_msg("round %d: %s: %.*s", round, error, (int)d.len,
                         d.data);
            }
            doc_damage(&d);
        }
    }
    /* Most bodies are compared, and both answers occur. */
    assert_true(scanner_oracle_compared > all * 3 / 2);
    assert_true(scanner_oracle_accepted > all * 3 / 4);
    assert_true(scanner_oracle_accepted < scanner_oracle_compared - all / 3);
}

/* Long bodies: runs are put out in pieces, blocks go on for pages. */
static void
test_long(void **state)
{
    const size_t n = lb_ways();
    size_t len = 0, cap = 2 * BIG;
    uint8_t *in = malloc(cap), *out = malloc(cap);
    lb_scan_result_t res;

    (void)state;
    assert_non_null(in);
    assert_non_null(out);
    for (unsigned i = 0; len < BIG; i++) {
        len += (size_t)sprintf((char *)in + len,
                               "{\"n\":%u,\"s\":\"%*s\\n\xd0\xbf\"}\n", i,
                               (int)(i % 3000), "x");
    }
    for (size_t k = 0; k < n; k++) {
        memset(out, 0, cap);
        assert_int_equal(lb_json_ways[k](in, len, out, len, BIG, &res),
                         LB_SCAN_OK);
        assert_int_equal(res.out_len, len);
        assert_memory_equal(in, out, len);
        assert_int_equal(lb_json_ways[k](in, len, out, len - 1, BIG, &res),
                         LB_SCAN_NOSPACE);
    }

    /* One event of a megabyte. */
    memset(in, 'y', BIG);
    memcpy(in, "{\"s\":\"", 6);
    memcpy(in + BIG - 2, "\"}", 2);
    for (size_t k = 0; k < n; k++) {
        assert_int_equal(lb_json_ways[k](in, BIG, out, cap, BIG, &res),
                         LB_SCAN_OK);
        assert_int_equal(res.out_len, BIG + 1);
        assert_memory_equal(in, out, BIG);
        assert_int_equal(lb_json_ways[k](in, BIG, out, cap, BIG - 1, &res),
                         LB_SCAN_TOOBIG);
    }
    free(in);
    free(out);
}

static void
test_out_max(void **state)
{
    static uint8_t in[1000], out[20000];
    lb_scan_result_t res;

    (void)state;
    for (size_t len = 1; len < 200; len++) {
        for (size_t i = 0; i < len; i++) {
            in[i] = i % 2 ? '\n' : 1;
        }
        assert_int_equal(
            lb_scan_text(in, len, out, lb_scan_text_out_max(len), BIG, &res),
            LB_SCAN_OK);
        if (len % 2 == 0) {
            for (size_t i = 0; i < len; i++) {
                in[i] = i % 2 ? '}' : '{';
            }
            assert_int_equal(lb_scan_json(in, len, out,
                                          lb_scan_json_out_max(len), BIG, &res),
                             LB_SCAN_OK);
            assert_int_equal(res.events, len / 2);
        }
    }
    assert_int_equal(lb_scan_json_out_max(SIZE_MAX), SIZE_MAX);
    assert_int_equal(lb_scan_text_out_max(SIZE_MAX), SIZE_MAX);
}

/*
 * Words for people
 */
static void
test_explain(void **state)
{
    static const char *const cases[][2] = {
        {"{\"a\":1 \"b\":2}",
         "expected ',' or '}' after a value, near '\"b\"'"},
        {"{\"x\":1}\n{\"a\" 1}", "expected ':' after a key, near '1'"},
        {"{\"a\":\"caf\xe9\"}",
         "this is not valid UTF-8: unable to decode byte 0xe9 near '\"caf'"},
        {"[{\"a\":tru}]",
         "expected a value: a string, number, object, array, true, false or "
         "null, near 'tru'"},
        {"{\"a\":1", "the body ends inside an event"},
        {"[1]", "an event must be a JSON object"},
        {"{\"a\":\"x\ny\"}",
         "a control character in a string must be escaped, near '\"x'"},
    };
    static uint8_t out[200000];
    char text[256];
    lb_scan_result_t res;
    static uint8_t big[200000];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const uint8_t *in = (const uint8_t *)cases[i][0];
        size_t len = strlen(cases[i][0]);

        assert_int_equal(lb_scan_json(in, len, out, sizeof(out), BIG, &res),
                         LB_SCAN_BAD);
        assert_ptr_equal(lb_scan_explain(in, len, &res, text, sizeof(text)),
                         text);
        assert_string_equal(text, cases[i][1]);
        for (size_t size = 1; size < 60; size++) {
            memset(text, 'z', sizeof(text));
            lb_scan_explain(in, len, &res, text, size);
            assert_true(strlen(text) < size);
            assert_memory_equal(text, cases[i][1], strlen(text));
        }
    }

    /* jansson stumbles earlier, over what the scanner takes. */
    {
        static const char in[] = "{\"a\":1e999,\"b\":x}";

        assert_int_equal(lb_scan_json((const uint8_t *)in, strlen(in), out,
                                      sizeof(out), BIG, &res),
                         LB_SCAN_BAD);
        lb_scan_explain((const uint8_t *)in, strlen(in), &res, text,
                        sizeof(text));
        assert_string_equal(text, res.error);
    }

    /* Too far into an event to ask jansson. */
    memset(big, 'x', sizeof(big));
    memcpy(big, "{\"a\":\"", 6);
    memcpy(big + 150000, "\" 1", 3);
    assert_int_equal(
        lb_scan_json(big, sizeof(big), out, sizeof(out), BIG, &res),
        LB_SCAN_BAD);
    lb_scan_explain(big, sizeof(big), &res, text, sizeof(text));
    assert_string_equal(text, "expected ',' or '}' after a value");

    /* An event that is too big is not asked about. */
    assert_int_equal(
        lb_scan_json((const uint8_t *)"{\"a\":1}", 7, out, 64, 3, &res),
        LB_SCAN_TOOBIG);
    lb_scan_explain((const uint8_t *)"{\"a\":1}", 7, &res, text, sizeof(text));
    assert_string_equal(text, "the event is larger than the limit for one "
                              "event");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes),      cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_empty),      cmocka_unit_test(test_nul),
        cmocka_unit_test(test_depth),      cmocka_unit_test(test_max_event),
        cmocka_unit_test(test_text),       cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_places),     cmocka_unit_test(test_ways),
        cmocka_unit_test(test_blocks),     cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_characters), cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_jansson),    cmocka_unit_test(test_long),
        cmocka_unit_test(test_out_max),    cmocka_unit_test(test_explain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
