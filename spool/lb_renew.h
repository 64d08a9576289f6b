/*
 * What becomes of a spool that was copied or moved.
 */

#ifndef _LB_RENEW_H_INCLUDED_
#define _LB_RENEW_H_INCLUDED_

#include "lb_error.h"
#include "lb_spool.h"

/* Ties a spool that was moved to where it is now.  1: done, 0: it was tied
 * here before; -EEXIST: it is still where it was, too. */
int lb_spool_move(lb_spool_t *spool, lb_error_t *err);

/* Throws away everything in a spool and makes it anew, under a new identity.
 * LB_ELOCKED: it is in use. */
int lb_spool_renew(lb_spool_t *spool, lb_error_t *err);

/* The same for a caller that holds the lock of the directory. */
int lb_renew_locked(lb_spool_t *spool, lb_error_t *err);

#endif /* _LB_RENEW_H_INCLUDED_ */
