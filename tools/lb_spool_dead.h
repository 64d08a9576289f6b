#ifndef _LB_SPOOL_DEAD_H_INCLUDED_
#define _LB_SPOOL_DEAD_H_INCLUDED_

/* logbroker-spool dead ACTION SPOOL [LETTER...]; args: the letters.  Returns
 * the exit status. */
int lb_spool_dead(const char *action, int json, int again, const char *path,
                  int nargs, char **args);

#endif /* _LB_SPOOL_DEAD_H_INCLUDED_ */
