/*
 * How fast the scanner and the lifter are on real log lines, on one core.
 *
 *   bench_scanner FILE    a file of log lines; each becomes one JSON event
 *                         {"time":"...","level":"info","message":"<line>"}
 *   bench_scanner FILE scan|lift ROUNDS
 *                         does this alone, by the way that is chosen here, and
 *                         prints events and bytes of a round: for counts.py
 *
 * Every figure is the best of several rounds over the same body: what the
 * code can do when nobody else takes the processor.  jansson, event by event,
 * stands beside it.
 */

#include "event/lift.h"
#include "event/json.h"
#include "event/text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 40

typedef struct {
    uint8_t *data;
    size_t len;
    size_t events;
} body_t;

static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

static void *
need(void *p)
{
    if (p == NULL) {
        fputs("bench_scanner: out of memory\n", stderr);
        exit(1);
    }
    return p;
}

static body_t
read_file(const char *name)
{
    body_t text = {NULL, 0, 0};
    FILE *f = fopen(name, "rb");
    size_t room = 1 << 16;
    size_t n;

    if (f == NULL) {
        perror(name);
        exit(1);
    }
    text.data = need(malloc(room));
    while ((n = fread(text.data + text.len, 1, room - text.len, f)) > 0) {
        text.len += n;
        if (text.len == room) {
            room *= 2;
            text.data = need(realloc(text.data, room));
        }
    }
    fclose(f);
    return text;
}

/* The lines as JSON events; style 0: compact, 1: with a space behind ':' and
 * ',' as many libraries write it, 2: a compact array,
 * 3: with an object and numbers, most of which are not well-known. */
static body_t
make_events(const body_t *text, int style)
{
    static const char *const open[] = {
        "{\"time\":\"2024-05-17T10:05:03.123456Z\",\"level\":\"info\",",
        "{\"time\": \"2024-05-17T10:05:03.123456Z\", \"level\": \"info\", ",
        "{\"time\":\"2024-05-17T10:05:03.123456Z\",\"level\":\"info\",",
        ("{\"ts\":1715940303.123456,\"level\":\"INFO\",\"http\":{\"status\":"
         "200,"
         "\"bytes\":4711,\"path\":[\"api\",\"v1\",17],\"tls\":true},\"n\":0."
         "25,"),
    };
    uint8_t *lines = need(malloc(lb_scan_text_out_max(text->len)));
    body_t body = {NULL, 0, 0};
    lb_scan_result_t res;
    const uint8_t *p, *end;

    if (lb_scan_text(text->data, text->len, lines,
                     lb_scan_text_out_max(text->len), 1 << 20,
                     &res) != LB_SCAN_OK) {
        fprintf(stderr, "bench_scanner: line %zu: %s\n", res.row, res.error);
        exit(1);
    }

    body.data = need(malloc(res.out_len + res.events * 128 + 2));
    body.events = res.events;
    if (style == 2) {
        body.data[body.len++] = '[';
    }
    for (p = lines, end = lines + res.out_len; p < end;) {
        const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = strlen(open[style]);

        memcpy(body.data + body.len, open[style], n);
        body.len += n;
        n = strlen("\"message\":");
        memcpy(body.data + body.len, p + 1, n);
        body.len += n;
        p += 1 + n;
        if (style == 1) {
            body.data[body.len++] = ' ';
        }
        n = (size_t)(nl - p);
        memcpy(body.data + body.len, p, n);
        body.len += n;
        p = nl + 1;
        body.data[body.len++] = style == 2 && p < end ? ',' : '\n';
    }
    if (style == 2) {
        body.data[body.len - 1] = ']';
    }

    free(lines);
    return body;
}

static void
report(const char *what, const char *how, const body_t *body, size_t events,
       double seconds)
{
    printf("%-24s %-8s %6.2f GB/s  %7.1f ns/event  (%.0f bytes/event)\n", what,
           how, (double)body->len / seconds / 1e9,
           seconds * 1e9 / (double)events, (double)body->len / (double)events);
}

/* The whole body cut into requests of about `request` bytes at line ends; how
 * many events it has. */
static size_t
scan_all(const char *what, lb_scan_fn fn, const body_t *body, size_t request,
         uint8_t *out, size_t cap)
{
    size_t at = 0;
    size_t events = 0;

    while (at < body->len) {
        size_t n = body->len - at;
        lb_scan_result_t res;

        if (request != 0 && n > request) {
            const uint8_t *nl =
                memchr(body->data + at + request, '\n', n - request);
            n = nl ? (size_t)(nl + 1 - body->data) - at : n;
        }
        if (fn(body->data + at, n, out, cap, 1 << 20, &res) != LB_SCAN_OK) {
            fprintf(stderr, "%s: row %zu: %s\n", what, res.row,
                    res.error ? res.error : "?");
            exit(1);
        }
        events += res.events;
        at += n;
    }
    return events;
}

static void
bench_scan(const char *what, unsigned way, int text, const body_t *body,
           size_t request)
{
    size_t cap = text ? lb_scan_text_out_max(body->len)
                      : lb_scan_json_out_max(body->len);
    lb_scan_fn fn = text ? lb_text_ways[way] : lb_json_ways[way];
    uint8_t *out = need(malloc(cap));
    double best = 1e9;
    size_t events = 0;

    memset(out, 0, cap);
    for (int round = 0; round < ROUNDS; round++) {
        double t = now();

        events = scan_all(what, fn, body, request, out, cap);
        t = now() - t;
        if (t < best) {
            best = t;
        }
    }

    report(what, lb_way_names[way], body, events, best);
    free(out);
}

static uint64_t
lift_all(unsigned way, const body_t *body)
{
    uint8_t *scratch = need(malloc(lb_lift_scratch(1 << 20)));
    const uint8_t *p = body->data;
    const uint8_t *end = p + body->len;
    uint64_t sum = 0;

    while (p < end) {
        const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
        lb_fields_t fields;

        lb_lift_by(way, p, (size_t)(nl - p), 1, LB_LIFT_ALL, scratch, &fields);
        sum += (uint64_t)fields.timestamp_ns + fields.message.len +
               fields.attributes.len;
        p = nl + 1;
    }
    free(scratch);
    return sum;
}

static void
bench_lift(const char *what, unsigned way, const body_t *body)
{
    double best = 1e9;
    uint64_t sum = 0;

    for (int round = 0; round < ROUNDS; round++) {
        double t = now();

        sum += lift_all(way, body);
        t = now() - t;
        if (t < best) {
            best = t;
        }
    }

    report(what, sum ? lb_way_names[way] : "?", body, body->events, best);
}

static void
bench_jansson(const body_t *body)
{
    double best = 1e9;

    for (int round = 0; round < 3; round++) {
        const uint8_t *p = body->data;
        const uint8_t *end = p + body->len;
        double t = now();

        while (p < end) {
            const uint8_t *nl = memchr(p, '\n', (size_t)(end - p));
            json_error_t error;
            json_t *json =
                json_loadb((const char *)p, (size_t)(nl - p), 0, &error);
            char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

            if (text == NULL) {
                fprintf(stderr, "jansson: %s\n", error.text);
                exit(1);
            }
            free(text);
            json_decref(json);
            p = nl + 1;
        }
        t = now() - t;
        if (t < best) {
            best = t;
        }
    }

    report("load and dump", "jansson", body, body->events, best);
}

/* The lines with Cyrillic letters for their lower-case ones. */
static body_t
make_wide(const body_t *text)
{
    body_t wide = {need(malloc(text->len * 2)), 0, 0};

    for (size_t i = 0; i < text->len; i++) {
        uint8_t c = text->data[i];

        if (c >= 'a' && c <= 'z') {
            wide.data[wide.len++] = 0xd0;
            wide.data[wide.len++] = (uint8_t)(0xb0 + (c - 'a') % 16);
        } else {
            wide.data[wide.len++] = c;
        }
    }
    return wide;
}

/* The same work again and again, for whoever counts instructions. */
static int
repeat(const body_t *text, int lift, unsigned long rounds)
{
    body_t body = make_events(text, 0);

    printf("%zu %zu\n", body.events, body.len);
    while (rounds-- > 0) {
        if (lift) {
            (void)lift_all(lb_ways() - 1, &body);
        } else {
            size_t cap = lb_scan_json_out_max(body.len);
            uint8_t *out = need(malloc(cap));

            (void)scan_all("scan", lb_json_ways[lb_ways() - 1], &body, 20000,
                           out, cap);
            free(out);
        }
    }
    free(body.data);
    return 0;
}

int
main(int argc, char **argv)
{
    body_t text, wide, compact, spaced, array, wide_events, nested;

    if (argc == 4 &&
        (strcmp(argv[2], "scan") == 0 || strcmp(argv[2], "lift") == 0)) {
        int rc;

        text = read_file(argv[1]);
        rc = repeat(&text, argv[2][0] == 'l', strtoul(argv[3], NULL, 10));
        free(text.data);
        return rc;
    }

    if (argc != 2) {
        fputs("usage: bench_scanner FILE [scan|lift ROUNDS]\n", stderr);
        return 2;
    }

    text = read_file(argv[1]);
    compact = make_events(&text, 0);
    spaced = make_events(&text, 1);
    array = make_events(&text, 2);
    nested = make_events(&text, 3);
    wide = make_wide(&text);
    wide_events = make_events(&wide, 0);

    for (unsigned i = 0; i < lb_ways(); i++) {
        bench_scan("NDJSON, whole", i, 0, &compact, 0);
        bench_scan("NDJSON, 20 KB a request", i, 0, &compact, 20000);
        bench_scan("NDJSON, one a request", i, 0, &compact, 1);
        bench_scan("spaces after : and ,", i, 0, &spaced, 20000);
        bench_scan("array", i, 0, &array, 0);
        bench_scan("nested, numbers", i, 0, &nested, 20000);
        bench_scan("Cyrillic", i, 0, &wide_events, 20000);
        bench_scan("text lines", i, 1, &text, 20000);
    }
    for (unsigned i = 0; i < lb_ways(); i++) {
        bench_lift("lift", i, &compact);
        bench_lift("lift, Cyrillic", i, &wide_events);
        bench_lift("lift, nested", i, &nested);
    }
    bench_jansson(&compact);

    free(text.data);
    free(wide.data);
    free(compact.data);
    free(spaced.data);
    free(array.data);
    free(nested.data);
    free(wide_events.data);
    return 0;
}
