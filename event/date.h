/*
 * A time since 1970 as a date.
 */

#ifndef _LB_DATE_H_INCLUDED_
#define _LB_DATE_H_INCLUDED_

#include <stdint.h>
#include <string.h>

static inline void
lb_date_two(char *to, unsigned value)
{
    to[0] = (char)('0' + value / 10);
    to[1] = (char)('0' + value % 10);
}

/* "2026-03-04T05:06:07." of a second up to the year 9999: 20 bytes.  The day by
 * the algorithm of proleptic Gregorian eras of 400 years, in which a year
 * begins in March. */
static inline void
lb_date_second(char *to, uint64_t second)
{
    uint64_t days = second / 86400 + 719468;
    unsigned rest = (unsigned)(second % 86400);
    unsigned era_day = (unsigned)(days % 146097);
    unsigned year =
        (era_day - era_day / 1460 + era_day / 36524 - era_day / 146096) / 365;
    unsigned day = era_day - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * day + 2) / 153;

    day -= (153 * month + 2) / 5;
    month = month < 10 ? month + 3 : month - 9;
    year += (unsigned)(days / 146097) * 400 + (month <= 2);

    memcpy(to, "0000-00-00T00:00:00.", 20);
    lb_date_two(to, year / 100);
    lb_date_two(to + 2, year % 100);
    lb_date_two(to + 5, month);
    lb_date_two(to + 8, day + 1);
    lb_date_two(to + 11, rest / 3600);
    lb_date_two(to + 14, rest / 60 % 60);
    lb_date_two(to + 17, rest % 60);
}

/* "2026-03-04T05:06:07.123456789Z" of nanoseconds: 30 bytes. */
#define LB_DATE_LEN 30

static inline void
lb_date_ns(char *to, uint64_t ns)
{
    unsigned fraction = (unsigned)(ns % 1000000000);

    lb_date_second(to, ns / 1000000000);
    for (int i = 28; i >= 20; i--) {
        to[i] = (char)('0' + fraction % 10);
        fraction /= 10;
    }
    to[29] = 'Z';
}

#endif /* _LB_DATE_H_INCLUDED_ */
