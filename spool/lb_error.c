/*
 * Errors in words.
 */

#include "lb_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int
lb_fail(lb_error_t *err, int code, const char *fmt, ...)
{
    va_list ap;

    if (err != NULL) {
        err->code = code;
        va_start(ap, fmt);
        (void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
        va_end(ap);
    }

    return code;
}

const char *
lb_strerror(int code, char *buf, size_t size)
{
    switch (code) {
    case LB_ECORRUPT:
        return "damaged: a checksum or a field is wrong";
    case LB_EFOREIGN:
        return "not part of this spool, or of another format version";
    case LB_EFULL:
        return "the ring is full";
    case LB_EPOISONED:
        return "an earlier write or sync of the ring failed";
    case LB_ENOSLOT:
        return "no ring is free";
    case LB_ELOCKED:
        return "held by another process";
    case LB_ENETFS:
        return "on a network file system, whose locks cannot be relied on";
    case LB_ETOOBIG:
        return "larger than the whole ring";
    case LB_EEND:
        return "no further record";
    case LB_ELONG:
        return "it would take long to recover";
    case LB_EGONE:
        return "its file was deleted, replaced or cut short";
    case LB_ECOPY:
        return "a copy of a spool";
    default:
        return strerror_r(code < 0 ? -code : code, buf, size);
    }
}
