/*
 * Fuzzer: a ring and a checkpoint that were damaged in any way, some of it
 * with right checksums.  Whoever reads them must end, stay inside its memory
 * and believe nothing that is not valid; a writer that can claim the ring must
 * be able to go on, and what it writes must be read back as it was written,
 * under seqs that were never used before.
 *
 * The input is a list of steps of 8 bytes: kind, size, position (4 bytes),
 * value, repeat.
 *
 *   0, 1, 2  bytes of the ring file, the pages before the data, the checkpoint
 *   3, 4     a field of a commit cell, of an ack cell; its checksum is right
 *   5        a field of the checkpoint; its checksum is right
 *   6        a field of a record header; its checksum is right
 *   7        cuts the ring file
 */

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spool/lb_bytes.h"
#include "spool/lb_ring.h"

#define CAPACITY 4096u
#define RING_SIZE (LB_RING_DATA + CAPACITY)
#define RECORDS 24

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[64];
static char ring_path[96], ckpt_path[96];
static uint8_t ring_template[RING_SIZE], ckpt_template[LB_CKPT_SIZE];
static uint8_t ring_file[RING_SIZE], ckpt_file[LB_CKPT_SIZE];
static size_t ring_len;
static uint64_t records[RECORDS * 2];
static size_t nrecords;

static void
remove_dir(void)
{
    char cmd[128];

    (void)snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
    if (system(cmd) != 0) {
        perror(cmd);
    }
}

#define REQUIRE(x)                                                             \
    do {                                                                       \
        if (!(x)) {                                                            \
            fprintf(stderr, "fuzz_recovery: %s:%d: %s\n", __FILE__, __LINE__,  \
                    #x);                                                       \
            abort();                                                           \
        }                                                                      \
    } while (0)

static void
load(const char *path, uint8_t *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    REQUIRE(fd >= 0 && pread(fd, buf, size, 0) == (ssize_t)size);
    close(fd);
}

static void
save(const char *path, const uint8_t *buf, size_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0660);

    REQUIRE(fd >= 0 && pwrite(fd, buf, size, 0) == (ssize_t)size);
    close(fd);
}

static int
append(lb_writer_t *w, unsigned n)
{
    int rc, len;
    char text[128];
    uint8_t *p;
    lb_meta_t meta = {1700000000000000u + n,
                      (const uint8_t *)"stream",
                      6,
                      NULL,
                      0,
                      n % 2 ? (const uint8_t *)"0123456789abcdef" : NULL,
                      n % 8 == 0,
                      n % 4 == 1 ? LB_KEY_DIGEST : LB_KEY_GIVEN};

    len = snprintf(text, sizeof(text), "%s{\"n\":%u,\"pad\":\"%.*s\"}\n{}\n",
                   meta.contexts ? "\001{}\n" : "", n, (int)(n % 40),
                   "........................................");
    p = lb_writer_stage(w, &meta, (size_t)len);
    REQUIRE(p != NULL);
    memcpy(p, text, (size_t)len);

    rc = lb_writer_append(w, &meta, (size_t)len, 2);
    if (rc == 0) {
        REQUIRE(lb_writer_begin(w) == 1);
        REQUIRE(lb_writer_write(w, 0) == 0);
        REQUIRE(lb_writer_end(w) == 0);
    }

    return rc;
}

/* A ring that has wrapped, half of it acked, a batch in flight. */
static void
make_template(void)
{
    unsigned n;
    uint64_t p;
    lb_ckpt_t *ckpt;
    lb_error_t err;
    lb_record_t rec;
    lb_spool_t *spool;
    lb_writer_t *w;
    lb_reader_t *r;
    lb_ring_info_t info;
    static lb_ckpt_state_t state;

    (void)snprintf(dir, sizeof(dir), "%s/lb-fuzz-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    REQUIRE(mkdtemp(dir) != NULL);
    atexit(remove_dir);
    (void)snprintf(ring_path, sizeof(ring_path), "%s/ring-0000", dir);
    (void)snprintf(ckpt_path, sizeof(ckpt_path), "%s/checkpoint", dir);

    REQUIRE(lb_spool_open(dir, LB_SPOOL_CREATE, &spool, &err) == 0);
    REQUIRE(lb_ring_create(spool, CAPACITY, 1, &err) == 0);
    REQUIRE(lb_ckpt_open(spool, &ckpt, &state, &err) == 0);
    REQUIRE(lb_writer_claim(spool, CAPACITY, &w, &err) == 0);
    REQUIRE(lb_reader_open(spool, 0, 1, &r, &err) == 0);

    for (n = 0; n < RECORDS; n++) {
        REQUIRE(append(w, n) == 0);
        REQUIRE(lb_reader_info(r, &info) == 0);
        p = state.nrings ? state.rings[0].acked : 0;

        if (n == RECORDS / 2) {
            state.nrings = 1;
            memcpy(state.rings[0].uuid, info.uuid, LB_UUID_LEN);
            state.rings[0].acked = state.rings[0].end = info.committed;
            state.rings[0].acked_seq = state.rings[0].end_seq = info.next_seq;
            state.delivered = info.next_seq;
            REQUIRE(lb_ckpt_store(ckpt, &state, &err) == 0);
            REQUIRE(lb_reader_ack(r, info.committed, info.next_seq) == 0);
        }

        if (n == RECORDS - 4) {
            state.rings[0].end = info.committed;
            state.rings[0].end_seq = info.next_seq;
            state.rows = info.next_seq - state.rings[0].acked_seq;
            state.flags = LB_CKPT_IN_FLIGHT;
            (void)snprintf(state.token, sizeof(state.token), "token");
            (void)snprintf(state.table, sizeof(state.table), "a.b");
            REQUIRE(lb_ckpt_store(ckpt, &state, &err) == 0);
        }
    }

    for (p = state.rings[0].acked; p < info.committed; p = rec.next) {
        REQUIRE(lb_reader_record(r, p, info.committed, 1, &rec) == 0);
        records[nrecords++] = p;
    }

    lb_reader_close(r);
    lb_writer_close(w);
    lb_ckpt_close(ckpt);
    lb_spool_close(spool);

    load(ring_path, ring_template, RING_SIZE);
    load(ckpt_path, ckpt_template, LB_CKPT_SIZE);
}

static void
change(uint8_t *p, size_t room, size_t at, uint8_t size, uint8_t value,
       uint8_t repeat)
{
    size_t i;

    for (i = 0; i <= repeat; i++) {
        if (at + i < room) {
            p[at + i] = size & 1 ? (uint8_t)(p[at + i] ^ value) : value;
        }
    }
}

static void
step(const uint8_t s[8])
{
    size_t at = lb_get32(s + 2), copy;
    uint8_t *cell, *head, raw[LB_RECORD_HEADER_MAX];
    uint64_t position;
    uint32_t n;

    switch (s[0] & 7) {
    case 0:
        change(ring_file, RING_SIZE, at % RING_SIZE, s[1], s[6], s[7]);
        break;
    case 1:
        change(ring_file, LB_RING_DATA, at % LB_RING_DATA, s[1], s[6], s[7]);
        break;
    case 2:
        change(ckpt_file, LB_CKPT_SIZE,
               at % 2048 + at / 2048 % 2 * LB_CKPT_COPY, s[1], s[6], s[7]);
        break;
    case 3:
    case 4:
        /* a small step: a checksum does not come right by itself */
        cell = ring_file + ((s[0] & 7) == 3 ? LB_RING_WRITER : LB_RING_READER) +
               at % 2 * LB_CELL_STRIDE;
        at = at / 2 % 5 * 8;
        lb_put64(cell + at, lb_get64(cell + at) + (uint64_t)(int8_t)s[6] * 8);
        lb_put32(cell + 60, lb_crc32c(0, cell, 60));
        break;
    case 5:
        copy = at % 2 * LB_CKPT_COPY;
        at = at / 2 % (LB_CKPT_FIXED + LB_CKPT_RING - 24) + 16;
        ckpt_file[copy + at] = s[6];
        n = lb_get32(ckpt_file + copy + 88);
        n = n <= LB_CKPT_RINGS_MAX ? n : 0;
        lb_put32(ckpt_file + copy + 12,
                 lb_crc32c(0, ckpt_file + copy + 16,
                           LB_CKPT_FIXED + n * LB_CKPT_RING - 16));
        break;
    case 6:
        position = records[at % nrecords] % CAPACITY;
        if (position + LB_RECORD_HEADER_MAX > CAPACITY) {
            break;
        }
        head = ring_file + LB_RING_DATA + position;
        memcpy(raw, head, sizeof(raw));
        raw[8 + at / 64 % 72] = s[6];
        n = lb_get16(raw + 48);
        if (n >= LB_RECORD_FIXED && n <= LB_RECORD_HEADER_MAX) {
            lb_put32(raw + 4, lb_crc32c(0, raw + 8, n - 8));
        }
        memcpy(head, raw, sizeof(raw));
        break;
    default:
        ring_len = at % (RING_SIZE + 1);
    }
}

/* Reads the backlog as the flusher does. */
static void
walk(lb_reader_t *r, const lb_ring_info_t *info, uint64_t p)
{
    int rc, turns = 0;
    size_t n;
    uint64_t at, next;
    lb_record_t rec;
    const uint8_t *data;

    /* a ring holds no more than this, whatever its cells say */
    while (p < info->committed && info->committed - p <= CAPACITY) {
        REQUIRE(turns++ < 4096);
        rc = lb_reader_record(r, p, info->committed, 1, &rec);

        if (rc == LB_ECORRUPT) {
            rc = lb_reader_resync(r, p, info->committed, &next);
            if (rc != 0) {
                return;
            }
            REQUIRE(next > p && next <= info->committed);
            p = next;
            continue;
        }
        if (rc != 0) {
            return;
        }

        REQUIRE(rec.position == p && rec.next > p);
        REQUIRE(rec.next <= info->committed);
        REQUIRE(rec.events > 0 && rec.payload_len > 0);

        for (at = rec.payload; at < rec.payload + rec.payload_len; at += n) {
            if (lb_reader_view(r, at, rec.payload + rec.payload_len, 1, &data,
                               &n) != 0) {
                return;
            }
            REQUIRE(n > 0);
        }

        p = rec.next;
    }
}

static void
go_on(lb_spool_t *spool, uint64_t used)
{
    int rc, i;
    uint64_t before;
    lb_error_t err;
    lb_reader_t *r;
    lb_record_t rec;
    lb_writer_t *w;
    lb_ring_info_t info;

    if (lb_writer_claim_slot(spool, 0, &w, &err) != 0) {
        REQUIRE(err.text[0] != '\0');
        return;
    }

    REQUIRE(lb_reader_open(spool, 0, 1, &r, &err) == 0);

    for (i = 0; i < 3; i++) {
        REQUIRE(lb_reader_info(r, &info) == 0);
        before = info.committed;
        REQUIRE(info.next_seq >= used);
        used = info.next_seq;

        rc = append(w, (unsigned)i);
        if (rc != 0) {
            REQUIRE(rc == LB_EFULL);
            break;
        }

        REQUIRE(lb_reader_info(r, &info) == 0);
        REQUIRE(lb_reader_record(r, before, info.committed, 1, &rec) == 0);
        REQUIRE(rec.first_seq == used && rec.events == 2);
        REQUIRE(rec.next == info.committed);
        used += 2;
    }

    lb_reader_close(r);
    lb_writer_close(w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t used = 0;
    lb_ckpt_t *ckpt;
    lb_error_t err;
    lb_spool_t *spool;
    lb_reader_t *r;
    lb_ring_info_t info;
    lb_ckpt_ring_t *e;
    static lb_ckpt_state_t state;

    if (dir[0] == '\0') {
        make_template();
    }

    memcpy(ring_file, ring_template, RING_SIZE);
    memcpy(ckpt_file, ckpt_template, LB_CKPT_SIZE);
    ring_len = RING_SIZE;

    for (; size >= 8; data += 8, size -= 8) {
        step(data);
    }

    save(ring_path, ring_file, ring_len);
    save(ckpt_path, ckpt_file, LB_CKPT_SIZE);

    REQUIRE(lb_spool_open(dir, 0, &spool, &err) == 0);

    if (lb_ckpt_open(spool, &ckpt, &state, &err) == 0) {
        lb_ckpt_close(ckpt);
    } else {
        state.nrings = 0;
        REQUIRE(err.text[0] != '\0');
    }

    if (lb_reader_open(spool, 0, 1, &r, &err) == 0) {
        if (lb_reader_info(r, &info) == 0) {
            e = lb_ckpt_find(&state, info.uuid);
            walk(r, &info, e != NULL ? e->acked : info.acked);
            walk(r, &info,
                 info.committed > CAPACITY ? info.committed - CAPACITY : 0);
            if (e != NULL) {
                /* nothing of a batch in flight is numbered again */
                used = e->end_seq;
            }
        }
        lb_reader_close(r);
    }

    go_on(spool, used);
    lb_spool_close(spool);

    return 0;
}
