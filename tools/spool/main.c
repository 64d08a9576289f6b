/*
 * logbroker-spool: look at a spool, also while it is in use.  What changes
 * something is in the other files.
 */

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"
#include "event/lines.h"

/* options without a letter */
enum {
    OPTION_URL = 256,
    OPTION_TABLE,
    OPTION_USER,
    OPTION_PASSWORD
};

static lb_ckpt_state_t ckpt;

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
        "  replay   deliver again what was delivered and is still in its\n"
        "           ring; needs --seq, --since or --until.  What ClickHouse\n"
        "           still has will then be there twice\n"
        "  resize   give rings that are empty and not in use another size\n"
        "  move     the spool was moved here, the original is gone: serve it\n"
        "  adopt    the spool is a copy, the original goes on: make it anew,\n"
        "           empty, with an identity of its own; without --yes only\n"
        "           say what would be dropped\n"
        "  recover  write a lost or damaged checkpoint anew, from the rings "
        "and\n"
        "           ClickHouse; without --yes only say what it would be.\n"
        "           Needs --config or --clickhouse\n"
        "\n"
        "  dead list    dead letters: number, state, ring, seq, reason\n"
        "  dead show    print events that were set aside, one per line\n"
        "  dead replay  put events back into a ring, to be delivered again\n"
        "  dead drop    say that letters are done with\n"
        "\n"
        "  LETTER is a number of dead list or \"all\": those still open.\n"
        "\n"
        "  -j, --json            JSON; cat: with ring and seq\n"
        "  -r, --ring SLOT       this ring only\n"
        "  -s, --stream STREAM   cat, verify, replay: this stream only\n"
        "  -q, --seq A[-[B]]     ... these seqs only, of the ring given\n"
        "  -S, --since TIME      ... received at or after, UTC: 2024-05-17,\n"
        "  -U, --until TIME      ... before; \"2024-05-17 10:00:00\" or "
        "seconds\n"
        "                        since 1970\n"
        "  -d, --delivered       cat: also what was delivered and is still\n"
        "                        there\n"
        "  -b, --size SIZE       resize: to so many bytes, k, m, g or t\n"
        "  -y, --yes             adopt, recover: do it\n"
        "  -c, --config FILE     recover: the flusher's settings\n"
        "      --clickhouse URL  ... or the server,\n"
        "      --user USER       ... the user,\n"
        "      --password-file FILE\n"
        "      --table [DATABASE.]TABLE\n"
        "                        ... and the table, if not logbroker.logs\n"
        "  -f, --force           recover: although events are missing that\n"
        "                        ClickHouse should have\n"
        "  -a, --again           dead replay: also what a replay that was cut\n"
        "                        short left behind\n"
        "  -h, --help\n"
        "  -V, --version\n"
        "\n"
        "SPOOL is the directory given to logbroker_spool.  It may be in\n"
        "use; only replay, resize, move, adopt, recover, dead replay and\n"
        "dead drop change anything.\n",
        f);
}

static void
complain(const char *spool, uint32_t slot, int rc)
{
    char buf[128];

    fprintf(stderr, "logbroker-spool: ring %u of \"%s\": %s\n", slot, spool,
            lb_strerror(rc, buf, sizeof(buf)));
}

static int
stat_ring(const lb_tool_options_t *o, const lb_ring_info_t *info, int first)
{
    char uuid[LB_UUID_TEXT];
    uint64_t position, seq, bytes, events;

    lb_tool_acked(&ckpt, info, &position, &seq);
    lb_uuid_format(info->uuid, uuid);

    /* after a power cut the commit cell may be older than the checkpoint */
    bytes = info->committed > position ? info->committed - position : 0;
    events = info->next_seq > seq ? info->next_seq - seq : 0;

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
               info->capacity, info->committed, info->durable, position, bytes,
               info->next_seq, seq, events);
        return 0;
    }

    printf("%4u  %s  %-6s  %12" PRIu64 "  %12" PRIu64 "  %5.1f%%  %12" PRIu64
           "%s\n",
           info->slot, uuid, info->locked ? "in use" : "free", info->next_seq,
           events, 100.0 * (double)bytes / (double)info->capacity, bytes,
           info->flags & LB_CELL_POISONED ? "  poisoned" : "");

    return 0;
}

static int
cat_record(const lb_tool_options_t *o, lb_reader_t *reader,
           const lb_ring_info_t *info, const lb_record_t *rec, void *data)
{
    int rc;
    char uuid[LB_UUID_TEXT];
    size_t n;
    uint64_t p, end, at = rec->first_seq;
    uint64_t seq = *(uint64_t *)data;
    const uint8_t *view;
    lb_lines_t lines;
    lb_line_t line;

    lb_uuid_format(info->uuid, uuid);
    end = rec->payload + rec->payload_len;
    lb_lines_start(&lines);

    /* an event may be longer than a view: print it piece by piece */

    for (p = rec->payload; p < end; p += n) {

        rc = lb_reader_view(reader, p, end, 1, &view, &n);
        if (rc != 0) {
            return rc;
        }

        lb_lines_view(&lines, view, n);

        while (lb_lines_next(&lines, &line)) {

            if (line.context) {
                continue;
            }

            if (at < seq || at < o->first_seq || at > o->last_seq) {
                at += (uint64_t)line.ends;
                continue;
            }

            if (o->json && line.begins) {
                printf("{\"ring\":\"%s\",\"seq\":%" PRIu64
                       ",\"stream\":\"%s\",\"received_us\":%" PRIu64
                       ",\"event\":",
                       uuid, at, rec->stream, rec->received_us);
            }

            fwrite(line.data, 1, line.len, stdout);

            if (line.ends) {
                at++;
                fputs(o->json ? "}\n" : "\n", stdout);
            }
        }
    }

    return ferror(stdout) ? -EIO : 0;
}

/* The backlog, or from the oldest record on. */
static int
walk(const lb_tool_options_t *o, lb_reader_t *reader,
     const lb_ring_info_t *info, int print, lb_tool_totals_t *t)
{
    uint64_t acked, seq, from;

    lb_tool_acked(&ckpt, info, &acked, &seq);
    from = acked;

    if (o->delivered) {
        from = lb_tool_oldest(info);
        seq = 0;
    }

    return lb_tool_walk(o, reader, info, from, info->committed, acked,
                        print ? cat_record : NULL, &seq, t);
}

static int
run(const char *command, const lb_tool_options_t *o, const char *path)
{
    int i, n, rc, failed = 0, first = 1, is_stat, is_cat;
    char uuid[LB_UUID_TEXT], when[32];
    time_t t;
    uint32_t slots[LB_SLOTS_MAX];
    lb_tool_totals_t totals = {0, 0, 0, 0};
    lb_error_t err;
    lb_spool_t *spool;
    lb_reader_t *reader;
    lb_ring_info_t info;

    is_stat = strcmp(command, "stat") == 0;
    is_cat = strcmp(command, "cat") == 0;

    if (lb_spool_open(path, 0, &spool, &err) != 0 ||
        (n = lb_spool_slots(spool, slots, &err)) < 0) {
        fprintf(stderr, "logbroker-spool: %s\n", err.text);
        return 1;
    }

    /* without it the rings say themselves what is acked */
    if (lb_ckpt_peek(spool, &ckpt, &err) != 0) {
        fprintf(stderr, "logbroker-spool: %s\n", err.text);
        memset(&ckpt, 0, sizeof(ckpt));
        failed = 1;
    }

    lb_uuid_format(lb_spool_uuid(spool), uuid);

    if (is_stat && o->json) {
        printf("{\"spool\": \"%s\", \"tie\": ", uuid);
        lb_tool_tie(spool, 1, stdout);
        printf(", \"delivered\": %" PRIu64 ", \"dead\": %" PRIu64
               ", \"lost_bytes\": %" PRIu64
               ", \"doubt\": %s, \"in_flight\": %s, \"token\": \"%s\", "
               "\"rows\": %" PRIu64 ", \"rings\": [",
               ckpt.delivered, ckpt.dead, ckpt.lost_bytes,
               ckpt.flags & LB_CKPT_DOUBT ? "true" : "false",
               ckpt.flags & LB_CKPT_IN_FLIGHT ? "true" : "false", ckpt.token,
               ckpt.flags & LB_CKPT_IN_FLIGHT ? ckpt.rows : 0);
    } else if (is_stat) {
        printf("spool %s: %" PRIu64 " events delivered, %" PRIu64
               " dead letters, %" PRIu64 " bytes lost to damage\n",
               uuid, ckpt.delivered, ckpt.dead, ckpt.lost_bytes);
        lb_tool_tie(spool, 0, stdout);
        if (ckpt.flags & LB_CKPT_DOUBT) {
            puts("the checkpoint may not be the newest: the flusher asks "
                 "ClickHouse what it has before it sends anything");
        }
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

        if (o->slot >= 0 && slots[i] != (uint32_t)o->slot) {
            continue;
        }

        if (lb_reader_open(spool, slots[i], 0, &reader, &err) != 0) {
            fprintf(stderr, "logbroker-spool: %s\n", err.text);
            failed = 1;
            continue;
        }

        rc = lb_reader_info(reader, &info);

        if (rc == 0) {
            rc = is_stat ? stat_ring(o, &info, first)
                         : walk(o, reader, &info, is_cat, &totals);
            first = 0;
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
        if (o->json) {
            fputs("{\"tie\": ", stdout);
            lb_tool_tie(spool, 1, stdout);
            printf(", \"doubt\": %s, ",
                   ckpt.flags & LB_CKPT_DOUBT ? "true" : "false");
        } else {
            lb_tool_tie(spool, 0, stdout);
            if (ckpt.flags & LB_CKPT_DOUBT) {
                puts("the checkpoint may not be the newest");
            }
        }
        printf(o->json ? "\"records\": %" PRIu64 ", \"events\": %" PRIu64
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

/* "2024-05-17", "2024-05-17 10:00:00", "...T10:00:00Z" or seconds. */
static int
parse_time(const char *s, uint64_t *us)
{
    size_t i;
    char *end;
    time_t t;
    struct tm tm;
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%SZ",
                                        "%Y-%m-%dT%H:%M:%S",
                                        "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"};

    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        memset(&tm, 0, sizeof(tm));
        end = strptime(s, forms[i], &tm);
        if (end != NULL && *end == '\0') {
            t = timegm(&tm);
            *us = (uint64_t)t * 1000000;
            return t >= 0 ? 0 : -1;
        }
    }

    if (*s < '0' || *s > '9') {
        return -1;
    }

    errno = 0;
    *us = strtoull(s, &end, 10);

    if (*end != '\0' || errno != 0 || *us > UINT64_MAX / 1000000) {
        return -1;
    }

    *us *= 1000000;

    return 0;
}

/* A, A- or A-B */
static int
parse_seq(const char *s, uint64_t *first, uint64_t *last)
{
    char *end;

    if (*s < '0' || *s > '9') {
        return -1;
    }

    errno = 0;
    *first = *last = strtoull(s, &end, 10);

    if (*end == '-' && end[1] == '\0') {
        *last = UINT64_MAX;
        end++;
    } else if (*end == '-' && end[1] >= '0' && end[1] <= '9') {
        *last = strtoull(end + 1, &end, 10);
    }

    return *end == '\0' && errno == 0 && *first <= *last ? 0 : -1;
}

static int
parse_slot(const char *s, int *slot)
{
    char *end;
    unsigned long n = strtoul(s, &end, 10);

    *slot = (int)n;

    return *s >= '0' && *s <= '9' && *end == '\0' && n < LB_SLOTS_MAX ? 0 : -1;
}

/* The same limits and rounding as size= of logbroker_spool. */
static int
parse_size(const char *s, uint64_t *size)
{
    char *end;
    unsigned shift = 0;
    static const char units[] = "kKmMgGtT";
    const char *unit;

    if (*s < '0' || *s > '9') {
        return -1;
    }

    errno = 0;
    *size = strtoull(s, &end, 10);

    unit = *end != '\0' ? strchr(units, *end) : NULL;
    if (unit != NULL) {
        shift = 10 * ((unsigned)(unit - units) / 2 + 1);
        end++;
    }

    if (*end != '\0' || errno != 0 || *size > (UINT64_C(1) << 40) >> shift) {
        return -1;
    }

    *size = ((*size << shift) + LB_PAGE - 1) / LB_PAGE * LB_PAGE;

    return *size >= 64 * 1024 ? 0 : -1;
}

static int
mistake(const char *option, const char *value, const char *wanted)
{
    fprintf(stderr, "logbroker-spool: \"%s %s\": %s\n", option, value, wanted);

    return 2;
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
    int c, yes = 0;
    const char *command;
    uint64_t size = 0;
    lb_tool_recover_t recover = {0};
    lb_tool_options_t o = {0, 0, 0, NULL, -1, 0, UINT64_MAX, 0, UINT64_MAX};
    static const struct option longopts[] = {
        {"json", no_argument, NULL, 'j'},
        {"yes", no_argument, NULL, 'y'},
        {"again", no_argument, NULL, 'a'},
        {"delivered", no_argument, NULL, 'd'},
        {"ring", required_argument, NULL, 'r'},
        {"stream", required_argument, NULL, 's'},
        {"seq", required_argument, NULL, 'q'},
        {"since", required_argument, NULL, 'S'},
        {"until", required_argument, NULL, 'U'},
        {"size", required_argument, NULL, 'b'},
        {"config", required_argument, NULL, 'c'},
        {"clickhouse", required_argument, NULL, OPTION_URL},
        {"table", required_argument, NULL, OPTION_TABLE},
        {"user", required_argument, NULL, OPTION_USER},
        {"password-file", required_argument, NULL, OPTION_PASSWORD},
        {"force", no_argument, NULL, 'f'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    static const char a_time[] =
        "a time is 2024-05-17, \"2024-05-17 10:00:00\" (UTC) or seconds";

    while ((c = getopt_long(argc, argv, "jyadfc:r:s:q:S:U:b:hV", longopts,
                            NULL)) != -1) {
        switch (c) {
        case 'j':
            o.json = 1;
            break;
        case 'y':
            yes = 1;
            break;
        case 'f':
            recover.force = 1;
            break;
        case 'c':
            recover.config = optarg;
            break;
        case OPTION_URL:
            recover.url = optarg;
            break;
        case OPTION_TABLE:
            recover.table = optarg;
            break;
        case OPTION_USER:
            recover.user = optarg;
            break;
        case OPTION_PASSWORD:
            recover.password_file = optarg;
            break;
        case 'a':
            o.again = 1;
            break;
        case 'd':
            o.delivered = 1;
            break;
        case 'r':
            if (parse_slot(optarg, &o.slot) != 0) {
                return mistake("--ring", optarg, "no slot of a ring, see stat");
            }
            break;
        case 's':
            o.stream = optarg;
            break;
        case 'q':
            if (parse_seq(optarg, &o.first_seq, &o.last_seq) != 0) {
                return mistake("--seq", optarg, "seqs are 17, 17-20 or 17-");
            }
            break;
        case 'S':
            if (parse_time(optarg, &o.since_us) != 0) {
                return mistake("--since", optarg, a_time);
            }
            break;
        case 'U':
            if (parse_time(optarg, &o.until_us) != 0) {
                return mistake("--until", optarg, a_time);
            }
            break;
        case 'b':
            if (parse_size(optarg, &size) != 0) {
                return mistake("--size", optarg,
                               "a size is between 64k and 1t, like 256m");
            }
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

    if (argc - optind != 2) {
        usage(stderr);
        return 2;
    }

    command = argv[optind];

    if ((o.first_seq != 0 || o.last_seq != UINT64_MAX) && o.slot < 0) {
        return mistake("--seq", "...", "seqs are of one ring: give --ring too");
    }

    if (strcmp(command, "replay") == 0) {
        if (o.slot < 0 && o.since_us == 0 && o.until_us == UINT64_MAX) {
            return mistake("replay", argv[optind + 1],
                           "which events? give --ring and --seq, --since or "
                           "--until");
        }
        return lb_spool_replay(&o, argv[optind + 1]);
    }

    if (strcmp(command, "move") == 0) {
        return lb_spool_tool_move(argv[optind + 1]);
    }

    if (strcmp(command, "adopt") == 0) {
        return lb_spool_tool_adopt(argv[optind + 1], yes, o.json);
    }

    if (strcmp(command, "recover") == 0) {
        if (recover.config == NULL && recover.url == NULL) {
            return mistake("recover", argv[optind + 1],
                           "give --config, the flusher's settings, or "
                           "--clickhouse");
        }
        recover.yes = yes;
        recover.json = o.json;
        return lb_spool_tool_recover(&recover, argv[optind + 1]);
    }

    if (strcmp(command, "resize") == 0) {
        if (size == 0) {
            return mistake("resize", argv[optind + 1], "give --size");
        }
        return lb_spool_resize(&o, size, argv[optind + 1]);
    }

    if (strcmp(command, "stat") != 0 && strcmp(command, "verify") != 0 &&
        strcmp(command, "cat") != 0) {
        usage(stderr);
        return 2;
    }

    return run(command, &o, argv[optind + 1]);
}
