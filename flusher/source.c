#include "flusher/source.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/lines.h"
#include "spool/lb_crc32c.h"

struct lb_source_s {
    lb_rings_t *rings;
    const lb_ckpt_state_t *state;
    const lb_excluded_t *excluded; /* the next one, */
    uint32_t nexcluded;            /* and how many there are from it on */
    const lb_encoder_t *encoder;
    void *out; /* of the encoder */
    char error[256];

    uint32_t entry;       /* of state->rings */
    lb_flusher_ring_t *r; /* of that entry; NULL: not entered yet */
    uint64_t position;    /* of the next record */
    uint64_t seq;         /* of the next event */

    int in_record;
    lb_record_t rec;
    uint64_t at; /* position inside the payload */
    uint32_t crc;
    uint64_t digest; /* of the records of this entry so far */

    lb_lines_t lines; /* of the payload */
    uint8_t *line;    /* an event that does not fit a view */
    size_t line_len;
    size_t line_cap;

    int done;
    int damaged;
};

lb_source_t *
lb_source_new(const lb_encoder_t *encoder, lb_rings_t *rings,
              const lb_ckpt_state_t *state, const lb_excluded_t *excluded,
              uint32_t n)
{
    lb_source_t *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return NULL;
    }

    s->rings = rings;
    s->state = state;
    s->excluded = excluded;
    s->nexcluded = n;
    s->encoder = encoder;
    s->out = encoder->open(state->broker, LB_ENCODING_COLUMNS(state->encoding));

    if (s->out == NULL) {
        free(s);
        return NULL;
    }

    return s;
}

void
lb_source_free(lb_source_t *s)
{
    if (s != NULL) {
        s->encoder->close(s->out);
        free(s->line);
        free(s);
    }
}

const char *
lb_source_error(const lb_source_t *s)
{
    return s->error;
}

static int
source_failed(lb_source_t *s, int rc, const char *what)
{
    char buf[128];

    (void)snprintf(s->error, sizeof(s->error), "%s: %s", what,
                   lb_strerror(rc, buf, sizeof(buf)));
    s->damaged = rc == LB_ECORRUPT || rc == -EIO;

    return rc;
}

int
lb_source_damaged(const lb_source_t *s)
{
    return s->damaged;
}

static int
add(lb_source_t *s, const uint8_t *event, size_t len)
{
    const lb_ckpt_ring_t *e = &s->state->rings[s->entry];
    uint64_t seq = s->seq++;

    if (seq < e->acked_seq || seq >= e->end_seq) {
        return 0;
    }

    if (s->nexcluded > 0 && s->excluded->entry == s->entry &&
        s->excluded->seq == seq) {
        s->excluded++;
        s->nexcluded--;
        return 0;
    }

    return s->encoder->add(s->out, event, len, seq);
}

static int
keep(lb_source_t *s, const uint8_t *data, size_t len)
{
    size_t cap;
    uint8_t *line;

    if (s->line_cap - s->line_len < len) {
        cap = s->line_cap * 2 > 65536 ? s->line_cap * 2 : 65536;
        if (cap < s->line_len + len) {
            cap = s->line_len + len;
        }
        line = realloc(s->line, cap);
        if (line == NULL) {
            return -ENOMEM;
        }
        s->line = line;
        s->line_cap = cap;
    }

    memcpy(s->line + s->line_len, data, len);
    s->line_len += len;

    return 0;
}

/* Goes on in the current record until the block is full or its end. */
static int
feed_record(lb_source_t *s)
{
    int rc;
    size_t n;
    uint64_t end = s->rec.payload + s->rec.payload_len;
    const uint8_t *data;
    lb_line_t line;

    while (s->at < end && !s->encoder->full(s->out)) {

        rc = lb_reader_view(s->r->reader, s->at, end, 1, &data, &n);
        if (rc != 0) {
            return source_failed(s, rc, "cannot read a ring");
        }

        lb_lines_view(&s->lines, data, n);

        while (!s->encoder->full(s->out) && lb_lines_next(&s->lines, &line)) {

            if (line.context) {
                rc = s->encoder->context(s->out, &line);

            } else if (line.begins && line.ends) {
                rc = add(s, line.data, line.len);

            } else {
                rc = keep(s, line.data, line.len);
                if (rc == 0 && line.ends) {
                    rc = add(s, s->line, s->line_len);
                    s->line_len = 0;
                }
            }

            if (rc != 0) {
                return source_failed(s, rc, "cannot encode an event");
            }
        }

        n = (size_t)(s->lines.at - data);
        s->crc = lb_crc32c(s->crc, data, n);
        s->at += n;
    }

    if (s->at == end) {
        /* The batch was fixed on these very bytes. */
        if (s->crc != s->rec.payload_crc || s->line_len > 0) {
            return source_failed(s, LB_ECORRUPT, "a record of the batch");
        }
        s->position = s->rec.next;
        s->in_record = 0;
    }

    return 0;
}

/* Fills the block until it is full or the batch ends. */
static int
feed(lb_source_t *s)
{
    int rc;
    uint64_t end;
    const lb_ckpt_ring_t *e;

    while (!s->done && !s->encoder->full(s->out)) {

        if (s->in_record) {
            rc = feed_record(s);
            if (rc != 0) {
                return rc;
            }
            continue;
        }

        if (s->entry == s->state->nrings) {
            s->done = 1;
            break;
        }

        e = &s->state->rings[s->entry];

        if (e->end_seq == e->acked_seq) {
            s->entry++;
            continue;
        }

        if (s->r != NULL && s->seq >= e->end_seq) {
            if (e->digest != 0 && s->digest != e->digest) {
                return source_failed(s, LB_ECORRUPT,
                                     "the records of the batch");
            }
            s->entry++;
            s->r = NULL;
            continue;
        }

        if (s->r == NULL) {
            s->r = lb_rings_find(s->rings, e->uuid);
            if (s->r == NULL) {
                return source_failed(s, -ENOENT, "a ring of the batch");
            }
            s->position = e->acked;
            s->seq = e->acked_seq;
            s->digest = 0;
        }

        end = lb_batch_readable(s->r, e);

        rc = lb_reader_record(s->r->reader, s->position, end, 0, &s->rec);
        if (rc != 0) {
            return source_failed(s, rc, "a record of the batch");
        }

        rc = s->encoder->record(s->out, e->uuid, &s->rec);
        if (rc != 0) {
            return source_failed(s, rc, "cannot encode an event");
        }

        if (s->rec.first_seq + s->rec.events > e->acked_seq) {
            s->digest = lb_batch_digest(s->digest, &s->rec);
        }

        s->seq = s->rec.first_seq;
        s->at = s->rec.payload;
        s->crc = 0;
        lb_lines_start(&s->lines);
        s->in_record = 1;
    }

    return 0;
}

long
lb_source_read(void *source, void *buf, size_t size)
{
    int rc;
    size_t n;
    lb_source_t *s = source;

    for (;;) {
        n = s->encoder->take(s->out, buf, size);
        if (n > 0) {
            return (long)n;
        }

        if (s->done) {
            return 0;
        }

        rc = feed(s);

        if (rc == 0) {
            rc = s->encoder->end(s->out);
        }

        if (rc != 0) {
            return rc;
        }
    }
}
