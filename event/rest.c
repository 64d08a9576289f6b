#include "event/rest.h"

/* A part of the event that goes: whole members of one object, and the comma
 * that joined them to what is behind. */
typedef struct {
    const uint8_t *from;
    const uint8_t *to;
    const uint8_t *parent; /* as in lb_found_t */
} cut_t;

/* All members of the object that the last cut is in have been seen: with none
 * left in it, the object goes; the last ones take the comma before them.
 * Returns how many cuts there are. */
static unsigned
close_object(cut_t *cuts, unsigned n)
{
    cut_t *last = &cuts[n - 1];

    if (*last->to != '}') {
        return n;
    }
    if (last->from[-1] == ',') {
        last->from--;
        return n;
    }
    if (last->parent == NULL || last->from[-1] != '{') {
        return n;
    }
    last->from = last->parent - 1;
    last->to += 1 + (last->to[1] == ',');
    last->parent = NULL;
    if (n > 1 && cuts[n - 2].to == last->from) {
        cuts[n - 2].to = last->to;
        n--;
    }
    return n;
}

/* What goes of the event, in order. */
static unsigned
cuts_of(const lb_walk_t *walk, cut_t *cuts)
{
    unsigned n = 0;

    for (unsigned i = 0; i < walk->n; i++) {
        const lb_found_t *f = &walk->found[walk->order[i]];
        const uint8_t *from = f->key - 1;
        const uint8_t *to = f->end + (*f->end == ',');

        if (f->stays) {
            continue;
        }
        if (n > 0 && cuts[n - 1].parent != f->parent) {
            n = close_object(cuts, n);
        }
        if (n > 0 && cuts[n - 1].to == from &&
            cuts[n - 1].parent == f->parent) {
            cuts[n - 1].to = to;
            continue;
        }
        cuts[n].from = from;
        cuts[n].to = to;
        cuts[n++].parent = f->parent;
    }
    /* of the object, then of the event */
    if (n > 0 && cuts[n - 1].parent != NULL) {
        n = close_object(cuts, n);
    }
    return n > 0 && cuts[n - 1].parent == NULL ? close_object(cuts, n) : n;
}

lb_str_t
lb_rest_of(const lb_walk_t *walk, uint8_t *scratch)
{
    cut_t cuts[LB_ALL_FIELDS];
    unsigned n = cuts_of(walk, cuts);
    const uint8_t *from = walk->event;
    uint8_t *o = scratch;
    lb_str_t s = {walk->event, (size_t)(walk->end - walk->event)};

    if (n == 0) {
        return s;
    }
    for (unsigned i = 0; i <= n; i++) {
        size_t len = (size_t)((i < n ? cuts[i].from : walk->end) - from);

        memcpy(o, from, len);
        o += len;
        from = i < n ? cuts[i].to : from;
    }

    s.data = scratch;
    s.len = (size_t)(o - scratch);
    return s;
}
