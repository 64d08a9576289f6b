/*
 * --check: the verdict about the table, by one request or by a flusher that
 * serves the spool.
 */

#ifndef _LB_CHECK_H_INCLUDED_
#define _LB_CHECK_H_INCLUDED_

#include <signal.h>

#include "flusher/options.h"

/* Says on standard error whether the configured table allows exactly once.
 * Makes one request, in a second of this node; none if a flusher serves the
 * spool, which knows already.  Returns the exit status of --check: 0, 3 for
 * "no", 4 if it is not known, 1 if it could not even be tried. */
int lb_check_table(const lb_options_t *options,
                   const volatile sig_atomic_t *abort);

#endif /* _LB_CHECK_H_INCLUDED_ */
