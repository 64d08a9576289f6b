/*
 * The last 24 hours, minute by minute, through restarts, gaps and clocks that
 * are set.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "flusher/history.h"

#define DAY LB_HISTORY_MINUTES
#define BEGIN 29400000 /* minutes since 1970 */

static void
is(const lb_history_t *h, const char *want)
{
    char *text = lb_history_text(h);

    assert_non_null(text);
    assert_string_equal(text, want);
    free(text);
}

static void
of_each_minute(void **state)
{
    lb_history_t h = {.minute = 0};
    lb_history_now_t now = {100, 90, 10, 1500, 7};

    (void)state;

    assert_int_equal(lb_history_note(&h, &now, 1000), 0);
    now.backlog = 40;
    now.lag_ms = 3000;
    assert_int_equal(lb_history_note(&h, &now, 1000), 0);
    now = (lb_history_now_t){160, 150, 10, 1000, 9};
    assert_int_equal(lb_history_note(&h, &now, 1001), 1);
    is(&h, "{\"step\":60,\"end\":60060,\"in\":[60],\"out\":[60],"
           "\"backlog\":[40],\"lag_ms\":[3000],\"requests\":[2]}");

    /* it hung for two minutes; the counter of requests has begun anew */
    now = (lb_history_now_t){260, 260, 0, 0, 1};
    assert_int_equal(lb_history_note(&h, &now, 1004), 1);
    is(&h, "{\"step\":60,\"end\":60240,\"in\":[60,100,null,null],"
           "\"out\":[60,110,null,null],\"backlog\":[40,10,null,null],"
           "\"lag_ms\":[3000,1000,null,null],\"requests\":[2,0,null,null]}");

    /* a clock that is put back a little is waited for, by much: all is new */
    assert_int_equal(lb_history_note(&h, &now, 1003), 0);
    assert_int_equal(lb_history_note(&h, &now, 1004), 0);
    assert_int_equal(lb_history_note(&h, &now, 900), 0);
    is(&h, "{\"step\":60,\"end\":54000,\"in\":[],\"out\":[],\"backlog\":[],"
           "\"lag_ms\":[],\"requests\":[]}");
}

static uint32_t
values(const lb_history_t *h)
{
    return (uint32_t)(h->minute - h->first);
}

static void
save(const lb_history_t *h, const char *dir)
{
    FILE *f;
    char path[300], *text = lb_history_text(h);

    (void)snprintf(path, sizeof(path), "%s/history.json", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(strlen(text) < 256 * 1024); /* what the module reads */
    assert_true(fputs(text, f) >= 0);
    fclose(f);
    free(text);
}

static void
no_more_than_a_day(void **state)
{
    int64_t i;
    char dir[] = "/tmp/history-XXXXXX", path[300];
    FILE *f;
    lb_history_t h = {.minute = 0}, back;
    lb_history_now_t now = {0, 0, UINT64_MAX, UINT64_MAX, 0};

    (void)state;

    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/history.json", dir);

    lb_history_load(&back, dir, BEGIN);
    assert_int_equal(back.minute, 0);

    for (i = 0; i <= 2 * DAY; i++) {
        now.accepted += UINT32_MAX - 10;
        (void)lb_history_note(&h, &now, BEGIN + i);
    }
    assert_int_equal(values(&h), DAY);
    save(&h, dir);

    /* at once, and after a while of which nothing is known */
    lb_history_load(&back, dir, BEGIN + 2 * DAY);
    assert_memory_equal(back.value, h.value, sizeof(h.value));
    assert_int_equal(values(&back), DAY);
    lb_history_load(&back, dir, BEGIN + 2 * DAY + 10);
    assert_int_equal(values(&back), DAY);
    assert_int_equal(back.value[0][(BEGIN + 2 * DAY + 9) % DAY],
                     LB_HISTORY_NONE);

    /* what came while nobody looked is of no minute */
    now.accepted += 1000;
    assert_int_equal(lb_history_note(&back, &now, BEGIN + 2 * DAY + 11), 0);
    now.accepted += 5;
    assert_int_equal(lb_history_note(&back, &now, BEGIN + 2 * DAY + 12), 1);
    assert_int_equal(back.value[0][(BEGIN + 2 * DAY + 10) % DAY],
                     LB_HISTORY_NONE);
    assert_int_equal(back.value[0][(BEGIN + 2 * DAY + 11) % DAY], 5);
    assert_int_equal(values(&back), DAY);

    /* too old, of the future, something else */
    lb_history_load(&back, dir, BEGIN + 3 * DAY);
    assert_int_equal(back.minute, 0);
    lb_history_load(&back, dir, BEGIN + 2 * DAY - 1);
    assert_int_equal(back.minute, 0);
    f = fopen(path, "w");
    assert_true(fputs("{\"step\":60,\"end\":60000,\"in\":[-1,\"a\",3]}", f) >
                0);
    fclose(f);
    lb_history_load(&back, dir, 1000);
    assert_int_equal(values(&back), 3);
    assert_int_equal(back.value[0][997 % DAY], LB_HISTORY_NONE);
    assert_int_equal(back.value[0][999 % DAY], 3);
    assert_int_equal(back.value[1][999 % DAY], LB_HISTORY_NONE);
    assert_int_equal(truncate(path, 5), 0);
    lb_history_load(&back, dir, 1000);
    assert_int_equal(back.minute, 0);

    unlink(path);
    rmdir(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_each_minute),
        cmocka_unit_test(no_more_than_a_day),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
