/*
 * Names of streams.
 */

#ifndef _LB_EVENT_STREAM_H_INCLUDED_
#define _LB_EVENT_STREAM_H_INCLUDED_

#include <stddef.h>

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

#endif /* _LB_EVENT_STREAM_H_INCLUDED_ */
