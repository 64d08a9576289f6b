#include "flusher/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "spool/lb_clock.h"

void
lb_log(int level, const char *fmt, ...)
{
    char text[1024], when[32];
    time_t now;
    va_list ap;
    struct tm tm;

    static char last[1024];
    static int64_t last_ms;
    static unsigned repeated;
    static const char *const names[] = {"info", "warn", "error"};

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    if (strcmp(text, last) == 0 && lb_mono_ms() - last_ms < 10000) {
        repeated++;
        return;
    }

    now = (time_t)(lb_now_us() / 1000000);
    (void)gmtime_r(&now, &tm);
    (void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);

    if (repeated > 0) {
        fprintf(stderr, "%s info: the last line %u times more\n", when,
                repeated);
    }

    fprintf(stderr, "%s %s: %s\n", when, names[level], text);
    (void)snprintf(last, sizeof(last), "%s", text);
    last_ms = lb_mono_ms();
    repeated = 0;
}
