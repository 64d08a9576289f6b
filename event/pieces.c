/*
 * The JSON objects of a body: see pieces.h.
 *
 * A body without faults is scanned as a whole.  One with some is taken apart
 * piece by piece, each where its brackets say that it ends.
 */

#include "event/pieces.h"
#include "event/json.h"
#include "event/members.h"

#include <stdlib.h>
#include <string.h>

/* What is scanned into is on the stack up to this size. */
#define STACK_MAX 16384

/* Bodies are read as often at most, looking for the end of what has none. */
#define WASTE_MAX 4

/* What is made of len bytes may have that many. */
static size_t
room(size_t len)
{
    return lb_scan_json_out_max(len) + 64;
}

/* What may be between two of them. */
static const uint8_t *
skip(const uint8_t *p, const uint8_t *end)
{
    /* the 0 behind these is one of them */
    while (p < end && memchr(" \t\r\n,[]", *p, 8) != NULL) {
        p++;
    }
    return p;
}

/* All of it, if nothing is wrong: 1, and *rc; or 0. */
static int
take_all(lb_pieces_t *s, const uint8_t *in, size_t len, uint8_t *lines,
         size_t cap, lb_scan_status_t *rc)
{
    const uint8_t *p = lines, *nl;
    lb_scan_result_t res;

    *rc = lb_scan_json(in, len, lines, cap, s->max, &res);
    if (*rc != LB_SCAN_OK) {
        return *rc == LB_SCAN_EMPTY;
    }
    while (p < lines + res.out_len && *rc == LB_SCAN_OK) {
        nl = memchr(p, '\n', (size_t)(lines + res.out_len - p));
        *rc = s->take(s->data, p, (size_t)(nl - p));
        p = nl + 1;
        s->number++;
    }
    return 1;
}

/* One piece that may be an object; *fault is set if it is none. */
static lb_scan_status_t
take_piece(lb_pieces_t *s, const uint8_t *piece, size_t len, uint8_t *line,
           size_t cap, int *fault)
{
    lb_scan_result_t one;
    lb_scan_status_t rc = lb_scan_json(piece, len, line, cap, s->max, &one);

    if (rc == LB_SCAN_OK && one.events == 1) {
        return s->take(s->data, line, one.out_len - 1);
    }
    *fault = rc == LB_SCAN_TOOBIG ? LB_PIECE_SIZE : LB_PIECE_JSON;
    return LB_SCAN_OK;
}

/* Where a piece ends that begins with a brace but is no object: at the next line
 * that begins with one, or at the next NUL, or else where its brackets say. */
static const uint8_t *
cut(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *nul = memchr(p, '\0', (size_t)(end - p));
    const uint8_t *nl = p;

    end = nul != NULL ? nul : end;
    while ((nl = memchr(nl, '\n', (size_t)(end - nl))) != NULL) {
        nl++;
        if (nl < end && *nl == '{') {
            return nl;
        }
    }
    return end;
}

static lb_scan_status_t
take_pieces(lb_pieces_t *s, const uint8_t *p, size_t len, uint8_t *line,
            size_t cap)
{
    const uint8_t *const end = p + len;
    const uint8_t *behind;
    size_t wasted = 0;
    lb_scan_status_t rc = LB_SCAN_OK;

    for (s->number = 0; rc == LB_SCAN_OK; s->number++) {
        int fault = LB_PIECE_JSON;

        p = skip(p, end);
        if (p == end) {
            break;
        }
        if (*p == '{') {
            behind = lb_skip_value(p, end);
            s->at = p;
            s->behind = behind;
            s->at_number = s->number;
            fault = -1;
            rc = take_piece(s, p, (size_t)(behind - p), line, cap, &fault);
            if (fault == LB_PIECE_JSON) {
                wasted += (size_t)(behind - p);
                behind = cut(p, behind);
            }
        } else {
            behind = memchr(p, '{', (size_t)(end - p));
            behind = behind != NULL ? behind : end;
        }
        if (fault >= 0) {
            rc = s->bad(s->data, p, (size_t)(behind - p),
                        (lb_piece_fault_t)fault);
        }
        if (wasted / WASTE_MAX > len) {
            return LB_SCAN_BAD;
        }
        p = behind;
    }
    return rc;
}

/* Behind the line at p. */
static const uint8_t *
line_end(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));

    return nl != NULL ? nl + 1 : end;
}

/* From p over all lines that do not begin with a brace. */
static const uint8_t *
text_end(const uint8_t *p, const uint8_t *end)
{
    while (p < end && *p != '{') {
        p = line_end(p, end);
    }
    return p;
}

static lb_scan_status_t
take_lines(lb_pieces_t *s, const uint8_t *p, size_t len, uint8_t *line,
           size_t cap)
{
    const uint8_t *const end = p + len;
    lb_scan_status_t rc = LB_SCAN_OK;

    for (s->number = 0; p < end && rc == LB_SCAN_OK; s->number++) {
        int fault = LB_PIECE_JSON;

        s->at = p;
        s->behind = *p == '{' ? line_end(p, end) : text_end(p, end);
        s->at_number = s->number;
        len = (size_t)(s->behind - p);

        if (*p == '{') {
            fault = -1;
            rc = take_piece(s, p, len, line, cap, &fault);
        }
        if (fault == LB_PIECE_JSON) {
            rc = s->text(s->data, p, len);
        } else if (fault == LB_PIECE_SIZE) {
            rc = s->bad(s->data, p, len, LB_PIECE_SIZE);
        }
        p = s->behind;
    }
    return rc;
}

typedef lb_scan_status_t (*take_fn)(lb_pieces_t *, const uint8_t *, size_t,
                                    uint8_t *, size_t);

static lb_scan_status_t
pieces(lb_pieces_t *s, const uint8_t *in, size_t len, take_fn take)
{
    uint8_t stack[STACK_MAX];
    uint8_t *lines = stack;
    size_t cap = room(len);
    lb_scan_status_t rc;

    if (len >= 3 && memcmp(in, "\xef\xbb\xbf", 3) == 0) {
        in += 3;
        len -= 3;
    }
    s->number = 0;
    s->at = s->behind = in;
    s->end = in + len;
    s->at_number = SIZE_MAX;

    if (cap > sizeof(stack)) {
        if (!s->patient) {
            return LB_SCAN_LATER;
        }
        lines = malloc(cap);
        if (lines == NULL) {
            return LB_SCAN_NOMEM;
        }
    }
    if (!take_all(s, in, len, lines, cap, &rc)) {
        rc = take(s, in, len, lines, cap);
    }
    if (lines != stack) {
        free(lines);
    }
    return rc == LB_SCAN_EMPTY ? LB_SCAN_OK : rc;
}

lb_scan_status_t
lb_pieces(lb_pieces_t *s, const uint8_t *in, size_t len)
{
    return pieces(s, in, len, take_pieces);
}

lb_scan_status_t
lb_pieces_lines(lb_pieces_t *s, const uint8_t *in, size_t len)
{
    return pieces(s, in, len, take_lines);
}

const uint8_t *
lb_pieces_at(lb_pieces_t *s, size_t *len)
{
    while (s->at_number != s->number) {
        s->at = skip(s->behind, s->end);
        s->behind = lb_skip_value(s->at, s->end);
        s->at_number++;
    }
    *len = (size_t)(s->behind - s->at);
    return s->at;
}
