/*
 * The inside of a spool, for files of spool/ alone.
 */

#ifndef _LB_SPOOL_PRIVATE_H_INCLUDED_
#define _LB_SPOOL_PRIVATE_H_INCLUDED_

#include <stdint.h>

#include "lb_spool.h"
#include "lb_tie.h"

struct lb_spool_s {
    int dirfd;
    uint8_t uuid[LB_UUID_LEN];
    lb_tie_t tie;
    char note[256];
    char path[4096];
};

#endif /* _LB_SPOOL_PRIVATE_H_INCLUDED_ */
