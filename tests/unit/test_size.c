/*
 * How large batches get: with the backlog, with a server that keeps up, and
 * with one that does not.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "flusher/size.h"

static lb_options_t options;

static void
is(const lb_size_t *s, uint64_t rows, uint64_t bytes)
{
    lb_batch_limits_t limits = {0};

    lb_size_limit(s, &options, &limits);
    assert_int_equal(limits.max_rows, rows);
    assert_int_equal(limits.max_bytes, bytes);
}

static void
batches(lb_size_t *s, int n, int full, int64_t took)
{
    while (n-- > 0) {
        s->full = full;
        lb_size_done(s, &options, took);
    }
}

static int
setup(void **state)
{
    (void)state;
    options = (lb_options_t){.max_rows = 2000000,
                             .max_bytes = 256 << 20,
                             .node_count = 1,
                             .request_timeout_ms = 60000};

    return 0;
}

static void
grows_with_the_backlog(void **state)
{
    lb_size_t s = {.may_grow = 1};

    (void)state;
    s.may_grow = 0;
    batches(&s, 10, 1, 0);
    is(&s, 500000, 64 << 20);
    s.may_grow = 1;
    is(&s, 500000, 64 << 20);

    /* what came in the meantime fits */
    batches(&s, 10, 0, 50);
    is(&s, 500000, 64 << 20);

    batches(&s, 1, 1, 0);
    is(&s, 1000000, 128 << 20);
    batches(&s, 1, 1, 100);
    is(&s, 2000000, 256 << 20);
    batches(&s, 100, 1, 100);
    is(&s, 2000000, 256 << 20);

    /* the server got a bound since */
    s.may_grow = 0;
    is(&s, 500000, 64 << 20);
}

static void
never_beyond_the_settings(void **state)
{
    lb_size_t s = {.may_grow = 1};

    (void)state;
    options.max_rows = 1000;
    options.max_bytes = 100 << 20;
    is(&s, 1000, 64 << 20);
    batches(&s, 100, 1, 100);
    is(&s, 1000, 100 << 20);

    /* and back at once */
    assert_int_equal(s.grown, 1000);
}

/* To what it takes in the time that is there, and no further. */
static void
a_server_of_some_speed(void **state)
{
    lb_size_t s = {.may_grow = 1};

    (void)state;
    batches(&s, 1, 1, 4050 * 2 / 3);
    is(&s, 750000, 96 << 20);
    batches(&s, 10, 1, 4050);
    is(&s, 750000, 96 << 20);
    batches(&s, 10, 1, 4500);
    is(&s, 750000, 96 << 20);

    batches(&s, 1, 1, 10);
    batches(&s, 1, 0, 4501);
    assert_int_equal(s.grown, 3000 * 4050 / 4501 - 1000);

    /* not below what it began with: that is what rows cost */
    batches(&s, 10, 1, 60000);
    is(&s, 500000, 64 << 20);
}

/* With many nodes an INSERT may take a turn; never near the timeout. */
static void
turns_of_many_nodes(void **state)
{
    lb_size_t s = {.may_grow = 1};

    (void)state;
    options.node_count = 2;
    batches(&s, 1, 1, 1500);
    is(&s, 750000, 96 << 20);
    batches(&s, 1, 1, 2500);
    is(&s, 750000, 96 << 20);
    batches(&s, 1, 1, 4000);
    is(&s, 500000, 64 << 20);

    options.node_count = 6;
    batches(&s, 1, 1, 3375);
    is(&s, 1000000, 128 << 20);
    batches(&s, 1, 1, 13500);
    is(&s, 500000, 64 << 20);

    options.node_count = 30;
    batches(&s, 1, 1, 5400);
    is(&s, 1000000, 128 << 20);
    batches(&s, 1, 1, 21600);
    is(&s, 500000, 64 << 20);

    options.node_count = 1;
    options.request_timeout_ms = 1000;
    batches(&s, 1, 1, 90);
    is(&s, 1000000, 128 << 20);
    batches(&s, 1, 1, 360);
    is(&s, 500000, 64 << 20);
}

static void
an_insert_without_success(void **state)
{
    lb_size_t s = {.may_grow = 1};

    (void)state;
    batches(&s, 2, 1, 10);
    lb_size_failed(&s);
    is(&s, 500000, 64 << 20);

    /* it needed more than one */
    batches(&s, 1, 1, -1);
    is(&s, 500000, 64 << 20);
    batches(&s, 1, 1, 10);
    is(&s, 1000000, 128 << 20);
}

static void
too_large_for_the_server(void **state)
{
    lb_size_t s = {.may_grow = 1};

    (void)state;
    batches(&s, 2, 1, 10);
    lb_size_refused(&s, 1500000);
    is(&s, 500000, 64 << 20);
    batches(&s, 1, 1, 10);
    is(&s, 750000, 128 << 20);

    /* rows are what bounds it: no further meanwhile */
    batches(&s, 6, 1, 10);
    is(&s, 750000, 128 << 20);
    batches(&s, 2, 1, 10);
    is(&s, 1500000, 256 << 20);
    batches(&s, 8, 1, 10);
    is(&s, 2000000, 256 << 20);

    lb_size_refused(&s, 2);
    is(&s, 1, 64 << 20);
    batches(&s, 200, 1, 10);
    is(&s, 2000000, 256 << 20);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(grows_with_the_backlog, setup),
        cmocka_unit_test_setup(never_beyond_the_settings, setup),
        cmocka_unit_test_setup(a_server_of_some_speed, setup),
        cmocka_unit_test_setup(turns_of_many_nodes, setup),
        cmocka_unit_test_setup(an_insert_without_success, setup),
        cmocka_unit_test_setup(too_large_for_the_server, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
