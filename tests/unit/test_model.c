/*
 * Random operations on tiny rings against a model that is a plain list of
 * events: what was committed is read back exactly once, in order, whatever
 * wraps, fills up, is cut off or is claimed anew.
 *
 * LB_SEED and LB_STEPS choose another run; the seed of a failure is printed.
 */

#include "spool_env.h"

#include <errno.h>

static uint64_t rng;
static uint64_t filled;
static uint32_t last;

static uint32_t
roll(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;

    return (uint32_t)(rng >> 33) % n;
}

/* Event number seq of the ring says so itself. */
static size_t
make_event(char *buf, uint64_t seq, uint32_t pad)
{
    return (size_t)sprintf(buf, "{\"seq\":%llu,\"pad\":\"%.*s\"}\n",
                           (unsigned long long)seq, (int)pad,
                           "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                           "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
}

typedef struct {
    uint64_t staged;    /* next seq to stage */
    uint64_t begun;     /* seq behind the group in flight */
    uint64_t committed; /* seq behind what a confirmed group holds */
    uint64_t acked_seq;
    uint64_t acked;
} model_t;

static void
check_and_ack(lb_reader_t *r, model_t *m, int ack)
{
    char want[256], *text, *p;
    size_t n;
    uint32_t i, steps;
    uint64_t pos;
    lb_record_t rec;
    lb_ring_info_t info;

    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(lb_reader_sync(r, &info), 0);
    assert_true(m->acked <= info.durable && info.durable <= info.committed);
    assert_true(info.committed - m->acked <= info.capacity);
    assert_int_equal(info.next_seq, m->committed);

    steps = ack ? 1 + roll(6) : UINT32_MAX;
    pos = m->acked;

    for (uint64_t seq = m->acked_seq; pos < info.committed && steps > 0;
         steps--) {
        assert_int_equal(lb_reader_record(r, pos, info.committed, 1, &rec), 0);
        assert_int_equal(rec.first_seq, seq);

        text = p = env_payload(r, &rec);
        for (i = 0; i < rec.events; i++, seq++) {
            n = make_event(want, seq, (uint32_t)(seq * 7 % 90));
            assert_memory_equal(p, want, n);
            p += n;
        }
        assert_int_equal(p - text, rec.payload_len);
        free(text);

        pos = rec.next;
        if (ack) {
            m->acked = pos;
            m->acked_seq = seq;
        } else if (pos == info.committed) {
            assert_int_equal(seq, m->committed);
        }
    }

    if (ack) {
        assert_int_equal(lb_reader_ack(r, m->acked, m->acked_seq), 0);
    }
}

static void
run(env_t *e, uint64_t capacity, uint32_t steps)
{
    int rc, flying = 0, filling = 0;
    uint32_t steps_done = steps;
    char payload[1024];
    size_t len;
    uint32_t events, i, slot;
    model_t m;
    lb_writer_t *w;
    lb_reader_t *r;
    lb_error_t err;
    lb_ring_info_t info;

    memset(&m, 0, sizeof(m));
    rc = lb_ring_create(e->spool, capacity, LB_SLOTS_MAX, &err);
    assert_true(rc >= 0);
    slot = last = (uint32_t)rc;
    assert_int_equal(lb_writer_claim_slot(e->spool, slot, &w, &err), 0);
    r = env_reader(e, slot);

    while (steps-- > 0) {

        switch (roll(14)) {
        case 12:
        case 13:
            /* slices of zeros, run at any time after they were begun */
            if (filling) {
                lb_writer_fill_run(w);
                assert_int_equal(lb_writer_fill_end(w), 0);
                filled++;
            }
            filling = lb_writer_fill_begin(w);
            break;
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
            events = 1 + roll(3);
            for (i = 0, len = 0; i < events; i++) {
                len += make_event(payload + len, m.staged + i,
                                  (uint32_t)((m.staged + i) * 7 % 90));
            }
            rc = env_append(w, roll(2) ? "s" : "stream.of.19.letters", payload,
                            len, events);
            if (rc == 0) {
                m.staged += events;
            } else if (rc != LB_ETOOBIG) {
                assert_int_equal(rc, LB_EFULL);
            }
            break;
        case 5:
        case 6:
            rc = lb_writer_begin(w);
            if (rc == 1) {
                assert_false(flying);
                flying = 1;
                m.begun = m.staged;
            }
            break;
        case 7:
        case 8:
            if (flying) {
                assert_int_equal(lb_writer_write(w, (int)roll(2)), 0);
                assert_int_equal(lb_writer_end(w), 0);
                flying = 0;
                m.committed = m.begun;
            }
            break;
        case 9:
            check_and_ack(r, &m, 1);
            break;
        case 10:
            if (roll(4) == 0) {
                assert_int_equal(lb_writer_sync(w), 0);
                check_and_ack(r, &m, 0);
            }
            break;
        default:
            if (roll(6) == 0) {
                /* The worker dies; a group that was written without being
                 * confirmed would be kept, one that was not is gone. */
                lb_writer_close(w);
                assert_int_equal(lb_writer_claim_slot(e->spool, slot, &w, &err),
                                 0);
                flying = 0;
                filling = 0;
                assert_int_equal(lb_reader_info(r, &info), 0);
                assert_int_equal(info.next_seq, m.committed);
                m.staged = m.committed;
            }
        }
    }

    if (flying) {
        assert_int_equal(lb_writer_write(w, 1), 0);
        assert_int_equal(lb_writer_end(w), 0);
        m.committed = m.begun;
    }

    check_and_ack(r, &m, 0);
    assert_true(steps_done < 1000 || m.committed > 0);
    lb_reader_close(r);
    lb_writer_close(w);
}

/* Nothing here asks whether it survives a power cut. */
static int
no_sync(int fd)
{
    (void)fd;

    return 0;
}

static ssize_t
plain_write(int fd, const void *buf, size_t len, off_t offset, int dsync)
{
    (void)dsync;

    return lb_io_system.write(fd, buf, len, offset, 0);
}

static void
tiny_rings(void **state)
{
    lb_io_calls_t calls = lb_io_system;
    int i;
    env_t *e = *state;
    uint32_t steps;
    char path[300];
    uint64_t seed;
    static const uint64_t capacities[] = {520, 600, 1024, 4096, 8200};

    calls.sync = no_sync;
    calls.sync_dir = no_sync;
    calls.write = plain_write;
    lb_io = &calls;

    seed = getenv("LB_SEED") ? strtoull(getenv("LB_SEED"), NULL, 10) : 20261;
    steps = getenv("LB_STEPS") ? (uint32_t)atoi(getenv("LB_STEPS")) : 20000;

    for (i = 0; i < 215; i++) {
        if (i >= 15) {
            /* the first lap, again and again */
            steps = 60;
        }
        lb_fill_slice = i % 2 ? 48 : 1u << 20;
        rng = (seed + (uint64_t)i) * 0x9e3779b97f4a7c15u | 1;
        if (i < 15)
            print_message("LB_SEED=%llu capacity %llu\n",
                          (unsigned long long)seed + (unsigned)i,
                          (unsigned long long)capacities[i % 5]);
        run(e, capacities[i % 5], steps);
        if (i >= 15) {
            (void)snprintf(path, sizeof(path), "%s/ring-%04u", e->dir, last);
            assert_int_equal(unlink(path), 0);
        }
    }

    assert_true(filled > 200);
    lb_io = &lb_io_system;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tiny_rings, env_setup, env_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
