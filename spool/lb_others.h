/*
 * Other spools of this machine that hold something and that no flusher serves.
 */

#ifndef _LB_OTHERS_H_INCLUDED_
#define _LB_OTHERS_H_INCLUDED_

#include "lb_left.h"
#include "lb_spool.h"

/* Calls fn for each other spool near this one that holds something and that no
 * flusher serves: the old one, if the path was changed. */
typedef void (*lb_other_pt)(void *arg, const char *path, const lb_left_t *left);
void lb_spool_others(lb_spool_t *spool, lb_other_pt fn, void *arg);

#endif /* _LB_OTHERS_H_INCLUDED_ */
