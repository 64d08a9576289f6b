/*
 * OTLP in JSON: what stands in a value (otlp_walk.h).  Private to the decoder.
 */

#ifndef _LB_OTLP_VALUE_H_INCLUDED_
#define _LB_OTLP_VALUE_H_INCLUDED_

#include "event/otlp_write.h"

/* The string from p to end, with its quotes.  1, also for null, which leaves *s
 * as it is; 0: it is none. */
int lb_otlp_get_string(const uint8_t *p, const uint8_t *end, lb_otlp_text_t *s);

/* An integer in [low, high], modulo 2^64; null is 0.  0: it is none. */
int lb_otlp_integer(const uint8_t *p, const uint8_t *end, int64_t low,
                    uint64_t high, uint64_t *value);

/* Writes the AnyValue at p; *behind is set behind it. */
lb_otlp_rc_t lb_otlp_put_any(lb_otlp_t *w, const uint8_t *p,
                             const uint8_t **behind);

/* Writes the KeyValues of the array at p; top: their object has names of our
 * own. */
lb_otlp_rc_t lb_otlp_put_attributes(lb_otlp_t *w, const uint8_t *p, int top);

#endif /* _LB_OTLP_VALUE_H_INCLUDED_ */
