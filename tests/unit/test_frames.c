/*
 * Many requests in one body: frames, in memory of exactly their size.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/frames.h"

/* A body of two frames, byte by byte. */
#define MAGIC "lbgroup1"
#define FIRST                                                                  \
    "\2\0\0\0"                                                                 \
    "\10\0\20\0\4\0"                                                           \
    "\4\0"                                                                     \
    "\300\0\2\7"                                                               \
    "/log/app"                                                                 \
    "application/json"                                                         \
    "app,"                                                                     \
    "{}"
#define SECOND                                                                 \
    "\0\0\0\0"                                                                 \
    "\0\0\0\0\0\0"                                                             \
    "\0\0"
#define BYTES(literal) (literal), sizeof(literal) - 1

static const lb_frame_t first = {{
    {(const uint8_t *)"\300\0\2\7", 4},
    {(const uint8_t *)"/log/app", 8},
    {(const uint8_t *)"application/json", 16},
    {(const uint8_t *)"app,", 4},
    {(const uint8_t *)"{}", 2},
}};

static uint8_t *
exactly(const void *data, size_t len)
{
    uint8_t *p = malloc(len > 0 ? len : 1);

    assert_non_null(p);
    if (len > 0) {
        memcpy(p, data, len);
    }
    return p;
}

/* Frames of the body until it is at its end or refused: which of the two. */
static int
last(const void *data, size_t len, unsigned *n)
{
    uint8_t *body = exactly(data, len);
    const uint8_t *p = NULL;
    lb_frame_t frame;
    int rc;

    for (*n = 0; (rc = lb_frames_next(&p, body, len, &frame)) > 0; (*n)++) {
    }
    free(body);
    return rc;
}

static void
assert_frame(const lb_frame_t *a, const lb_frame_t *b)
{
    for (unsigned i = 0; i < LB_FRAME_PARTS; i++) {
        assert_int_equal(a->parts[i].len, b->parts[i].len);
        if (a->parts[i].len > 0) {
            assert_memory_equal(a->parts[i].data, b->parts[i].data,
                                a->parts[i].len);
        }
    }
}

static void
test_bytes(void **state)
{
    static const char expected[] = FIRST SECOND;
    static const lb_frame_t empty;
    size_t len = sizeof(expected) - 1;
    uint8_t *out;

    (void)state;

    assert_int_equal(sizeof(MAGIC) - 1, LB_FRAMES_MAGIC_LEN);
    assert_string_equal(MAGIC, LB_FRAMES_MAGIC);
    assert_int_equal(lb_frame_size(&first), sizeof(FIRST) - 1);
    assert_int_equal(lb_frame_size(&empty), sizeof(SECOND) - 1);

    out = malloc(len);
    assert_non_null(out);
    assert_ptr_equal(lb_frame_put(lb_frame_put(out, &first), &empty),
                     out + len);
    assert_memory_equal(out, expected, len);
    free(out);
}

static void
test_next(void **state)
{
    static const char data[] = MAGIC FIRST SECOND FIRST;
    size_t len = sizeof(data) - 1;
    uint8_t *body = exactly(data, len);
    const uint8_t *p = NULL;
    static const lb_frame_t empty;
    lb_frame_t frame;

    (void)state;

    assert_int_equal(lb_frames_next(&p, body, len, &frame), 1);
    assert_frame(&frame, &first);
    /* in place */
    assert_ptr_equal(frame.parts[LB_FRAME_CLIENT].data, body + 20);
    assert_int_equal(lb_frames_next(&p, body, len, &frame), 1);
    assert_frame(&frame, &empty);
    assert_int_equal(lb_frames_next(&p, body, len, &frame), 1);
    assert_frame(&frame, &first);
    assert_ptr_equal(frame.parts[LB_FRAME_BODY].data, body + len - 2);
    assert_int_equal(lb_frames_next(&p, body, len, &frame), 0);
    assert_int_equal(lb_frames_next(&p, body, len, &frame), 0);
    free(body);
}

/* Lengths of which each byte counts, up to the largest that may be. */
static void
test_lengths(void **state)
{
    static const size_t lens[][LB_FRAME_PARTS] = {
        {0, 0, 0, 0, 0},
        {16, 1, 2, 3, 4},
        {4, LB_FRAME_WORDS_MAX, 0, 0, 255},
        {0, 0, LB_FRAME_WORDS_MAX, 0, 256},
        {0, 0, 0, LB_FRAME_WORDS_MAX, 65535},
        {16, 1365, 1365, 1366, 0x010203},
    };

    (void)state;

    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        lb_frame_t frame;
        lb_frame_t found;
        const uint8_t *p = NULL;
        uint8_t *body;
        size_t size;

        for (unsigned k = 0; k < LB_FRAME_PARTS; k++) {
            uint8_t *part = malloc(lens[i][k] > 0 ? lens[i][k] : 1);

            assert_non_null(part);
            for (size_t n = 0; n < lens[i][k]; n++) {
                part[n] = (uint8_t)(n * 7 + k);
            }
            frame.parts[k].data = part;
            frame.parts[k].len = lens[i][k];
        }
        size = lb_frame_size(&frame);
        assert_int_equal(size, 12 + lens[i][0] + lens[i][1] + lens[i][2] +
                                   lens[i][3] + lens[i][4]);
        body = malloc(LB_FRAMES_MAGIC_LEN + size);
        assert_non_null(body);
        memcpy(body, LB_FRAMES_MAGIC, LB_FRAMES_MAGIC_LEN);
        assert_ptr_equal(lb_frame_put(body + LB_FRAMES_MAGIC_LEN, &frame),
                         body + LB_FRAMES_MAGIC_LEN + size);
        size += LB_FRAMES_MAGIC_LEN;
        assert_int_equal(lb_frames_next(&p, body, size, &found), 1);
        assert_frame(&found, &frame);
        assert_int_equal(lb_frames_next(&p, body, size, &found), 0);
        for (unsigned k = 0; k < LB_FRAME_PARTS; k++) {
            free((void *)frame.parts[k].data);
        }
        free(body);
    }
}

/* What cannot be written: nothing of the data is looked at. */
static void
test_sizes(void **state)
{
    static const size_t max = LB_FRAME_WORDS_MAX;
    static const size_t lens[][LB_FRAME_PARTS] = {
        {1, 0, 0, 0, 0},
        {5, 0, 0, 0, 0},
        {15, 0, 0, 0, 0},
        {17, 0, 0, 0, 0},
        {256 + 4, 0, 0, 0, 0},
        {SIZE_MAX, 0, 0, 0, 0},
        {0, max + 1, 0, 0, 0},
        {0, 0, max + 1, 0, 0},
        {0, 0, 0, max + 1, 0},
        {0, max, 1, 0, 0},
        {0, 1, 0, max, 0},
        {0, 1366, 1366, 1366, 0},
        {0, SIZE_MAX, 1, 0, 0},
        {0, 2, SIZE_MAX, 0, 0},
        {0, 65536, 0, 0, 0},
#if SIZE_MAX > UINT32_MAX
        {0, 0, 0, 0, (size_t)UINT32_MAX + 1},
#endif
        {0, 0, 0, 0, SIZE_MAX},
    };
    lb_frame_t frame = {{{NULL, 0}}};

    (void)state;

    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        for (unsigned k = 0; k < LB_FRAME_PARTS; k++) {
            frame.parts[k].len = lens[i][k];
        }
        if (lens[i][LB_FRAME_BODY] == SIZE_MAX && SIZE_MAX == UINT32_MAX) {
            continue;
        }
        assert_int_equal(lb_frame_size(&frame), 0);
    }
}

static void
test_cut(void **state)
{
    static const char data[] = MAGIC FIRST SECOND FIRST;
    /* where a frame ends */
    static const size_t ends[] = {
        sizeof(MAGIC) - 1,
        sizeof(MAGIC FIRST) - 1,
        sizeof(MAGIC FIRST SECOND) - 1,
        sizeof(MAGIC FIRST SECOND FIRST) - 1,
    };

    (void)state;

    for (size_t len = 0; len < sizeof(data); len++) {
        unsigned n;
        unsigned whole = 0;
        int rc = last(data, len, &n);
        int end = 0;

        for (unsigned i = 0; i < 4; i++) {
            end = end || len == ends[i];
            whole += i > 0 && ends[i] <= len;
        }
        assert_int_equal(rc, end ? 0 : -1);
        assert_int_equal(n, whole);
    }
}

static void
test_refusals(void **state)
{
    static const struct {
        const char *data;
        size_t len;
        unsigned frames; /* that came before */
    } cases[] = {
        {BYTES(""), 0},
        {BYTES("{}"), 0},
        {BYTES("lbgroup"), 0},
        {BYTES("lbgroup2" FIRST), 0},
        {BYTES("Lbgroup1" FIRST), 0},
        {BYTES(" " MAGIC FIRST), 0},
        {BYTES(FIRST), 0},
        {BYTES(MAGIC MAGIC), 0},
        {BYTES(MAGIC FIRST "\n"), 1},
        {BYTES(MAGIC FIRST MAGIC FIRST), 1},

        /* addresses of 1, 5 and 17 bytes, and a byte that is to be 0 */
        {BYTES(MAGIC "\0\0\0\0\0\0\0\0\0\0\1\0"
                     "a"),
         0},
        {BYTES(MAGIC "\0\0\0\0\0\0\0\0\0\0\5\0"
                     "abcde"),
         0},
        {BYTES(MAGIC FIRST "\0\0\0\0\0\0\0\0\0\0\21\0"
                           "0123456789abcdefg"),
         1},
        {BYTES(MAGIC "\0\0\0\0\0\0\0\0\0\0\0\1"), 0},
        {BYTES(MAGIC "\0\0\0\0\0\0\0\0\0\0\4\1"
                     "abcd"),
         0},

        /* a length beyond the body, by one, and by all that a number can be */
        {BYTES(MAGIC "\3\0\0\0\0\0\0\0\0\0\0\0"
                     "{}"),
         0},
        {BYTES(MAGIC "\0\0\0\0\3\0\0\0\0\0\0\0"
                     "/l"),
         0},
        {BYTES(MAGIC "\0\0\0\0\0\0\3\0\0\0\0\0"
                     "a/"),
         0},
        {BYTES(MAGIC "\0\0\0\0\0\0\0\0\3\0\0\0"
                     "a,"),
         0},
        {BYTES(MAGIC "\0\0\0\0\0\0\0\0\0\0\4\0"
                     "abc"),
         0},
        {BYTES(MAGIC "\377\377\377\377\0\0\0\0\0\0\0\0"
                     "{}"),
         0},
        {BYTES(MAGIC "\377\377\377\377\0\20\0\0\0\0\20\0"
                     "{}"),
         0},
        {BYTES(MAGIC "\364\377\377\377\0\0\0\0\0\0\0\0"), 0},
    };

    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned n;

        assert_int_equal(last(cases[i].data, cases[i].len, &n), -1);
        assert_int_equal(n, cases[i].frames);
    }
}

/* Words that are too long are refused though all of them are there. */
static void
test_words(void **state)
{
    (void)state;

    for (unsigned over = 0; over < 2; over++) {
        for (unsigned k = 0; k < 3; k++) {
            size_t words = LB_FRAME_WORDS_MAX + over;
            size_t len = LB_FRAMES_MAGIC_LEN + 12 + words;
            uint8_t *body = calloc(1, len);
            unsigned n;

            assert_non_null(body);
            memcpy(body, LB_FRAMES_MAGIC, LB_FRAMES_MAGIC_LEN);
            body[12] = 1; /* one of the path, the rest of another */
            words -= 1;
            body[12 + 2 * k] = (uint8_t)(words + (k == 0));
            body[12 + 2 * k + 1] = (uint8_t)((words + (k == 0)) >> 8);
            assert_int_equal(last(body, len, &n), over ? -1 : 0);
            assert_int_equal(n, !over);
            free(body);
        }
    }
}

/* No frames at all is no mistake here: whoever reads says what it means. */
static void
test_none(void **state)
{
    unsigned n;

    (void)state;

    assert_int_equal(last(BYTES(MAGIC), &n), 0);
    assert_int_equal(n, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),   cmocka_unit_test(test_next),
        cmocka_unit_test(test_lengths), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_cut),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_words),   cmocka_unit_test(test_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
