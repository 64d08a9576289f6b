/*
 * gRPC's frames and words.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/grpc.h"

#define FRAME(flag, len, message) flag "\0\0\0" len message

static void
test_messages(void **state)
{
    /* body and its length, what is said of it, the message within */
    static const struct {
        const char *body;
        size_t len;
        lb_grpc_status_t status;
        int packed;
        size_t message;
    } cases[] = {
        {FRAME("\0", "\0", ""), 5, LB_GRPC_OK, 0, 0},
        {FRAME("\0", "\3", "abc"), 8, LB_GRPC_OK, 0, 3},
        {FRAME("\1", "\3", "abc"), 8, LB_GRPC_OK, 1, 3},
        {FRAME("\0", "\12", "0123456789"), 15, LB_GRPC_OK, 0, 10},

        {"", 0, LB_GRPC_BAD, 0, 0},
        {FRAME("\0", "\0", ""), 4, LB_GRPC_BAD, 0, 0},
        {FRAME("\2", "\0", ""), 5, LB_GRPC_BAD, 0, 0},
        {FRAME("\377", "\0", ""), 5, LB_GRPC_BAD, 0, 0},
        {FRAME("\0", "\3", "ab"), 7, LB_GRPC_BAD, 0, 0},
        {FRAME("\0", "\3", "abcd"), 9, LB_GRPC_BAD, 0, 0},
        {FRAME("\0", "\0", FRAME("\0", "\0", "")), 10, LB_GRPC_BAD, 0, 0},

        {FRAME("\0", "\13", "01234567890"), 16, LB_GRPC_TOO_LONG, 0, 0},
        {"\1\377\377\377\377", 5, LB_GRPC_TOO_LONG, 0, 0},
        {"\0\1\0\0\0", 5, LB_GRPC_TOO_LONG, 0, 0},
    };

    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = cases[i].len;
        uint8_t *body = malloc(len > 0 ? len : 1);
        lb_grpc_message_t message;

        assert_non_null(body);
        memcpy(body, cases[i].body, len);
        assert_int_equal(lb_grpc_message(body, len, 10, &message),
                         cases[i].status);
        assert_int_equal(message.packed, cases[i].packed);
        assert_int_equal(message.len, cases[i].message);
        if (cases[i].status == LB_GRPC_OK) {
            assert_null(message.error);
            assert_ptr_equal(message.data, body + LB_GRPC_HEADER);
        } else {
            assert_non_null(message.error);
            assert_null(message.data);
        }
        free(body);
    }
}

static void
test_headers(void **state)
{
    static const uint32_t lens[] = {0,     1,          255,       256,
                                    65536, 0x01020304, UINT32_MAX};

    (void)state;

    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        uint8_t out[LB_GRPC_HEADER];

        assert_ptr_equal(lb_grpc_header(out, lens[i]), out + sizeof(out));
        assert_int_equal(out[0], 0);
        assert_int_equal((uint32_t)out[1] << 24 | (uint32_t)out[2] << 16 |
                             (uint32_t)out[3] << 8 | out[4],
                         lens[i]);
    }
}

static void
test_words(void **state)
{
    static const struct {
        const char *text;
        const char *value;
    } cases[] = {
        {"", ""},
        {" words, 100~", " words, 100~"},
        {"100 %", "100 %25"},
        {"a\nb\177", "a%0Ab%7F"},
        {"\303\251\377", "%C3%A9%FF"},
    };
    uint8_t out[64];

    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t *end = lb_grpc_words(out, (const uint8_t *)cases[i].text,
                                     strlen(cases[i].text));

        assert_int_equal(end - out, strlen(cases[i].value));
        assert_memory_equal(out, cases[i].value, strlen(cases[i].value));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
