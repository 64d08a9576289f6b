/*
 * What a decoder makes of many bodies, for test_otlp_decoder.py, which holds it
 * against the official one.
 *
 *   otlp_lines proto|json MAX_EVENT    bodies on standard input, lines out
 *
 * A body is its length (4 bytes, little-endian) and its bytes; an answer is the
 * status, rejected, replaced and the length of the lines, 4 bytes each, and
 * the lines.
 *
 *   otlp_lines proto|json bench FILE   decodes the file for a second
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "event/otlp_json.h"
#include "event/otlp_proto.h"

static void
put32(uint64_t value)
{
    uint8_t b[4] = {(uint8_t)value, (uint8_t)(value >> 8),
                    (uint8_t)(value >> 16), (uint8_t)(value >> 24)};

    fwrite(b, 1, 4, stdout);
}

/* In memory of exactly the sizes, for the sanitizers. */
static lb_scan_status_t
scan(const lb_format_t *format, const uint8_t *body, size_t len,
     lb_scan_options_t *options, uint8_t **out, lb_scan_result_t *res)
{
    size_t cap, max = format->out_max(len);
    lb_scan_status_t rc;

    cap = len / 8 * format->out_usual + 64;

    for (;;) {
        *out = malloc(cap);
        if (*out == NULL) {
            abort();
        }
        options->reply->len = 0;
        rc = format->scan(body, len, *out, cap, options, res);
        if (rc != LB_SCAN_NOSPACE || cap == max) {
            return rc;
        }
        free(*out);
        cap = cap < max / 2 ? cap * 2 : max;
    }
}

static double
now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int
bench(const lb_format_t *format, const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t len, cap;
    uint64_t records = 0, bytes = 0;
    double start, took;
    lb_reply_t reply = {0};
    lb_scan_options_t options = {.max_event = 1 << 20, .reply = &reply};
    lb_scan_result_t res;
    uint8_t *out;

    static uint8_t body[64 << 20];

    if (f == NULL) {
        perror(path);
        return 1;
    }
    len = fread(body, 1, sizeof(body), f);
    fclose(f);

    cap = len / 8 * format->out_usual + 64;
    out = malloc(cap);
    if (out == NULL) {
        return 1;
    }

    start = now();
    do {
        reply.len = 0;
        if (format->scan(body, len, out, cap, &options, &res) != LB_SCAN_OK) {
            fprintf(stderr, "%s\n", res.error != NULL ? res.error : "no room");
            return 1;
        }
        records += res.events;
        bytes += len;
        took = now() - start;
    } while (took < 1);

    printf("%s: %.0f records/s, %.0f MB/s in, %zu bytes in, %zu out\n",
           format->name, (double)records / took, (double)bytes / took / 1e6,
           len, res.out_len);
    free(out);
    lb_reply_free(&reply);

    return 0;
}

int
main(int argc, char **argv)
{
    size_t len;
    uint8_t head[4], *body, *out;
    lb_reply_t reply = {0};
    lb_scan_options_t options = {.patient = 1, .reply = &reply};
    lb_otlp_reply_t note;
    lb_scan_result_t res;
    lb_scan_status_t rc;
    const lb_format_t *format;

    if (argc < 3) {
        return 2;
    }

    format = strcmp(argv[1], "proto") == 0 ? &lb_format_otlp_proto
                                           : &lb_format_otlp_json;

    if (strcmp(argv[2], "bench") == 0) {
        return argc < 4 ? 2 : bench(format, argv[3]);
    }

    options.max_event = strtoul(argv[2], NULL, 10);

    while (fread(head, 1, 4, stdin) == 4) {
        len = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 |
              (size_t)head[3] << 24;
        body = malloc(len > 0 ? len : 1);
        if (body == NULL || fread(body, 1, len, stdin) != len) {
            return 1;
        }

        rc = scan(format, body, len, &options, &out, &res);
        note.replaced = 0;
        if (rc == LB_SCAN_OK && reply.len == sizeof(note)) {
            memcpy(&note, reply.data, sizeof(note));
        }

        put32(rc);
        put32(res.rejected);
        put32(note.replaced);
        put32(rc == LB_SCAN_OK ? res.out_len : 0);
        if (rc == LB_SCAN_OK) {
            fwrite(out, 1, res.out_len, stdout);
        }
        free(out);
        free(body);
    }

    lb_reply_free(&reply);

    return 0;
}
