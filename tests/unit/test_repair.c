/*
 * Bytes that are no UTF-8: what comes out is, and what was stays.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "event/repair.h"

#define U "\xef\xbf\xbd"

static void
test_places(void **state)
{
    size_t i, len, n;
    uint8_t *from, *to;
    uint64_t replaced;

    /* the last three as in tables 3-8 to 3-11 of the Unicode standard */
    static const struct {
        const char *from;
        const char *to;
        uint64_t replaced;
    } cases[] = {
        {"", "", 0},
        {"abc", "abc", 0},
        {"\x7f\xc2\x80\xdf\xbf", "\x7f\xc2\x80\xdf\xbf", 0},
        {"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf",
         "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf", 0},
        {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
         0},
        {"a\x80z", "a" U "z", 1},
        {"a\xc3", "a" U, 1},
        {"\xe2\x82", U, 1},
        {"\xf0\x9f\x98", U, 1},
        {"\xf0\x9f\x98z", U "z", 1},
        {"\xff\xfe", U U, 2},
        {"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", U U U U U U U U "A", 8},
        {"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", U U U U U U U U "A", 8},
        {"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", U U U U U "A" U U "B", 7},
        {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", U U U U "A", 4},
    };

    (void)state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        len = strlen(cases[i].from);
        from = malloc(len + 1);
        to = malloc(LB_REPAIR_MAX(len) + 1);
        assert_non_null(from);
        assert_non_null(to);
        memcpy(from, cases[i].from, len);
        replaced = 0;
        n = lb_repair(to, from, len, &replaced);
        assert_int_equal(n, strlen(cases[i].to));
        assert_memory_equal(to, cases[i].to, n);
        assert_int_equal(replaced, cases[i].replaced);
        free(from);
        free(to);
    }
}

/* Every sequence of three bytes behind each first byte of four, and of one to
 * three: jansson is the judge of what is UTF-8. */
static void
test_all(void **state)
{
    uint32_t v;
    size_t len, n;
    json_t *was, *is;
    uint64_t replaced;
    uint8_t b[4], to[LB_REPAIR_MAX(4)];

    (void)state;

    for (v = 0; v < 1u << 24; v += v < 1u << 16 ? 1 : 13) {
        b[0] = (uint8_t)v;
        b[1] = (uint8_t)(v >> 8);
        b[2] = (uint8_t)(v >> 16);
        b[3] = (uint8_t)(0x80 + v % 0x41);
        len = v < 1u << 16 ? 2 : v % 2 ? 3 : 4;
        replaced = 0;
        n = lb_repair(to, b, len, &replaced);
        was = json_stringn((const char *)b, len);
        is = json_stringn((const char *)to, n);
        assert_non_null(is);
        assert_int_equal(was != NULL, replaced == 0);
        if (was != NULL) {
            assert_int_equal(n, len);
            assert_memory_equal(to, b, n);
        }
        json_decref(was);
        json_decref(is);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
