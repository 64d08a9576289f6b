/*
 * logbroker-spool move and adopt: the two ways out when a spool is found
 * elsewhere than it was last used.
 */

#include "command.h"

#include <inttypes.h>
#include <stdio.h>

#include "output.h"

int
lb_tool_move(const lb_tool_options_t *o, const char *path)
{
    int rc = -1;
    lb_error_t err;
    lb_spool_t *spool;

    (void)o;

    if (lb_spool_open(path, 0, &spool, &err) == 0) {
        rc = lb_spool_move(spool, &err);
        if (rc >= 0) {
            fputs(rc > 0 ? "" : "nothing to do: ", stdout);
            lb_tool_tie_print(spool);
        }
        lb_spool_close(spool);
    }

    if (rc < 0) {
        lb_tool_say("%s", err.text);
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
lb_tool_adopt(const lb_tool_options_t *o, const char *path)
{
    int rc, elsewhere;
    char uuid[LB_UUID_TEXT];
    lb_left_t left;
    lb_error_t err;
    lb_spool_t *spool;

    if (lb_spool_open(path, 0, &spool, &err) != 0) {
        lb_tool_say("%s", err.text);
        return 1;
    }

    lb_spool_left(spool, &left);
    elsewhere = lb_spool_tie(spool)->state == LB_TIE_ELSEWHERE;

    if (!elsewhere && lb_left_any(&left)) {
        lb_tool_say(
            "this is where the spool was last used, so nobody else "
            "delivers what it holds (%" PRIu64 " events, %" PRIu64
            " open dead letters%s%s): let the flusher deliver it first",
            left.events, left.letters,
            left.in_flight ? ", a batch in flight" : "",
            left.unreadable || left.unknown ? ", and what cannot be read" : "");
        lb_spool_close(spool);
        return 1;
    }

    rc = 0;

    if (o->yes) {
        rc = lb_spool_renew(spool, &err);
    }

    if (rc != 0) {
        lb_tool_say("%s", err.text);

    } else if (o->json) {
        lb_uuid_format(lb_spool_uuid(spool), uuid);
        lb_tool_json_print(
            json_pack("{s:b, s:s, s:I, s:I, s:b, s:I, s:b}", "done", o->yes,
                      "spool", uuid, "dropped_events", (json_int_t)left.events,
                      "dropped_letters", (json_int_t)left.letters, "in_flight",
                      left.in_flight, "unreadable_rings",
                      (json_int_t)left.unreadable, "unknown", left.unknown));

    } else {
        if (lb_left_any(&left)) {
            printf("%s what the original delivers:\n",
                   o->yes ? "dropped here," : "this would drop here,");
            print_left(&left);
        }
        lb_uuid_format(lb_spool_uuid(spool), uuid);
        if (o->yes) {
            printf("a new, empty spool with identity %s\n", uuid);
        } else {
            puts("the spool would be made anew, empty, under a new identity; "
                 "nothing was changed: repeat with --yes");
        }
    }

    lb_spool_close(spool);

    return rc != 0;
}
