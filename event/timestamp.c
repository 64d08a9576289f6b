/*
 * Timestamps as logs write them, to nanoseconds since 1970.
 */

#include "event/lift_private.h"
#include "event/block.h"

/* 1900-01-01 and 2262-04-11, the ends of DateTime64(9), in seconds. */
#define LB_TIME_FIRST INT64_C(-2208988800)
#define LB_TIME_LAST INT64_C(9223286400)
#define LB_TIME_NS INT64_C(1000000000)

/* n digits at p as a number; -1 if one of them is none. */
LB_INLINE int
lb_time_digits(const uint8_t *p, unsigned n)
{
    int value = 0;

    for (unsigned i = 0; i < n; i++) {
        unsigned d = (unsigned)p[i] - '0';

        if (d > 9) {
            return -1;
        }
        value = value * 10 + (int)d;
    }
    return value;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar: whole years by
 * their leap days, whole months by the table. */
LB_INLINE int64_t
lb_time_days(int year, int month, int day)
{
    static const uint16_t before[12] = {0,   31,  59,  90,  120, 151,
                                        181, 212, 243, 273, 304, 334};
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int y = year - 1;

    return (int64_t)y * 365 + y / 4 - y / 100 + y / 400 - 719162 +
           before[month - 1] + (leap && month > 2) + day - 1;
}

/* Digits at *p as the fraction of 10^digits; *p is moved behind them all, and
 * *inexact is set if those beyond are not all zero. */
LB_INLINE int64_t
lb_time_fraction(const uint8_t **p, const uint8_t *end, unsigned digits,
                 int *inexact)
{
    const uint8_t *q = *p;
    int64_t value = 0;

    for (; q < end && (uint8_t)(*q - '0') <= 9; q++) {
        if (digits > 0) {
            value = value * 10 + (*q - '0');
            digits--;
        } else if (*q != '0') {
            *inexact = 1;
        }
    }
    for (; digits > 0; digits--) {
        value *= 10;
    }
    *p = q;
    return value;
}

/* Seconds since 1970 by a whole number, its unit told by its magnitude. */
int
lb_time_epoch(const uint8_t *p, const uint8_t *end, int64_t *ns, int *inexact)
{
    const uint8_t *q = p;
    uint64_t whole = 0;
    uint64_t scale;
    unsigned digits; /* of the fraction that a nanosecond can hold */

    if (p == end || *p == '0') {
        return 0;
    }
    for (; q < end && (uint8_t)(*q - '0') <= 9; q++) {
        if (q - p == 19) {
            return 0;
        }
        whole = whole * 10 + (uint64_t)(*q - '0');
    }

    /* Each unit from 1973-03-03 on: what is smaller is hardly a date. */
    if (whole < UINT64_C(100000000)) {
        return 0;
    } else if (whole < UINT64_C(100000000000)) {
        scale = 1000000000;
        digits = 9;
    } else if (whole < UINT64_C(100000000000000)) {
        scale = 1000000;
        digits = 6;
    } else if (whole < UINT64_C(100000000000000000)) {
        scale = 1000;
        digits = 3;
    } else {
        scale = 1;
        digits = 0;
    }
    if (whole / (1000000000 / scale) >= (uint64_t)LB_TIME_LAST) {
        return 0;
    }

    *ns = (int64_t)(whole * scale);
    *inexact = 0;
    if (q < end && *q == '.') {
        q++;
        if (q == end) {
            return 0;
        }
        *ns += lb_time_fraction(&q, end, digits, inexact);
    }
    return q == end;
}

/* RFC 3339, or what comes close: 'T', 't' or a space; a fraction of any
 * length behind '.' or ','; Z, z, +hh:mm, +hhmm, +hh, or nothing for UTC. */
int
lb_time_date(const uint8_t *p, const uint8_t *end, int64_t *ns, int *inexact)
{
    static const uint8_t days[12] = {31, 29, 31, 30, 31, 30,
                                     31, 31, 30, 31, 30, 31};
    int year, month, day, hour, minute, second;
    int64_t seconds, fraction = 0;

    if (end - p < 19) {
        return 0;
    }
    year = lb_time_digits(p, 4);
    month = lb_time_digits(p + 5, 2);
    day = lb_time_digits(p + 8, 2);
    hour = lb_time_digits(p + 11, 2);
    minute = lb_time_digits(p + 14, 2);
    second = lb_time_digits(p + 17, 2);

    if (p[4] != '-' || p[7] != '-' || p[13] != ':' || p[16] != ':' ||
        (p[10] != 'T' && p[10] != ' ' && p[10] != 't')) {
        return 0;
    }
    /* A digit that is none has made its number -1. */
    if (year < 1 || month < 1 || month > 12 || day < 1 || hour < 0 ||
        hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 ||
        day > days[month - 1] ||
        (month == 2 && day == 29 &&
         (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0)))) {
        return 0;
    }
    seconds = lb_time_days(year, month, day) * 86400 + hour * 3600 +
              minute * 60 + second;
    p += 19;

    *inexact = 0;
    if (p < end && (*p == '.' || *p == ',')) {
        const uint8_t *first = ++p;

        fraction = lb_time_fraction(&p, end, 9, inexact);
        if (p == first) {
            return 0;
        }
    }

    if (p < end && (*p == 'Z' || *p == 'z')) {
        p++;
    } else if (p < end && (*p == '+' || *p == '-')) {
        int sign = *p == '+' ? 1 : -1;

        p++;
        if (end - p < 2) {
            return 0;
        }
        hour = lb_time_digits(p, 2);
        minute = 0;
        p += 2;
        if (p < end) {
            p += *p == ':';
            if (end - p < 2) {
                return 0;
            }
            minute = lb_time_digits(p, 2);
            p += 2;
        }
        if (hour < 0 || hour > 23 || minute < 0 || minute > 59) {
            return 0;
        }
        seconds -= sign * (hour * 3600 + minute * 60);
    }

    if (p != end || seconds < LB_TIME_FIRST || seconds >= LB_TIME_LAST) {
        return 0;
    }
    *ns = seconds * LB_TIME_NS + fraction;
    return 1;
}
