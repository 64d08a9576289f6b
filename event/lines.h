/*
 * The lines of a payload, one by one.
 *
 * A payload is what a record holds: lines, each ended by one \n.  A line is an
 * event, which has a seq of its own, or a *context*: it begins with the byte
 * 0x01, is no event, and applies to the events behind it, up to the next
 * context.  Whoever counts events must not count one.
 *
 * A payload is looked at view by view, and a line may lie in several: each of
 * them gives a piece of it.
 */

#ifndef _LB_LINES_H_INCLUDED_
#define _LB_LINES_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LB_LINES_CONTEXT 0x01

typedef struct {
    const uint8_t *at; /* the first byte that was not handed out */
    const uint8_t *end;
    int inside;  /* at is not the first byte of its line */
    int context; /* the line at is inside of is a context */
} lb_lines_t;

/* One line of the view, or the piece of one. */
typedef struct {
    const uint8_t *data;
    size_t len;  /* without the \n */
    int begins;  /* no: the line began in an earlier view */
    int ends;    /* no: it goes on in the next one */
    int context; /* it is no event */
} lb_line_t;

/* At the begin of a payload. */
static inline void
lb_lines_start(lb_lines_t *l)
{
    memset(l, 0, sizeof(*l));
}

/* The next n bytes of the payload. */
static inline void
lb_lines_view(lb_lines_t *l, const uint8_t *data, size_t n)
{
    l->at = data;
    l->end = data + n;
}

/* 0: the view has no more, call lb_lines_view. */
static inline int
lb_lines_next(lb_lines_t *l, lb_line_t *line)
{
    const uint8_t *nl;
    size_t left = (size_t)(l->end - l->at);

    if (left == 0) {
        return 0;
    }

    line->begins = !l->inside;
    if (!l->inside) {
        l->context = *l->at == LB_LINES_CONTEXT;
    }

    nl = memchr(l->at, '\n', left);
    line->data = l->at;
    line->len = nl != NULL ? (size_t)(nl - l->at) : left;
    line->ends = nl != NULL;
    line->context = l->context;

    l->inside = nl == NULL;
    l->at = nl != NULL ? nl + 1 : l->end;
    return 1;
}

/* 1 if there is a context in a whole payload. */
static inline int
lb_lines_contexts(const uint8_t *data, size_t n)
{
    lb_lines_t l;
    lb_line_t line = {0};

    lb_lines_start(&l);
    lb_lines_view(&l, data, n);

    while (!line.context && lb_lines_next(&l, &line)) {
        /* void */
    }

    return line.context;
}

#endif /* _LB_LINES_H_INCLUDED_ */
