/*
 * logbroker-spool: messages, JSON, progress.
 */

#include "output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "event/repair.h"

void
lb_tool_say(const char *format, ...)
{
    va_list args;

    lb_tool_progress(NULL, 0, 0);

    fputs("logbroker-spool: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

json_t *
lb_tool_json_textn(const char *s, size_t len)
{
    char *copy;
    json_t *text;

    text = json_stringn(s, len);
    if (text != NULL) {
        return text;
    }

    copy = malloc(LB_REPAIR_MAX(len) + 1);
    if (copy == NULL) {
        return json_string("?");
    }

    len = lb_repair((uint8_t *)copy, (const uint8_t *)s, len, NULL);
    text = json_stringn(copy, len);
    free(copy);

    return text;
}

json_t *
lb_tool_json_text(const char *s)
{
    return s != NULL ? lb_tool_json_textn(s, strlen(s)) : json_null();
}

void
lb_tool_printed(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        lb_tool_say("what is printed cannot be written: %s", strerror(errno));
        _exit(1);
    }
}

void
lb_tool_json_print(json_t *value)
{
    (void)json_dumpf(value, stdout, 0);
    putchar('\n');
    json_decref(value);
}

void
lb_tool_json_open(json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);

    if (text != NULL) {
        fwrite(text, 1, strlen(text) - 1, stdout);
    }

    free(text);
    json_decref(object);
}

const char *
lb_tool_time(uint64_t us, int iso, char buf[LB_TOOL_TIME])
{
    time_t t = (time_t)(us / 1000000);

    if (strftime(buf, LB_TOOL_TIME,
                 iso ? "%Y-%m-%dT%H:%M:%SZ" : "%Y-%m-%d %H:%M:%S UTC",
                 gmtime(&t)) == 0) {
        buf[0] = '\0';
    }

    return buf;
}

void
lb_tool_progress(const char *what, uint64_t done, uint64_t total)
{
    static int terminal = -1, shown;
    static int64_t last;
    int64_t now;
    int filled;

    if (terminal < 0) {
        terminal = isatty(STDERR_FILENO);
    }

    if (!terminal) {
        return;
    }

    if (total == 0) {
        if (shown) {
            fputs("\r\033[K", stderr);
            shown = 0;
        }
        return;
    }

    now = lb_mono_ms();

    /* ten times a second, and not for what is over at once */
    if (last == 0) {
        last = now;
    }
    if (now - last < 100) {
        return;
    }

    last = now;
    shown = 1;
    filled = (int)(40 * done / total);
    fprintf(stderr, "\r%s [%.*s%*s] %3d%%", what, filled,
            "########################################", 40 - filled, "",
            (int)(100 * done / total));
}

static const char *const states[] = {"none", "here", "elsewhere"};

json_t *
lb_tool_tie_json(const lb_spool_t *spool)
{
    const lb_tie_t *tie = lb_spool_tie(spool);

    return json_pack("{s:s, s:o, s:o, s:o, s:I}", "state", states[tie->state],
                     "why", lb_tool_json_text(tie->why), "host",
                     lb_tool_json_text(tie->host), "path",
                     lb_tool_json_text(tie->path), "since_us",
                     (json_int_t)tie->tied_us);
}

void
lb_tool_tie_print(const lb_spool_t *spool)
{
    char when[LB_TOOL_TIME];
    const lb_tie_t *tie = lb_spool_tie(spool);

    if (tie->state == LB_TIE_NONE) {
        puts("tied to no machine yet: nginx or the flusher will do it");
        return;
    }

    printf(tie->state == LB_TIE_HERE
               ? "tied to \"%s\" on \"%s\" since %s\n"
               : "COPIED OR MOVED: tied to \"%s\" on \"%s\" since %s; ",
           tie->path, tie->host, lb_tool_time(tie->tied_us, 0, when));

    if (tie->why != NULL) {
        printf("%s. It is not served. If the original is gone: "
               "logbroker-spool move; if not: logbroker-spool adopt\n",
               tie->why);
    }
}
