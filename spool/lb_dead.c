/*
 * The file of dead letters.  Only the flusher appends, and only behind what is
 * there; marks are single aligned words, so that a reader sees one or the other
 * and a crash leaves the old letter or the new one.
 *
 * The file is read as a whole once, when it is opened.  What it says about
 * which event stays in memory and grows with the file; if the file is another
 * one meanwhile, or its last letter is, it is read again.
 */

#include "lb_dead.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb_bytes.h"
#include "lb_clock.h"
#include "lb_crc32c.h"
#include "lb_dead_index.h"
#include "lb_io.h"
#include "lb_spool_private.h"

/* One letter holds at most this many raw bytes; longer damage is cut. */
#define PIECE (1u << 20)

/* Marks are read in pieces of this size. */
#define MARKS 16384

struct lb_dead_s {
    int fd;
    lb_spool_t *spool;
    struct stat file; /* as it was opened */
    uint64_t size;
    uint64_t end;     /* behind the last valid letter */
    uint64_t last;    /* the last valid letter, if end is not the first */
    uint8_t seal[12]; /* its CRC and offset */
    lb_dead_index_t index;
    char path[4200];
};

static int
failed(lb_dead_t *d, int rc, const char *what, lb_error_t *err)
{
    char buf[128];

    return lb_fail(err, rc, "%s \"%.300s\": %s", what, d->path,
                   lb_strerror(rc, buf, sizeof(buf)));
}

/* 1 and the letter if a valid one lies at the offset, 0 if there is none, or
 * -errno: it could not be read. */
static int
letter_at(lb_dead_t *d, uint64_t offset, lb_dead_letter_t *l)
{
    int rc;
    size_t i;
    uint8_t header[LB_DEAD_FIXED], *rest;
    uint64_t len;
    uint32_t crc, magic;

    static const uint32_t magics[] = {LB_DEAD_OPEN, LB_DEAD_REPLAYING,
                                      LB_DEAD_DONE};

    memset(l, 0, sizeof(*l));

    if (offset > d->size - LB_DEAD_FIXED) {
        return 0;
    }

    rc = lb_io_read(d->fd, header, LB_DEAD_FIXED, (off_t)offset);
    if (rc != 0 || lb_get64(header + 8) != offset) {
        return rc == -ENODATA ? 0 : rc;
    }

    magic = lb_get32(header);
    for (i = 0; i < 3 && magics[i] != magic; i++) {
        /* void */
    }
    if (i == 3) {
        return 0;
    }

    l->state = (lb_dead_state_t)i;
    l->offset = offset;
    memcpy(l->seal, header + 4, sizeof(l->seal));
    memcpy(l->ring, header + 16, LB_UUID_LEN);
    l->position = lb_get64(header + 32);
    l->first_seq = lb_get64(header + 40);
    l->events = lb_get64(header + 48);
    l->set_aside_us = lb_get64(header + 56);
    l->bytes_len = lb_get32(header + 64);
    l->reason_len = lb_get16(header + 68);
    l->kind = lb_get16(header + 70);

    len = l->reason_len + (uint64_t)l->bytes_len;
    if (len > d->size - LB_DEAD_FIXED - offset) {
        return 0;
    }

    rest = malloc(len + 1);
    if (rest == NULL) {
        return -ENOMEM;
    }

    rc = lb_io_read(d->fd, rest, len, (off_t)(offset + LB_DEAD_FIXED));
    if (rc != 0) {
        free(rest);
        return rc == -ENODATA ? 0 : rc;
    }

    crc = lb_crc32c(0, header + 8, LB_DEAD_FIXED - 8);
    crc = lb_crc32c(crc, rest, len);
    free(rest);

    l->length = lb_align8(LB_DEAD_FIXED + len);

    return crc == lb_get32(header + 4);
}

static int
create(lb_dead_t *d, uint64_t size)
{
    int rc;
    uint8_t header[LB_DEAD_HEADER];

    memset(header, 0, sizeof(header));
    memcpy(header, LB_DEAD_MAGIC, 8);
    lb_put32(header + 8, LB_FORMAT_VERSION);
    memcpy(header + 16, lb_spool_uuid(d->spool), LB_UUID_LEN);
    lb_put64(header + 32, size);
    lb_put32(header + 12, lb_crc32c(0, header + 16, 32));

    /* The header comes last: a crash before leaves a file that is filled
     * again. */

    rc = lb_io_zero(d->fd, 0, size);
    if (rc == 0) {
        rc = lb_io_sync(d->fd);
    }
    if (rc == 0) {
        rc = lb_io_write(d->fd, header, sizeof(header), 0, 1);
    }

    (void)fchmod(d->fd, 0660);
    d->size = size;

    return rc;
}

/* Opens the file that the name leads to now. */
static int
attach(lb_dead_t *d, uint64_t size, lb_error_t *err)
{
    int rc;
    uint8_t header[LB_DEAD_HEADER], zero[8] = {0};

    d->fd = openat(d->spool->dirfd, "dead",
                   O_RDWR | (size > 0 ? O_CREAT : 0) | O_CLOEXEC, 0660);
    if (d->fd < 0) {
        return failed(d, -errno, "cannot open", err);
    }

    if (fstat(d->fd, &d->file) != 0) {
        return failed(d, -errno, "cannot open", err);
    }

    rc = lb_io_read(d->fd, header, sizeof(header), 0);

    if (rc == -ENODATA || (rc == 0 && memcmp(header, zero, 8) == 0)) {
        rc = size > 0 ? create(d, size) : -ENOENT;
        return rc == 0
                   ? 0
                   : failed(d, rc, "cannot preallocate the dead letters", err);
    }

    if (rc != 0) {
        return failed(d, rc, "cannot read", err);
    }

    if (memcmp(header, LB_DEAD_MAGIC, 8) != 0 ||
        lb_get32(header + 8) != LB_FORMAT_VERSION ||
        lb_get32(header + 12) != lb_crc32c(0, header + 16, 32) ||
        memcmp(header + 16, lb_spool_uuid(d->spool), LB_UUID_LEN) != 0 ||
        lb_get64(header + 32) < LB_DEAD_HEADER ||
        lb_get64(header + 32) >= LB_POSITION_MAX) {
        return failed(d, LB_EFOREIGN, "cannot use", err);
    }

    d->size = lb_get64(header + 32);

    return 0;
}

/* Takes up the letters behind those that are known. */
static int
extend(lb_dead_t *d, lb_error_t *err)
{
    int rc;
    lb_dead_letter_t l;

    while ((rc = letter_at(d, d->end, &l)) > 0) {

        rc = lb_dead_index_reserve(&d->index, l.kind, l.ring);
        if (rc != 0) {
            break;
        }

        lb_dead_index_add(&d->index, l.kind, l.ring, l.first_seq, l.position,
                          d->end, l.state == LB_DEAD_IS_DONE);
        d->last = d->end;
        memcpy(d->seal, l.seal, sizeof(d->seal));
        d->end += l.length;
    }

    return rc == 0 ? 0 : failed(d, rc, "cannot read", err);
}

static void
forget(lb_dead_t *d)
{
    lb_dead_index_clear(&d->index);
    d->end = LB_DEAD_HEADER;
}

/* What is in memory becomes what is in the file that has the name now. */
static int
refresh(lb_dead_t *d, lb_error_t *err)
{
    int rc, fd;
    struct stat now;
    lb_dead_letter_t l;

    if (fstatat(d->spool->dirfd, "dead", &now, 0) != 0) {
        return failed(d, -errno,
                      "nothing is sent without the dead letters, put the file "
                      "back or start the flusher anew:",
                      err);
    }

    if (now.st_ino != d->file.st_ino || now.st_dev != d->file.st_dev) {
        fd = d->fd;
        forget(d);
        rc = attach(d, 0, err);
        if (rc != 0) {
            if (d->fd >= 0) {
                close(d->fd);
            }
            d->fd = fd;
            d->file.st_ino = 0; /* once more next time */
            return rc;
        }
        close(fd);

    } else if (d->end > LB_DEAD_HEADER) {
        rc = letter_at(d, d->last, &l);
        if (rc < 0) {
            return failed(d, rc, "cannot read", err);
        }
        if (rc == 0 || memcmp(l.seal, d->seal, sizeof(l.seal)) != 0) {
            forget(d);
        }
    }

    return extend(d, err);
}

int
lb_dead_open(lb_spool_t *spool, uint64_t size, lb_dead_t **dead,
             lb_error_t *err)
{
    int rc;
    lb_dead_t *d;

    d = calloc(1, sizeof(*d));
    if (d == NULL) {
        return lb_fail(err, -ENOMEM, "no memory for the dead letters");
    }

    d->spool = spool;
    (void)snprintf(d->path, sizeof(d->path), "%s/dead", lb_spool_path(spool));

    rc = attach(d, size, err);
    if (rc == 0) {
        forget(d);
        rc = extend(d, err);
    }

    if (rc != 0) {
        lb_dead_close(d);
        return rc;
    }

    *dead = d;

    return 0;
}

void
lb_dead_close(lb_dead_t *d)
{
    if (d != NULL) {
        if (d->fd >= 0) {
            close(d->fd);
        }
        lb_dead_index_clear(&d->index);
        free(d);
    }
}

int
lb_dead_next(lb_dead_t *d, uint64_t *offset, lb_dead_letter_t *l)
{
    if (*offset == 0) {
        *offset = LB_DEAD_HEADER;
    }

    if (letter_at(d, *offset, l) <= 0) {
        return 0;
    }

    *offset += l->length;

    return 1;
}

int
lb_dead_rows(lb_dead_t *d, const uint8_t ring[LB_UUID_LEN], uint64_t first,
             uint64_t end, uint64_t *seqs, size_t max, size_t *n,
             lb_error_t *err)
{
    int rc = refresh(d, err);

    *n = rc == 0 ? lb_dead_index_rows(&d->index, ring, first, end, seqs, max)
                 : 0;

    return rc;
}

/* Letters that are done stay so: only the marks of the others are read. */
uint64_t
lb_dead_count_open(lb_dead_t *d)
{
    size_t i, n = 0, got = 0;
    uint8_t marks[MARKS];
    uint64_t at, from = 0;
    lb_error_t err;

    (void)refresh(d, &err);

    for (i = 0; i < d->index.n; i++) {

        at = d->index.letter[i];
        if (at & LB_DEAD_INDEX_DONE) {
            continue;
        }

        if (at < from || at + 4 > from + got) {
            from = at;
            got = d->size - at < MARKS ? (size_t)(d->size - at) : MARKS;
            if (lb_io_read(d->fd, marks, got, (off_t)at) != 0) {
                got = 0;
                n++;
                continue;
            }
        }

        if (lb_get32(marks + (at - from)) == LB_DEAD_DONE) {
            d->index.letter[i] |= LB_DEAD_INDEX_DONE;
        } else {
            n++;
        }
    }

    return n;
}

int
lb_dead_read(lb_dead_t *d, uint64_t offset, lb_dead_letter_t *l)
{
    int rc;
    uint64_t at;
    lb_error_t err;

    memset(l, 0, sizeof(*l));

    /* Only what is a letter from the start of the file on is one: bytes inside
     * a letter come from clients. */

    rc = refresh(d, &err);
    if (rc != 0) {
        return rc;
    }

    if (!lb_dead_index_begins(&d->index, offset)) {
        return -ENOENT;
    }

    rc = letter_at(d, offset, l);
    if (rc <= 0) {
        return rc == 0 ? -ENOENT : rc;
    }

    l->reason = calloc(1, l->reason_len + 1);
    l->bytes = malloc(l->bytes_len + 1);
    rc = l->reason != NULL && l->bytes != NULL ? 0 : -ENOMEM;
    at = offset + LB_DEAD_FIXED;

    if (rc == 0) {
        rc = lb_io_read(d->fd, l->reason, l->reason_len, (off_t)at);
    }
    if (rc == 0) {
        rc = lb_io_read(d->fd, l->bytes, l->bytes_len,
                        (off_t)(at + l->reason_len));
    }
    if (rc != 0) {
        lb_dead_free(l);
    }

    return rc;
}

void
lb_dead_free(lb_dead_letter_t *l)
{
    free(l->reason);
    free(l->bytes);
    l->reason = NULL;
    l->bytes = NULL;
}

int
lb_dead_record(const lb_dead_letter_t *l, lb_record_t *rec)
{
    size_t len;

    if (l->kind != LB_DEAD_ROW || l->bytes_len < LB_RECORD_FIXED) {
        return LB_ECORRUPT;
    }

    len = lb_record_probe(l->bytes);

    return len > 0 && len < l->bytes_len
               ? lb_record_decode(l->bytes, len, l->position, l->ring, rec)
               : LB_ECORRUPT;
}

int
lb_dead_mark(lb_dead_t *d, const lb_dead_letter_t *l, lb_dead_state_t state)
{
    uint8_t word[4];

    lb_put32(word, state == LB_DEAD_IS_OPEN        ? LB_DEAD_OPEN
                   : state == LB_DEAD_IS_REPLAYING ? LB_DEAD_REPLAYING
                                                   : LB_DEAD_DONE);

    return lb_io_write(d->fd, word, sizeof(word), (off_t)l->offset, 1);
}

/* 1 if there is this letter, 0 if not. */
static int
known(lb_dead_t *d, unsigned kind, const uint8_t ring[LB_UUID_LEN],
      uint64_t position, uint64_t seq, lb_error_t *err)
{
    int rc = refresh(d, err);

    return rc != 0 ? rc
                   : lb_dead_index_has(&d->index, kind, ring, seq, position);
}

/* Empties the file if no letter in it is open. */
static int
start_anew(lb_dead_t *d)
{
    int rc;
    uint64_t at = 0;
    lb_dead_letter_t l;

    /* by the file: two that mark one letter at once may have opened it again */
    while (lb_dead_next(d, &at, &l)) {
        if (l.state != LB_DEAD_IS_DONE) {
            return -ENOSPC;
        }
    }
    if (at < d->end) {
        return LB_ECORRUPT;
    }

    rc = lb_io_zero(d->fd, LB_DEAD_HEADER, d->end - LB_DEAD_HEADER);
    if (rc == 0) {
        rc = lb_io_sync(d->fd);
    }
    if (rc == 0) {
        forget(d);
    }

    return rc;
}

/* Room for a letter, all but its bytes filled in; the caller puts those at
 * *bytes.  NULL: err says why. */
static uint8_t *
begin(lb_dead_t *d, unsigned kind, const lb_ring_info_t *info,
      uint64_t position, uint64_t first_seq, uint64_t events,
      const char *reason, size_t len, uint8_t **bytes, lb_error_t *err)
{
    int rc;
    size_t n = strlen(reason), total;
    uint8_t *letter;

    n = n < UINT16_MAX ? n : UINT16_MAX;
    total = lb_align8(LB_DEAD_FIXED + n + len);

    if (d->end + total > d->size &&
        ((rc = start_anew(d)) != 0 || d->end + total > d->size)) {
        (void)failed(d, rc != 0 ? rc : -ENOSPC,
                     "the dead letters are full, nothing more is delivered "
                     "from this ring; replay or drop some by logbroker-spool "
                     "dead:",
                     err);
        return NULL;
    }

    letter = lb_dead_index_reserve(&d->index, kind, info->uuid) == 0
                 ? calloc(1, total)
                 : NULL;
    if (letter == NULL) {
        (void)failed(d, -ENOMEM, "no memory for a dead letter in", err);
        return NULL;
    }

    lb_put32(letter, LB_DEAD_OPEN);
    lb_put64(letter + 8, d->end);
    memcpy(letter + 16, info->uuid, LB_UUID_LEN);
    lb_put64(letter + 32, position);
    lb_put64(letter + 40, first_seq);
    lb_put64(letter + 48, events);
    lb_put64(letter + 56, lb_now_us());
    lb_put32(letter + 64, (uint32_t)len);
    lb_put16(letter + 68, (uint16_t)n);
    lb_put16(letter + 70, (uint16_t)kind);
    memcpy(letter + LB_DEAD_FIXED, reason, n);
    *bytes = letter + LB_DEAD_FIXED + n;

    return letter;
}

static int
finish(lb_dead_t *d, uint8_t *letter, lb_error_t *err)
{
    int rc;
    size_t len = (size_t)lb_get16(letter + 68) + lb_get32(letter + 64);
    size_t total = lb_align8(LB_DEAD_FIXED + len);

    lb_put32(letter + 4, lb_crc32c(0, letter + 8, LB_DEAD_FIXED - 8 + len));

    rc = lb_io_write(d->fd, letter, total, (off_t)d->end, 1);

    if (rc == 0) {
        lb_dead_index_add(&d->index, lb_get16(letter + 70), letter + 16,
                          lb_get64(letter + 40), lb_get64(letter + 32), d->end,
                          0);
        d->last = d->end;
        memcpy(d->seal, letter + 4, sizeof(d->seal));
        d->end += total;
    }

    free(letter);

    return rc == 0 ? 0 : failed(d, rc, "cannot write", err);
}

static int
copy(lb_dead_t *d, lb_reader_t *reader, uint64_t from, uint64_t to,
     uint8_t *out, lb_error_t *err)
{
    int rc;
    size_t got;
    const uint8_t *data;

    for (; from < to; from += got, out += got) {
        rc = lb_reader_view(reader, from, to, 1, &data, &got);
        if (rc != 0) {
            return failed(d, rc, "cannot read the bytes for", err);
        }
        memcpy(out, data, got);
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
    size_t len;
    uint8_t *letter, *bytes;

    rc = known(d, LB_DEAD_BITROT, info->uuid, from, first_seq, err);
    if (rc != 0) {
        return rc > 0 ? 0 : rc;
    }

    len = to - from < PIECE ? (size_t)(to - from) : PIECE;

    (void)snprintf(reason, sizeof(reason),
                   "%llu bytes that are not a valid record%s",
                   (unsigned long long)(to - from),
                   len < to - from ? "; the first 1 MiB is kept" : "");

    letter = begin(d, LB_DEAD_BITROT, info, from, first_seq, events, reason,
                   len, &bytes, err);
    if (letter == NULL) {
        return err->code;
    }

    rc = copy(d, reader, from, from + len, bytes, err);
    if (rc != 0) {
        free(letter);
        return rc;
    }

    return finish(d, letter, err);
}

int
lb_dead_row(lb_dead_t *d, lb_reader_t *reader, const lb_ring_info_t *info,
            const lb_record_t *rec, uint64_t seq, const uint8_t *event,
            size_t len, const char *reason, lb_error_t *err)
{
    int rc;
    uint8_t *letter, *bytes;

    rc = known(d, LB_DEAD_ROW, info->uuid, rec->position, seq, err);
    if (rc != 0) {
        return rc > 0 ? 0 : rc;
    }

    letter = begin(d, LB_DEAD_ROW, info, rec->position, seq, 1, reason,
                   rec->header_len + len, &bytes, err);
    if (letter == NULL) {
        return err->code;
    }

    rc = copy(d, reader, rec->position, rec->position + rec->header_len, bytes,
              err);
    if (rc != 0) {
        free(letter);
        return rc;
    }

    memcpy(bytes + rec->header_len, event, len);

    return finish(d, letter, err);
}
