/*
 * The scanner's way for flat lines (event/json_flat.c): it must take what
 * it is made for, and whatever it is given, the outcome is the one of the
 * plain loop.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/block.h"
#include "event/json.h"
#include "event/json_flat.h"
#include "tests/unit/rounds.h"

#define ROOM 65536

static uint64_t dice = UINT64_C(0x9e3779b97f4a7c15);

static unsigned
roll(unsigned sides)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (unsigned)((dice >> 20) % sides);
}

static const char *const keys[] = {"level", "a", "", "\\\"quoted\\\"",
                                   "\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87"};

static const char *const values[] = {
    "\"info\"",
    "\"\"",
    "17",
    "0",
    "-1.5e+10",
    "1715940303.123456",
    "true",
    "null",
    "\"a \\\"b\\\" \\\\ \\n\\u20ac {}[],:\"",
    "\"\xf0\x9f\x98\x80 \xe2\x82\xac \xd0\xbf\"",
    "\"\\\\\\\\\"",
    "\"GET /index.html HTTP/1.1 0123456789012345678901234567890123456789"
    "01234567890123456789012345678901234567890123456789\"",
    "\"\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\"
    "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\"
    "\\\"x\"",
};

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* Flat lines of at least len bytes in all. */
static size_t
flat_lines(char *to, size_t len)
{
    size_t n = 0;

    while (n < len) {
        unsigned fields = 1 + roll(9);

        to[n++] = '{';
        for (unsigned i = 0; i < fields; i++) {
            n += (size_t)sprintf(to + n, "%s\"%s\":%s", i ? "," : "",
                                 keys[roll(N(keys))], values[roll(N(values))]);
        }
        n += (size_t)sprintf(to + n, "}\n");
    }
    return n;
}

/* Runs every implementation on a body of its exact size. */
static void
check(const char *body, size_t len, size_t max_event)
{
    size_t cap = lb_scan_json_out_max(len);
    uint8_t *in = malloc(len), *want = malloc(cap), *out;
    lb_scan_result_t first, res;
    lb_scan_status_t status;

    assert_true(in && want);
    memcpy(in, body, len);
    status = lb_json_ways[0](in, len, want, cap, max_event, &first);
    for (size_t k = 1; k < LB_WAYS && k < lb_ways(); k++) {
        for (int tight = 0; tight < 2; tight++) {
            size_t room = tight ? first.out_len : cap;

            if (tight && status != LB_SCAN_OK) {
                break;
            }
            out = malloc(room ? room : 1);
            assert_non_null(out);
            if (lb_json_ways[k](in, len, out, room, max_event, &res) !=
                    status ||
                memcmp(&first, &res, sizeof(res)) != 0 ||
                (status == LB_SCAN_OK &&
                 memcmp(out, want, first.out_len) != 0)) {
                fail_msg("%s differs from %s: %.*s", lb_way_names[k],
                         lb_way_names[0], (int)len, body);
            }
            free(out);
        }
    }
    free(in);
    free(want);
}

/* All but what is behind the last whole event of the last whole block. */
static void
test_takes_flat_lines(void **state)
{
    (void)state;
#if LB_WAYS_X86
    static char body[ROOM];
    static uint8_t out[ROOM];

    if (lb_ways() <= LB_WAY_AVX2) {
        skip();
    }
    for (int round = 0; round < rounds(2000); round++) {
        size_t len = flat_lines(body, 64 + roll(4000));
        size_t whole = len / LB_BLOCK * LB_BLOCK, want = 0;
        uint32_t events = 7, lines = 0;

        for (size_t i = 0; i < whole; i++) {
            if (body[i] == '\n') {
                want = i + 1;
                lines++;
            }
        }
        assert_int_equal(lb_json_flat((uint8_t *)body, len, out, sizeof(out),
                                      1 << 20, &events),
                         want);
        assert_int_equal(events, 7 + lines);
        assert_memory_equal(out, body, want);
        check(body, len, 1 << 20);
    }
#else
    skip();
#endif
}

/* One byte of a flat body another one, one more, one less, at every place. */
static void
test_every_byte(void **state)
{
    static const char bytes[] = "\"\\{}[],:\n \t\r0-.eatfnux\x01\x1f\x7f\x80"
                                "\xbf\xc3\xe2\xf0\xff";
    static char body[ROOM], other[ROOM];

    (void)state;
    for (int round = 0; round < 2; round++) {
        size_t len = flat_lines(body, 800);

        for (size_t at = 0; at < len; at++) {
            memcpy(other, body, at);
            memcpy(other + at, body + at + 1, len - at - 1);
            check(other, len - 1, 1 << 20);
            for (size_t i = 0; i < sizeof(bytes); i++) {
                other[at] = bytes[i];
                memcpy(other + at + 1, body + at + 1, len - at - 1);
                check(other, len, 1 << 20);
                memcpy(other + at + 1, body + at, len - at);
                check(other, len + 1, 1 << 20);
            }
        }
        check(body, 0, 1 << 20);
    }
}

/* Events that are not flat, between those that are. */
static void
test_mixed(void **state)
{
    static const char *const odd[] = {
        "{\"a\":{\"b\":1}}\n",
        "{\"a\":[1,\"x\"]}\n",
        "{}\n",
        "{}",
        "[{\"a\":1},{\"b\":2}]\n",
        "\n",
        " ",
        "{\"a\": 1}\n",
        "{ }",
        "{\"a\":1}",
        "{\"a\":1}\r\n",
        "{\"a\":{}}\n",
        "{\"a\":1,}\n",
        "{\"a\":1}}\n",
        "\"a\":1}\n",
        "{\"a\":\"1\"\n}",
        "{\"a\":1\n",
        "{\"a\"\n",
        "{{\"a\":1}\n",
        "{\"a\":1,\"b\"}\n",
        "{\"a\":\"b\":\"c\"}\n",
        "{\"a\":\"b\"\"c\":1}\n",
        "{\"a\":1 }",
        "{\"a\":tru}\n",
        "{\"a\":01}\n",
        "{,}\n",
        "{:1}\n",
        "{\"a\":}\n",
        "{\"a\":,\"b\":1}\n",
        "{\"a\",\"b\":1}\n",
    };
    static char body[ROOM];

    (void)state;
    for (int round = 0; round < rounds(8000); round++) {
        size_t len = 0;

        for (unsigned n = 1 + roll(5); n > 0; n--) {
            const char *s = odd[roll(round % 2 ? 12 : N(odd))];

            len += flat_lines(body + len, roll(4) ? roll(200) : roll(2500));
            memcpy(body + len, s, strlen(s));
            len += strlen(s);
        }
        len += flat_lines(body + len, roll(3) ? roll(300) : 0);
        check(body, len, 1 << 20);
    }
}

/* The limit of an event, to the byte. */
static void
test_limit(void **state)
{
    static char body[ROOM];

    (void)state;
    for (int round = 0; round < rounds(800); round++) {
        size_t len = flat_lines(body, 600 + roll(600));

        for (size_t max = 1; max < 700; max += 1 + roll(60)) {
            check(body, len, max);
        }
        for (size_t i = 0, line = 0; i < len; i++) {
            if (body[i] == '\n') {
                check(body, len, i - line);
                check(body, len, i - line - 1);
                line = i + 1;
                i += 500;
            }
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes_flat_lines),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
