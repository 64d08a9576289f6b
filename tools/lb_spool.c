/*
 * logbroker-spool: look at a spool, also while it is in use.  Reads only, but
 * for replaying and dropping dead letters (lb_spool_dead.c).
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lb_spool_dead.h"
#include "spool/lb_ring.h"

static lb_ckpt_state_t ckpt;

typedef struct {
    int json;
    int again;
    const char *stream;
} options_t;

static void
usage(FILE *f)
{
    fputs(
        "usage: logbroker-spool COMMAND [OPTIONS] SPOOL\n"
        "       logbroker-spool dead ACTION [OPTIONS] SPOOL [LETTER...]\n"
        "\n"
        "  stat     rings, backlog, batch in flight\n"
        "  verify   read every record of the backlog and check its CRC\n"
        "  cat      print the backlog, one event per line\n"
        "\n"
        "  dead list    dead letters: number, state, ring, seq, reason\n"
        "  dead show    print events that were set aside, one per line\n"
        "  dead replay  put events back into a ring, to be delivered again\n"
        "  dead drop    say that letters are done with\n"
        "\n"
        "  LETTER is a number of dead list or \"all\": those still open.\n"
        "\n"
        "  -j, --json            stat, verify, dead list: JSON; cat: with\n"
        "                        ring and seq\n"
        "  -a, --again           dead replay: also what a replay that was cut\n"
        "                        short left behind\n"
        "  -s, --stream STREAM   cat: this stream only\n"
        "  -h, --help\n"
        "  -V, --version\n"
        "\n"
        "SPOOL is the directory given to logbroker_spool.  It may be in\n"
        "use; only dead replay and dead drop change anything.\n",
        f);
}

static void
complain(const char *spool, uint32_t slot, int rc)
{
    char buf[128];

    fprintf(stderr, "logbroker-spool: ring %u of \"%s\": %s\n", slot, spool,
            lb_strerror(rc, buf, sizeof(buf)));
}

/* Where the backlog of a ring starts. */
static void
acked_of(const lb_ring_info_t *info, uint64_t *position, uint64_t *seq)
{
    lb_ckpt_ring_t *r = lb_ckpt_find(&ckpt, info->uuid);

    *position = r != NULL ? r->acked : info->acked;
    *seq = r != NULL ? r->acked_seq : info->acked_seq;
}

static int
stat_ring(const options_t *o, const lb_ring_info_t *info, int first)
{
    char uuid[LB_UUID_TEXT];
    uint64_t position, seq;

    acked_of(info, &position, &seq);
    lb_uuid_format(info->uuid, uuid);

    if (o->json) {
        printf("%s\n  {\"slot\": %u, \"ring\": \"%s\", \"locked\": %s, "
               "\"poisoned\": %s, \"capacity\": %" PRIu64
               ", \"committed\": %" PRIu64 ", \"durable\": %" PRIu64
               ", \"acked\": %" PRIu64 ", \"backlog_bytes\": %" PRIu64
               ", \"next_seq\": %" PRIu64 ", \"acked_seq\": %" PRIu64
               ", \"backlog_events\": %" PRIu64 "}",
               first ? "" : ",", info->slot, uuid,
               info->locked ? "true" : "false",
               info->flags & LB_CELL_POISONED ? "true" : "false",
               info->capacity, info->committed, info->durable, position,
               info->committed - position, info->next_seq, seq,
               info->next_seq - seq);
        return 0;
    }

    printf("%4u  %s  %-6s  %12" PRIu64 "  %12" PRIu64 "  %5.1f%%  %12" PRIu64
           "%s\n",
           info->slot, uuid, info->locked ? "in use" : "free", info->next_seq,
           info->next_seq - seq,
           100.0 * (double)(info->committed - position) /
               (double)info->capacity,
           info->committed - position,
           info->flags & LB_CELL_POISONED ? "  poisoned" : "");

    return 0;
}

static int
cat_record(const options_t *o, lb_reader_t *reader, const lb_ring_info_t *info,
           const lb_record_t *rec, uint64_t seq)
{
    int rc, fresh = 1; /* at the start of an event */
    char uuid[LB_UUID_TEXT];
    size_t n;
    uint64_t p, end, at = rec->first_seq;
    const uint8_t *data, *nl, *next;

    if (o->stream != NULL && strcmp(o->stream, rec->stream) != 0) {
        return 0;
    }

    lb_uuid_format(info->uuid, uuid);
    end = rec->payload + rec->payload_len;

    /* an event may be longer than a view: print it piece by piece */

    for (p = rec->payload; p < end; p += n) {

        rc = lb_reader_view(reader, p, end, 1, &data, &n);
        if (rc != 0) {
            return rc;
        }

        for (next = data; next < data + n; next = nl) {

            nl = memchr(next, '\n', (size_t)(data + n - next));
            nl = nl != NULL ? nl + 1 : data + n;

            if (at < seq) {
                at += nl[-1] == '\n';
                continue;
            }

            if (o->json && fresh) {
                printf("{\"ring\":\"%s\",\"seq\":%" PRIu64
                       ",\"stream\":\"%s\",\"received_us\":%" PRIu64
                       ",\"event\":",
                       uuid, at, rec->stream, rec->received_us);
            }

            fresh = nl[-1] == '\n';
            fwrite(next, 1, (size_t)(nl - next) - (size_t)fresh, stdout);

            if (fresh) {
                at++;
                fputs(o->json ? "}\n" : "\n", stdout);
            }
        }
    }

    return ferror(stdout) ? -EIO : 0;
}

typedef struct {
    uint64_t records;
    uint64_t events;
    uint64_t bad;
    uint64_t bad_bytes;
} totals_t;

/* Walks the backlog of a ring; print: events to stdout. */
static int
walk(const options_t *o, lb_reader_t *reader, const lb_ring_info_t *info,
     int print, totals_t *t)
{
    int rc;
    uint64_t p, seq, next;
    lb_record_t rec;

    acked_of(info, &p, &seq);

    while (p < info->committed) {

        rc = lb_reader_record(reader, p, info->committed, 1, &rec);

        if (rc == LB_ECORRUPT) {
            rc = lb_reader_resync(reader, p, info->committed, &next);
            if (rc != 0) {
                return rc;
            }
            fprintf(stderr,
                    "logbroker-spool: ring %u: %" PRIu64
                    " bytes at position %" PRIu64 " are damaged\n",
                    info->slot, next - p, p);
            t->bad++;
            t->bad_bytes += next - p;
            p = next;
            continue;
        }

        if (rc != 0) {
            return rc;
        }

        t->records++;
        t->events += rec.events;

        if (print) {
            rc = cat_record(o, reader, info, &rec, seq);
            if (rc != 0) {
                return rc;
            }
        }

        p = rec.next;
    }

    return 0;
}

static int
run(const char *command, const options_t *o, const char *path)
{
    int i, n, rc, failed = 0, is_stat, is_cat;
    char uuid[LB_UUID_TEXT], when[32];
    time_t t;
    uint32_t slots[LB_SLOTS_MAX];
    totals_t totals = {0, 0, 0, 0};
    lb_error_t err;
    lb_spool_t *spool;
    lb_reader_t *reader;
    lb_ring_info_t info;

    is_stat = strcmp(command, "stat") == 0;
    is_cat = strcmp(command, "cat") == 0;

    if (lb_spool_open(path, 0, &spool, &err) != 0 ||
        lb_ckpt_peek(spool, &ckpt, &err) != 0 ||
        (n = lb_spool_slots(spool, slots, &err)) < 0) {
        fprintf(stderr, "logbroker-spool: %s\n", err.text);
        return 1;
    }

    lb_uuid_format(lb_spool_uuid(spool), uuid);

    if (is_stat && o->json) {
        printf("{\"spool\": \"%s\", \"delivered\": %" PRIu64
               ", \"dead\": %" PRIu64 ", \"lost_bytes\": %" PRIu64
               ", \"in_flight\": %s, \"token\": \"%s\", \"rows\": %" PRIu64
               ", \"rings\": [",
               uuid, ckpt.delivered, ckpt.dead, ckpt.lost_bytes,
               ckpt.flags & LB_CKPT_IN_FLIGHT ? "true" : "false", ckpt.token,
               ckpt.flags & LB_CKPT_IN_FLIGHT ? ckpt.rows : 0);
    } else if (is_stat) {
        printf("spool %s: %" PRIu64 " events delivered, %" PRIu64
               " dead letters, %" PRIu64 " bytes lost to damage\n",
               uuid, ckpt.delivered, ckpt.dead, ckpt.lost_bytes);
        if (ckpt.flags & LB_CKPT_IN_FLIGHT) {
            t = (time_t)(ckpt.fixed_us / 1000000);
            strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", gmtime(&t));
            printf("batch in flight since %s: %" PRIu64 " rows, token %s\n",
                   when, ckpt.rows, ckpt.token);
        }
        puts("slot  ring                                  state        "
             "events so far  backlog events   full   backlog bytes");
    }

    for (i = 0; i < n; i++) {

        if (lb_reader_open(spool, slots[i], 0, &reader, &err) != 0) {
            fprintf(stderr, "logbroker-spool: %s\n", err.text);
            failed = 1;
            continue;
        }

        rc = lb_reader_info(reader, &info);

        if (rc == 0) {
            rc = is_stat ? stat_ring(o, &info, i == 0)
                         : walk(o, reader, &info, is_cat, &totals);
        }

        if (rc != 0) {
            complain(path, slots[i], rc);
            failed = 1;
        }

        lb_reader_close(reader);
    }

    if (is_stat && o->json) {
        puts("\n]}");
    } else if (!is_stat && !is_cat) {
        printf(o->json ? "{\"records\": %" PRIu64 ", \"events\": %" PRIu64
                         ", \"damaged_places\": %" PRIu64
                         ", \"damaged_bytes\": %" PRIu64 "}\n"
                       : "%" PRIu64 " records, %" PRIu64
                         " events in the backlog, %" PRIu64
                         " damaged places, %" PRIu64 " damaged bytes\n",
               totals.records, totals.events, totals.bad, totals.bad_bytes);
    }

    lb_spool_close(spool);

    return failed || totals.bad != 0;
}

/* list may go without letters, what changes something must name them. */
static int
dead_action(const char *action, int letters)
{
    return strcmp(action, "list") == 0 || strcmp(action, "show") == 0 ||
           (letters > 0 &&
            (strcmp(action, "replay") == 0 || strcmp(action, "drop") == 0));
}

int
main(int argc, char **argv)
{
    int c;
    options_t o = {0, 0, NULL};
    static const struct option longopts[] = {
        {"json", no_argument, NULL, 'j'},
        {"again", no_argument, NULL, 'a'},
        {"stream", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };

    while ((c = getopt_long(argc, argv, "jas:hV", longopts, NULL)) != -1) {
        switch (c) {
        case 'j':
            o.json = 1;
            break;
        case 'a':
            o.again = 1;
            break;
        case 's':
            o.stream = optarg;
            break;
        case 'h':
            usage(stdout);
            return 0;
        case 'V':
            puts("logbroker-spool " LB_VERSION);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }

    if (argc - optind >= 3 && strcmp(argv[optind], "dead") == 0 &&
        dead_action(argv[optind + 1], argc - optind - 3)) {
        return lb_spool_dead(argv[optind + 1], o.json, o.again,
                             argv[optind + 2], argc - optind - 3,
                             argv + optind + 3);
    }

    if (argc - optind != 2 || (strcmp(argv[optind], "stat") != 0 &&
                               strcmp(argv[optind], "verify") != 0 &&
                               strcmp(argv[optind], "cat") != 0)) {
        usage(stderr);
        return 2;
    }

    return run(argv[optind], &o, argv[optind + 1]);
}
