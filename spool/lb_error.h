/*
 * Errors: codes beside -errno, and what failed in words for people.
 */

#ifndef _LB_ERROR_H_INCLUDED_
#define _LB_ERROR_H_INCLUDED_

#include <stddef.h>

enum {
    LB_ECORRUPT = -5001,  /* a CRC or a field is wrong */
    LB_EFOREIGN = -5002,  /* not ours: other magic, version or spool */
    LB_EFULL = -5003,     /* the ring has no room for this record */
    LB_EPOISONED = -5004, /* a write or sync failed: claim another slot */
    LB_ENOSLOT = -5005,   /* no ring is free, or no more may be created */
    LB_ELOCKED = -5006,   /* another process holds it */
    LB_ENETFS = -5007,    /* network file system: its locks are not ours */
    LB_ETOOBIG = -5008,   /* the record can never fit into this ring */
    LB_EEND = -5009,      /* no record between here and the given end */
    LB_EGONE = -5010,     /* the ring's file was deleted or cut short */
    LB_ECOPY = -5011,     /* a copy of a spool: two would use its identity */
    LB_ELONG = -5012,     /* recovery has more to look through than it may */
};

typedef struct {
    int code; /* what the function returned */
    char text[512];
} lb_error_t;

/* Words for -errno and LB_E*; the result is static or in buf. */
const char *lb_strerror(int code, char *buf, size_t size);

/* Fills err (may be NULL) and returns code, so that callers can return it. */
int lb_fail(lb_error_t *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif /* _LB_ERROR_H_INCLUDED_ */
