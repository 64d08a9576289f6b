/*
 * The lifter's pieces, for the files of event/ and their tests.
 */

#ifndef _LB_LIFT_PRIVATE_H_INCLUDED_
#define _LB_LIFT_PRIVATE_H_INCLUDED_

#include "event/lift.h"

/* A date and time in p..end, all of it: RFC 3339, or what comes close ('T',
 * 't' or a space; a fraction of any length behind '.' or ','; Z, z, +hh:mm,
 * +hhmm, +hh, or nothing for UTC), from 1900-01-01 to before 2262-04-11.
 * *inexact: the fraction has digits other than 0 beyond the ninth.  Returns 0
 * and sets nothing if it is something else. */
int lb_time_date(const uint8_t *p, const uint8_t *end, int64_t *ns,
                 int *inexact);

/* The same for a number since 1970, with or without a fraction, in seconds,
 * milliseconds, microseconds or nanoseconds as its magnitude tells: each from
 * 1973-03-03 on, since what is smaller is hardly a date. */
int lb_time_epoch(const uint8_t *p, const uint8_t *end, int64_t *ns,
                  int *inexact);

/* Copy p..end, the inside of a JSON string of event..event_end, without its
 * escapes and return where the copy ends, which is never longer.  May write up
 * to 64 bytes behind that, and reads nothing outside the event.  Lone
 * surrogates become U+FFFD; what no scanner lets through is copied as it is. */
typedef uint8_t *(*lb_unescape_fn)(uint8_t *to, const uint8_t *p,
                                   const uint8_t *end, const uint8_t *event,
                                   const uint8_t *event_end);

uint8_t *lb_lift_unescape_plain(uint8_t *to, const uint8_t *p,
                                const uint8_t *end, const uint8_t *event,
                                const uint8_t *event_end);
uint8_t *lb_lift_unescape_sse2(uint8_t *to, const uint8_t *p,
                               const uint8_t *end, const uint8_t *event,
                               const uint8_t *event_end);
uint8_t *lb_lift_unescape_avx2(uint8_t *to, const uint8_t *p,
                               const uint8_t *end, const uint8_t *event,
                               const uint8_t *event_end);
uint8_t *lb_lift_unescape_neon(uint8_t *to, const uint8_t *p,
                               const uint8_t *end, const uint8_t *event,
                               const uint8_t *event_end);

typedef struct {
    const char *name;
    void (*lift)(const uint8_t *event, size_t len, uint64_t received_us,
                 uint8_t *scratch, lb_fields_t *fields);
} lb_lift_impl_t;

/* The implementations this processor can run, the best one last. */
const lb_lift_impl_t *lb_lift_impls(size_t *n);

#endif /* _LB_LIFT_PRIVATE_H_INCLUDED_ */
