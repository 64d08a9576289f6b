/*
 * Load for what takes lines over TCP and answers nothing: on each connection one
 * body after another, each with the next number in the place of COUNT, until the
 * time is up and what was begun is written.  All that a sender knows of a line
 * is that the kernel took it; so that is counted.
 *
 *   bench_lines PORT CONNECTIONS SECONDS FILE COUNT    on 127.0.0.1
 *
 * Says at the end what came of it as load.lua does.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 1024
#define BODY_MAX (1024 * 1024)
#define DIGITS 13 /* of COUNT */

/* what waits in the kernel is small beside what a run sends */
static const int send_buffer = 64 * 1024;

static struct pollfd fds[CONNECTIONS_MAX];
static struct {
    char *body;
    size_t written; /* of the body; 0: not begun */
} conns[CONNECTIONS_MAX];

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int
dial(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    if (fd == -1 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer,
                   sizeof(send_buffer)) != 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
        perror("bench_lines");
        exit(1);
    }

    return fd;
}

int
main(int argc, char **argv)
{
    char *body, *count;
    FILE *file;
    int i, n, busy, broken = 0;
    double begun, end;
    size_t length, place;
    ssize_t sent;
    unsigned long long requests = 0, number = (unsigned long long)time(NULL);

    body = calloc(1, BODY_MAX);
    file = argc == 6 ? fopen(argv[4], "rb") : NULL;
    if (body == NULL || file == NULL ||
        (length = fread(body, 1, BODY_MAX - 1, file)) == 0 ||
        strlen(argv[5]) != DIGITS || (count = strstr(body, argv[5])) == NULL) {
        fputs("usage: bench_lines PORT CONNECTIONS SECONDS FILE COUNT\n",
              stderr);
        return 2;
    }

    place = (size_t)(count - body);
    n = atoi(argv[2]) < CONNECTIONS_MAX ? atoi(argv[2]) : CONNECTIONS_MAX;

    for (i = 0; i < n; i++) {
        fds[i].fd = dial(atoi(argv[1]));
        fds[i].events = POLLOUT;
        conns[i].body = malloc(length);
        memcpy(conns[i].body, body, length);
    }

    /* as many digits as COUNT has */
    number = number * 1000000 % 10000000000000;
    begun = now();
    end = begun + atof(argv[3]);

    for (busy = n; busy > 0;) {
        poll(fds, (nfds_t)n, 1000);

        for (i = 0, busy = 0; i < n; i++) {
            if (fds[i].fd == -1 || (conns[i].written == 0 && now() >= end)) {
                fds[i].events = 0;
                continue;
            }

            busy++;
            if (fds[i].revents == 0) {
                continue;
            }

            if (conns[i].written == 0) {
                char digits[24];

                snprintf(digits, sizeof(digits), "%0*llu", DIGITS, ++number);
                memcpy(conns[i].body + place, digits, DIGITS);
            }

            sent = send(fds[i].fd, conns[i].body + conns[i].written,
                        length - conns[i].written, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent == -1 && errno != EAGAIN) {
                broken++;
                close(fds[i].fd);
                fds[i].fd = -1;
                continue;
            }

            conns[i].written += sent > 0 ? (size_t)sent : 0;
            if (conns[i].written == length) {
                conns[i].written = 0;
                requests++;
            }
        }
    }

    printf("BENCH {\"requests\": %llu, \"us\": %.0f, \"bad\": 0, "
           "\"broken\": %d}\n",
           requests, (now() - begun) * 1e6, broken);
    return 0;
}
