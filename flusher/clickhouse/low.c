#include "flusher/clickhouse/low.h"

#define VERSION 1u
#define OWN_VALUES 0x600u

void
lb_low_reset(lb_low_t *low)
{
    if (++low->block == 0) { /* no slot may be older than that */
        memset(low->slots, 0, sizeof(low->slots));
        low->block = 1;
    }
    low->n = 0;
    low->rows = 0;
    low->size = 1;
}

static inline uint64_t
word(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));

    return le64toh(v);
}

static inline uint64_t
half(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));

    return le32toh(v);
}

#define FACTOR 0x9e3779b97f4a7c15u

/* A factor carries what differs to the left alone. */
static inline uint64_t
mix(uint64_t h)
{
    h *= FACTOR;

    return h ^ h >> 32;
}

/* The two numbers that tell values of a length of up to 16 bytes apart, longer
 * ones nearly always.  A part of the encoding's version: they decide which values
 * are there twice. */
static inline void
numbers(lb_str_t s, uint64_t *a, uint64_t *b)
{
    size_t i;

    if (s.len >= 8) {
        *a = word(s.data);
        *b = word(s.data + s.len - 8);
        for (i = 8; i + 8 < s.len; i += 8) {
            *a = mix(*a ^ word(s.data + i));
        }
    } else if (s.len >= 4) {
        *a = half(s.data);
        *b = half(s.data + s.len - 4);
    } else {
        *a = s.data[0];
        *b = (uint64_t)s.data[s.len / 2] << 8 | s.data[s.len - 1];
    }
}

static inline int
is_of(const lb_low_t *low, const lb_low_slot_t *slot, uint64_t a, uint64_t b,
      const lb_bytes_t *values, lb_str_t s)
{
    return ((slot->a ^ a) | (slot->b ^ b) | (slot->len ^ s.len) |
            (slot->block ^ low->block)) == 0 &&
           (s.len <= 16 || memcmp(values->data + slot->at, s.data, s.len) == 0);
}

/* Each hash has a way through the slots of its own. */
static inline lb_low_slot_t *
slot_of(lb_low_t *low, uint64_t hash, unsigned tries)
{
    return &low->slots[((hash >> 40) + tries * (hash >> 20 | 1)) %
                       LB_LOW_SLOTS];
}

/* The rows before this one that have nothing. */
static inline void
put_nothing(lb_low_t *low, size_t row)
{
    if (low->rows < row) {
        memset(&low->places[low->rows * low->size], 0,
               (row - low->rows) * low->size);
        low->rows = (uint32_t)row;
    }
}

/* n rows more have a place. */
static void
put_place(lb_low_t *low, unsigned place, size_t n)
{
    size_t i;

    if (low->size == 1 && place > UINT8_MAX) {
        for (i = low->rows; i-- > 0;) {
            low->places[2 * i] = low->places[i];
            low->places[2 * i + 1] = 0;
        }
        low->size = 2;
    }

    if (low->size == 1) {
        memset(&low->places[low->rows], (int)place, n);
    } else {
        for (i = low->rows; i < low->rows + n; i++) {
            low->places[2 * i] = (uint8_t)place;
            low->places[2 * i + 1] = (uint8_t)(place >> 8);
        }
    }

    low->rows += (uint32_t)n;
}

static inline int
put_empty(lb_low_t *low, lb_bytes_t *values)
{
    if (low->n > 0) {
        return 0;
    }

    low->n = 1;

    return lb_put_byte(values, 0);
}

/* The place of a value, or -ENOMEM. */
static int
find(lb_low_t *low, lb_bytes_t *values, lb_str_t s, uint64_t a, uint64_t b,
     uint64_t hash)
{
    unsigned tries;
    lb_low_slot_t *slot = NULL;

    for (tries = 0; tries < LB_LOW_TRIES && s.len <= LB_LOW_LONGEST; tries++) {
        slot = slot_of(low, hash, tries);
        if (slot->block != low->block) {
            break;
        }
        if (is_of(low, slot, a, b, values, s)) {
            return slot->place;
        }
        slot = NULL;
    }

    if (put_empty(low, values) != 0 ||
        lb_put_string(values, s.data, s.len) != 0) {
        return -ENOMEM;
    }

    if (slot != NULL) {
        slot->a = a;
        slot->b = b;
        slot->at = values->len - s.len;
        slot->block = low->block;
        slot->len = (uint16_t)s.len;
        slot->place = (uint16_t)low->n;
    }

    return (int)low->n++;
}

static __attribute__((noinline)) int
put(lb_low_t *low, lb_bytes_t *values, size_t row, size_t n, lb_str_t s,
    uint64_t a, uint64_t b, uint64_t hash)
{
    int place = find(low, values, s, a, b, hash);

    if (place < 0) {
        return -ENOMEM;
    }

    put_nothing(low, row);
    put_place(low, (unsigned)place, n);

    return 0;
}

int
lb_low_put(lb_low_t *low, lb_bytes_t *values, size_t row, size_t n, lb_str_t s)
{
    uint64_t a = 0, b = 0, hash;
    const lb_low_slot_t *slot;

    if (s.len == 0) {
        return 0;
    }

    if (s.len <= LB_LOW_LONGEST) {
        numbers(s, &a, &b);
    }
    hash = mix(mix(a + s.len) ^ b) * FACTOR;

    /* as nearly all are */
    slot = slot_of(low, hash, 0);
    if (n == 1 && low->rows == row && low->size == 1 &&
        is_of(low, slot, a, b, values, s)) {
        low->places[low->rows++] = (uint8_t)slot->place;
        return 0;
    }

    return put(low, values, row, n, s, a, b, hash);
}

int
lb_low_end(lb_low_t *low, lb_bytes_t *values, size_t rows, lb_bytes_t *header)
{
    if (put_empty(low, values) != 0 || lb_put_u64(header, VERSION) != 0 ||
        lb_put_u64(header, OWN_VALUES | (low->size - 1)) != 0 ||
        lb_put_u64(header, low->n) != 0 || lb_put_u64(values, rows) != 0) {
        return -ENOMEM;
    }

    put_nothing(low, rows);

    return lb_put_bytes(values, low->places, rows * low->size);
}
