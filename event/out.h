/*
 * Room to write to, that never overflows.  The scanners and OTLP have ways of
 * their own, for speed.
 */

#ifndef _LB_OUT_H_INCLUDED_
#define _LB_OUT_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint8_t *o;   /* the next byte */
    uint8_t *end; /* of the room */
} lb_out_t;

static inline size_t
lb_out_room(const lb_out_t *out)
{
    return (size_t)(out->end - out->o);
}

/* 0, or -1: there is no room for all of it, nothing was written. */
static inline int
lb_out_put(lb_out_t *out, const void *data, size_t len)
{
    if (lb_out_room(out) < len) {
        return -1;
    }
    memcpy(out->o, data, len);
    out->o += len;
    return 0;
}

static inline int
lb_out_puts(lb_out_t *out, const char *text)
{
    return lb_out_put(out, text, strlen(text));
}

#endif /* _LB_OUT_H_INCLUDED_ */
