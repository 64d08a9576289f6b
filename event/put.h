/*
 * Members of an event, a comma behind each: lb_put_end() takes the last one
 * away.  All return 0, or not 0 if there is no room.
 */

#ifndef _LB_PUT_H_INCLUDED_
#define _LB_PUT_H_INCLUDED_

#include "event/members.h"
#include "event/out.h"

/* value: len bytes of JSON. */
static inline int
lb_put(lb_out_t *out, const char *name, const uint8_t *value, size_t len)
{
    return lb_out_puts(out, "\"") || lb_out_puts(out, name) ||
           lb_out_puts(out, "\":") || lb_out_put(out, value, len) ||
           lb_out_puts(out, ",");
}

/* As it is, but for the first skip bytes of its name. */
static inline int
lb_put_member(lb_out_t *out, const lb_member_t *m, size_t skip)
{
    return lb_out_puts(out, "\"") ||
           lb_out_put(out, m->key + skip, (size_t)(m->end - m->key) - skip) ||
           lb_out_puts(out, ",");
}

/* All those of an object, its braces at p and before end. */
static inline int
lb_put_members(lb_out_t *out, const uint8_t *p, const uint8_t *end)
{
    return end - p > 2 && (lb_out_put(out, p + 1, (size_t)(end - p) - 2) ||
                           lb_out_puts(out, ","));
}

/* The end of the event and its \n. */
static inline int
lb_put_end(lb_out_t *out)
{
    out->o -= out->o[-1] == ',';
    return lb_out_puts(out, "}\n");
}

#endif /* _LB_PUT_H_INCLUDED_ */
