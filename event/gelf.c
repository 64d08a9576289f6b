/*
 * GELF over HTTP: see gelf.h.
 */

#include "event/gelf.h"
#include "event/door.h"
#include "event/inflate.h"

#include <stdlib.h>

/* The members that mean something, in the order in which they are written. */
enum {
    TIMESTAMP,
    LEVEL,
    HOST,
    SHORT,
    MESSAGE,
    FULL,
    VERSION,
    OWN
};

static const char *const names[OWN] = {
    "timestamp", "level",        "host",    "short_message",
    "message",   "full_message", "version",
};

static int
own(const uint8_t *key, size_t len)
{
    int i = 0;

    while (i < OWN &&
           (strlen(names[i]) != len || memcmp(names[i], key, len) != 0)) {
        i++;
    }
    return i;
}

/* Is there any text in it? */
static int
says(const lb_member_t *m)
{
    return m->value != NULL && *m->value != 'n' &&
           !(*m->value == '"' && lb_member_len(m) == 2);
}

/* Those of the members that have no meaning of their own. */
static int
put_others(lb_out_t *out, const uint8_t *p, const uint8_t *end,
           const lb_member_t *m)
{
    lb_member_t other;
    int bad = 0;

    while (p < end && !bad) {
        p = lb_member(p, end, &other);
        if (*other.key == '_' && other.key_len > 1) {
            bad = lb_put_member(out, &other,
                                own(other.key + 1, other.key_len - 1) == OWN);
        } else {
            int i = own(other.key, other.key_len);

            bad = (i == OWN || m[i].key != other.key) &&
                  lb_put_member(out, &other, 0);
        }
    }
    return bad;
}

static lb_scan_status_t
take(void *data, const uint8_t *line, size_t len)
{
    const uint8_t *p = line + 1, *const end = line + len - 1;
    lb_door_t *d = data;
    lb_member_t m[OWN] = {0}, member;
    int bad;

    d->objects++;
    while (p < end) {
        int i;

        p = lb_member(p, end, &member);
        i = *member.key == '_' ? OWN : own(member.key, member.key_len);
        if (i < OWN && m[i].value == NULL) {
            m[i] = member;
        }
    }

    if (!says(&m[SHORT]) && !says(&m[MESSAGE]) && !says(&m[FULL])) {
        return lb_door_reject_this(d, "a GELF message has a short_message");
    }

    bad = lb_door_begin(d);
    if (m[TIMESTAMP].value != NULL) {
        bad = bad || lb_put_time(&d->out, &m[TIMESTAMP]);
    }
    for (int i = LEVEL; i < VERSION && !bad; i++) {
        if (m[i].value != NULL) {
            bad = i == SHORT ? lb_put(&d->out, "message", m[i].value,
                                      lb_member_len(&m[i]))
                             : lb_put_member(&d->out, &m[i], 0);
        }
    }
    if (bad || put_others(&d->out, line + 1, end, m)) {
        return LB_SCAN_NOSPACE;
    }
    return lb_door_end(d);
}

static lb_scan_status_t
scan_gelf(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
          const lb_scan_options_t *options, lb_scan_result_t *res)
{
    uint8_t *inflated = NULL;
    lb_scan_status_t rc;
    lb_door_t d;

    lb_door_start(&d, out, cap, options, res);
    d.noun = "message";
    d.pieces.take = take;

    if (lb_inflate_maybe(in, len)) {
        if (!options->patient) {
            return LB_SCAN_LATER;
        }
        rc = lb_inflate(in, len, options->max_body, &inflated, &len);
        if (rc != LB_SCAN_OK) {
            res->error = rc == LB_SCAN_TOOBIG
                             ? "the decompressed body is too large"
                             : "the body is not valid gzip or zlib";
            return rc;
        }
        in = inflated;
    }

    rc = lb_door_objects(&d, in, len);
    free(inflated);
    return rc == LB_SCAN_OK ? lb_door_finish(&d, out) : rc;
}

/* All of it may be compressed. */
static size_t
gelf_out_max(size_t len)
{
    return len > SIZE_MAX / LB_INFLATE_RATIO
               ? SIZE_MAX
               : lb_door_out_max(len * LB_INFLATE_RATIO);
}

static const char *const all_types[] = {"", NULL};

const lb_format_t lb_format_gelf = {
    .name = "gelf",
    .types = all_types,
    .scan = scan_gelf,
    .out_usual = 10,
    .out_max = gelf_out_max,
};
