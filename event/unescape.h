/*
 * Strings of an event without their escapes.
 */

#ifndef _LB_UNESCAPE_H_INCLUDED_
#define _LB_UNESCAPE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "event/ways.h"

/* Copies p..end, the inside of a JSON string of event..event_end, without its
 * escapes and returns where the copy ends, which is never longer.  May write up
 * to 64 bytes behind that, and reads nothing outside the event.  Lone
 * surrogates become U+FFFD; what no scanner lets through is copied as it is. */
typedef uint8_t *(*lb_unescape_fn)(uint8_t *to, const uint8_t *p,
                                   const uint8_t *end, const uint8_t *event,
                                   const uint8_t *event_end);

extern const lb_unescape_fn lb_unescape_ways[LB_WAYS];

#endif /* _LB_UNESCAPE_H_INCLUDED_ */
