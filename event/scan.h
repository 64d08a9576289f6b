/*
 * Scanning: the body of a request, validated and normalised in one pass.
 *
 * In: what a client posted.  Out: its events, one JSON object per line, no
 * insignificant white space, each line ended by one \n; otherwise the bytes
 * are the client's own (numbers, escapes, key order and duplicate keys are
 * kept as they are).
 *
 * No tree, no allocation, no recursion; knows neither nginx nor the spool.
 */

#ifndef _LB_SCAN_H_INCLUDED_
#define _LB_SCAN_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

typedef enum {
    LB_SCAN_OK = 0,
    LB_SCAN_NOSPACE, /* out is too small: call again with a larger one */
    LB_SCAN_EMPTY,   /* no event in the body */
    LB_SCAN_BAD,     /* malformed; error, row, column and offset are set */
    LB_SCAN_TOOBIG,  /* an event exceeds max_event; ditto */
    LB_SCAN_LATER,   /* of formats alone: only with options->patient */
    LB_SCAN_NOMEM,   /* ditto */
} lb_scan_status_t;

typedef struct {
    size_t out_len;     /* bytes written to out */
    uint32_t events;    /* events written to out */
    uint32_t rejected;  /* events left out; 0 but for formats that do so */
    int contexts;       /* out has context lines (lines.h) */
    uint64_t replaced;  /* U+FFFD written for bytes that are not UTF-8 */
    const char *error;  /* static words, for LB_SCAN_BAD and LB_SCAN_TOOBIG */
    size_t offset;      /* of the offending byte in the body */
    size_t event_start; /* offset of the event it is in */
    size_t row;         /* 1-based line of the body (by \n) */
    size_t column;      /* 1-based character in that line, UTF-8 counted */
} lb_scan_result_t;

/* A scanner.  out never overlaps in.  Reads nothing outside in[0..len), writes
 * nothing outside out[0..cap).  max_event limits the normalised event in
 * bytes, without its \n.  The *_out_max(len) bytes of a scanner always
 * suffice for out, but most bodies fit into len + 64: try that, then grow. */
typedef lb_scan_status_t (*lb_scan_fn)(const uint8_t *in, size_t len,
                                       uint8_t *out, size_t cap,
                                       size_t max_event, lb_scan_result_t *res);

#endif /* _LB_SCAN_H_INCLUDED_ */
