/*
 * Stands in for the flusher while the ingest is measured: acks whatever is
 * committed, every few milliseconds, without reading or sending it, so that
 * the rings never fill and the processor stays with nginx.
 *
 *   bench_drain SPOOL    until it is killed
 */

#include "spool/lb_ring.h"

#include <stdio.h>
#include <time.h>

static lb_reader_t *readers[LB_SLOTS_MAX];

static void
ack(lb_spool_t *spool, uint32_t slot)
{
    lb_ring_info_t info;

    if (readers[slot] != NULL && lb_reader_stale(readers[slot])) {
        lb_reader_close(readers[slot]);
        readers[slot] = NULL;
    }

    if (readers[slot] == NULL &&
        lb_reader_open(spool, slot, 1, &readers[slot], NULL) != 0) {
        readers[slot] = NULL;
        return;
    }

    if (lb_reader_info(readers[slot], &info) == 0 &&
        info.acked < info.committed) {
        (void)lb_reader_ack(readers[slot], info.committed, info.next_seq);
    }
}

int
main(int argc, char **argv)
{
    int i, n;
    uint32_t slots[LB_SLOTS_MAX];
    lb_error_t err;
    lb_spool_t *spool;
    struct timespec pause = {0, 5 * 1000 * 1000};

    if (argc != 2) {
        fputs("usage: bench_drain SPOOL\n", stderr);
        return 2;
    }

    if (lb_spool_open(argv[1], 0, &spool, &err) != 0) {
        fprintf(stderr, "bench_drain: %s\n", err.text);
        return 1;
    }

    for (;;) {

        n = lb_spool_slots(spool, slots, &err);
        if (n < 0) {
            fprintf(stderr, "bench_drain: %s\n", err.text);
            return 1;
        }

        for (i = 0; i < n; i++) {
            ack(spool, slots[i]);
        }

        nanosleep(&pause, NULL);
    }
}
