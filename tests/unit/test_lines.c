/*
 * The lines of a payload: the same ones wherever it is cut into views, and no
 * context is taken for an event.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "event/lines.h"

/* Walks a payload in views of at most n bytes and prints what it sees: "e" or
 * "c", then the line.  Views are copies of their own, for the sanitizer. */
static void
walk(const char *payload, size_t n, char *out)
{
    lb_lines_t lines;
    size_t left = strlen(payload);

    lb_lines_start(&lines);
    *out = '\0';

    for (; left > 0; payload += n, left -= n) {
        uint8_t *view;
        lb_line_t line;

        n = n < left ? n : left;
        view = malloc(n);
        assert_non_null(view);
        memcpy(view, payload, n);

        lb_lines_view(&lines, view, n);
        while (lb_lines_next(&lines, &line)) {
            out += sprintf(out, "%s%.*s%s",
                           !line.begins   ? ""
                           : line.context ? "c "
                                          : "e ",
                           (int)line.len, (const char *)line.data,
                           line.ends ? "\n" : "");
        }
        assert_ptr_equal(lines.at, view + n);
        free(view);
    }
}

static void
lines_in_any_views(void **state)
{
    static const struct {
        const char *payload;
        const char *seen;
    } cases[] = {
        {"", ""},
        {"{}\n", "e {}\n"},
        {"{\"a\":1}\n{\"b\":2}\n", "e {\"a\":1}\ne {\"b\":2}\n"},
        {"\x01{\"r\":1}\n{}\n{}\n", "c \x01{\"r\":1}\ne {}\ne {}\n"},
        {"{}\n\x01\n{}\n\x01x\n\x01y\n{}\n",
         "e {}\nc \x01\ne {}\nc \x01x\nc \x01y\ne {}\n"},
        /* only the first byte makes a context */
        {"{\x01}\n{}\n", "e {\x01}\ne {}\n"},
        /* a record that was cut */
        {"{}\n{\"a\"", "e {}\ne {\"a\""},
    };
    char out[256];
    size_t i, n;

    (void)state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (n = 1; n <= strlen(cases[i].payload) + 1; n++) {
            walk(cases[i].payload, n, out);
            assert_string_equal(out, cases[i].seen);
        }
        assert_int_equal(lb_lines_contexts((const uint8_t *)cases[i].payload,
                                           strlen(cases[i].payload)),
                         cases[i].seen[0] == 'c' ||
                             strstr(cases[i].seen, "\nc ") != NULL);
    }
}

/* A caller may stop within a view and knows how far it came. */
static void
stops_between_lines(void **state)
{
    static const uint8_t payload[] = "{}\n{\"a\":1}\n{}\n";
    lb_lines_t lines;
    lb_line_t line;

    (void)state;

    lb_lines_start(&lines);
    lb_lines_view(&lines, payload, sizeof(payload) - 1);
    assert_true(lb_lines_next(&lines, &line));
    assert_true(lb_lines_next(&lines, &line));
    assert_ptr_equal(lines.at, payload + 11);

    lb_lines_view(&lines, payload + 11, 3);
    assert_true(lb_lines_next(&lines, &line));
    assert_true(line.begins && line.ends && line.len == 2);
    assert_false(lb_lines_next(&lines, &line));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_in_any_views),
        cmocka_unit_test(stops_between_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
