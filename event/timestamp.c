#include "event/timestamp.h"
#include "event/block.h"

/* 1900-01-01 and 2262-04-11, the ends of DateTime64(9), in seconds. */
#define TIME_FIRST INT64_C(-2208988800)
#define TIME_LAST INT64_C(9223286400)
#define TIME_NS INT64_C(1000000000)

/* n digits at p as a number; -1 if one of them is none. */
LB_INLINE int
digits(const uint8_t *p, unsigned n)
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
days_to(int year, int month, int day)
{
    static const uint16_t before[12] = {0,   31,  59,  90,  120, 151,
                                        181, 212, 243, 273, 304, 334};
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    int y = year - 1;

    return (int64_t)y * 365 + y / 4 - y / 100 + y / 400 - 719162 +
           before[month - 1] + (leap && month > 2) + day - 1;
}

/*
 * Eight characters at once, the first in the lowest byte.  After the exclusive
 * or with what they should look like, a digit is 0..9 and anything else is 0.
 */
LB_INLINE uint64_t
load(const uint8_t *p, uint64_t like)
{
    uint64_t x;

    memcpy(&x, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x ^ like;
}

/* The eight digits at p as a number; -1 if one of them is none. */
LB_INLINE int64_t
eight_digits(const uint8_t *p)
{
    uint64_t x = load(p, LB_ONES * '0');

    /* What a byte carries into the next one does not matter: it is itself no
     * digit then. */
    if (((x | (x + LB_ONES * 6)) & (LB_ONES * 0xf0)) != 0) {
        return -1;
    }
    /* neighbours: digits to pairs, pairs to fours, fours to the eight */
    x = (x * 10 + (x >> 8)) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x * 100 + (x >> 16)) & UINT64_C(0x0000ffff0000ffff);
    return (int64_t)((x * 10000 + (x >> 32)) & UINT32_MAX);
}

/* Digits at *p as the fraction of 10^digits; *p is moved behind them all, and
 * *inexact is set if those beyond are not all zero. */
LB_INLINE int64_t
fraction_of(const uint8_t **p, const uint8_t *end, unsigned digits,
            int *inexact)
{
    static const int64_t power[10] = {1,         10,        100,     1000,
                                      10000,     100000,    1000000, 10000000,
                                      100000000, 1000000000};
    const uint8_t *q = *p;
    int64_t value = 0;

    if (digits >= 8 && end - q >= 8) {
        int64_t eight = eight_digits(q);

        if (eight >= 0) {
            value = eight;
            digits -= 8;
            q += 8;
        }
    }
    for (; q < end && (uint8_t)(*q - '0') <= 9; q++) {
        if (digits > 0) {
            value = value * 10 + (*q - '0');
            digits--;
        } else if (*q != '0') {
            *inexact = 1;
        }
    }
    *p = q;
    return value * power[digits];
}

/* Seconds since 1970 by a whole number, its unit told by its magnitude. */
int
lb_time_epoch(const uint8_t *p, const uint8_t *end, int64_t *ns, int *inexact)
{
    const uint8_t *q = p;
    int64_t eight;
    uint64_t whole;
    uint64_t scale;
    unsigned digits; /* of the fraction that a nanosecond can hold */

    /* What is smaller than nine digits is hardly a date. */
    if (end - p < 9 || *p == '0') {
        return 0;
    }
    eight = eight_digits(p);
    if (eight < 0) {
        return 0;
    }
    whole = (uint64_t)eight;
    for (q += 8; q < end && (uint8_t)(*q - '0') <= 9; q++) {
        if (q - p == 19) {
            return 0;
        }
        whole = whole * 10 + (uint64_t)(*q - '0');
    }

    /* Each unit from 1973-03-03 on. */
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
    if (whole >= (uint64_t)TIME_LAST * (1000000000 / scale)) {
        return 0;
    }

    *ns = (int64_t)(whole * scale);
    *inexact = 0;
    if (q < end && *q == '.') {
        q++;
        if (q == end) {
            return 0;
        }
        *ns += fraction_of(&q, end, digits, inexact);
    }
    return q == end;
}

/* Two neighbouring digits as one number in the byte of the first. */
LB_INLINE uint64_t
pairs(uint64_t x)
{
    return x * 10 + (x >> 8);
}

LB_INLINE int
byte_of(uint64_t x, unsigned i)
{
    return (int)(x >> (8 * i) & 0xff);
}

int
lb_time_date(const uint8_t *p, const uint8_t *end, int64_t *ns, int *inexact)
{
    static const uint8_t days[12] = {31, 29, 31, 30, 31, 30,
                                     31, 31, 30, 31, 30, 31};
    int year, month, day, hour, minute, second;
    int64_t seconds, fraction = 0;
    uint64_t date, time, wrong;

    if (end - p < 19) {
        return 0;
    }

    /* "2024-05-" and "17T10:05"; the separator in the second one is looked at
     * by itself. */
    date = load(p, UINT64_C(0x2d30302d30303030));
    time = load(p + 8, UINT64_C(0x30303a3030003030));
    wrong = (date | (date + UINT64_C(0x0006060006060606))) &
            UINT64_C(0xfff0f0fff0f0f0f0);
    wrong |= (time | (time + UINT64_C(0x0606000606000606))) &
             UINT64_C(0xf0f0fff0f000f0f0);
    second = digits(p + 17, 2);
    if (wrong != 0 || second < 0 || p[16] != ':' ||
        (p[10] != 'T' && p[10] != ' ' && p[10] != 't')) {
        return 0;
    }
    date = pairs(date);
    time = pairs(time & ~UINT64_C(0xff0000));
    year = byte_of(date, 0) * 100 + byte_of(date, 2);
    month = byte_of(date, 5);
    day = byte_of(time, 0);
    hour = byte_of(time, 3);
    minute = byte_of(time, 6);

    if (year < 1 || month < 1 || month > 12 || day < 1 || hour > 23 ||
        minute > 59 || second > 59 || day > days[month - 1] ||
        (month == 2 && day == 29 &&
         (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0)))) {
        return 0;
    }
    seconds =
        days_to(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    p += 19;

    *inexact = 0;
    if (p < end && (*p == '.' || *p == ',')) {
        const uint8_t *first = ++p;

        fraction = fraction_of(&p, end, 9, inexact);
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
        hour = digits(p, 2);
        minute = 0;
        p += 2;
        if (p < end) {
            p += *p == ':';
            if (end - p < 2) {
                return 0;
            }
            minute = digits(p, 2);
            p += 2;
        }
        if (hour < 0 || hour > 23 || minute < 0 || minute > 59) {
            return 0;
        }
        seconds -= sign * (hour * 3600 + minute * 60);
    }

    if (p != end || seconds < TIME_FIRST || seconds >= TIME_LAST) {
        return 0;
    }
    *ns = seconds * TIME_NS + fraction;
    return 1;
}
