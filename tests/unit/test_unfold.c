#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/unfold.h"

/* In memory of exactly the sizes: the sanitizer sees the byte beside it. */
static lb_scan_status_t
unfold(const char *line, size_t len, size_t cap, size_t max_event, char *out)
{
    uint8_t *in = malloc(len + 1);
    uint8_t *to = malloc(cap + 1);
    lb_scan_result_t res;
    lb_scan_status_t rc;

    assert_non_null(in);
    assert_non_null(to);
    memcpy(in + 1, line, len);
    rc = lb_unfold(in + 1, len, to + 1, cap, max_event, &res);
    if (rc == LB_SCAN_OK) {
        memcpy(out, to + 1, res.out_len);
        out[res.out_len] = '\0';
    }
    free(in);
    free(to);
    return rc;
}

static void
test_cases(void **state)
{
    static const struct {
        const char *line, *want; /* NULL: no wrapper */
    } cases[] = {
        {"{}\n", NULL},
        {"{\"a\":1}\n", NULL},
        {"{\"logs\":[]}\n", NULL},
        {"{\"logs\":[1]}\n", NULL},
        {"{\"logs\":[{},1]}\n", NULL},
        {"{\"logs\":[{}],\"msg\":0}\n", NULL},
        {"{\"events\":[{}],\"@m\":\"a\"}\n", NULL},
        {"{\"SeverityText\":\"a\",\"events\":[{}]}\n", NULL},
        {"{\"status\":\"a\",\"events\":[{}]}\n", "{\"status\":\"a\"}\n"},
        {"{\"logs\":[{}]}\n", "{}\n"},
        {"{\"logs\":[{},{\"a\":\"]},{\"}]}\n", "{}\n{\"a\":\"]},{\"}\n"},
        {"{\"a\":1,\"logs\":[{},{\"b\":2}]}\n",
         "{\"a\":1}\n{\"b\":2,\"a\":1}\n"},
        {"{\"logs\":[{},{\"b\":2}],\"a\":\"\\\"\"}\n",
         "{\"a\":\"\\\"\"}\n{\"b\":2,\"a\":\"\\\"\"}\n"},
        {"{\"c\":{},\"batch\":[{\"b\":[]}],\"a\":1}\n",
         "{\"b\":[],\"c\":{},\"a\":1}\n"},
    };
    char out[200];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *line = cases[i].line;
        size_t len = strlen(line);

        if (cases[i].want == NULL) {
            assert_int_equal(unfold(line, len, 200, 100, out), LB_SCAN_EMPTY);
            continue;
        }
        assert_true(lb_unfold_maybe((const uint8_t *)line, len));
        for (size_t cap = 0; cap < strlen(cases[i].want); cap++) {
            assert_int_equal(unfold(line, len, cap, 100, out), LB_SCAN_NOSPACE);
        }
        assert_int_equal(unfold(line, len, strlen(cases[i].want), 100, out),
                         LB_SCAN_OK);
        assert_string_equal(out, cases[i].want);
        assert_int_equal(unfold(line, len, 200, 1, out), LB_SCAN_TOOBIG);
    }
}

/* Bytes that no scanner wrote may come to anything, but no further. */
static void
test_any_bytes(void **state)
{
    static const char *const pieces[] = {
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\"logs\":[{", "a", "\n",
    };
    uint64_t dice = 88172645463325252u;
    char line[600], out[4096];

    (void)state;
    for (int round = 0; round < 100000; round++) {
        size_t len = 0;

        if (round % 2) {
            len = (size_t)sprintf(line, "{\"logs\":[{\"a\":1}");
        }
        for (unsigned n = (unsigned)(round % 13); n > 0; n--) {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            len += (size_t)sprintf(line + len, "%s", pieces[(dice >> 20) % 11]);
        }
        (void)lb_unfold_maybe((const uint8_t *)line, len);
        (void)unfold(line, len, sizeof(out) - 1, 1000, out);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_any_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
