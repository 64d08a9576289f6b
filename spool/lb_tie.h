/*
 * The tie between a spool and the place it is used at: it tells a copy from the
 * original.
 */

#ifndef _LB_TIE_H_INCLUDED_
#define _LB_TIE_H_INCLUDED_

#include <stdint.h>

#include "lb_format.h"
#include "lb_place.h"

typedef enum {
    LB_TIE_NONE,      /* not tied yet: from a release that did not */
    LB_TIE_HERE,      /* this is where it was last used */
    LB_TIE_ELSEWHERE, /* a copy, or it was moved */
} lb_tie_state_t;

/* Where a spool was last used. */
typedef struct {
    lb_tie_state_t state;
    uint64_t tied_us;
    char host[LB_HOST_MAX + 1];
    char path[LB_PATH_MAX + 1];
    const char *why; /* elsewhere: what differs */
    lb_place_t place;
} lb_tie_t;

/* Ties to fd, the identity file of the spool at path, and puts that into the
 * file's first sector. */
void lb_tie_encode(lb_tie_t *tie, const char *path, int fd,
                   uint8_t sector[LB_SECTOR]);

/* What the first sector says, and whether it is true of fd. */
void lb_tie_load(lb_tie_t *tie, int fd, const uint8_t sector[LB_SECTOR]);

/* Stores the tie of the spool in dirfd, reached by path, if there is none, if
 * more is known now, or if it was moved.  0 or -errno. */
int lb_tie_update(lb_tie_t *tie, int dirfd, const char *path, int moved);

/* 1 if the spool of this identity is still where the tie says, and that is not
 * the one in dirfd. */
int lb_tie_elsewhere(const lb_tie_t *tie, int dirfd,
                     const uint8_t uuid[LB_UUID_LEN]);

#endif /* _LB_TIE_H_INCLUDED_ */
