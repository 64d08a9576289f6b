/*
 * What of which ring is a dead letter.  Letters of a ring come nearly in order,
 * so that adding one is mostly appending.
 */

#include "lb_dead_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static lb_dead_places_t *
find(const lb_dead_index_t *index, unsigned kind,
     const uint8_t ring[LB_UUID_LEN])
{
    size_t i;

    for (i = 0; i < index->nlists; i++) {
        if (index->list[i].kind == kind &&
            memcmp(index->list[i].ring, ring, LB_UUID_LEN) == 0) {
            return &index->list[i];
        }
    }

    return NULL;
}

/* The first place that is not before this one. */
static size_t
lower(const lb_dead_places_t *places, uint64_t seq, uint64_t position)
{
    size_t from = 0, to = places->n, middle;
    const lb_dead_place_t *p;

    while (from < to) {
        middle = from + (to - from) / 2;
        p = &places->place[middle];

        if (p->seq < seq || (p->seq == seq && p->position < position)) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }

    return from;
}

/* An array with room for one element more; NULL: no memory. */
static void *
grown(void *array, size_t n, size_t *room, size_t size)
{
    void *more;
    size_t wanted = *room == 0 ? 16 : *room + *room / 2;

    if (n < *room) {
        return array;
    }

    more = realloc(array, wanted * size);
    if (more != NULL) {
        *room = wanted;
    }

    return more;
}

int
lb_dead_index_reserve(lb_dead_index_t *index, unsigned kind,
                      const uint8_t ring[LB_UUID_LEN])
{
    void *more;
    lb_dead_places_t *places = find(index, kind, ring);

    more = grown(index->letter, index->n, &index->room, sizeof(*index->letter));
    if (more == NULL) {
        return -ENOMEM;
    }
    index->letter = more;

    if (places == NULL) {
        more = realloc(index->list, (index->nlists + 1) * sizeof(*index->list));
        if (more == NULL) {
            return -ENOMEM;
        }
        index->list = more;
        places = &index->list[index->nlists++];
        memset(places, 0, sizeof(*places));
        memcpy(places->ring, ring, LB_UUID_LEN);
        places->kind = (uint16_t)kind;
    }

    more =
        grown(places->place, places->n, &places->room, sizeof(*places->place));
    if (more == NULL) {
        return -ENOMEM;
    }
    places->place = more;

    return 0;
}

void
lb_dead_index_add(lb_dead_index_t *index, unsigned kind,
                  const uint8_t ring[LB_UUID_LEN], uint64_t seq,
                  uint64_t position, uint64_t offset, int done)
{
    size_t at;
    lb_dead_places_t *places = find(index, kind, ring);
    lb_dead_place_t *p;

    seq = kind == LB_DEAD_ROW ? seq : 0;
    at = lower(places, seq, position);
    p = &places->place[at];

    memmove(p + 1, p, (places->n - at) * sizeof(*p));
    p->seq = seq;
    p->position = position;
    places->n++;

    index->letter[index->n++] = offset | (done ? LB_DEAD_INDEX_DONE : 0);
}

int
lb_dead_index_has(const lb_dead_index_t *index, unsigned kind,
                  const uint8_t ring[LB_UUID_LEN], uint64_t seq,
                  uint64_t position)
{
    size_t at;
    const lb_dead_places_t *places = find(index, kind, ring);

    if (places == NULL) {
        return 0;
    }

    seq = kind == LB_DEAD_ROW ? seq : 0;
    at = lower(places, seq, position);

    return at < places->n && places->place[at].seq == seq &&
           places->place[at].position == position;
}

size_t
lb_dead_index_rows(const lb_dead_index_t *index,
                   const uint8_t ring[LB_UUID_LEN], uint64_t first,
                   uint64_t end, uint64_t *seqs, size_t max)
{
    size_t i, n = 0;
    const lb_dead_place_t *p;
    const lb_dead_places_t *places = find(index, LB_DEAD_ROW, ring);

    if (places == NULL) {
        return 0;
    }

    for (i = lower(places, first, 0); i < places->n; i++) {
        p = &places->place[i];

        if (p->seq >= end) {
            break;
        }
        if (i > 0 && p[-1].seq == p->seq) {
            continue;
        }
        if (n < max) {
            seqs[n] = p->seq;
        }
        n++;
    }

    return n;
}

int
lb_dead_index_begins(const lb_dead_index_t *index, uint64_t offset)
{
    size_t from = 0, to = index->n, middle;
    uint64_t at;

    while (from < to) {
        middle = from + (to - from) / 2;
        at = index->letter[middle] & ~(uint64_t)LB_DEAD_INDEX_DONE;

        if (at == offset) {
            return 1;
        }
        if (at < offset) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }

    return 0;
}

void
lb_dead_index_clear(lb_dead_index_t *index)
{
    size_t i;

    for (i = 0; i < index->nlists; i++) {
        free(index->list[i].place);
    }

    free(index->list);
    free(index->letter);
    memset(index, 0, sizeof(*index));
}
