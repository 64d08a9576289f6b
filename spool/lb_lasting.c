/*
 * For how long a spool takes events while nothing is delivered.
 */

#include "lb_lasting.h"

#include "lb_clock.h"

#define DAY_US (INT64_C(86400) * 1000000)

/* of a spool, before requests are refused: docs/directives.md, logbroker_spool */
#define USABLE 0.9

void
lb_lasting_ring(lb_lasting_t *lasting, lb_reader_t *reader,
                const lb_ring_info_t *info, uint64_t acked)
{
    int n;
    uint64_t now = lb_now_us(), age;
    lb_mark_t marks[LB_MARKS];

    if (!(info->flags & LB_CELL_POISONED)) {
        lasting->room += info->capacity;
    }

    if (info->committed > acked) {
        lasting->backlog += info->committed - acked;
    }

    n = lb_reader_marks(reader, info->committed, marks);
    age = now > info->created_us ? now - info->created_us : 0;

    lb_lasting_marks(lasting, marks, n < 0 ? 0 : n, info->committed, age,
                     (int64_t)lb_boot_us());
}

/* Between two marks as much is taken to have come at any time. */

void
lb_lasting_marks(lb_lasting_t *lasting, const lb_mark_t *marks, int n,
                 uint64_t committed, uint64_t age_us, int64_t now)
{
    int i;
    double share;
    int64_t begin = now - DAY_US, window = DAY_US;
    uint64_t from = committed;

    for (i = 0; i < n && marks[i].boot_us <= begin; i++) {
        from = marks[i].position;
    }

    if (i > 0 && i < n) {
        share = (double)(begin - marks[i - 1].boot_us) /
                (double)(marks[i].boot_us - marks[i - 1].boot_us);
        from += (uint64_t)(share * (double)(marks[i].position - from));

    } else if (i == 0 && age_us < (uint64_t)DAY_US) {
        from = 0;
        window = (int64_t)age_us;

    } else if (i == 0 && n > 0) {
        from = marks[0].position;
        window = now - marks[0].boot_us;
    }

    lasting->received += committed - from;

    if ((uint64_t)window > lasting->window_us) {
        lasting->window_us = (uint64_t)window;
    }
}

uint64_t
lb_lasting_seconds(const lb_lasting_t *lasting, int empty)
{
    double room = USABLE * (double)lasting->room, seconds;

    if (!empty) {
        room -= (double)lasting->backlog;
    }

    if (lasting->window_us == 0 ||
        (lasting->room == 0 && lasting->received == 0)) {
        return UINT64_MAX;
    }

    if (room <= 0) {
        return 0;
    }

    if (lasting->received == 0) {
        return UINT64_MAX;
    }

    seconds =
        room / (double)lasting->received * (double)lasting->window_us / 1e6;

    return seconds < 1e15 ? (uint64_t)seconds : UINT64_MAX;
}
