/*
 * Lines for people: to standard error, with the time.
 */

#ifndef _LB_LOG_H_INCLUDED_
#define _LB_LOG_H_INCLUDED_

enum {
    LB_LOG_INFO,
    LB_LOG_WARN,
    LB_LOG_ERROR
};

/* Repeats of a line are logged at most once in ten seconds. */
void lb_log(int level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif /* _LB_LOG_H_INCLUDED_ */
