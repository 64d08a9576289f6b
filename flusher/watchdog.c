#include "flusher/watchdog.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "flusher/log.h"
#include "spool/lb_clock.h"

/* how long a look at the child may take to come */
#define LOOK_MS 500

static volatile sig_atomic_t child;

static void
pass_on(int sig)
{
    if (child > 0) {
        (void)kill((pid_t)child, sig);
    }
}

/* A socket as systemd's, under a name that the kernel chooses; its address in
 * the environment of the child, with the time it has.  -1: errno says why. */
static int
listen_for(int seconds)
{
    int fd;
    char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 1], usec[32];
    socklen_t len;
    struct sockaddr_un address;

    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }

    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    len = sizeof(address);

    if (bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        close(fd);
        return -1;
    }

    /* an abstract one: a zero byte, written as "@", and no zero at its end */
    (void)snprintf(name, sizeof(name), "@%.*s",
                   (int)(len - offsetof(struct sockaddr_un, sun_path) - 1),
                   address.sun_path + 1);
    (void)snprintf(usec, sizeof(usec), "%lld", seconds * 1000000LL);

    if (setenv("NOTIFY_SOCKET", name, 1) != 0 ||
        setenv("WATCHDOG_USEC", usec, 1) != 0) {
        close(fd);
        return -1;
    }

    (void)unsetenv("WATCHDOG_PID");

    return fd;
}

/* Waits until the child ends or shows no sign of life; 1: it was killed. */
static int
watch(int fd, int seconds, int *status)
{
    int killed = 0;
    char word[256];
    pid_t ended;
    int64_t heard = lb_mono_ms();
    struct pollfd p = {.fd = fd, .events = POLLIN};

    for (;;) {
        ended = waitpid((pid_t)child, status, WNOHANG);
        if (ended == (pid_t)child || (ended < 0 && errno == ECHILD)) {
            return killed;
        }

        (void)poll(&p, 1, LOOK_MS);

        while (recv(fd, word, sizeof(word), 0) > 0) {
            heard = lb_mono_ms();
        }

        if (!killed && lb_mono_ms() - heard > seconds * 1000LL) {
            killed = 1;
            lb_log(LB_LOG_ERROR,
                   "no sign of life of the flusher for %d s: it is killed, "
                   "whoever started it is to start it again; nothing is lost "
                   "pid=%d",
                   seconds, (int)child);
            (void)kill((pid_t)child, SIGKILL);
        }
    }
}

int
lb_watchdog(int seconds)
{
    int fd, status = 0;
    size_t i;
    pid_t parent = getpid(), pid;
    sigset_t set, before;
    struct sigaction sa;

    static const int passed[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};

    fd = listen_for(seconds);
    if (fd < 0) {
        lb_log(LB_LOG_ERROR, "no watchdog: %s", strerror(errno));
        return 1;
    }

    /* none may come before there is somebody to pass it on to */
    sigemptyset(&set);
    for (i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
        sigaddset(&set, passed[i]);
    }
    sigprocmask(SIG_BLOCK, &set, &before);

    pid = fork();
    if (pid < 0) {
        lb_log(LB_LOG_ERROR, "no watchdog: fork: %s", strerror(errno));
        return 1;
    }

    if (pid == 0) {
        close(fd);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(1);
        }
        sigprocmask(SIG_SETMASK, &before, NULL);
        return -1;
    }

    child = pid;
    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = pass_on;
    for (i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
        sigaction(passed[i], &sa, NULL);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);

    if (watch(fd, seconds, &status)) {
        return 1;
    }

    if (WIFEXITED(status)) {
        return WEXITSTATUS(status);
    }

    /* as it ended; the first process of a container only exits */
    (void)signal(WTERMSIG(status), SIG_DFL);
    (void)raise(WTERMSIG(status));

    return 1;
}
