/*
 * The values of a LowCardinality(String): whatever they are, they can be read
 * again, and the bytes depend on nothing that was in another block.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flusher/clickhouse/low.h"

#define TEXT 300

typedef struct {
    char text[TEXT];
    size_t len;
} value_t;

static lb_low_t low;
static lb_bytes_t values, header;
static value_t rows[LB_LOW_ROWS];

static uint64_t
number(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));

    return le64toh(v);
}

/* A block of n of rows[]; those that are empty are put, or passed over. */
static void
block(size_t n, int put_empty)
{
    size_t i;

    values.len = 0;
    header.len = 0;
    lb_low_reset(&low);

    for (i = 0; i < n; i++) {
        if (rows[i].len > 0 || put_empty) {
            assert_int_equal(
                lb_low_put(
                    &low, &values, i, 1,
                    (lb_str_t){(const uint8_t *)rows[i].text, rows[i].len}),
                0);
        }
    }
    assert_int_equal(lb_low_end(&low, &values, n, &header), 0);
}

/* Reads the block again; how many values it has. */
static size_t
check(size_t n)
{
    size_t i, k, count, place, size, len[LB_LOW_ROWS + 1];
    const uint8_t *p = values.data, *end = values.data + values.len;
    const uint8_t *at[LB_LOW_ROWS + 1];

    assert_int_equal(header.len, 24);
    assert_int_equal(number(header.data), 1);
    count = number(header.data + 16);
    assert_in_range(count, 1, n + 1);
    size = count > 256 ? 2 : 1;
    assert_int_equal(number(header.data + 8), 0x600 | (size - 1));

    for (i = 0; i < count; i++) {
        for (len[i] = 0, k = 0;; k += 7) {
            assert_true(p < end);
            len[i] |= (size_t)(*p & 0x7f) << k;
            if ((*p++ & 0x80) == 0) {
                break;
            }
        }
        at[i] = p;
        p += len[i];
    }
    assert_int_equal(len[0], 0);
    assert_int_equal(end - p, 8 + n * size);
    assert_int_equal(number(p), n);
    p += 8;

    for (i = 0; i < n; i++, p += size) {
        place = size == 1 ? *p : (size_t)(p[0] | p[1] << 8);
        assert_true(place < count);
        assert_int_equal(len[place], rows[i].len);
        assert_memory_equal(at[place], rows[i].text, rows[i].len);
    }

    return count;
}

static void
row(size_t i, const char *text, size_t len)
{
    assert_true(len <= TEXT);
    memcpy(rows[i].text, text, len);
    rows[i].len = len;
}

/* Each value is there once. */
static void
few(void **state)
{
    size_t i;
    static const char *const names[] = {"", "info", "error", "warn", "a"};

    (void)state;

    for (i = 0; i < 5000; i++) {
        row(i, names[i * i % 5], strlen(names[i * i % 5]));
    }
    block(5000, 1);
    assert_int_equal(check(5000), 3); /* of squares 0, 1, 4 */
    block(5000, 0);
    assert_int_equal(check(5000), 3);
    block(0, 0);
    assert_int_equal(check(0), 1);
}

/* Places have two bytes from the 257th value on; the empty one counts. */
static void
places(void **state)
{
    size_t i, n;
    char text[16];

    (void)state;

    for (n = 254; n < 259; n++) {
        for (i = 0; i < 1000; i++) {
            row(i, text, (size_t)sprintf(text, "v%zu", i % n));
        }
        block(1000, 0);
        assert_int_equal(check(1000), n + 1);
    }
}

/* Names as senders count them: each is there once, wherever the number stands. */
static void
counted(void **state)
{
    size_t i, k;
    char text[TEXT];
    static const char *const shapes[] = {
        "%zu",
        "v%zu",
        "svc-%zu",
        "service-%zu",
        "my-service-%zu",
        "%zu-web",
        "web%zu.local",
        "node-%03zu.example.com",
        "ip-10-0-0-%zu.eu-central-1.compute.internal",
        "a-name-that-is-longer-than-two-words-%zu",
        "%08zx",
        "%016zx",
        "%zu00000000",
        "x%zu00000000000000000000",
    };

    (void)state;

    for (k = 0; k < sizeof(shapes) / sizeof(shapes[0]); k++) {
        for (i = 0; i < 2000; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            row(i, text, (size_t)sprintf(text, shapes[k], i % 200));
#pragma GCC diagnostic pop
        }
        block(2000, 0);
        if (check(2000) != 201) {
            fail_msg("%s: some are there twice", shapes[k]);
        }
    }
}

/* What differs in one byte only, wherever it is, and bytes of any kind. */
static void
alike(void **state)
{
    size_t i, n = 0, len, at;
    char text[TEXT];

    (void)state;

    for (len = 1; len <= 40; len++) {
        for (at = 0; at <= len && n < LB_LOW_ROWS - 2; at++) {
            memset(text, 0, sizeof(text));
            if (at < len) {
                text[at] = (char)0xff;
            }
            row(n++, text, len);
        }
    }
    /* and each once more */
    for (i = 0; i < n; i++) {
        row(n + i, rows[i].text, rows[i].len);
    }
    block(2 * n, 0);
    (void)check(2 * n);
    for (len = 126; len <= 130; len++) {
        memset(text, 'x', sizeof(text));
        row(len - 126, text, len);
    }
    block(5, 0);
    assert_int_equal(check(5), 6);
}

/* More than there are slots: some are there twice, and none is missing; at most
 * one for each row. */
static void
many(void **state)
{
    size_t i;
    char text[32];

    (void)state;

    for (i = 0; i < LB_LOW_ROWS; i++) {
        row(i, text, (size_t)sprintf(text, "%zu", i));
    }
    block(LB_LOW_ROWS, 0);
    assert_int_equal(check(LB_LOW_ROWS), LB_LOW_ROWS + 1);

    for (i = 0; i < LB_LOW_ROWS; i++) {
        row(i, text, (size_t)sprintf(text, "host-%zu.example.com", i % 600));
    }
    block(LB_LOW_ROWS, 0);
    assert_in_range(check(LB_LOW_ROWS), 601, 620);

    for (i = 0; i < LB_LOW_ROWS; i++) {
        row(i, text, (size_t)sprintf(text, "host-%zu.example.com", i % 3000));
    }
    block(LB_LOW_ROWS, 0);
    assert_in_range(check(LB_LOW_ROWS), 3001, LB_LOW_ROWS + 1);
}

/* Whatever other blocks had, and wherever they were made. */
static void
blocks(void **state)
{
    size_t i, round, n, len;
    unsigned seed = 7;
    uint8_t *first;
    static lb_low_t fresh;

    (void)state;

    for (round = 0; round < 40; round++) {
        n = (size_t)rand_r(&seed) % LB_LOW_ROWS;
        for (i = 0; i < n; i++) {
            rows[i].len = (size_t)rand_r(&seed) % (round % 4 == 0 ? 40 : 4);
            memset(rows[i].text, (char)(rand_r(&seed) % 3 + 'a'), rows[i].len);
            rows[i].text[rows[i].len / 2] = (char)(rand_r(&seed) % 256);
        }
        block(n, (int)round % 2);
        (void)check(n);
        len = values.len;
        first = malloc(len + 24);
        assert_non_null(first);
        memcpy(first, header.data, 24);
        memcpy(first + 24, values.data, len);

        memcpy(&low, &fresh, sizeof(low));
        block(n, (int)(round / 2) % 2);
        assert_int_equal(values.len, len);
        assert_memory_equal(first, header.data, 24);
        assert_memory_equal(first + 24, values.data, len);
        free(first);
    }
}

/* The count of blocks begins anew, and finds none of the first. */
static void
counts_over(void **state)
{
    size_t i, n;
    char text[16];

    (void)state;

    for (n = 0; n < 3; n++) {
        for (i = 0; i < 50; i++) {
            row(i, text,
                (size_t)sprintf(text, "%c%zu", n == 1 ? 'w' : 'v',
                                n == 0 ? 49 - i : i));
        }
        if (n < 2) {
            low.block = n == 0 ? 0 : UINT32_MAX;
        }
        block(50, 0);
        assert_int_equal(check(50), 51);
    }
}

/* Several rows at once, behind some that have nothing. */
static void
at_once(void **state)
{
    size_t i;

    (void)state;

    for (i = 0; i < 100; i++) {
        row(i, "ab", i < 10 || i >= 40 ? 0 : i < 20 || i >= 30 ? 2 : 1);
    }
    values.len = 0;
    header.len = 0;
    lb_low_reset(&low);
    assert_int_equal(
        lb_low_put(&low, &values, 10, 10, (lb_str_t){(const uint8_t *)"ab", 2}),
        0);
    assert_int_equal(
        lb_low_put(&low, &values, 20, 10, (lb_str_t){(const uint8_t *)"a", 1}),
        0);
    assert_int_equal(
        lb_low_put(&low, &values, 30, 10, (lb_str_t){(const uint8_t *)"ab", 2}),
        0);
    assert_int_equal(lb_low_end(&low, &values, 100, &header), 0);
    assert_int_equal(check(100), 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few),     cmocka_unit_test(places),
        cmocka_unit_test(counted), cmocka_unit_test(alike),
        cmocka_unit_test(many),    cmocka_unit_test(blocks),
        cmocka_unit_test(at_once), cmocka_unit_test(counts_over),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);

    free(values.data);
    free(header.data);

    return rc;
}
