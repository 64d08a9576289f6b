#include "flusher/clickhouse/more.h"

/* This version has values of its own; so does this block, and its places have
 * two bytes. */
#define VERSION 1u
#define OWN_VALUES 0x600u
#define TWO_BYTES 1u

void
lb_more_reset(lb_more_t *m)
{
    m->values.len = 0;
    m->rows = 0;
    m->places.len = 0;
    m->n = 0;
}

void
lb_more_free(lb_more_t *m)
{
    free(m->values.data);
    free(m->places.data);
}

/* The rows before this one that have nothing, of size bytes each. */
static int
put_nothing(lb_more_t *m, lb_bytes_t *b, size_t row, size_t size)
{
    size_t len = (row - m->rows) * size;

    if (len > 0) {
        if (lb_reserve(b, len) != 0) {
            return -ENOMEM;
        }
        memset(b->data + b->len, 0, len);
        b->len += len;
    }
    m->rows = row;

    return 0;
}

int
lb_more_string(lb_more_t *m, size_t row, lb_str_t s)
{
    if (put_nothing(m, &m->values, row, 1) != 0 ||
        lb_put_string(&m->values, s.data, s.len) != 0) {
        return -ENOMEM;
    }
    m->rows++;

    return 0;
}

int
lb_more_byte(lb_more_t *m, size_t row, uint8_t value)
{
    if (put_nothing(m, &m->values, row, 1) != 0 ||
        lb_put_byte(&m->values, value) != 0) {
        return -ENOMEM;
    }
    m->rows++;

    return 0;
}

/* The first value, of the rows that have nothing. */
static int
put_empty(lb_more_t *m)
{
    if (m->n == 0) {
        if (lb_put_string(&m->values, "", 0) != 0) {
            return -ENOMEM;
        }
        m->n = 1;
        m->last_len = 0;
    }

    return 0;
}

long
lb_more_value(lb_more_t *m, size_t row, size_t n, lb_str_t s)
{
    long added = 0;
    uint8_t place[2];

    if (put_empty(m) != 0) {
        return -ENOMEM;
    }

    if (m->last_len != s.len ||
        memcmp(m->values.data + m->last, s.data, s.len) != 0) {
        if (lb_put_string(&m->values, s.data, s.len) != 0) {
            return -ENOMEM;
        }
        m->last = m->values.len - s.len;
        m->last_len = s.len;
        m->n++;
        added = (long)s.len;
    }

    place[0] = (uint8_t)(m->n - 1);
    place[1] = (uint8_t)((m->n - 1) >> 8);

    if (put_nothing(m, &m->places, row, 2) != 0 ||
        lb_put_again(&m->places, place, 2, n) != 0) {
        return -ENOMEM;
    }
    m->rows += n;

    return added;
}

int
lb_more_end(lb_more_t *m, size_t rows)
{
    return put_nothing(m, &m->values, rows, 1);
}

int
lb_more_end_values(lb_more_t *m, size_t rows, lb_bytes_t *header)
{
    if (put_empty(m) != 0 || put_nothing(m, &m->places, rows, 2) != 0 ||
        lb_put_u64(header, VERSION) != 0 ||
        lb_put_u64(header, OWN_VALUES | TWO_BYTES) != 0 ||
        lb_put_u64(header, m->n) != 0 || lb_put_u64(&m->values, rows) != 0) {
        return -ENOMEM;
    }

    return lb_put_bytes(&m->values, m->places.data, m->places.len);
}
