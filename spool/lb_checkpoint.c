/*
 * The checkpoint: two copies, written alternately with a sync.
 *
 * A crash while one copy is being written leaves the other one, which is the
 * state before; a crash after the sync leaves the new one.  The file is
 * preallocated, so a full disk cannot stop an ack.
 *
 * A damaged copy tells nothing about when it was damaged: it may be a store
 * that was cut, before anything was sent, or the newest state, damaged long
 * after its batch was sent.  So the other copy is not the truth then, only
 * the last that is known of it: LB_CKPT_DOUBT.
 */

#include "lb_checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb_bytes.h"
#include "lb_crc32c.h"
#include "lb_io.h"
#include "lb_spool_private.h"

/* ends each message about a checkpoint that cannot be used */
#define LB_RECOVER                                                             \
    "; nothing is delivered without it. The rings and ClickHouse know what "   \
    "it "                                                                      \
    "said: logbroker-spool recover --config FLUSHER.JSON SPOOL"

static const char damaged[] = "is damaged in both copies" LB_RECOVER;
static const char other_version[] =
    "has another format version: use the release that wrote it";
static const char other_spool[] = "belongs to another spool: put the right one "
                                  "back, or take it away" LB_RECOVER;

struct lb_ckpt_s {
    int fd;
    lb_spool_t *spool;
    uint8_t buf[LB_CKPT_COPY];
};

static size_t
encode(uint8_t *buf, const uint8_t spool[LB_UUID_LEN],
       const lb_ckpt_state_t *st)
{
    size_t i, len;
    uint8_t *p;

    len = LB_CKPT_FIXED + st->nrings * LB_CKPT_RING;
    memset(buf, 0, len);

    memcpy(buf, LB_CKPT_MAGIC, 8);
    lb_put32(buf + 8, LB_FORMAT_VERSION);
    lb_put64(buf + 16, st->generation);
    memcpy(buf + 24, spool, LB_UUID_LEN);
    lb_put64(buf + 40, st->batch_id);
    lb_put64(buf + 48, st->rows);
    lb_put64(buf + 56, st->fixed_us);
    lb_put64(buf + 64, st->delivered);
    lb_put64(buf + 72, st->dead);
    lb_put64(buf + 80, st->lost_bytes);
    lb_put32(buf + 88, st->nrings);
    lb_put32(buf + 92, st->flags);
    lb_put32(buf + 96, st->encoding);
    lb_put32(buf + 100, st->day);
    memcpy(buf + 104, st->token, strnlen(st->token, LB_TOKEN_MAX));
    memcpy(buf + 168, st->table, strnlen(st->table, LB_TABLE_MAX));
    memcpy(buf + 296, st->broker, strnlen(st->broker, LB_BROKER_MAX));
    lb_put64(buf + 360, st->from_us);
    lb_put64(buf + 368, st->to_us);
    memcpy(buf + 376, st->table_uuid, LB_UUID_LEN);

    for (i = 0; i < st->nrings; i++) {
        p = buf + LB_CKPT_FIXED + i * LB_CKPT_RING;
        memcpy(p, st->rings[i].uuid, LB_UUID_LEN);
        lb_put64(p + 16, st->rings[i].acked);
        lb_put64(p + 24, st->rings[i].acked_seq);
        lb_put64(p + 32, st->rings[i].end);
        lb_put64(p + 40, st->rings[i].end_seq);
        lb_put32(p + 48, st->rings[i].slot);
        lb_put64(p + 56, st->rings[i].digest);
    }

    lb_put32(buf + 12, lb_crc32c(0, buf + 16, len - 16));

    return len;
}

/* Positions and seqs that no ring can reach are refused, checksum or not. */
static int
plausible(const uint8_t *p)
{
    uint64_t acked = lb_get64(p + 16), acked_seq = lb_get64(p + 24);
    uint64_t end = lb_get64(p + 32), end_seq = lb_get64(p + 40);

    return acked % 8 == 0 && end % 8 == 0 && acked <= end &&
           acked_seq <= end_seq && end < LB_POSITION_MAX &&
           end_seq < LB_POSITION_MAX;
}

/* The generation of a valid copy, else 0; *why says what is wrong.  Another
 * version or spool counts for more than damage. */
static uint64_t
valid(const uint8_t *buf, const uint8_t spool[LB_UUID_LEN], const char **why)
{
    uint32_t i, n = lb_get32(buf + 88);

    *why = *why != NULL ? *why : damaged;

    if (memcmp(buf, LB_CKPT_MAGIC, 8) != 0) {
        return 0;
    }

    /* before the checksum: another version may have another layout */
    if (lb_get32(buf + 8) != LB_FORMAT_VERSION) {
        *why = other_version;
        return 0;
    }

    if (n > LB_CKPT_RINGS_MAX ||
        lb_get32(buf + 12) !=
            lb_crc32c(0, buf + 16, LB_CKPT_FIXED + n * LB_CKPT_RING - 16)) {
        return 0;
    }

    if (memcmp(buf + 24, spool, LB_UUID_LEN) != 0) {
        *why = other_spool;
        return 0;
    }

    for (i = 0; i < n; i++) {
        if (!plausible(buf + LB_CKPT_FIXED + i * LB_CKPT_RING)) {
            return 0;
        }
    }

    return lb_get64(buf + 16);
}

static void
decode(const uint8_t *buf, lb_ckpt_state_t *st)
{
    size_t i;
    const uint8_t *p;

    memset(st, 0, sizeof(*st));

    st->generation = lb_get64(buf + 16);
    st->batch_id = lb_get64(buf + 40);
    st->rows = lb_get64(buf + 48);
    st->fixed_us = lb_get64(buf + 56);
    st->delivered = lb_get64(buf + 64);
    st->dead = lb_get64(buf + 72);
    st->lost_bytes = lb_get64(buf + 80);
    st->nrings = lb_get32(buf + 88);
    st->flags = lb_get32(buf + 92);
    st->encoding = lb_get32(buf + 96);
    st->day = lb_get32(buf + 100);
    memcpy(st->token, buf + 104, LB_TOKEN_MAX);
    memcpy(st->table, buf + 168, LB_TABLE_MAX);
    memcpy(st->broker, buf + 296, LB_BROKER_MAX);
    st->from_us = lb_get64(buf + 360);
    st->to_us = lb_get64(buf + 368);
    memcpy(st->table_uuid, buf + 376, LB_UUID_LEN);

    for (i = 0; i < st->nrings; i++) {
        p = buf + LB_CKPT_FIXED + i * LB_CKPT_RING;
        memcpy(st->rings[i].uuid, p, LB_UUID_LEN);
        st->rings[i].acked = lb_get64(p + 16);
        st->rings[i].acked_seq = lb_get64(p + 24);
        st->rings[i].end = lb_get64(p + 32);
        st->rings[i].end_seq = lb_get64(p + 40);
        st->rings[i].slot = lb_get32(p + 48);
        st->rings[i].digest = lb_get64(p + 56);
    }
}

/* 1 if this copy was never written: a new checkpoint is stored once, and has
 * one copy. */
static int
blank(const uint8_t *buf, uint64_t other_generation)
{
    size_t i;

    for (i = 0; i < LB_CKPT_COPY; i++) {
        if (buf[i] != 0) {
            return 0;
        }
    }

    return other_generation == 1;
}

static int
load(int fd, lb_spool_t *spool, lb_ckpt_state_t *state, lb_error_t *err)
{
    int rc = 0, tries;
    const char *why = NULL;
    uint8_t *buf;
    uint64_t gen[2];

    buf = malloc(LB_CKPT_SIZE);
    if (buf == NULL) {
        return lb_fail(err, -ENOMEM, "no memory for the checkpoint");
    }

    /* Without the lock one copy may be read half written, and then the other:
     * read both again. */

    for (tries = 0; tries < 5; tries++) {

        rc = lb_io_read(fd, buf, LB_CKPT_SIZE, 0);

        if (rc != 0) {
            lb_fail(
                err, rc, "cannot read \"%.300s/checkpoint\": %s", spool->path,
                rc == -ENODATA ? "it is cut short" LB_RECOVER : strerror(-rc));
            break;
        }

        gen[0] = valid(buf, spool->uuid, &why);
        gen[1] = valid(buf + LB_CKPT_COPY, spool->uuid, &why);

        if (gen[0] != 0 || gen[1] != 0) {
            decode(gen[0] > gen[1] ? buf : buf + LB_CKPT_COPY, state);
            if ((gen[0] == 0 && !blank(buf, gen[1])) ||
                (gen[1] == 0 && !blank(buf + LB_CKPT_COPY, gen[0]))) {
                state->flags |= LB_CKPT_DOUBT;
            }
            break;
        }

        rc = lb_fail(err, why == damaged ? LB_ECORRUPT : LB_EFOREIGN,
                     "\"%.200s/checkpoint\" %s", spool->path, why);
    }

    free(buf);

    return rc;
}

int
lb_ckpt_create(int dirfd, const char *name, const uint8_t uuid[LB_UUID_LEN],
               lb_error_t *err)
{
    int fd, rc;
    uint8_t buf[LB_CKPT_FIXED];
    lb_ckpt_state_t *st;

    st = calloc(1, sizeof(*st));
    if (st == NULL) {
        return lb_fail(err, -ENOMEM, "no memory for the checkpoint");
    }

    st->generation = 1;
    (void)encode(buf, uuid, st);
    free(st);

    fd = openat(dirfd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0660);
    if (fd < 0) {
        return lb_fail(err, -errno, "cannot create the checkpoint: %s",
                       strerror(errno));
    }

    (void)fchmod(fd, 0660);

    rc = lb_io_zero(fd, 0, LB_CKPT_SIZE);
    if (rc == 0) {
        /* odd generations live in the second copy */
        rc = lb_io_write(fd, buf, sizeof(buf), LB_CKPT_COPY, 0);
    }
    if (rc == 0) {
        rc = lb_io_sync(fd);
    }

    close(fd);

    return rc == 0 ? 0
                   : lb_fail(err, rc, "cannot write the checkpoint: %s",
                             strerror(-rc));
}

int
lb_ckpt_open(lb_spool_t *spool, lb_ckpt_t **ckpt, lb_ckpt_state_t *state,
             lb_error_t *err)
{
    int rc;
    lb_ckpt_t *c;

    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return lb_fail(err, -ENOMEM, "no memory for the checkpoint");
    }

    c->spool = spool;
    c->fd = openat(spool->dirfd, "checkpoint", O_RDWR | O_CLOEXEC);

    if (c->fd < 0) {
        rc = lb_fail(err, -errno, "cannot open \"%.300s/checkpoint\": %s%s",
                     spool->path, strerror(errno),
                     errno == ENOENT ? LB_RECOVER : "");
        free(c);
        return rc;
    }

    rc = lb_io_lock(c->fd);

    if (rc != 0) {
        rc = lb_fail(err, rc == -EAGAIN ? LB_ELOCKED : rc,
                     rc == -EAGAIN
                         ? "another flusher serves spool \"%s\""
                         : "cannot lock the checkpoint of spool \"%s\"",
                     spool->path);
    } else {
        rc = load(c->fd, spool, state, err);
    }

    if (rc != 0) {
        lb_ckpt_close(c);
        return rc;
    }

    *ckpt = c;

    return 0;
}

int
lb_ckpt_store(lb_ckpt_t *ckpt, lb_ckpt_state_t *state, lb_error_t *err)
{
    int rc;
    size_t len;

    if (state->nrings > LB_CKPT_RINGS_MAX) {
        return lb_fail(err, -EINVAL, "too many rings for the checkpoint");
    }

    state->generation++;
    len = encode(ckpt->buf, ckpt->spool->uuid, state);

    rc = lb_io_write(ckpt->fd, ckpt->buf, len,
                     state->generation & 1 ? (off_t)LB_CKPT_COPY : 0, 1);

    if (rc == 0) {
        return 0;
    }

    /* The next attempt must go into this copy again: the other one is the
     * last state that is known to be whole. */

    state->generation--;

    return lb_fail(err, rc, "cannot write \"%s/checkpoint\": %s",
                   ckpt->spool->path, strerror(-rc));
}

void
lb_ckpt_close(lb_ckpt_t *ckpt)
{
    if (ckpt != NULL) {
        if (ckpt->fd >= 0) {
            close(ckpt->fd);
        }
        free(ckpt);
    }
}

int
lb_ckpt_peek(lb_spool_t *spool, lb_ckpt_state_t *state, lb_error_t *err)
{
    int fd, rc;

    fd = openat(spool->dirfd, "checkpoint", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return lb_fail(err, -errno, "cannot open \"%.300s/checkpoint\": %s%s",
                       spool->path, strerror(errno),
                       errno == ENOENT ? LB_RECOVER : "");
    }

    rc = load(fd, spool, state, err);
    close(fd);

    return rc;
}

lb_ckpt_ring_t *
lb_ckpt_find(lb_ckpt_state_t *state, const uint8_t uuid[LB_UUID_LEN])
{
    uint32_t i;

    for (i = 0; i < state->nrings; i++) {
        if (memcmp(state->rings[i].uuid, uuid, LB_UUID_LEN) == 0) {
            return &state->rings[i];
        }
    }

    return NULL;
}

int
lb_ckpt_repair(lb_spool_t *spool, lb_ckpt_t **ckpt, lb_error_t *err)
{
    int rc;
    lb_ckpt_t *c;

    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return lb_fail(err, -ENOMEM, "no memory for the checkpoint");
    }

    c->spool = spool;
    c->fd = openat(spool->dirfd, "checkpoint", O_RDWR | O_CLOEXEC);
    rc = 0;

    if (c->fd < 0 && errno != ENOENT) {
        rc = lb_fail(err, -errno, "cannot open \"%.300s/checkpoint\": %s",
                     spool->path, strerror(errno));
    } else if (c->fd >= 0 && (rc = lb_io_lock(c->fd)) != 0) {
        rc = lb_fail(err, rc == -EAGAIN ? LB_ELOCKED : rc,
                     "a flusher serves spool \"%.300s\": stop it first",
                     spool->path);
    }

    if (rc != 0) {
        lb_ckpt_close(c);
        return rc;
    }

    *ckpt = c;

    return 0;
}

int
lb_ckpt_replace(lb_ckpt_t *ckpt, lb_ckpt_state_t *state, lb_error_t *err)
{
    int fd, i, rc;
    size_t len;
    struct stat owner, st;
    lb_spool_t *s = ckpt->spool;

    fd = openat(s->dirfd, "checkpoint.new", O_RDWR | O_CREAT | O_CLOEXEC, 0660);
    if (fd < 0) {
        return lb_fail(err, -errno,
                       "cannot create \"%.300s/checkpoint.new\": %s", s->path,
                       strerror(errno));
    }

    rc = lb_io_lock(fd) != 0 ? LB_ELOCKED : 0;

    /* repairs may run as root; the flusher has to open the file */
    if (rc == 0 &&
        (ftruncate(fd, 0) != 0 || fchmod(fd, 0660) != 0 ||
         fstat(fd, &st) != 0 || fstatat(s->dirfd, "spool", &owner, 0) != 0 ||
         ((owner.st_uid != st.st_uid || owner.st_gid != st.st_gid) &&
          fchown(fd, owner.st_uid, owner.st_gid) != 0 &&
          fchown(fd, (uid_t)-1, owner.st_gid) != 0))) {
        rc = -errno;
    }

    if (rc == 0) {
        rc = lb_io_zero(fd, 0, LB_CKPT_SIZE);
    }

    for (i = 0; rc == 0 && i < 2; i++) {
        state->generation++;
        len = encode(ckpt->buf, s->uuid, state);
        rc = lb_io_write(fd, ckpt->buf, len,
                         state->generation & 1 ? (off_t)LB_CKPT_COPY : 0, 0);
    }

    if (rc == 0) {
        rc = lb_io_sync(fd);
    }

    if (rc == 0 &&
        (lb_io->rename(s->dirfd, "checkpoint.new", "checkpoint", 1) != 0 ||
         lb_io->sync_dir(s->dirfd) != 0)) {
        rc = -errno;
    }

    if (rc != 0) {
        if (rc != LB_ELOCKED) {
            (void)unlinkat(s->dirfd, "checkpoint.new", 0);
        }
        close(fd);
        return lb_fail(
            err, rc, "cannot write \"%.300s/checkpoint\": %s", s->path,
            rc == LB_ELOCKED ? "another process is writing it" : strerror(-rc));
    }

    /* closing the old file drops its lock; the new one's is held */
    if (ckpt->fd >= 0) {
        close(ckpt->fd);
    }
    ckpt->fd = fd;

    return 0;
}
