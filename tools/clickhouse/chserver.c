/*
 * logbroker-chserver: the ClickHouse engine inside libchdb.so as an HTTP
 * server in the foreground.
 *
 *   logbroker-chserver LIBRARY CONFIG DATA
 *
 * For the quickstart and the tests, where no ClickHouse is installed.  The
 * library (npm package chdb) exports the whole of clickhouse-local as
 * chdb_query_cmdline(); there, SYSTEM START LISTEN starts the engine's own
 * HTTP server with the settings of CONFIG, and a query that reads standard
 * input keeps it running.  SIGTERM and SIGINT end that input, and with it the
 * server, in order.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef void *(*query_cmdline_pt)(int argc, char **argv);
typedef const char *(*result_error_pt)(void *result);

static int input; /* the writing end of the engine's standard input */
static volatile sig_atomic_t stopping;

static void *
wait_for_signal(void *data)
{
    int sig;

    (void)sigwait(data, &sig);
    stopping = 1;
    (void)close(input);

    return NULL;
}

static int
hold_input(sigset_t *set)
{
    int ends[2];
    pthread_t thread;

    if (pipe2(ends, O_CLOEXEC) != 0 || dup2(ends[0], STDIN_FILENO) < 0) {
        return -1;
    }

    (void)close(ends[0]);
    input = ends[1];

    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);

    /* before the engine makes its threads, which inherit the mask */
    if (pthread_sigmask(SIG_BLOCK, set, NULL) != 0) {
        return -1;
    }

    return pthread_create(&thread, NULL, wait_for_signal, set);
}

int
main(int argc, char **argv)
{
    void *library, *result;
    char *options[5], config[4096], data[4096];
    const char *error;
    sigset_t set;
    query_cmdline_pt query_cmdline;
    result_error_pt result_error;

    if (argc != 4) {
        fputs("usage: logbroker-chserver LIBRARY CONFIG DATA\n", stderr);
        return 2;
    }

    if (hold_input(&set) != 0) {
        perror("logbroker-chserver");
        return 1;
    }

    library = dlopen(argv[1], RTLD_NOW);
    if (library == NULL) {
        fprintf(stderr, "logbroker-chserver: %s\n", dlerror());
        return 1;
    }

    *(void **)&query_cmdline = dlsym(library, "chdb_query_cmdline");
    *(void **)&result_error = dlsym(library, "chdb_result_error");

    if (query_cmdline == NULL || result_error == NULL) {
        fprintf(stderr,
                "logbroker-chserver: \"%s\" is not libchdb.so of the "
                "expected version\n",
                argv[1]);
        return 1;
    }

    (void)snprintf(config, sizeof(config), "--config-file=%s", argv[2]);
    (void)snprintf(data, sizeof(data), "--path=%s", argv[3]);

    options[0] = "clickhouse";
    options[1] = config;
    options[2] = data;
    options[3] = "--log-level=warning";
    options[4] = "--query=SYSTEM START LISTEN HTTP;"
                 "SELECT * FROM file('-', LineAsString, 'line String') "
                 "FORMAT Null";

    result = query_cmdline(5, options);

    if (stopping) {
        /* the engine's own destructors may hang on its detached threads */
        _exit(0);
    }

    error = result_error(result);
    fprintf(stderr,
            "logbroker-chserver: the engine ended by itself: %s\n"
            "Is the port taken, or the data folder \"%s\" in use?\n",
            error != NULL && *error != '\0' ? error : "see above", argv[3]);
    _exit(1);
}
