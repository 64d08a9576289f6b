/*
 * Zero-filling a new ring ahead of its writer.
 *
 * A ring is preallocated when it is created, so that space never lacks, and
 * what is preallocated reads as zeros: nothing depends on whether the data area
 * was filled, but the cost of a sync, which has to convert what was only
 * allocated.  So the area is filled ahead, in slices, while the ring is in use.
 *
 * What must never happen is that a slice of zeros lands on a record.  A slice
 * begins well ahead of everything staged; a writer that catches up with it
 * while zeros are written waits until they are, but not for their sync, and
 * cancels the slice if it has not begun to run.
 *
 * How far it has come is not stored, only where it ends: the position one
 * capacity behind that where the file began.  After a crash the next owner
 * fills what lies between its writing position and that end once more; records
 * are never in there, because a position that is a lap on is behind the end.
 */

#include "lb_fill.h"

#include <fcntl.h>
#include <unistd.h>

#include "lb_io.h"
#include "lb_spool_private.h"

void
lb_fill_init(lb_fill_t *fill, lb_spool_t *spool, uint32_t slot, int fd,
             uint64_t capacity, const lb_cell_t *cell)
{
    char name[LB_RING_NAME];

    fill->fd = -1;
    fill->capacity = capacity;
    fill->filled = cell->committed + 2 * lb_fill_slice;
    fill->to = 0;
    fill->result = 0;
    atomic_store(&fill->from, UINT64_MAX);
    (void)pthread_mutex_init(&fill->lock, NULL);

    /* an end further off than one lap is none of ours */
    atomic_store(&fill->end,
                 cell->fill_end > fill->filled &&
                         cell->fill_end - cell->committed <= capacity
                     ? cell->fill_end
                     : 0);

    if (atomic_load(&fill->end) == 0) {
        return;
    }

    /* A description of its own: a failed write is reported once to each, and
     * that of a record must not be told to the filling instead. */

    lb_ring_name(slot, name);
    fill->fd = openat(spool->dirfd, name, O_RDWR | O_CLOEXEC);

    if (fill->fd >= 0 && !lb_ring_same(spool, slot, fd)) {
        close(fill->fd);
        fill->fd = -1;
    }
}

void
lb_fill_close(lb_fill_t *fill)
{
    if (fill->fd >= 0) {
        close(fill->fd);
        fill->fd = -1;
    }

    (void)pthread_mutex_destroy(&fill->lock);
}

int
lb_fill_begin(lb_fill_t *fill, uint64_t next)
{
    uint64_t from, end = atomic_load(&fill->end);

    if (end == 0 || fill->fd < 0) {
        return 0;
    }

    from = next + 2 * lb_fill_slice;
    if (from < fill->filled) {
        from = fill->filled;
    }

    if (from >= end) {
        atomic_store(&fill->end, 0);
        close(fill->fd);
        fill->fd = -1;
        return 0;
    }

    (void)pthread_mutex_lock(&fill->lock);
    fill->to = end - from < lb_fill_slice ? end : from + lb_fill_slice;
    fill->filled = fill->to;
    (void)pthread_mutex_unlock(&fill->lock);

    atomic_store(&fill->from, from);

    return 1;
}

void
lb_fill_run(lb_fill_t *fill)
{
    uint64_t to, from = atomic_load(&fill->from);

    (void)pthread_mutex_lock(&fill->lock);

    fill->result = 0;
    to = fill->to;

    if (from < to) {
        fill->result = lb_ring_zero(fill->fd, fill->capacity, from, to);
    }

    (void)pthread_mutex_unlock(&fill->lock);

    /* By and by, and not as gigabytes that others wait for.  No more zeros are
     * written: nobody needs to wait while the disk is at it. */
    if (from < to && fill->result == 0) {
        fill->result = lb_io_sync(fill->fd);
    }
}

int
lb_fill_end(lb_fill_t *fill)
{
    atomic_store(&fill->from, UINT64_MAX);

    if (fill->result != 0) {
        close(fill->fd);
        fill->fd = -1;
    }

    return fill->result;
}

int
lb_fill_busy(lb_fill_t *fill, uint64_t end)
{
    if (end <= atomic_load(&fill->from)) {
        return 0;
    }

    if (pthread_mutex_trylock(&fill->lock) != 0) {
        return 1;
    }

    /* what is done with will not run any more, nor what has not begun */
    fill->to = 0;
    (void)pthread_mutex_unlock(&fill->lock);

    return 0;
}

void
lb_fill_yield(lb_fill_t *fill, uint64_t end)
{
    if (lb_fill_busy(fill, end)) {
        (void)pthread_mutex_lock(&fill->lock);
        fill->to = 0;
        (void)pthread_mutex_unlock(&fill->lock);
    }
}
