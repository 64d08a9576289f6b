/*
 * Timestamps as logs write them, to nanoseconds since 1970.
 */

#ifndef _LB_TIMESTAMP_H_INCLUDED_
#define _LB_TIMESTAMP_H_INCLUDED_

#include <stdint.h>

/* A date and time in p..end, all of it: RFC 3339, or what comes close ('T',
 * 't' or a space; a fraction of any length behind '.' or ','; a zone as Z, z,
 * UTC, GMT, +hh:mm, +hhmm, +hh, a space before it or not, or nothing for UTC),
 * or another of the patterns in timestamp.c; from 1900-01-01 to before
 * 2262-04-11.  *inexact: the fraction has digits other than 0 beyond the ninth.
 * Returns 0 if it is something else; *ns and *inexact have no meaning then. */
int lb_time_date(const uint8_t *p, const uint8_t *end, int64_t *ns,
                 int *inexact);

/* The same for a number since 1970, with or without a fraction or an exponent,
 * in seconds, milliseconds, microseconds or nanoseconds as its magnitude tells:
 * each from 1973-03-03 on, since what is smaller is hardly a date. */
int lb_time_epoch(const uint8_t *p, const uint8_t *end, int64_t *ns,
                  int *inexact);

#endif /* _LB_TIMESTAMP_H_INCLUDED_ */
