/*
 * The command line of logbroker-spool.
 */

#ifndef _LB_TOOL_OPTIONS_H_INCLUDED_
#define _LB_TOOL_OPTIONS_H_INCLUDED_

#include <stdint.h>

typedef struct {
    int json;
    int yes;   /* adopt, recover */
    int force; /* recover, resize */

    /* which rings and records */
    int slot;           /* -1: all */
    const char *stream; /* NULL: any */
    uint64_t first_seq; /* both included */
    uint64_t last_seq;
    uint64_t since_us; /* received in [since_us, until_us) */
    uint64_t until_us;

    int again;     /* dead replay */
    int delivered; /* cat: what was delivered, too */
    uint64_t size; /* resize: bytes; 0: not given */

    /* recover */
    const char *config; /* the flusher's settings, or: */
    const char *url;
    const char *table; /* [DATABASE.]TABLE */
    const char *user;
    const char *password_file;

    char **letters; /* dead: as they were written */
    int nletters;
} lb_tool_options_t;

/* What usage prints of the options. */
extern const char lb_tool_options_help[];

typedef enum {
    LB_TOOL_RUN,
    LB_TOOL_HELP,
    LB_TOOL_VERSION,
    LB_TOOL_USAGE, /* an option that does not exist */
    LB_TOOL_WRONG, /* a value that cannot be; it was said which */
} lb_tool_next_t;

/* Reads the options, and what is to be done next; *words are what is left,
 * of which the caller makes letters. */
lb_tool_next_t lb_tool_options(int argc, char **argv, lb_tool_options_t *o,
                               char ***words, int *nwords);

/* Says what is wrong with a command line; 2, the exit status. */
int lb_tool_mistake(const char *option, const char *value, const char *wanted);

#endif /* _LB_TOOL_OPTIONS_H_INCLUDED_ */
