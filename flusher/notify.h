/*
 * Words to the service manager: systemd's notification protocol, which is one
 * datagram per message to the socket in NOTIFY_SOCKET.
 */

#ifndef _LB_NOTIFY_H_INCLUDED_
#define _LB_NOTIFY_H_INCLUDED_

/* Takes over NOTIFY_SOCKET and WATCHDOG_USEC; without them nothing is sent. */
void lb_notify_init(void);

/* READY=1, STOPPING=1, STATUS=...; lines separated by \n. */
void lb_notify(const char *state);

/* A sign of life for those who look at the spool, not at systemd. */
void lb_notify_show(void (*fn)(void *arg), void *arg);

/* WATCHDOG=1 and that sign, if due: to be called about once a second, also
 * while a request is under way. */
void lb_notify_alive(void);

#endif /* _LB_NOTIFY_H_INCLUDED_ */
