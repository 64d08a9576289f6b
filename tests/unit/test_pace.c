/*
 * When requests may start: alone, in a cluster, with clocks that differ and
 * jump.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "flusher/clock.h"
#include "flusher/pace.h"

static void
alone_a_second_apart(void **state)
{
    lb_pace_t p;

    (void)state;

    /* the process before this one may have sent just now */
    lb_pace_init(&p, 0, 1, 5000);
    assert_int_equal(lb_pace_wait(&p, 5000, 77), 1010);
    assert_int_equal(lb_pace_wait(&p, 6009, 77), 1);
    assert_int_equal(lb_pace_wait(&p, 6010, 77), 0);

    lb_pace_start(&p, 6200);
    assert_int_equal(lb_pace_wait(&p, 6200, 77), 1010);
    assert_int_equal(lb_pace_wait(&p, 9000, 77), 0);

    /* the wall clock does not matter */
    assert_int_equal(lb_pace_wait(&p, 7209, -100000), 1);
    assert_int_equal(lb_pace_wait(&p, 7210, 1000000), 0);
}

static void
only_in_windows_of_its_own(void **state)
{
    int64_t wall, wait, slot;
    uint32_t i;
    lb_pace_t p;

    (void)state;

    for (i = 0; i < 3; i++) {
        for (wall = 1000000; wall < 1010000; wall += 7) {
            lb_pace_init(&p, i, 3, 0);
            wait = lb_pace_wait(&p, 100000, wall);
            slot = (wall + wait) / LB_PACE_SLOT_MS;
            assert_int_equal(slot % 3, i);
            assert_true((wall + wait) % LB_PACE_SLOT_MS < LB_PACE_WINDOW_MS);
            assert_true(wait < 3 * LB_PACE_SLOT_MS);
        }
    }
}

static int
ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return x < y ? -1 : x > y;
}

/* Nodes that always want to send, each with a clock that is off by up to 85 ms
 * either way, a scheduler that wakes them late, a network that takes up to
 * 30 ms, and requests of random length: never do two come within a second, in
 * a quarter of an hour; and nobody starves. */
static void
a_cluster_a_second_apart(void **state)
{
    int64_t now, *starts;
    size_t n = 0, i, k, nodes, count[8];
    lb_pace_t p[8];
    int64_t off[8], busy[8], wait;

    (void)state;

    starts = malloc(sizeof(*starts) * 10000);
    assert_non_null(starts);
    srand(7);

    for (nodes = 2; nodes <= 8; nodes++) {
        n = 0;

        for (k = 0; k < nodes; k++) {
            lb_pace_init(&p[k], (uint32_t)k, (uint32_t)nodes, 0);
            off[k] = k % 2 != 0 ? 85 : -85;
            busy[k] = 0;
            count[k] = 0;
        }

        for (now = 1; now < 900000; now++) {
            for (k = 0; k < nodes; k++) {
                if (now < busy[k]) {
                    continue;
                }

                wait = lb_pace_wait(&p[k], now, 1700000000000 + now + off[k]);

                if (wait == 0) {
                    lb_pace_start(&p[k], now);
                    starts[n++] = now + rand() % 31;
                    count[k]++;
                    busy[k] = now + rand() % 4000;
                } else {
                    /* asked again at most 50 ms later */
                    busy[k] = now + (wait < 50 ? wait : 50) + rand() % 5;
                }
            }
        }

        qsort(starts, n, sizeof(*starts), ascending);

        for (i = 1; i < n; i++) {
            assert_true(starts[i] - starts[i - 1] >= 1000);
        }

        for (k = 0; k < nodes; k++) {
            assert_true(count[k] > 20);
        }
    }

    free(starts);
}

/* A clock that is set back or forward never makes one node send twice within
 * a second, nor wait for hours. */
static void
clocks_that_jump(void **state)
{
    int i;
    int64_t mono = 0, last = 0, wall, wait;
    lb_pace_t p;

    (void)state;

    lb_pace_init(&p, 1, 4, 0);
    srand(3);

    for (i = 0; i < 10000; i++) {
        wall = 1700000000000 + mono + (int64_t)(rand() % 7200000) - 3600000;
        wait = lb_pace_wait(&p, mono, wall);
        assert_true(wait >= 0 && wait <= LB_PACE_GAP_MS + 4 * LB_PACE_SLOT_MS);

        if (wait == 0) {
            assert_true(mono - last >= LB_PACE_GAP_MS);
            lb_pace_start(&p, mono);
            last = mono;
        }

        mono += rand() % 60;
    }
}

static const int64_t offsets[] = {0,    40,   -40,    49,     3400,
                                  -800, 1000, 100000, -100000};

/* n answers with a Date of the server; how often another measure was asked
 * for. */
static uint32_t
dates(lb_clock_t *c, int64_t *mono, int64_t *server, int64_t offset, uint32_t n)
{
    int64_t local, took;
    uint32_t due = 0;

    while (n-- > 0) {
        *mono += 1000 + rand() % 1500;
        *server = 1700000000123 + *mono;
        local = *server + offset;
        took = rand() % 10 == 0 ? rand() % 30000 : 5;
        due += (uint32_t)lb_clock_date(c, *mono + took, local, local + took,
                                       (*server + took / 2) / 1000);
        *mono += took;
    }

    *server = 1700000000123 + *mono;

    return due;
}

/* Dates at any moment, also of slow answers, do not make a right measure
 * doubtful, and do a wrong one soon, but not again and again. */
static void
the_clock_of_the_server(void **state)
{
    int64_t mono, server, wall;
    uint32_t n;
    lb_clock_t c;

    (void)state;
    srand(1);

    for (n = 0; n < sizeof(offsets) / sizeof(offsets[0]); n++) {
        memset(&c, 0, sizeof(c));
        mono = 1000;
        server = 1700000000123 + mono;

        assert_int_equal(lb_clock_offset(&c, mono, server + offsets[n]), 0);
        assert_int_equal(dates(&c, &mono, &server, offsets[n], 100),
                         offsets[n] > 50 || offsets[n] < -50);

        wall = server + offsets[n];
        lb_clock_measure(&c, mono + 8, wall, wall + 8, server + 3);
        assert_int_equal(
            lb_clock_offset(&c, mono + 8, wall + 8),
            offsets[n] + 1 > 50 || offsets[n] + 1 < -50 ? offsets[n] + 1 : 0);

        assert_int_equal(dates(&c, &mono, &server, offsets[n], 1000), 0);

        /* our clock is set: known at once, and measured again once */
        wall = server + 7000;
        assert_int_equal(lb_clock_offset(&c, mono, wall), 7001);
        assert_int_equal(dates(&c, &mono, &server, 7000, 2), 1);
        wall = server + 7000;
        lb_clock_measure(&c, mono + 8, wall, wall + 8, server + 4);
        assert_int_equal(dates(&c, &mono, &server, 7000, 100), 0);
    }
}

/* A proxy that puts its own Date on every answer, 2 s off: a measure every ten
 * minutes at most, and it stays as it is. */
static void
the_date_of_a_proxy(void **state)
{
    int64_t mono = 1000, server, from;
    uint32_t due = 0;
    lb_clock_t c;

    (void)state;
    srand(1);
    memset(&c, 0, sizeof(c));
    server = 1700000000123 + mono;
    lb_clock_measure(&c, mono + 8, server, server + 8, server + 4);

    from = mono;
    while (mono - from < 3600000) {
        mono += 1010;
        server = 1700000000123 + mono;
        if (lb_clock_date(&c, mono + 5, server, server + 5,
                          (server + 2000) / 1000)) {
            due++;
            lb_clock_measure(&c, mono + 1018, server + 1010, server + 1018,
                             server + 1014);
        }
        assert_int_equal(lb_clock_offset(&c, mono, server), 0);
    }

    assert_true(due >= 1 && due <= 6);
}

/* A look that took long cannot tell much. */
static void
a_measure_that_took_long(void **state)
{
    lb_clock_t c;

    (void)state;
    memset(&c, 0, sizeof(c));

    /* asked at 100000, answered 30 s later by a server that looked at its
     * clock at once */
    lb_clock_measure(&c, 40000, 100000, 130000, 100000);
    assert_int_equal(lb_clock_offset(&c, 40000, 130000), 0);

    lb_clock_measure(&c, 50000, 140000, 140010, 140005);
    assert_int_equal(c.error, 5);
    lb_clock_measure(&c, 89990, 150000, 180000, 150000);
    assert_int_equal(c.error, 5);
    assert_int_equal(lb_clock_offset(&c, 89990, 180000), 0);

    /* but this it can */
    lb_clock_measure(&c, 130000, 190000, 220000, 500000);
    assert_int_equal(lb_clock_offset(&c, 130000, 220000), -295000);

    /* our clock was set back between question and answer */
    lb_clock_measure(&c, 140000, 250000, 230000, 250000);
    assert_int_equal(c.error, 15000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_of_the_server),
        cmocka_unit_test(the_date_of_a_proxy),
        cmocka_unit_test(a_measure_that_took_long),
        cmocka_unit_test(alone_a_second_apart),
        cmocka_unit_test(only_in_windows_of_its_own),
        cmocka_unit_test(a_cluster_a_second_apart),
        cmocka_unit_test(clocks_that_jump),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
