/*
 * logbroker-spool: look at a spool, also while it is in use, and repair it.
 */

#include <stdio.h>
#include <string.h>

#include "command.h"
#include "output.h"
#include "spool/lb_format.h"

typedef struct {
    const char *name;
    const char *action; /* of dead; NULL: the command is one word */
    int letters;        /* of dead: at least so many */
    int (*run)(const lb_tool_options_t *o, const char *path);
    const char *help;
} command_t;

#define MORE "\n           "

static const command_t commands[] = {
    {"stat", NULL, 0, lb_tool_stat, "rings, backlog, batch in flight"},
    {"verify", NULL, 0, lb_tool_verify,
     "read every record of the backlog and check its CRC"},
    {"cat", NULL, 0, lb_tool_cat, "print the backlog, one event per line"},
    {"replay", NULL, 0, lb_tool_replay,
     "deliver again what was delivered and is still in its" MORE
     "ring; needs --seq, --since or --until.  What ClickHouse" MORE
     "still has will then be there twice"},
    {"resize", NULL, 0, lb_tool_resize,
     "give rings that are empty and not in use another size"},
    {"move", NULL, 0, lb_tool_move,
     "the spool was moved here, the original is gone: serve it"},
    {"adopt", NULL, 0, lb_tool_adopt,
     "the spool is a copy, the original goes on: make it anew," MORE
     "empty, with an identity of its own; without --yes only" MORE
     "say what would be dropped"},
    {"recover", NULL, 0, lb_tool_recover,
     "write a lost or damaged checkpoint anew, from the rings and" MORE
     "ClickHouse; without --yes only say what it would be." MORE
     "Needs --config or --clickhouse"},
    {"dead", "list", 0, lb_tool_dead_list,
     "dead letters: number, state, ring, seq, reason"},
    {"dead", "show", 0, lb_tool_dead_show,
     "print events that were set aside, one per line"},
    {"dead", "replay", 1, lb_tool_dead_replay,
     "put events back into a ring, to be delivered again"},
    {"dead", "drop", 1, lb_tool_dead_drop, "say that letters are done with"},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int
usage(FILE *f, int status)
{
    size_t i;
    const command_t *c;

    fputs("usage: logbroker-spool COMMAND [OPTIONS] SPOOL\n"
          "       logbroker-spool dead ACTION [OPTIONS] SPOOL [LETTER...]\n",
          f);

    for (i = 0; i < COMMANDS; i++) {
        c = &commands[i];
        if (i == 0 || (c->action == NULL) != (c[-1].action == NULL)) {
            putc('\n', f);
        }
        if (c->action == NULL) {
            fprintf(f, "  %-7s  %s\n", c->name, c->help);
        } else {
            fprintf(f, "  %s %-6s  %s\n", c->name, c->action, c->help);
        }
    }

    fputs("\n"
          "  LETTER is a number of dead list or \"all\": those still open.\n"
          "\n",
          f);
    fputs(lb_tool_options_help, f);
    fputs("\n"
          "SPOOL is the directory given to logbroker_spool.  It may be in\n"
          "use; only replay, resize, move, adopt, recover, dead replay and\n"
          "dead drop change anything.\n"
          "\n"
          "Exit status:\n"
          "  0  done; adopt, recover without --yes: it can be done\n"
          "  1  failed or refused; verify: damage was found\n"
          "  2  a wrong command line or wrong settings\n"
          "  3  recover: events are missing, somebody has to decide\n",
          f);

    return status;
}

/* The command that these words are, with the path and its letters behind it;
 * NULL: none. */
static const command_t *
find(char **words, int n, lb_tool_options_t *o, const char **path)
{
    int used;
    size_t i;
    const command_t *c;

    for (i = 0; i < COMMANDS; i++) {
        c = &commands[i];
        used = c->action != NULL ? 2 : 1;

        if (n <= used || strcmp(words[0], c->name) != 0 ||
            (c->action != NULL && strcmp(words[1], c->action) != 0)) {
            continue;
        }

        *path = words[used];
        o->letters = words + used + 1;
        o->nletters = n - used - 1;

        return c->action != NULL  ? o->nletters >= c->letters ? c : NULL
               : o->nletters == 0 ? c
                                  : NULL;
    }

    return NULL;
}

static int
known(const char *name)
{
    size_t i;

    for (i = 0; i < COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return 1;
        }
    }

    return 0;
}

int
main(int argc, char **argv)
{
    int n, status;
    char **words;
    const char *path;
    const command_t *command;
    lb_tool_options_t o;

    switch (lb_tool_options(argc, argv, &o, &words, &n)) {
    case LB_TOOL_HELP:
        status = usage(stdout, 0);
        lb_tool_printed();
        return status;
    case LB_TOOL_VERSION:
        puts("logbroker-spool " LB_VERSION);
        lb_tool_printed();
        return 0;
    case LB_TOOL_USAGE:
        return usage(stderr, 2);
    case LB_TOOL_WRONG:
        return 2;
    case LB_TOOL_RUN:
        break;
    }

    command = find(words, n, &o, &path);
    if (command == NULL) {
        if (n > 0 && !known(words[0])) {
            lb_tool_say("\"%s\" is no command, see logbroker-spool --help",
                        words[0]);
            return 2;
        }
        return usage(stderr, 2);
    }

    if ((o.first_seq != 0 || o.last_seq != UINT64_MAX) && o.slot < 0) {
        return lb_tool_mistake("--seq", "...",
                               "seqs are of one ring: give --ring too");
    }

    status = command->run(&o, path);
    lb_tool_printed();
    return status;
}
