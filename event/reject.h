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

#include "event/out.h"
#include "event/scan.h"

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

/* As many rejected events of a request are kept; all are counted. */
#define LB_REJECT_MAX 1000u

/* Bytes of out that the rejected ones of a request need at most, beside six for
 * each byte of their bodies and those of their origins. */
#define LB_REJECT_MORE ((size_t)LB_REJECT_MAX * 512)

/* Counts the event in res, the first one with its reason and its offset in the
 * body, and writes it behind its context, unless that is in_force.  A body that
 * is NULL is only counted.  LB_SCAN_OK, or LB_SCAN_NOSPACE. */
lb_scan_status_t lb_reject(lb_scan_result_t *res, lb_out_t *out, int in_force,
                           size_t offset, const lb_reject_t *r);

#endif /* _LB_REJECT_H_INCLUDED_ */
