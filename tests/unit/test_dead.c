/*
 * Dead letters: what is known of them is what is in the file, whoever changes
 * that, and it is known without reading the file again.
 */

#include "spool_env.h"

#include <errno.h>
#include <sys/stat.h>

#include "spool/lb_dead.h"
#include "spool/lb_io.h"

#define RINGS 3
#define SEQS 400
#define FILE_SIZE (1u << 20)

typedef struct {
    env_t *e;
    lb_writer_t *w;
    lb_reader_t *reader;
    lb_ring_info_t info;
    lb_record_t rec;
    lb_dead_t *dead;
    lb_error_t err;
} place_t;

static uint64_t reads;
static uint64_t fail_from; /* reads at or behind this offset fail */

static ssize_t
counted_read(int fd, void *buf, size_t len, off_t offset)
{
    reads++;

    if (fail_from > 0 && (uint64_t)offset + len > fail_from) {
        errno = EIO;
        return -1;
    }

    return lb_io_system.read(fd, buf, len, offset);
}

static lb_io_calls_t calls;

static void
begin(place_t *p, void **state)
{
    memset(p, 0, sizeof(*p));
    p->e = *state;
    p->w = env_writer(p->e, 65536);
    assert_int_equal(env_append(p->w, "app", "{\"n\":1}\n", 8, 1), 0);
    assert_int_equal(env_commit(p->w, 1), 0);
    p->reader = env_reader(p->e, 0);
    assert_int_equal(lb_reader_info(p->reader, &p->info), 0);
    assert_int_equal(
        lb_reader_record(p->reader, 0, p->info.committed, 1, &p->rec), 0);
    assert_int_equal(lb_dead_open(p->e->spool, FILE_SIZE, &p->dead, &p->err),
                     0);

    calls = lb_io_system;
    calls.read = counted_read;
    fail_from = 0;
    lb_io = &calls;
}

static void
end(place_t *p)
{
    lb_io = &lb_io_system;
    lb_dead_close(p->dead);
    lb_reader_close(p->reader);
    lb_writer_close(p->w);
}

static void
path(const place_t *p, const char *name, char *to, size_t size)
{
    (void)snprintf(to, size, "%s/%s", p->e->dir, name);
}

/* Which ring it was is one byte of its UUID here. */
static int
set_aside(place_t *p, lb_dead_t *dead, int ring, uint64_t seq)
{
    lb_ring_info_t info = p->info;

    info.uuid[0] = (uint8_t)ring;

    return lb_dead_row(dead, p->reader, &info, &p->rec, seq,
                       (const uint8_t *)"{\"n\":1}", 7, "it is bad", &p->err);
}

static size_t
rows(place_t *p, int ring, uint64_t first, uint64_t last, uint64_t *seqs,
     size_t max)
{
    int rc;
    size_t n;
    uint8_t uuid[LB_UUID_LEN];

    memcpy(uuid, p->info.uuid, LB_UUID_LEN);
    uuid[0] = (uint8_t)ring;
    rc = lb_dead_rows(p->dead, uuid, first, last, seqs, max, &n, &p->err);
    if (rc != 0) {
        fail_msg("%s", p->err.text);
    }

    return n;
}

/* In any order, and each once: the same as by a walk through the file. */
static void
test_rows(void **state)
{
    int ring;
    size_t i, n, k, wanted;
    uint64_t first, last, at, seqs[SEQS];
    place_t p;
    lb_dead_letter_t l;

    begin(&p, state);
    srand(7);

    for (i = 0; i < 600; i++) {
        ring = rand() % RINGS;
        assert_int_equal(set_aside(&p, p.dead, ring, (uint64_t)rand() % SEQS),
                         0);

        first = (uint64_t)rand() % SEQS;
        last = first + (uint64_t)rand() % (SEQS - first + 1);
        ring = rand() % RINGS;
        n = rows(&p, ring, first, last, seqs, SEQS);

        wanted = 0;
        at = 0;
        while (lb_dead_next(p.dead, &at, &l)) {
            if (l.ring[0] != ring || l.first_seq < first ||
                l.first_seq >= last) {
                continue;
            }
            wanted++;
            for (k = 0; k < n && seqs[k] != l.first_seq; k++) {
                /* void */
            }
            assert_true(k < n);
        }

        assert_int_equal(n, wanted);
        for (k = 1; k < n; k++) {
            assert_true(seqs[k - 1] < seqs[k]);
        }
        assert_int_equal(rows(&p, ring, first, last, seqs, 1), wanted);
    }

    end(&p);
}

/* What is known needs no reading of the file, however many letters it has. */
static void
test_reads(void **state)
{
    uint64_t i, at, seqs[2];
    place_t p;
    lb_dead_letter_t l;

    begin(&p, state);

    for (i = 0; i < 2000; i++) {
        assert_int_equal(set_aside(&p, p.dead, 0, i), 0);
    }

    reads = 0;
    assert_int_equal(rows(&p, 0, 700, 702, seqs, 2), 2);
    assert_int_equal(seqs[1], 701);
    assert_true(reads <= 3);

    /* it is known already */
    reads = 0;
    assert_int_equal(set_aside(&p, p.dead, 0, 1999), 0);
    assert_true(reads <= 3);
    assert_int_equal(lb_dead_count_open(p.dead), 2000);

    reads = 0;
    assert_int_equal(lb_dead_count_open(p.dead), 2000);
    assert_true(reads <= 30);

    at = 0;
    assert_true(lb_dead_next(p.dead, &at, &l));
    assert_int_equal(lb_dead_mark(p.dead, &l, LB_DEAD_IS_DONE), 0);
    assert_int_equal(lb_dead_count_open(p.dead), 1999);

    /* one of many, as each of "dead replay all" is */
    while (l.first_seq != 1500) {
        assert_true(lb_dead_next(p.dead, &at, &l));
    }
    reads = 0;
    assert_int_equal(lb_dead_read(p.dead, l.offset, &l), 0);
    assert_string_equal(l.reason, "it is bad");
    lb_dead_free(&l);
    assert_true(reads <= 8);
    assert_int_equal(lb_dead_read(p.dead, l.offset + 8, &l), -ENOENT);

    end(&p);
}

/* Letters that another handle adds, takes away, or writes anew. */
static void
test_others(void **state)
{
    uint64_t at = 0, last = 0, seqs[8];
    place_t p;
    lb_dead_t *other;
    lb_dead_letter_t l;
    uint8_t word[4] = {0};
    char name[300];
    FILE *f;

    begin(&p, state);
    assert_int_equal(lb_dead_open(p.e->spool, 0, &other, &p.err), 0);

    assert_int_equal(set_aside(&p, p.dead, 0, 1), 0);
    assert_int_equal(set_aside(&p, other, 0, 2), 0);
    assert_int_equal(set_aside(&p, p.dead, 0, 3), 0);
    assert_int_equal(rows(&p, 0, 0, 9, seqs, 8), 3);
    assert_int_equal(lb_dead_count_open(other), 3);

    /* the last one goes: no longer a dead letter, its place is free */
    while (lb_dead_next(p.dead, &at, &l)) {
        last = l.offset;
    }
    path(&p, "dead", name, sizeof(name));
    f = fopen(name, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)last + 16, SEEK_SET), 0);
    assert_int_equal(fwrite(word, 1, 4, f), 4);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rows(&p, 0, 0, 9, seqs, 8), 2);
    assert_int_equal(set_aside(&p, p.dead, 0, 4), 0);
    assert_int_equal(rows(&p, 0, 0, 9, seqs, 8), 3);
    assert_int_equal(seqs[2], 4);

    lb_dead_close(other);
    assert_int_equal(lb_dead_open(p.e->spool, 0, &other, &p.err), 0);
    assert_int_equal(lb_dead_count_open(other), 3);
    lb_dead_close(other);
    end(&p);
}

/* A letter of which the end was not written is none, and is written over. */
static void
test_torn(void **state)
{
    uint64_t at = 0, seqs[8];
    place_t p;
    lb_dead_letter_t l;
    char name[300];
    FILE *f;

    begin(&p, state);
    assert_int_equal(set_aside(&p, p.dead, 0, 1), 0);
    assert_int_equal(set_aside(&p, p.dead, 0, 2), 0);
    lb_dead_close(p.dead);

    path(&p, "dead", name, sizeof(name));
    assert_int_equal(lb_dead_open(p.e->spool, 0, &p.dead, &p.err), 0);
    while (lb_dead_next(p.dead, &at, &l)) {
        /* void */
    }
    lb_dead_close(p.dead);
    f = fopen(name, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)(at - 16), SEEK_SET), 0);
    assert_int_equal(fwrite("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 1, 16, f), 16);
    assert_int_equal(fclose(f), 0);

    assert_int_equal(lb_dead_open(p.e->spool, 0, &p.dead, &p.err), 0);
    assert_int_equal(rows(&p, 0, 0, 9, seqs, 8), 1);
    assert_int_equal(set_aside(&p, p.dead, 0, 2), 0);
    assert_int_equal(set_aside(&p, p.dead, 0, 3), 0);
    assert_int_equal(rows(&p, 0, 0, 9, seqs, 8), 3);
    end(&p);
}

/* Another file in its place is taken up; none is a reason to stop. */
static void
test_replaced(void **state)
{
    size_t n;
    uint64_t seqs[8];
    place_t p;
    lb_dead_t *other;
    char name[300], copy[300], command[700];

    begin(&p, state);
    assert_int_equal(set_aside(&p, p.dead, 0, 1), 0);
    path(&p, "dead", name, sizeof(name));
    path(&p, "dead.backup", copy, sizeof(copy));
    (void)snprintf(command, sizeof(command), "cp '%s' '%s'", name, copy);
    assert_int_equal(system(command), 0);
    assert_int_equal(set_aside(&p, p.dead, 0, 2), 0);
    assert_int_equal(set_aside(&p, p.dead, 1, 3), 0);

    assert_int_equal(rename(copy, name), 0);
    assert_int_equal(rows(&p, 0, 0, 9, seqs, 8), 1);
    assert_int_equal(rows(&p, 1, 0, 9, seqs, 8), 0);

    /* and what is written now is in the file that others see */
    assert_int_equal(set_aside(&p, p.dead, 0, 5), 0);
    assert_int_equal(lb_dead_open(p.e->spool, 0, &other, &p.err), 0);
    assert_int_equal(lb_dead_count_open(other), 2);
    lb_dead_close(other);

    assert_int_equal(rename(name, copy), 0);
    assert_int_equal(set_aside(&p, p.dead, 0, 6), -ENOENT);
    assert_non_null(strstr(p.err.text, "put the file back"));
    assert_int_equal(
        lb_dead_rows(p.dead, p.info.uuid, 0, 9, seqs, 8, &n, &p.err), -ENOENT);

    /* something else by that name is not used, and the right one is again */
    (void)snprintf(command, sizeof(command),
                   "head -c 100000 /dev/zero | tr '\\0' x >'%s'", name);
    assert_int_equal(system(command), 0);
    assert_int_equal(set_aside(&p, p.dead, 0, 6), LB_EFOREIGN);
    assert_int_equal(set_aside(&p, p.dead, 0, 6), LB_EFOREIGN);
    assert_int_equal(rename(copy, name), 0);
    assert_int_equal(set_aside(&p, p.dead, 0, 6), 0);
    assert_int_equal(rows(&p, 0, 0, 9, seqs, 8), 3);
    end(&p);
}

/* A disk that does not answer does not mean that there are no letters. */
static void
test_unreadable(void **state)
{
    uint64_t i, seqs[8];
    place_t p;
    lb_dead_t *other;

    begin(&p, state);

    for (i = 0; i < 100; i++) {
        assert_int_equal(set_aside(&p, p.dead, 0, i), 0);
    }

    fail_from = 8192;
    assert_int_equal(lb_dead_open(p.e->spool, 0, &other, &p.err), -EIO);
    fail_from = 0;
    assert_int_equal(lb_dead_open(p.e->spool, 0, &other, &p.err), 0);
    lb_dead_close(other);
    assert_int_equal(rows(&p, 0, 0, 99, seqs, 8), 99);
    end(&p);
}

/* Full of letters that are done: it starts anew, and nothing of the old ones
 * is known any more. */
static void
test_anew(void **state)
{
    uint64_t i = 0, at = 0, seqs[8];
    place_t p;
    lb_dead_letter_t l;

    begin(&p, state);

    while (set_aside(&p, p.dead, 0, i) == 0) {
        i++;
    }
    assert_int_equal(p.err.code, -ENOSPC);
    assert_int_equal(lb_dead_count_open(p.dead), i);

    while (lb_dead_next(p.dead, &at, &l)) {
        assert_int_equal(lb_dead_mark(p.dead, &l, LB_DEAD_IS_DONE), 0);
    }
    assert_int_equal(lb_dead_count_open(p.dead), 0);

    /* opened again by a replay that was late */
    assert_int_equal(lb_dead_mark(p.dead, &l, LB_DEAD_IS_DONE), 0);
    at = 0;
    assert_true(lb_dead_next(p.dead, &at, &l));
    assert_int_equal(lb_dead_mark(p.dead, &l, LB_DEAD_IS_OPEN), 0);
    assert_int_equal(set_aside(&p, p.dead, 0, i), -ENOSPC);
    assert_int_equal(lb_dead_mark(p.dead, &l, LB_DEAD_IS_DONE), 0);

    assert_int_equal(set_aside(&p, p.dead, 0, i), 0);
    assert_int_equal(rows(&p, 0, 0, i, seqs, 8), 0);
    assert_int_equal(rows(&p, 0, 0, i + 1, seqs, 8), 1);
    assert_int_equal(lb_dead_count_open(p.dead), 1);
    end(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows, env_setup, env_teardown),
        cmocka_unit_test_setup_teardown(test_reads, env_setup, env_teardown),
        cmocka_unit_test_setup_teardown(test_others, env_setup, env_teardown),
        cmocka_unit_test_setup_teardown(test_torn, env_setup, env_teardown),
        cmocka_unit_test_setup_teardown(test_replaced, env_setup, env_teardown),
        cmocka_unit_test_setup_teardown(test_unreadable, env_setup,
                                        env_teardown),
        cmocka_unit_test_setup_teardown(test_anew, env_setup, env_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
