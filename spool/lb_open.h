/*
 * Opening a spool, which may create it, or make what is a copy anew.
 */

#ifndef _LB_OPEN_H_INCLUDED_
#define _LB_OPEN_H_INCLUDED_

#include "lb_error.h"
#include "lb_spool.h"

/* Create what is missing: directory, identity, checkpoint. */
#define LB_SPOOL_CREATE 0x1u
/* Something will be changed. */
#define LB_SPOOL_WRITE 0x2u

/* Opens the spool at path.  Refuses network file systems and anything that is
 * not a spool of this format version; creates nothing without
 * LB_SPOOL_CREATE.  Several processes may create at once.
 *
 * With either flag the spool is tied to where it is, and a copy (see
 * lb_spool_tie) is refused with LB_ECOPY, unless LB_SPOOL_CREATE is given and
 * there is nothing in it to deliver: then it is made anew, and lb_spool_note
 * says so. */
int lb_spool_open(const char *path, unsigned flags, lb_spool_t **spool,
                  lb_error_t *err);

#endif /* _LB_OPEN_H_INCLUDED_ */
