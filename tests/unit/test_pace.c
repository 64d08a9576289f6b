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

#include "flusher/pace.h"

static void
alone_a_second_apart(void **state)
{
    lb_pace_t p;

    (void)state;

    /* the process before this one may have sent just now */
    lb_pace_init(&p, 0, 1, 5000);
    assert_int_equal(lb_pace_wait(&p, 5000, 77), 1000);
    assert_int_equal(lb_pace_wait(&p, 5999, 77), 1);
    assert_int_equal(lb_pace_wait(&p, 6000, 77), 0);

    lb_pace_start(&p, 6200);
    assert_int_equal(lb_pace_wait(&p, 6200, 77), 1000);
    assert_int_equal(lb_pace_wait(&p, 9000, 77), 0);

    /* the wall clock does not matter */
    assert_int_equal(lb_pace_wait(&p, 7199, -100000), 1);
    assert_int_equal(lb_pace_wait(&p, 7200, 1000000), 0);
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

/* Nodes that always want to send, each with a clock that is off by up to
 * 70 ms, a scheduler that wakes them late, and requests of random length:
 * never two starts within a second, in a quarter of an hour; and nobody
 * starves. */
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
            off[k] = rand() % 141 - 70;
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
                    starts[n++] = now;
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
        assert_true(wait >= 0 && wait <= 1000 + 4 * LB_PACE_SLOT_MS);

        if (wait == 0) {
            assert_true(mono - last >= 1000);
            lb_pace_start(&p, mono);
            last = mono;
        }

        mono += rand() % 60;
    }
}

/* A measure corrects; Dates at any moment, also of slow answers, do not make a
 * right one doubtful, and do a wrong one soon. */
static void
the_clock_of_the_server(void **state)
{
    int64_t local, server, took;
    uint32_t i, n, doubts;
    lb_clock_t c;

    static const int64_t offsets[] = {0,    50,   -50,    99,     3400,
                                      -800, 1000, 100000, -100000};

    (void)state;
    srand(1);

    for (n = 0; n < sizeof(offsets) / sizeof(offsets[0]); n++) {
        memset(&c, 0, sizeof(c));
        server = 1700000000123;
        doubts = 0;

        for (i = 0; i < 200; i++) {
            server += 1000 + rand() % 1500;
            local = server + offsets[n];
            took = rand() % 10 == 0 ? rand() % 30000 : 5;
            doubts += (uint32_t)lb_clock_doubtful(&c, local, local + took,
                                                  (server + took / 2) / 1000);
        }

        /* a difference of some hundred ms shows in some answers only */
        assert_true(offsets[n] > 100 || offsets[n] < -100 ? doubts > 20
                                                          : doubts == 0);

        lb_clock_measure(&c, server + offsets[n], server + offsets[n] + 8,
                         server + 3);
        assert_int_equal(
            lb_clock_offset(&c),
            offsets[n] + 1 > 100 || offsets[n] + 1 < -100 ? offsets[n] + 1 : 0);

        for (i = 0; i < 200; i++) {
            server += 1000 + rand() % 1500;
            local = server + offsets[n];
            took = rand() % 10 == 0 ? rand() % 30000 : 5;
            assert_false(lb_clock_doubtful(&c, local, local + took,
                                           (server + took / 2) / 1000));
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_of_the_server),
        cmocka_unit_test(alone_a_second_apart),
        cmocka_unit_test(only_in_windows_of_its_own),
        cmocka_unit_test(a_cluster_a_second_apart),
        cmocka_unit_test(clocks_that_jump),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
