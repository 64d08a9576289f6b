/*
 * logbroker-flusher: moves a spool into ClickHouse.
 *
 * One thread: look at the rings, wait until a request may start, make one step
 * of delivery, publish the figures.
 */

#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flusher/check.h"
#include "flusher/notify.h"
#include "flusher/options.h"
#include "flusher/service.h"
#include "flusher/watchdog.h"

static lb_signals_t signals;

static void
on_signal(int sig)
{
    if (sig == SIGHUP) {
        signals.hangups = 1;
        return;
    }

    signals.terminations++;
    if (signals.terminations > 1) {
        signals.abort = 1;
    }
}

static void
usage(FILE *f)
{
    fputs(
        "usage: logbroker-flusher --config FILE [--check] [--watchdog "
        "SECONDS]\n"
        "       logbroker-flusher --settings\n"
        "\n"
        "  -c, --config FILE  settings (JSON)\n"
        "  -t, --check        check the settings, print them with their\n"
        "                     defaults, look at the table, and exit\n"
        "  -w, --watchdog SECONDS\n"
        "                     run as a child, and kill it when it shows no\n"
        "                     sign of life for so long\n"
        "      --settings     all settings: defaults, what they may be\n"
        "  -h, --help\n"
        "  -V, --version\n"
        "\n"
        "SIGTERM finishes the request under way, delivers what is left\n"
        "within shutdown_timeout_ms and exits; SIGHUP reads the settings\n"
        "again.\n"
        "\n"
        "Exit status:\n"
        "  0  stopped; --check: exactly once\n"
        "  1  cannot serve this spool, the log says why; --watchdog: it hung\n"
        "  2  a wrong command line or wrong settings\n"
        "  3  --check: the table does not allow exactly once\n"
        "  4  --check: not known, ClickHouse cannot be asked\n",
        f);
}

/* The exit status of what was only to print something. */
static int
printed(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr,
                "logbroker-flusher: what is printed cannot be written: %s\n",
                strerror(errno));
        return 1;
    }

    return 0;
}

static void
catch_signals(void)
{
    sigset_t set;
    struct sigaction sa;

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = on_signal;

    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    /* containers of the broker image are stopped with it */
    sigaction(SIGQUIT, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

int
main(int argc, char **argv)
{
    int c, check = 0, rc, watchdog = 0;
    char text[1024], *dump, *end;
    const char *config = NULL;

    static lb_service_t f;
    static const struct option longopts[] = {
        {"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, 't'},
        {"watchdog", required_argument, NULL, 'w'},
        {"settings", no_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };

    while ((c = getopt_long(argc, argv, "c:tw:hV", longopts, NULL)) != -1) {
        switch (c) {
        case 'c':
            config = optarg;
            break;
        case 't':
            check = 1;
            break;
        case 'w':
            watchdog = (int)strtol(optarg, &end, 10);
            if (*end != '\0' || watchdog < 5 || watchdog > 86400) {
                fputs("logbroker-flusher: --watchdog must be 5 to 86400 "
                      "seconds\n",
                      stderr);
                return 2;
            }
            break;
        case 's':
            lb_options_print(stdout);
            return printed();
        case 'h':
            usage(stdout);
            return printed();
        case 'V':
            puts("logbroker-flusher " LB_VERSION);
            return printed();
        default:
            usage(stderr);
            return 2;
        }
    }

    if (config == NULL || optind != argc) {
        usage(stderr);
        return 2;
    }

    f.config = config;
    f.signals = &signals;
    f.options = lb_options_load(config, text, sizeof(text));

    if (f.options == NULL) {
        fprintf(stderr, "logbroker-flusher: %s\n", text);
        return 2;
    }

    signal(SIGPIPE, SIG_IGN);

    if (check) {
        dump = lb_options_dump(f.options);
        puts(dump != NULL ? dump : "");
        free(dump);
        if (printed() != 0) {
            lb_options_free(f.options);
            return 1;
        }
        curl_global_init(CURL_GLOBAL_DEFAULT);
        rc = lb_check_table(f.options, &signals.abort);
        curl_global_cleanup();
        lb_options_free(f.options);
        return rc;
    }

    if (watchdog > 0 && (rc = lb_watchdog(watchdog)) >= 0) {
        lb_options_free(f.options);
        return rc;
    }

    catch_signals();
    lb_notify_init();
    curl_global_init(CURL_GLOBAL_DEFAULT);

    rc = lb_service_start(&f) == 0 ? lb_service_run(&f) : 1;

    lb_service_stop(&f);
    curl_global_cleanup();

    return rc;
}
