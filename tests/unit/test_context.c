/*
 * Context lines: what was put is read again, however the payload is cut into
 * views, and the last one is in force.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/context.h"

static lb_str_t
str(const char *s)
{
    lb_str_t t = {(const uint8_t *)s, strlen(s)};

    return t;
}

static void
assert_str(lb_str_t got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    if (got.len > 0) {
        assert_memory_equal(got.data, want, got.len);
    }
}

/* Walks a payload in views of n bytes, in memory of exactly that size; the
 * context of the event with this number. */
static void
context_of(lb_context_t *c, const char *payload, size_t n, int event)
{
    size_t left = strlen(payload);
    lb_lines_t lines;
    lb_line_t line;
    uint8_t *view;

    lb_context_start(c);
    lb_lines_start(&lines);

    for (; left > 0; payload += n, left -= n) {
        n = n < left ? n : left;
        view = malloc(n);
        assert_non_null(view);
        memcpy(view, payload, n);
        lb_lines_view(&lines, view, n);
        while (lb_lines_next(&lines, &line)) {
            if (line.context) {
                assert_int_equal(lb_context_line(c, &line), 0);
            } else if (line.begins && event-- == 0) {
                free(view);
                return;
            }
        }
        free(view);
    }

    fail_msg("no such event");
}

static void
test_views(void **state)
{
    size_t n, len;
    char payload[2048];
    uint8_t line[512];
    lb_context_t parts = {0}, c = {0};

    (void)state;

    parts.stream = str("app");
    parts.resource = str("{\"service.name\":\"p\\u00e4y\",\"host.name\":\"h\","
                         "\"x\":[1,{\"y\":\"}\"}]}");
    parts.scope = str("{\"name\":\"lib\"}");
    parts.fields = str("{\"host\":\"other\"}");
    len = lb_context_put(line, sizeof(line), &parts);
    assert_true(len > 0);
    for (n = 0; n < len; n++) {
        assert_int_equal(lb_context_put(line, n, &parts), 0);
    }

    assert_int_equal(lb_context_put(line, sizeof(line), &parts), len);
    strcpy(payload, "{\"n\":0}\n");
    strncat(payload, (const char *)line, len);
    strcat(payload, "{\"n\":1}\n{\"n\":2}\n\001{}\n{\"n\":3}\n"
                    "\001{\"fields\":{\"app\":\"a\",\"hostname\":\"b\"},"
                    "\"later\":[\"{\"]}\n{\"n\":4}\n");

    for (n = 1; n < strlen(payload) + 1; n++) {

        context_of(&c, payload, n, 0);
        assert_str(c.service, "");
        assert_str(c.resource, "");

        context_of(&c, payload, n, 2);
        assert_str(c.stream, "app");
        assert_str(c.service, "p\xc3\xa4y");
        assert_str(c.host, "h");
        assert_str(c.scope, "{\"name\":\"lib\"}");
        assert_str(c.fields, "{\"host\":\"other\"}");
        assert_int_equal(c.resource.len, parts.resource.len);
        assert_memory_equal(c.resource.data, parts.resource.data,
                            c.resource.len);

        context_of(&c, payload, n, 3);
        assert_str(c.stream, "");
        assert_str(c.resource, "");
        assert_str(c.host, "");

        context_of(&c, payload, n, 4);
        assert_str(c.service, "a");
        assert_str(c.host, "b");
        assert_str(c.scope, "");
    }

    lb_context_free(&c);
}

/* Lines that nobody of us wrote are contexts without members. */
static void
test_odd(void **state)
{
    size_t i;
    lb_context_t c = {0};
    static const char *const lines[] = {
        "\001\n{}\n",          "\001{\n{}\n",
        "\001[]\n{}\n",        "\001{\"stream\":7}\n{}\n",
        "\001{\"stream\n{}\n", "\001{\"resource\":[1]}\n{}\n",
        "\001\"}\n{}\n",
    };

    (void)state;

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        context_of(&c, lines[i], 64, 0);
        assert_str(c.stream, "");
        assert_str(c.resource, "");
        assert_str(c.service, "");
    }

    lb_context_free(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_odd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
