/*
 * Names of streams, and lists of them.
 */

#ifndef _LB_EVENT_STREAM_H_INCLUDED_
#define _LB_EVENT_STREAM_H_INCLUDED_

#include <stddef.h>
#include <string.h>

/* Bytes of a name, as the spool has it. */
#define LB_STREAM_NAME_MAX 64

/* 1 to 64 letters, digits, '_', '.' and '-'. */
static inline int
lb_stream_valid(const char *s, size_t len)
{
    if (len == 0 || len > LB_STREAM_NAME_MAX) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        char c = s[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-')) {
            return 0;
        }
    }
    return 1;
}

/*
 * A list of streams: "shop,shop-*,audit", names and beginnings of names, "*" for any.  The
 * first is a name: where events go that name no stream.
 */

/* The next part of a list, p..end, and where the one behind it begins: NULL
 * behind the last. */
static inline const char *
lb_streams_next(const char *p, const char *end, size_t *len)
{
    const char *comma = memchr(p, ',', (size_t)(end - p));

    *len = (size_t)((comma != NULL ? comma : end) - p);
    return comma != NULL ? comma + 1 : NULL;
}

/* Is it one? */
static inline int
lb_streams_valid(const char *list, size_t len)
{
    const char *end = list + len, *p = list;

    while (p != NULL) {
        const char *part = p;
        size_t n;

        p = lb_streams_next(p, end, &n);
        if (part != list && n > 0 && part[n - 1] == '*' && --n == 0) {
            continue;
        }
        if (!lb_stream_valid(part, n)) {
            return 0;
        }
    }
    return 1;
}

/* Is a name in it? */
static inline int
lb_streams_have(const char *list, size_t len, const char *name, size_t name_len)
{
    const char *end = list + len, *p = list;

    while (p != NULL) {
        const char *part = p;
        size_t n;

        p = lb_streams_next(p, end, &n);
        if (n > 0 && part[n - 1] == '*'
                ? name_len >= n - 1 && memcmp(part, name, n - 1) == 0
                : name_len == n && memcmp(part, name, n) == 0) {
            return 1;
        }
    }
    return 0;
}

#endif /* _LB_EVENT_STREAM_H_INCLUDED_ */
