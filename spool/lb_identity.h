/*
 * The file "spool": which spool a directory is.
 */

#ifndef _LB_IDENTITY_H_INCLUDED_
#define _LB_IDENTITY_H_INCLUDED_

#include "lb_error.h"
#include "lb_spool.h"

/* Loads it, and the tie.  -ENOENT: there is none. */
int lb_identity_load(lb_spool_t *spool, lb_error_t *err);

/* Creates it, with an empty checkpoint.  The caller holds the lock of the
 * directory. */
int lb_identity_create(lb_spool_t *spool, lb_error_t *err);

#endif /* _LB_IDENTITY_H_INCLUDED_ */
