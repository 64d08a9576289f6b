#include "flusher/dead.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/lb_bytes.h"
#include "spool/lb_io.h"

/* One letter holds at most this many raw bytes; longer damage is cut. */
#define PIECE (1u << 20)

struct lb_dead_s {
    int fd;
    uint64_t size;
    uint64_t end; /* behind the last valid letter */
    uint64_t count;
    char path[4200];
};

static int
failed(lb_dead_t *d, int rc, const char *what, lb_error_t *err)
{
    char buf[128];

    err->code = rc;
    (void)snprintf(err->text, sizeof(err->text), "%s \"%.300s\": %s", what,
                   d->path, lb_strerror(rc, buf, sizeof(buf)));

    return rc;
}

/* Length of the valid letter at an offset, 0 if there is none. */
static uint64_t
letter_at(lb_dead_t *d, uint64_t offset, uint8_t head[LB_DEAD_FIXED])
{
    uint8_t *rest;
    uint64_t len;
    uint32_t crc;

    if (offset + LB_DEAD_FIXED > d->size ||
        lb_io_read(d->fd, head, LB_DEAD_FIXED, (off_t)offset) != 0 ||
        lb_get32(head) != LB_DEAD_LETTER || lb_get64(head + 8) != offset) {
        return 0;
    }

    len = lb_get32(head + 64) + (uint64_t)(head[68] | head[69] << 8);
    if (offset + LB_DEAD_FIXED + len > d->size) {
        return 0;
    }

    rest = malloc(len + 1);
    if (rest == NULL ||
        lb_io_read(d->fd, rest, len, (off_t)(offset + LB_DEAD_FIXED)) != 0) {
        free(rest);
        return 0;
    }

    crc = lb_crc32c(0, head + 8, LB_DEAD_FIXED - 8);
    crc = lb_crc32c(crc, rest, len);
    free(rest);

    return crc == lb_get32(head + 4) ? (LB_DEAD_FIXED + len + 7) & ~7ull : 0;
}

static int
create(lb_dead_t *d, lb_spool_t *spool, uint64_t size)
{
    int rc;
    uint8_t head[LB_DEAD_HEADER];

    memset(head, 0, sizeof(head));
    memcpy(head, LB_DEAD_MAGIC, 8);
    lb_put32(head + 8, LB_FORMAT_VERSION);
    memcpy(head + 16, lb_spool_uuid(spool), LB_UUID_LEN);
    lb_put64(head + 32, size);
    lb_put32(head + 12, lb_crc32c(0, head + 16, 32));

    /* The header comes last: a crash before leaves a file that is filled
     * again. */

    rc = lb_io_zero(d->fd, 0, size);
    if (rc == 0) {
        rc = lb_io_sync(d->fd);
    }
    if (rc == 0) {
        rc = lb_io_write(d->fd, head, sizeof(head), 0, 1);
    }

    (void)fchmod(d->fd, 0660);
    d->size = size;

    return rc;
}

int
lb_dead_open(lb_spool_t *spool, uint64_t size, lb_dead_t **dead,
             lb_error_t *err)
{
    int rc;
    uint8_t head[LB_DEAD_HEADER], letter[LB_DEAD_FIXED], zero[8] = {0};
    uint64_t len;
    lb_dead_t *d;

    d = calloc(1, sizeof(*d));
    if (d == NULL) {
        err->code = -ENOMEM;
        (void)snprintf(err->text, sizeof(err->text), "no memory");
        return -ENOMEM;
    }

    (void)snprintf(d->path, sizeof(d->path), "%s/dead", lb_spool_path(spool));

    d->fd = open(d->path, O_RDWR | O_CREAT | O_CLOEXEC, 0660);
    if (d->fd < 0) {
        rc = failed(d, -errno, "cannot open", err);
        free(d);
        return rc;
    }

    rc = lb_io_read(d->fd, head, sizeof(head), 0);

    if (rc == -ENODATA || (rc == 0 && memcmp(head, zero, 8) == 0)) {
        rc = create(d, spool, size);
        if (rc != 0) {
            rc = failed(d, rc, "cannot preallocate the dead letters", err);
        }

    } else if (rc != 0) {
        rc = failed(d, rc, "cannot read", err);

    } else if (memcmp(head, LB_DEAD_MAGIC, 8) != 0 ||
               lb_get32(head + 8) != LB_FORMAT_VERSION ||
               lb_get32(head + 12) != lb_crc32c(0, head + 16, 32) ||
               memcmp(head + 16, lb_spool_uuid(spool), LB_UUID_LEN) != 0) {
        rc = failed(d, LB_EFOREIGN, "cannot use", err);

    } else {
        d->size = lb_get64(head + 32);
    }

    if (rc != 0) {
        lb_dead_close(d);
        return rc;
    }

    d->end = LB_DEAD_HEADER;

    while ((len = letter_at(d, d->end, letter)) != 0) {
        d->end += len;
        d->count++;
    }

    *dead = d;

    return 0;
}

void
lb_dead_close(lb_dead_t *d)
{
    if (d != NULL) {
        close(d->fd);
        free(d);
    }
}

uint64_t
lb_dead_count(const lb_dead_t *d)
{
    return d->count;
}

static int
known(lb_dead_t *d, const uint8_t ring[LB_UUID_LEN], uint64_t position)
{
    uint8_t head[LB_DEAD_FIXED];
    uint64_t at, len;

    for (at = LB_DEAD_HEADER; at < d->end; at += len) {
        len = letter_at(d, at, head);
        if (len == 0) {
            break;
        }
        if (memcmp(head + 16, ring, LB_UUID_LEN) == 0 &&
            lb_get64(head + 32) == position) {
            return 1;
        }
    }

    return 0;
}

int
lb_dead_bitrot(lb_dead_t *d, lb_reader_t *reader, const lb_ring_info_t *info,
               uint64_t from, uint64_t to, uint64_t first_seq, uint64_t events,
               lb_error_t *err)
{
    int rc;
    char reason[128];
    size_t n, done, got, len, total;
    uint8_t *letter;
    const uint8_t *data;

    if (known(d, info->uuid, from)) {
        return 0;
    }

    len = to - from < PIECE ? (size_t)(to - from) : PIECE;

    n = (size_t)snprintf(reason, sizeof(reason),
                         "%llu bytes that are not a valid record%s",
                         (unsigned long long)(to - from),
                         len < to - from ? "; the first 1 MiB is kept" : "");

    total = (LB_DEAD_FIXED + n + len + 7) & ~(size_t)7;

    if (d->end + total > d->size) {
        return failed(d, -ENOSPC,
                      "the dead letters are full, nothing more is delivered "
                      "from this ring: raise dead_letters.max_bytes or empty",
                      err);
    }

    letter = calloc(1, total);
    if (letter == NULL) {
        return failed(d, -ENOMEM, "no memory for a dead letter in", err);
    }

    for (done = 0; done < len; done += got) {
        rc = lb_reader_view(reader, from + done, from + len, 1, &data, &got);
        if (rc != 0) {
            free(letter);
            return failed(d, rc, "cannot read the bytes for", err);
        }
        memcpy(letter + LB_DEAD_FIXED + n + done, data, got);
    }

    lb_put32(letter, LB_DEAD_LETTER);
    lb_put64(letter + 8, d->end);
    memcpy(letter + 16, info->uuid, LB_UUID_LEN);
    lb_put64(letter + 32, from);
    lb_put64(letter + 40, first_seq);
    lb_put64(letter + 48, events);
    lb_put64(letter + 56, lb_now_us());
    lb_put32(letter + 64, (uint32_t)len);
    letter[68] = (uint8_t)n;
    letter[69] = (uint8_t)(n >> 8);
    letter[70] = LB_DEAD_BITROT;
    memcpy(letter + LB_DEAD_FIXED, reason, n);
    lb_put32(letter + 4, lb_crc32c(0, letter + 8, LB_DEAD_FIXED - 8 + n + len));

    rc = lb_io_write(d->fd, letter, total, (off_t)d->end, 1);
    free(letter);

    if (rc != 0) {
        return failed(d, rc, "cannot write", err);
    }

    d->end += total;
    d->count++;

    return 0;
}
