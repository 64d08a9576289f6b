/*
 * The command line of logbroker-spool: its options.
 */

#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "output.h"
#include "spool/lb_format.h"

/* options without a letter */
enum {
    OPTION_URL = 256,
    OPTION_TABLE,
    OPTION_USER,
    OPTION_PASSWORD
};

const char lb_tool_options_help[] =
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
    "                        ClickHouse should have; resize: although\n"
    "                        idempotency keys are forgotten\n"
    "  -a, --again           dead replay: also what a replay that was cut\n"
    "                        short left behind\n"
    "  -h, --help\n"
    "  -V, --version\n";

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

int
lb_tool_mistake(const char *option, const char *value, const char *wanted)
{
    lb_tool_say("\"%s %s\": %s", option, value, wanted);

    return 2;
}

static lb_tool_next_t
wrong(const char *option, const char *value, const char *wanted)
{
    (void)lb_tool_mistake(option, value, wanted);

    return LB_TOOL_WRONG;
}

lb_tool_next_t
lb_tool_options(int argc, char **argv, lb_tool_options_t *o, char ***words,
                int *nwords)
{
    int c;
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

    memset(o, 0, sizeof(*o));
    o->slot = -1;
    o->last_seq = UINT64_MAX;
    o->until_us = UINT64_MAX;

    while ((c = getopt_long(argc, argv, "jyadfc:r:s:q:S:U:b:hV", longopts,
                            NULL)) != -1) {
        switch (c) {
        case 'j':
            o->json = 1;
            break;
        case 'y':
            o->yes = 1;
            break;
        case 'f':
            o->force = 1;
            break;
        case 'c':
            o->config = optarg;
            break;
        case OPTION_URL:
            o->url = optarg;
            break;
        case OPTION_TABLE:
            o->table = optarg;
            break;
        case OPTION_USER:
            o->user = optarg;
            break;
        case OPTION_PASSWORD:
            o->password_file = optarg;
            break;
        case 'a':
            o->again = 1;
            break;
        case 'd':
            o->delivered = 1;
            break;
        case 'r':
            if (parse_slot(optarg, &o->slot) != 0) {
                return wrong("--ring", optarg, "no slot of a ring, see stat");
            }
            break;
        case 's':
            o->stream = optarg;
            break;
        case 'q':
            if (parse_seq(optarg, &o->first_seq, &o->last_seq) != 0) {
                return wrong("--seq", optarg, "seqs are 17, 17-20 or 17-");
            }
            break;
        case 'S':
            if (parse_time(optarg, &o->since_us) != 0) {
                return wrong("--since", optarg, a_time);
            }
            break;
        case 'U':
            if (parse_time(optarg, &o->until_us) != 0) {
                return wrong("--until", optarg, a_time);
            }
            break;
        case 'b':
            if (parse_size(optarg, &o->size) != 0) {
                return wrong("--size", optarg,
                             "a size is between 64k and 1t, like 256m");
            }
            break;
        case 'h':
            return LB_TOOL_HELP;
        case 'V':
            return LB_TOOL_VERSION;
        default:
            return LB_TOOL_USAGE;
        }
    }

    *words = argv + optind;
    *nwords = argc - optind;

    return LB_TOOL_RUN;
}
