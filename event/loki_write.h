/*
 * Loki's push, what both of its forms write.  Private to them.
 */

#ifndef _LB_LOKI_WRITE_H_INCLUDED_
#define _LB_LOKI_WRITE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "event/format.h"
#include "event/out.h"

/* A stream's labels as JSON, and how many. */
#define LB_LOKI_LABELS_MAX 8192
#define LB_LOKI_LABELS_COUNT 64

/* Bodies up to this size are read on the stack. */
#define LB_LOKI_STACK 16384

/* Bytes of out for len bytes: see lb_format_t. */
#define LB_LOKI_OUT_MORE ((size_t)1000 * (LB_LOKI_LABELS_MAX + 512))

typedef struct {
    const lb_scan_options_t *options;
    lb_scan_result_t *res;
    uint8_t *start; /* of out */
    lb_out_t out;

    /* of the stream: members of an object, a comma between two */
    uint8_t labels[LB_LOKI_LABELS_MAX];
    size_t labels_len;
    const char *labels_error; /* its entries are rejected */
    int changed;              /* the context line in force is another one */

    /* where the entry is, from 0 */
    size_t nstream, nentry;

    uint8_t *begin; /* of the event that is written */
    int64_t second; /* of date */
    char date[24];
} lb_loki_t;

void lb_loki_start(lb_loki_t *w, uint8_t *out, size_t cap,
                   const lb_scan_options_t *options, lb_scan_result_t *res);
lb_scan_status_t lb_loki_finish(lb_loki_t *w);

/* A stream begins: its labels as text, or as the members of a JSON object. */
void lb_loki_stream_text(lb_loki_t *w, const uint8_t *text, size_t len);
void lb_loki_stream_json(lb_loki_t *w, const uint8_t *members, size_t len);

/* An event: begun, written member by member with a comma behind each, ended.
 * What is not here goes to out.  Those that write return 0, or not 0 if there is
 * no room. */
int lb_loki_begin(lb_loki_t *w);
int lb_loki_time(lb_loki_t *w, int64_t second, uint32_t ns);
int lb_loki_quote(lb_loki_t *w, const uint8_t *s, size_t len);
/* The line, as bytes or as a JSON string with its quotes: its members, if it is
 * a JSON object, or else the message. */
int lb_loki_line(lb_loki_t *w, const uint8_t *line, size_t len);
int lb_loki_line_json(lb_loki_t *w, const uint8_t *string, size_t len);
lb_scan_status_t lb_loki_end(lb_loki_t *w, const uint8_t *entry, size_t len);

/* Instead of the event, from its begin. */
lb_scan_status_t lb_loki_reject(lb_loki_t *w, const uint8_t *entry, size_t len,
                                const char *reason);

#endif /* _LB_LOKI_WRITE_H_INCLUDED_ */
