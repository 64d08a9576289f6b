/*
 * For how long a spool lasts without ClickHouse.
 */

#include "spool_env.h"

#include "spool/lb_lasting.h"

#define HOUR (INT64_C(3600) * 1000000)

/* Bytes of the last day and over how many hours, by these marks. */
static void
received(const lb_mark_t *marks, int n, uint64_t committed, int64_t age_hours,
         uint64_t bytes, uint64_t hours)
{
    lb_lasting_t l = {0};

    lb_lasting_marks(&l, marks, n, committed, (uint64_t)(age_hours * HOUR),
                     100 * HOUR);
    assert_int_equal(l.received, bytes);
    assert_int_equal(l.window_us / (uint64_t)HOUR, hours);
}

static void
test_received(void **state)
{
    const lb_mark_t steady[] = {{1000, 60 * HOUR},
                                {2000, 70 * HOUR},
                                {3000, 80 * HOUR},
                                {4000, 90 * HOUR}};
    const lb_mark_t before[] = {{500, -30 * HOUR}, {700, 99 * HOUR}};

    (void)state;

    /* a day ago was between 2000 and 3000 */
    received(steady, 4, 5000, 1000, 5000 - 2600, 24);
    /* nothing since the last mark, which is older than a day */
    received(steady, 2, 2000, 1000, 0, 24);
    received(steady, 1, 1000, 1000, 0, 24);
    /* the marks do not go back so far: by them, or since the ring was made */
    received(steady + 3, 1, 5000, 1000, 1000, 10);
    received(steady + 3, 1, 5000, 12, 5000, 12);
    received(NULL, 0, 5000, 2, 5000, 2);
    /* a ring of a release without marks */
    received(NULL, 0, 5000, 1000, 0, 24);
    /* before the machine was started: 76 hours ago is between */
    received(before, 2, 800, 1000, 800 - 500 - 200 * (30 + 76) / (30 + 99), 24);
}

static void
test_seconds(void **state)
{
    lb_lasting_t l = {.room = 1000000, .backlog = 400000};

    (void)state;

    /* nothing has come */
    assert_int_equal(lb_lasting_seconds(&l, 1), UINT64_MAX);
    assert_int_equal(lb_lasting_seconds(&l, 0), UINT64_MAX);

    /* 100 bytes a second, of nine tenths */
    l.received = 100 * 3600;
    l.window_us = (uint64_t)HOUR;
    assert_int_equal(lb_lasting_seconds(&l, 1), 9000);
    assert_int_equal(lb_lasting_seconds(&l, 0), 5000);

    l.backlog = 900001;
    assert_int_equal(lb_lasting_seconds(&l, 0), 0);
    assert_int_equal(lb_lasting_seconds(&l, 1), 9000);

    l.room = 0;
    assert_int_equal(lb_lasting_seconds(&l, 1), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_received),
        cmocka_unit_test(test_seconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
