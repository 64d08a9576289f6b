/*
 * logbroker-spool move and adopt: the two ways out when a spool is found
 * elsewhere than it was last used.
 */

#include "tool.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

static const char *const states[] = {"none", "here", "elsewhere"};

void
lb_tool_tie(const lb_spool_t *spool, int json, FILE *f)
{
    char when[32];
    time_t t;
    const lb_tie_t *tie = lb_spool_tie(spool);

    if (json) {
        fprintf(f, "{\"state\": \"%s\", \"why\": ", states[tie->state]);
        if (tie->why != NULL) {
            lb_tool_json_text(f, tie->why);
        } else {
            fputs("null", f);
        }
        fputs(", \"host\": ", f);
        lb_tool_json_text(f, tie->host);
        fputs(", \"path\": ", f);
        lb_tool_json_text(f, tie->path);
        fprintf(f, ", \"since_us\": %" PRIu64 "}", tie->tied_us);
        return;
    }

    if (tie->state == LB_TIE_NONE) {
        fputs("tied to no machine yet: nginx or the flusher will do it\n", f);
        return;
    }

    t = (time_t)(tie->tied_us / 1000000);
    (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", gmtime(&t));

    fprintf(f,
            tie->state == LB_TIE_HERE
                ? "tied to \"%s\" on \"%s\" since %s\n"
                : "COPIED OR MOVED: tied to \"%s\" on \"%s\" since %s; ",
            tie->path, tie->host, when);

    if (tie->why != NULL) {
        fprintf(f,
                "%s. It is not served. If the original is gone: "
                "logbroker-spool move; if not: logbroker-spool adopt\n",
                tie->why);
    }
}

int
lb_spool_tool_move(const char *path)
{
    int rc = -1;
    lb_error_t err;
    lb_spool_t *spool;

    if (lb_spool_open(path, 0, &spool, &err) == 0) {
        rc = lb_spool_move(spool, &err);
        if (rc >= 0) {
            fputs(rc > 0 ? "" : "nothing to do: ", stdout);
            lb_tool_tie(spool, 0, stdout);
        }
        lb_spool_close(spool);
    }

    if (rc < 0) {
        fprintf(stderr, "logbroker-spool: %s\n", err.text);
        return 1;
    }

    return 0;
}

static void
print_left(const lb_left_t *left)
{
    printf("%" PRIu64 " events that are not delivered, in %u rings; %" PRIu64
           " open dead letters%s\n",
           left->events, left->rings, left->letters,
           left->in_flight ? "; a batch in flight" : "");

    if (left->unreadable > 0) {
        printf("%u rings that cannot be read\n", left->unreadable);
    }

    if (left->unknown) {
        puts("the checkpoint or the dead letters cannot be read: there may be "
             "more, or less");
    }
}

int
lb_spool_tool_adopt(const char *path, int yes, int json)
{
    int rc, elsewhere;
    char uuid[LB_UUID_TEXT];
    lb_left_t left;
    lb_error_t err;
    lb_spool_t *spool;

    if (lb_spool_open(path, 0, &spool, &err) != 0) {
        fprintf(stderr, "logbroker-spool: %s\n", err.text);
        return 1;
    }

    lb_spool_left(spool, &left);
    elsewhere = lb_spool_tie(spool)->state == LB_TIE_ELSEWHERE;

    if (!elsewhere && lb_left_any(&left)) {
        fprintf(stderr,
                "logbroker-spool: this is where the spool was last used, so "
                "nobody else delivers what it holds (%" PRIu64
                " events, %" PRIu64 " open dead letters%s%s): let the flusher "
                "deliver it first\n",
                left.events, left.letters,
                left.in_flight ? ", a batch in flight" : "",
                left.unreadable || left.unknown ? ", and what cannot be read"
                                                : "");
        lb_spool_close(spool);
        return 1;
    }

    rc = 0;

    if (yes) {
        rc = lb_spool_renew(spool, &err);
    }

    if (rc != 0) {
        fprintf(stderr, "logbroker-spool: %s\n", err.text);

    } else if (json) {
        lb_uuid_format(lb_spool_uuid(spool), uuid);
        printf("{\"done\": %s, \"spool\": \"%s\", \"dropped_events\": %" PRIu64
               ", \"dropped_letters\": %" PRIu64
               ", \"in_flight\": %s, \"unreadable_rings\": %u, "
               "\"unknown\": %s}\n",
               yes ? "true" : "false", uuid, left.events, left.letters,
               left.in_flight ? "true" : "false", left.unreadable,
               left.unknown ? "true" : "false");

    } else {
        if (lb_left_any(&left)) {
            printf("%s what the original delivers:\n",
                   yes ? "dropped here," : "this would drop here,");
            print_left(&left);
        }
        lb_uuid_format(lb_spool_uuid(spool), uuid);
        if (yes) {
            printf("a new, empty spool with identity %s\n", uuid);
        } else {
            puts("the spool would be made anew, empty, under a new identity; "
                 "nothing was changed: repeat with --yes");
        }
    }

    lb_spool_close(spool);

    return rc != 0;
}
