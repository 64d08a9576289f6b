/*
 * Which events go into a batch, and what is known of it then.
 */

#include <errno.h>

#include "flusher/pick.h"
#include "tests/unit/spool_env.h"

#define DAY LB_DAY_US
#define NOON (20000 * DAY + DAY / 2)

typedef struct {
    env_t *env;
    lb_writer_t *w[2];
    lb_rings_t rings;
    lb_ckpt_state_t state;
    lb_dead_t *dead;
} spool_t;

static int
setup(void **arg)
{
    int i;
    void *env;
    lb_error_t err;
    spool_t *s = calloc(1, sizeof(*s));

    assert_non_null(s);
    assert_int_equal(env_setup(&env), 0);
    s->env = env;
    for (i = 0; i < 2; i++) {
        assert_true(
            lb_ring_create(s->env->spool, 1 << 20, LB_SLOTS_MAX, &err) >= 0);
        s->w[i] = env_writer(s->env, 1 << 20);
    }
    assert_int_equal(lb_dead_open(s->env->spool, 1 << 20, &s->dead, &err), 0);
    lb_rings_init(&s->rings, s->env->spool);
    *arg = s;

    return 0;
}

static int
teardown(void **arg)
{
    spool_t *s = *arg;
    void *env = s->env;

    lb_dead_close(s->dead);
    lb_rings_close(&s->rings);
    lb_writer_close(s->w[0]);
    lb_writer_close(s->w[1]);
    assert_int_equal(env_teardown(&env), 0);
    free(s);

    return 0;
}

/* A record of so many events of ten bytes. */
static void
put(spool_t *s, int ring, uint32_t events, uint64_t us)
{
    uint32_t i;
    uint8_t *p;
    lb_meta_t meta = {
        .received_us = us, .stream = (const uint8_t *)"s", .stream_len = 1};

    p = lb_writer_stage(s->w[ring], &meta, events * 10);
    assert_non_null(p);
    for (i = 0; i < events; i++) {
        memcpy(p + i * 10, "{\"n\":1234\n", 10);
        p[i * 10 + 8] = '}';
    }
    assert_int_equal(lb_writer_append(s->w[ring], &meta, events * 10, events),
                     0);
    assert_int_equal(env_commit(s->w[ring], 1), 0);
}

static void
look(spool_t *s)
{
    lb_error_t err;
    static int64_t now;

    now += 2000;
    assert_int_equal(lb_rings_look(&s->rings, now, &err), 0);
    (void)lb_rings_enter(&s->rings, &s->state);
}

static int full; /* the batch that was picked last */

static int
pick(spool_t *s, uint64_t rows, uint64_t bytes, int newest)
{
    int rc;
    lb_batch_limits_t limits = {
        .max_rows = rows, .max_bytes = bytes, .newest = newest};

    look(s);

    rc = lb_batch_pick(&s->rings, &s->state, &limits);
    full = limits.full;

    return rc;
}

static void
ack(spool_t *s)
{
    uint32_t i;

    for (i = 0; i < s->state.nrings; i++) {
        s->state.rings[i].acked = s->state.rings[i].end;
        s->state.rings[i].acked_seq = s->state.rings[i].end_seq;
    }
}

static lb_ckpt_ring_t *
entry(spool_t *s, int ring)
{
    uint32_t i;

    for (i = 0; i < s->state.nrings; i++) {
        if (s->state.rings[i].slot == lb_writer_slot(s->w[ring])) {
            return &s->state.rings[i];
        }
    }

    fail_msg("no entry of ring %d", ring);
    return NULL;
}

/* What a small backlog leaves of its share goes to the large one. */
static void
shares(void **arg)
{
    int i;
    spool_t *s = *arg;

    assert_int_equal(pick(s, 100, 1 << 20, 0), 0);
    put(s, 0, 10, NOON);
    for (i = 0; i < 50; i++) {
        put(s, 1, 10, NOON);
    }
    assert_int_equal(pick(s, 100, 1 << 20, 0), 1);
    assert_int_equal(s->state.rows, 100);
    assert_int_equal(lb_batch_events_of(entry(s, 0)), 10);
    assert_int_equal(lb_batch_events_of(entry(s, 1)), 90);
    assert_int_equal(lb_batch_events(&s->state), 100);
    assert_true(full);
    assert_int_equal(pick(s, 1000, 1 << 20, 0), 1);
    assert_int_equal(s->state.rows, 510);
    assert_false(full);

    /* by bytes, and one event always fits */
    assert_int_equal(pick(s, 100, 200, 0), 1);
    assert_in_range(s->state.rows, 15, 20);
    assert_true(full);
    assert_int_equal(pick(s, 100, 1, 0), 1);
    assert_int_equal(s->state.rows, 1);

    lb_batch_clear(&s->state);
    assert_int_equal(lb_batch_events(&s->state), 0);
    assert_int_equal(s->state.rows, 0);
}

static void
days(void **arg)
{
    spool_t *s = *arg;

    put(s, 0, 3, NOON);
    put(s, 0, 4, NOON + DAY);
    put(s, 1, 5, NOON + 2 * DAY);

    assert_int_equal(pick(s, 100, 1 << 20, 0), 1);
    assert_int_equal(s->state.rows, 3);
    assert_int_equal(s->state.day, 20000);

    assert_int_equal(pick(s, 100, 1 << 20, 1), 1);
    assert_int_equal(s->state.rows, 5);
    assert_int_equal(s->state.day, 20002);
    ack(s);
    assert_int_equal(pick(s, 100, 1 << 20, 1), 1);
    assert_int_equal(s->state.rows, 3);

    /* the last microsecond of a day and the first of the next */
    ack(s);
    put(s, 1, 1, 20003 * DAY - 1);
    put(s, 1, 1, 20003 * DAY);
    assert_int_equal(pick(s, 100, 1 << 20, 1), 1);
    assert_int_equal(s->state.rows, 1);
    assert_int_equal(s->state.to_us, 20003 * DAY - 1);
}

static void
inside_a_record(void **arg)
{
    spool_t *s = *arg;
    lb_ckpt_ring_t *e;
    uint64_t begin;

    put(s, 0, 10, NOON);
    assert_int_equal(pick(s, 4, 1 << 20, 0), 1);
    e = entry(s, 0);
    begin = e->acked;
    assert_int_equal(e->end_seq, 4);
    assert_int_equal(e->end, begin);
    ack(s);
    assert_int_equal(pick(s, 4, 1 << 20, 0), 1);
    assert_int_equal(e->acked_seq, 4);
    assert_int_equal(e->end_seq, 8);
    ack(s);
    assert_int_equal(pick(s, 4, 1 << 20, 0), 1);
    assert_int_equal(e->end_seq, 10);
    assert_true(e->end > begin);
    ack(s);
    assert_int_equal(pick(s, 4, 1 << 20, 0), 0);
}

/* What is computed for ranges is what was known when they were picked. */
static void
measures(void **arg)
{
    int i;
    spool_t *s = *arg;
    uint64_t digest[2], from, to;
    lb_error_t err;

    for (i = 0; i < 3; i++) {
        put(s, 0, 5, NOON + (uint64_t)i * 1000);
        put(s, 1, 7, NOON - (uint64_t)i * 1000);
    }
    assert_int_equal(pick(s, 30, 1 << 20, 0), 1);
    digest[0] = entry(s, 0)->digest;
    digest[1] = entry(s, 1)->digest;
    assert_true(digest[0] != 0 && digest[1] != 0 && digest[0] != digest[1]);
    from = s->state.from_us;
    to = s->state.to_us;
    assert_int_equal(from, NOON - 2000);
    assert_int_equal(to, NOON + 2000);

    assert_int_equal(lb_batch_measure(&s->rings, &s->state, &err), 0);
    assert_int_equal(entry(s, 0)->digest, digest[0]);
    assert_int_equal(entry(s, 1)->digest, digest[1]);
    assert_int_equal(s->state.from_us, from);
    assert_int_equal(s->state.to_us, to);

    assert_int_equal(entry(s, 0)->from_us, NOON);
    assert_int_equal(entry(s, 0)->to_us, NOON + 2000);
    assert_int_equal(entry(s, 1)->from_us, NOON - 2000);
    assert_int_equal(entry(s, 1)->to_us, NOON);

    /* of a batch that was read from the checkpoint; not of other records */
    entry(s, 0)->from_us = entry(s, 0)->to_us = 0;
    entry(s, 1)->from_us = entry(s, 1)->to_us = 0;
    entry(s, 1)->digest++;
    lb_batch_times(&s->rings, &s->state);
    assert_int_equal(entry(s, 0)->from_us, NOON);
    assert_int_equal(entry(s, 0)->to_us, NOON + 2000);
    assert_int_equal(entry(s, 1)->to_us, 0);
    assert_int_equal(entry(s, 1)->digest, digest[1] + 1);

    /* a record less is another content */
    entry(s, 0)->end_seq = 5;
    assert_int_equal(lb_batch_measure(&s->rings, &s->state, &err), 0);
    assert_true(entry(s, 0)->digest != digest[0]);
    assert_int_equal(entry(s, 1)->digest, digest[1]);

    /* what lies behind the acked positions spans all of it */
    lb_batch_span(&s->rings, &s->state, &from, &to);
    assert_int_equal(from, NOON - 2000);
    assert_int_equal(to, NOON + 2000);

    memset(entry(s, 0)->uuid, 0xee, LB_UUID_LEN);
    assert_int_equal(lb_batch_measure(&s->rings, &s->state, &err), -ENOENT);
    assert_non_null(strstr(err.text, "cannot read ring"));
}

static void
locates(void **arg)
{
    spool_t *s = *arg;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;
    uint64_t p, second;

    put(s, 0, 5, NOON);
    put(s, 0, 5, NOON);
    look(s);
    e = entry(s, 0);
    r = lb_rings_find(&s->rings, e->uuid);

    assert_int_equal(lb_batch_locate(r, e, 0, &p), 0);
    assert_int_equal(p, e->acked);
    assert_int_equal(lb_batch_locate(r, e, 4, &p), 0);
    assert_int_equal(p, e->acked);
    assert_int_equal(lb_batch_locate(r, e, 5, &second), 0);
    assert_true(second > p);
    assert_int_equal(lb_batch_locate(r, e, 9, &p), 0);
    assert_int_equal(p, second);
    assert_int_equal(lb_batch_locate(r, e, 10, &p), 0);
    assert_int_equal(p, r->info.committed);
    assert_int_equal(lb_batch_locate(r, e, 11, &p), LB_EEND);
}

/* A byte of the first of three records: it is set aside and the others go. */
static void
damage(void **arg)
{
    char path[300];
    FILE *f;
    spool_t *s = *arg;
    uint64_t offset = 0;
    lb_error_t err;
    lb_dead_letter_t letter;

    put(s, 0, 5, NOON);
    put(s, 0, 6, NOON);
    put(s, 1, 7, NOON);
    look(s);
    (void)snprintf(path, sizeof(path), "%s/ring-%04u", s->env->dir,
                   lb_writer_slot(s->w[0]));
    f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, LB_RING_DATA + 100, SEEK_SET), 0);
    assert_int_equal(fputc('?', f), '?');
    assert_int_equal(fclose(f), 0);

    /* not part of a batch, nor in the way of the other ring */
    assert_int_equal(pick(s, 100, 1 << 20, 0), 1);
    assert_int_equal(s->state.rows, 7);

    assert_int_equal(lb_batch_set_aside(&s->rings, &s->state, s->dead, &err),
                     1);
    assert_int_equal(s->state.dead, 5);
    assert_true(s->state.lost_bytes > 50);
    assert_int_equal(entry(s, 0)->acked_seq, 5);
    assert_int_equal(lb_dead_next(s->dead, &offset, &letter), 1);
    assert_int_equal(letter.kind, LB_DEAD_BITROT);
    assert_int_equal(letter.events, 5);
    assert_int_equal(letter.bytes_len, s->state.lost_bytes);

    assert_int_equal(pick(s, 100, 1 << 20, 0), 1);
    assert_int_equal(s->state.rows, 13);
    assert_int_equal(lb_batch_set_aside(&s->rings, &s->state, s->dead, &err),
                     0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(shares),   T(days),    T(inside_a_record),
        T(measures), T(locates), T(damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
