/*
 * An event that a foreign protocol got wrong: its neighbours are taken, and it
 * is kept as an event of the stream "rejected", so that somebody can see what
 * it was.  It has the members "reason", "origin" (the stream it was meant
 * for), "place" (where it stood in its request) and "body" (its bytes as text,
 * the first LB_REJECT_BODY of them; then "body_bytes" says how many there
 * were).
 */

#ifndef _LB_REJECT_H_INCLUDED_
#define _LB_REJECT_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

/* The stream, as the context that the event stands behind. */
#define LB_REJECT_CONTEXT "\001{\"stream\":\"rejected\"}\n"

/* Bytes of a body that are kept. */
#define LB_REJECT_BODY 8192u

typedef struct {
    const char *reason; /* valid UTF-8 that needs no escapes, as place */
    const char *place;
    const char *origin; /* a valid name of a stream, or empty */
    size_t origin_len;
    const uint8_t *body;
    size_t body_len;
} lb_reject_t;

/* Writes the event and its \n, without the context; the bytes written, or 0 if
 * out has no room.  LB_REJECT_ROOM(body_len) bytes and those of the other
 * members always suffice. */
size_t lb_reject_put(uint8_t *out, size_t cap, const lb_reject_t *r);

#define LB_REJECT_ROOM(len)                                                    \
    (96 + 6 * ((len) < LB_REJECT_BODY ? (len) : LB_REJECT_BODY))

#endif /* _LB_REJECT_H_INCLUDED_ */
