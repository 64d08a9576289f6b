/*
 * A throw-away spool for one test, and short ways to fill and read a ring.
 */

#ifndef _SPOOL_ENV_H_INCLUDED_
#define _SPOOL_ENV_H_INCLUDED_

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "spool/lb_ring.h"
#include "spool/lb_io.h"

typedef struct {
    char dir[256];
    lb_spool_t *spool;
} env_t;

static inline void
env_remove(const char *dir)
{
    char cmd[512];

    (void)snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    assert_int_equal(system(cmd), 0);
}

static inline int
env_setup(void **state)
{
    env_t *e;
    lb_error_t err;
    const char *tmp = getenv("TMPDIR");

    e = calloc(1, sizeof(*e));
    assert_non_null(e);

    (void)snprintf(e->dir, sizeof(e->dir), "%s/lb-spool-XXXXXX",
                   tmp != NULL ? tmp : P_tmpdir);
    assert_non_null(mkdtemp(e->dir));

    if (lb_spool_open(e->dir, LB_SPOOL_CREATE, &e->spool, &err) != 0) {
        fail_msg("%s", err.text);
    }

    *state = e;

    return 0;
}

static inline int
env_teardown(void **state)
{
    env_t *e = *state;

    lb_io = &lb_io_system;
    lb_spool_close(e->spool);
    env_remove(e->dir);
    free(e);

    return 0;
}

static inline lb_writer_t *
env_writer(env_t *e, uint64_t capacity)
{
    int rc;
    lb_error_t err = {0, ""};
    lb_writer_t *w;

    rc = lb_writer_claim(e->spool, capacity, &w, &err);
    if (rc == LB_ENOSLOT) {
        rc = lb_ring_create(e->spool, capacity, LB_SLOTS_MAX, &err);
        if (rc >= 0) {
            rc = lb_writer_claim(e->spool, capacity, &w, &err);
        }
    }

    if (rc != 0) {
        fail_msg("no writer: %d %s", rc, err.text);
    }

    return w;
}

static inline lb_reader_t *
env_reader(env_t *e, uint32_t slot)
{
    lb_error_t err;
    lb_reader_t *r;

    if (lb_reader_open(e->spool, slot, 1, &r, &err) != 0) {
        fail_msg("%s", err.text);
    }

    return r;
}

/* Stages one record. */
static inline int
env_append(lb_writer_t *w, const char *stream, const void *payload, size_t len,
           uint32_t events)
{
    uint8_t *p;
    lb_meta_t meta;
    static const uint8_t client[4] = {127, 0, 0, 1};

    meta.received_us = 1700000000000000u;
    meta.stream = (const uint8_t *)stream;
    meta.stream_len = strlen(stream);
    meta.client = client;
    meta.client_len = sizeof(client);
    meta.key = NULL;
    meta.contexts = memchr(payload, 1, len) != NULL;

    p = lb_writer_stage(w, &meta, len);
    assert_non_null(p);
    memcpy(p, payload, len);

    return lb_writer_append(w, &meta, len, events);
}

/* Writes what is staged as one group. */
static inline int
env_commit(lb_writer_t *w, int sync)
{
    if (lb_writer_begin(w) != 1) {
        return 0;
    }

    (void)lb_writer_write(w, sync);

    return lb_writer_end(w);
}

/* The payload of a record; the caller frees it. */
static inline char *
env_payload(lb_reader_t *r, const lb_record_t *record)
{
    char *text;
    size_t n, done;
    const uint8_t *data;

    text = malloc(record->payload_len + 1);
    assert_non_null(text);

    for (done = 0; done < record->payload_len; done += n) {
        assert_int_equal(lb_reader_view(r, record->payload + done,
                                        record->payload + record->payload_len,
                                        1, &data, &n),
                         0);
        assert_true(n > 0);
        memcpy(text + done, data, n);
    }

    text[record->payload_len] = '\0';

    return text;
}

/* What the flusher would write once everything in the ring is delivered. */
static inline void
env_deliver_all(env_t *e, lb_reader_t *r)
{
    lb_ckpt_t *c;
    lb_error_t err;
    lb_ring_info_t info;
    lb_ckpt_state_t *ckpt = calloc(1, sizeof(*ckpt));

    assert_int_equal(lb_reader_info(r, &info), 0);
    assert_int_equal(lb_ckpt_open(e->spool, &c, ckpt, &err), 0);
    ckpt->nrings = 1;
    memcpy(ckpt->rings[0].uuid, info.uuid, LB_UUID_LEN);
    ckpt->rings[0].slot = info.slot;
    ckpt->rings[0].acked = ckpt->rings[0].end = info.committed;
    ckpt->rings[0].acked_seq = ckpt->rings[0].end_seq = info.next_seq;
    assert_int_equal(lb_ckpt_store(c, ckpt, &err), 0);
    lb_ckpt_close(c);
    assert_int_equal(lb_reader_ack(r, info.committed, info.next_seq), 0);
    free(ckpt);
}

#endif /* _SPOOL_ENV_H_INCLUDED_ */
