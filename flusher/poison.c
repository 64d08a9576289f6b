#include "flusher/poison.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "event/lines.h"

static int
failed(lb_error_t *err, int rc, const lb_ckpt_ring_t *e)
{
    char buf[128];

    return lb_fail(err, rc, "cannot read the batch in ring %u: %s", e->slot,
                   lb_strerror(rc, buf, sizeof(buf)));
}

/* The record that holds a seq of the batch. */
static int
find_record(lb_flusher_ring_t *r, const lb_ckpt_ring_t *e, uint64_t seq,
            lb_record_t *rec)
{
    int rc;
    uint64_t p = e->acked, end = lb_batch_readable(r, e);

    for (;;) {
        rc = lb_reader_record(r->reader, p, end, 0, rec);
        if (rc != 0) {
            return rc;
        }
        if (seq < rec->first_seq + rec->events) {
            return 0;
        }
        p = rec->next;
    }
}

/* Keeps the first rows of the batch. */
static int
cut(lb_rings_t *rings, lb_ckpt_state_t *state, uint64_t rows, lb_error_t *err)
{
    int rc;
    uint32_t i;
    uint64_t n, left = rows;
    lb_record_t rec;
    lb_ckpt_ring_t *e;
    lb_flusher_ring_t *r;

    for (i = 0; i < state->nrings; i++) {
        e = &state->rings[i];
        n = e->end_seq - e->acked_seq;

        if (n <= left) {
            left -= n;
            continue;
        }

        if (left == 0) {
            e->end = e->acked;
            e->end_seq = e->acked_seq;
            continue;
        }

        r = lb_rings_find(rings, e->uuid);
        rc = r != NULL ? find_record(r, e, e->acked_seq + left, &rec) : -ENOENT;
        if (rc != 0) {
            return failed(err, rc, e);
        }

        e->end = rec.position;
        e->end_seq = e->acked_seq + left;
        left = 0;
    }

    state->rows = rows;

    return 0;
}

int
lb_poison_halve(lb_poison_t *s, lb_rings_t *rings, lb_ckpt_state_t *state,
                lb_error_t *err)
{
    memcpy(s->suspects, state->rings, state->nrings * sizeof(s->suspects[0]));
    s->nsuspects = state->nrings;

    return cut(rings, state, state->rows / 2, err);
}

int
lb_poison_pick(lb_poison_t *s, lb_rings_t *rings, lb_ckpt_state_t *state,
               lb_error_t *err)
{
    int rc;
    uint32_t i;
    lb_ckpt_ring_t *e, *was;

    lb_batch_clear(state);

    for (i = 0; i < s->nsuspects; i++) {
        was = &s->suspects[i];
        e = lb_ckpt_find(state, was->uuid);

        if (e == NULL || was->end_seq <= e->acked_seq ||
            lb_rings_find(rings, e->uuid) == NULL) {
            continue;
        }

        e->end = was->end;
        e->end_seq = was->end_seq;
        state->rows += e->end_seq - e->acked_seq;
    }

    if (state->rows == 0) {
        s->nsuspects = 0;
        return 0;
    }

    if (state->rows == 1) {
        return 1;
    }

    rc = cut(rings, state, state->rows / 2, err);

    return rc == 0 ? 1 : rc;
}

/* The text of one event of a record, behind the context that holds for it, if
 * there is one; the caller frees it. */
static int
read_event(lb_reader_t *reader, const lb_record_t *rec, uint64_t seq,
           uint8_t **event, size_t *len)
{
    int rc = 0;
    size_t n, context = 0, skip = (size_t)(seq - rec->first_seq);
    uint64_t p, end = rec->payload + rec->payload_len;
    uint8_t *out;
    const uint8_t *data;
    lb_lines_t lines;
    lb_line_t line;

    out = malloc((size_t)rec->payload_len);
    if (out == NULL) {
        return -ENOMEM;
    }

    *len = 0;
    lb_lines_start(&lines);

    for (p = rec->payload; p < end; p += n) {

        rc = lb_reader_view(reader, p, end, 1, &data, &n);
        if (rc != 0) {
            break;
        }

        lb_lines_view(&lines, data, n);

        while (lb_lines_next(&lines, &line)) {
            if (line.context) {
                context = line.begins ? 0 : context;
                memcpy(out + context, line.data, line.len);
                context += line.len;
                if (line.ends) {
                    out[context++] = '\n';
                }
                *len = context;
                continue;
            }

            if (skip == 0) {
                memcpy(out + *len, line.data, line.len);
                *len += line.len;
                if (line.ends) {
                    *event = out;
                    return 0;
                }
            }

            skip -= skip > 0 && line.ends;
        }
    }

    free(out);

    return rc != 0 ? rc : LB_ECORRUPT;
}

int
lb_poison_set_aside(lb_poison_t *s, lb_rings_t *rings, lb_ckpt_state_t *state,
                    lb_dead_t *dead, lb_error_t *err)
{
    int rc;
    size_t len;
    uint8_t *event;
    uint32_t i;
    lb_record_t rec;
    lb_ckpt_ring_t *e = NULL;
    lb_flusher_ring_t *r;

    for (i = 0; i < state->nrings; i++) {
        if (state->rings[i].end_seq > state->rings[i].acked_seq) {
            e = &state->rings[i];
        }
    }

    if (e == NULL) {
        return lb_fail(err, LB_ECORRUPT, "a batch without rows");
    }

    r = lb_rings_find(rings, e->uuid);
    rc = r != NULL ? find_record(r, e, e->acked_seq, &rec) : -ENOENT;

    if (rc == 0) {
        rc = read_event(r->reader, &rec, e->acked_seq, &event, &len);
    }
    if (rc != 0) {
        return failed(err, rc, e);
    }

    rc = lb_dead_row(dead, r->reader, &r->info, &rec, e->acked_seq, event, len,
                     s->reason, err);
    free(event);
    if (rc != 0) {
        return rc;
    }

    e->acked = e->end;
    e->acked_seq = e->end_seq;
    state->dead++;
    s->nsuspects = 0;
    s->limit = 4;

    return 0;
}

int
lb_poison_exclude(lb_poison_t *s, lb_rings_t *rings,
                  const lb_ckpt_state_t *state, const lb_excluded_t *excluded,
                  uint32_t n, lb_dead_t *dead, lb_error_t *err)
{
    int rc = 0;
    size_t len;
    uint8_t *event;
    uint32_t i;
    uint64_t p = 0, end = 0;
    lb_record_t rec;
    lb_flusher_ring_t *r = NULL;
    const lb_ckpt_ring_t *e = NULL;

    memset(&rec, 0, sizeof(rec));

    for (i = 0; i < n; i++) {

        if (e != &state->rings[excluded[i].entry]) {
            e = &state->rings[excluded[i].entry];
            r = lb_rings_find(rings, e->uuid);
            if (r == NULL) {
                return failed(err, -ENOENT, e);
            }
            p = e->acked;
            end = lb_batch_readable(r, e);
            rec.events = 0;
        }

        while (rec.events == 0 ||
               excluded[i].seq >= rec.first_seq + rec.events) {
            rc = lb_reader_record(r->reader, p, end, 0, &rec);
            if (rc != 0) {
                return failed(err, rc, e);
            }
            p = rec.next;
        }

        rc = read_event(r->reader, &rec, excluded[i].seq, &event, &len);
        if (rc != 0) {
            return failed(err, rc, e);
        }

        rc = lb_dead_row(dead, r->reader, &r->info, &rec, excluded[i].seq,
                         event, len, s->reason, err);
        free(event);
        if (rc != 0) {
            return rc;
        }
    }

    return 0;
}

void
lb_poison_success(lb_poison_t *s, uint64_t max_rows)
{
    if (s->nsuspects == 0 && s->limit > 0) {
        s->limit = s->limit * 4 < max_rows ? s->limit * 4 : 0;
    }
}
