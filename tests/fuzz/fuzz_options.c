/*
 * Fuzzer: any bytes as the flusher's settings.  Either they are refused with
 * one line of words, or what is printed for them means the same.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "flusher/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(int ok, const char *what, const char *detail)
{
    if (!ok) {
        fprintf(stderr, "fuzz_options: %s: %s\n", what, detail);
        abort();
    }
}

static lb_options_t *
load(const void *data, size_t size, char *text, size_t room)
{
    int fd = memfd_create("settings", MFD_CLOEXEC);
    char path[64];
    lb_options_t *o;

    require(fd >= 0 && write(fd, data, size) == (ssize_t)size, "memfd", "");
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

    memset(text, 'x', room);
    o = lb_options_load(path, text, room);
    close(fd);

    if (o == NULL) {
        require(memchr(text, '\0', room) != NULL, "no end of", "words");
        require(text[0] != '\0', "refused without", "words");
        require(strchr(text, '\n') == NULL, "more than a line", text);
    }

    return o;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[512], *dump, *again;
    lb_options_t *o, *same;

    /* other files than this one are none of its business */
    if (memmem(data, size, "password_file", 13) != NULL) {
        return 0;
    }

    o = load(data, size, text, sizeof(text));
    if (o == NULL) {
        return 0;
    }

    require(o->nurls >= 1 && o->nurls <= LB_URLS_MAX, "urls", "");
    require(o->node_index < o->node_count, "index", "");
    require(o->spool != NULL && o->broker != NULL, "names", "");

    dump = lb_options_dump(o);
    require(dump != NULL, "no dump", "");
    same = load(dump, strlen(dump), text, sizeof(text));
    require(same != NULL, "its own dump is refused", text);
    again = lb_options_dump(same);
    require(again != NULL && strcmp(dump, again) == 0, "dumps differ", dump);

    free(dump);
    free(again);
    lb_options_free(o);
    lb_options_free(same);

    return 0;
}
