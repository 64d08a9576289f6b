#include "flusher/notify.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "spool/lb_clock.h"

static struct sockaddr_un address;
static socklen_t address_len;
static int64_t watchdog_ms, alive_ms, shown_ms;
static void (*show)(void *arg);
static void *show_arg;

/* a fraction of the time after which the status calls us frozen */
#define SHOW_MS 5000

void
lb_notify_init(void)
{
    char *end;
    size_t len;
    long long us;
    const char *path = getenv("NOTIFY_SOCKET");
    const char *usec = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");

    len = path != NULL ? strlen(path) : 0;

    /* An abstract address starts with a zero byte, written as "@". */
    if (len > 1 && len < sizeof(address.sun_path) &&
        (path[0] == '/' || path[0] == '@')) {
        address.sun_family = AF_UNIX;
        memcpy(address.sun_path, path, len);
        if (path[0] == '@') {
            address.sun_path[0] = '\0';
        }
        address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    }

    if (usec != NULL && (pid == NULL || atoll(pid) == (long long)getpid())) {
        us = strtoll(usec, &end, 10);
        if (*usec != '\0' && *end == '\0' && us > 0) {
            /* a third: one message may be late */
            watchdog_ms = us / 3000 > 0 ? us / 3000 : 1;
        }
    }

    /* Not for children. */
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
    (void)unsetenv("WATCHDOG_PID");
}

void
lb_notify(const char *state)
{
    int fd;

    if (address_len == 0) {
        return;
    }

    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }

    /* Nobody to tell if it fails. */
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
                 (struct sockaddr *)&address, address_len);
    close(fd);
}

void
lb_notify_show(void (*fn)(void *arg), void *arg)
{
    show = fn;
    show_arg = arg;
}

void
lb_notify_alive(void)
{
    int64_t now_ms = lb_mono_ms();

    if (show != NULL && now_ms - shown_ms >= SHOW_MS) {
        shown_ms = now_ms;
        show(show_arg);
    }

    if (watchdog_ms == 0 ||
        (alive_ms != 0 && now_ms - alive_ms < watchdog_ms)) {
        return;
    }

    alive_ms = now_ms;
    lb_notify("WATCHDOG=1");
}
