/*
 * A parent that ends a flusher which hangs, for where no service manager does:
 * in containers, on a console.  systemd's WatchdogSec is the same.
 */

#ifndef _LB_WATCHDOG_H_INCLUDED_
#define _LB_WATCHDOG_H_INCLUDED_

/* Goes on in a child, whose signs of life (lb_notify_alive) are awaited here:
 * after so many seconds without one it is killed.  Signals are passed on to it,
 * and it does not outlive this process.
 *
 * Returns -1 in the child, which is to do the work; in the parent, once the
 * child has ended, the status to exit with: the child's own, 1 if it was
 * killed or there was none.  Of a signal that the child has died of this
 * process dies, too. */
int lb_watchdog(int seconds);

#endif /* _LB_WATCHDOG_H_INCLUDED_ */
