/*
 * Marks: what had been received by when, without the wall clock.
 *
 * A mark says that everything before a position had been received at a time of
 * CLOCK_BOOTTIME.  One is put at most once a second, into the first level;
 * each level has sixteen and lets five times as long pass between two of them
 * as the one before: the last has a day, and two weeks in all.  Marks are not
 * synced and not needed: one that is missing, torn or too old makes records
 * look younger than they are, never older.
 */

#include "lb_marks.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lb_bytes.h"
#include "lb_clock.h"
#include "lb_crc32c.h"
#include "lb_io.h"

#define FOLLOW_US UINT64_C(1000000)

#define LEVELS (LB_MARKS / LB_MARKS_LEVEL)

/* Which boot the clock counts from. */
static uint32_t
this_boot(void)
{
    int fd;
    char id[36];
    ssize_t n = 0;

    fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        n = read(fd, id, sizeof(id));
        close(fd);
    }

    return n > 0 ? lb_crc32c(0, id, (size_t)n) : 0;
}

static void
encode(uint8_t *p, uint64_t n, uint64_t position, uint64_t us, uint32_t boot)
{
    lb_put64(p, n);
    lb_put64(p + 8, position);
    lb_put64(p + 16, us);
    lb_put32(p + 24, boot);
    lb_put32(p + 28, lb_crc32c(0, p, 28));
}

static int
valid(const uint8_t *p)
{
    return lb_get64(p) != 0 && lb_get64(p + 8) % 8 == 0 &&
           lb_get64(p + 8) < 1ull << 62 && lb_get64(p + 16) < 1ull << 62 &&
           lb_get32(p + 28) == lb_crc32c(0, p, 28);
}

void
lb_marks_open(lb_marks_t *m, int fd, uint64_t committed)
{
    int changed = 0;
    size_t i, level;
    uint64_t position;
    uint8_t *p, page[LB_PAGE];

    memset(m, 0, sizeof(*m));
    m->boot = this_boot();

    if (lb_io_read(fd, page, sizeof(page), LB_RING_MARKS) != 0) {
        return;
    }

    for (i = 0; i < LB_MARKS; i++) {
        p = page + i * LB_MARK_SIZE;
        level = i / LB_MARKS_LEVEL;

        if (!valid(p)) {
            continue;
        }

        position = lb_get64(p + 8);

        /* of records that a power cut took back */
        if (position > committed) {
            memset(p, 0, LB_MARK_SIZE);
            changed = 1;
            continue;
        }

        if (position > m->position) {
            m->position = position;
        }

        if (lb_get64(p) > m->number[level]) {
            m->number[level] = lb_get64(p);
            m->since[level] =
                lb_get32(p + 24) == m->boot ? lb_get64(p + 16) : 0;
        }
    }

    if (changed) {
        (void)lb_io_write(fd, page, sizeof(page), LB_RING_MARKS, 0);
    }

    /* Records behind the last mark were received before now.  This also puts
     * the first mark of a new ring. */
    lb_marks_put(m, fd, committed, 1);
}

void
lb_marks_put(lb_marks_t *m, int fd, uint64_t position, int now)
{
    size_t i;
    uint8_t raw[LB_MARK_SIZE];
    uint64_t us, every;

    if (position == m->position && m->number[0] != 0) {
        return;
    }

    us = lb_boot_us();

    if (!now && us - m->put < FOLLOW_US) {
        return;
    }

    m->put = us;
    m->position = position;

    /* always into the first level, into others when their last one is old */

    for (i = 0, every = FOLLOW_US; i < LEVELS; i++, every *= 5) {

        if (m->since[i] == 0 || us - m->since[i] >= every) {
            m->since[i] = us;
            m->number[i]++;
        } else if (i > 0) {
            continue;
        }

        encode(raw, m->number[i], position, us, m->boot);
        (void)lb_io_write(
            fd, raw, sizeof(raw),
            (off_t)(LB_RING_MARKS +
                    (i * LB_MARKS_LEVEL + m->number[i] % LB_MARKS_LEVEL) *
                        LB_MARK_SIZE),
            0);
    }
}

static int
by_position(const void *a, const void *b)
{
    const uint8_t *x = *(const uint8_t *const *)a;
    const uint8_t *y = *(const uint8_t *const *)b;

    if (lb_get64(x + 8) != lb_get64(y + 8)) {
        return lb_get64(x + 8) < lb_get64(y + 8) ? -1 : 1;
    }

    return lb_get64(x + 16) < lb_get64(y + 16) ? -1 : 1;
}

int
lb_marks_read(int fd, uint64_t committed, lb_mark_t marks[LB_MARKS])
{
    int i, n = 0, rc;
    size_t k;
    uint8_t page[LB_PAGE];
    const uint8_t *p, *next, *found[LB_MARKS];
    int64_t us, then;
    uint32_t boot = this_boot();
    uint64_t now = lb_boot_us();

    rc = lb_io_read(fd, page, sizeof(page), LB_RING_MARKS);
    if (rc != 0) {
        return rc;
    }

    for (k = 0; k < LB_MARKS; k++) {
        p = page + k * LB_MARK_SIZE;
        if (valid(p) && lb_get64(p + 8) <= committed) {
            found[n++] = p;
        }
    }

    qsort(found, (size_t)n, sizeof(found[0]), by_position);

    /* Backwards, from clock to clock: how long the machine was off is
     * not known, so it counts as no time at all. */

    for (i = n - 1, next = NULL, then = 0; i >= 0; i--) {
        p = found[i];
        us = (int64_t)lb_get64(p + 16);

        if (next != NULL && lb_get32(next + 24) == lb_get32(p + 24) &&
            us <= (int64_t)lb_get64(next + 16)) {
            then -= (int64_t)lb_get64(next + 16) - us;
        } else if (next != NULL) {
            then -= (int64_t)lb_get64(next + 16);
        } else if (lb_get32(p + 24) == boot && us <= (int64_t)now) {
            then = us;
        }

        marks[i].position = lb_get64(p + 8);
        marks[i].boot_us = then;
        next = p;
    }

    return n;
}
