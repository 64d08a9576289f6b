/*
 * Scanner: the body of a request, validated and normalised in one pass.
 *
 * In: what a client posted.  Out: its events, one JSON object per line, no
 * insignificant white space, each line ended by one \n; otherwise the bytes
 * are the client's own (numbers, escapes, key order and duplicate keys are
 * kept as they are).
 *
 * JSON mode accepts, strictly by RFC 8259 and UTF-8 (RFC 3629): objects, and
 * arrays of objects, one after another with any white space between them or
 * none.  Text mode makes {"message":"..."} of each line that is not empty; a
 * \r before the \n is not part of the line; the text must be UTF-8 (control
 * characters are escaped).
 *
 * No tree, no allocation, no recursion; knows neither nginx nor the spool.
 */

#ifndef _LB_SCANNER_H_INCLUDED_
#define _LB_SCANNER_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

/* Deepest nesting of an event; the event's own braces are level 1. */
#define LB_SCAN_DEPTH_MAX 128

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
    const char *error;  /* static words, for LB_SCAN_BAD and LB_SCAN_TOOBIG */
    size_t offset;      /* of the offending byte in the body */
    size_t event_start; /* offset of the event it is in */
    size_t row;         /* 1-based line of the body (by \n) */
    size_t column;      /* 1-based character in that line, UTF-8 counted */
} lb_scan_result_t;

/* out never overlaps in.  Reads nothing outside in[0..len), writes nothing
 * outside out[0..cap).  max_event limits the normalised event in bytes,
 * without its \n.  lb_scan_json_out_max(len) or lb_scan_text_out_max(len) bytes
 * of out always suffice, but most bodies fit into len + 64: try that, then
 * grow. */
lb_scan_status_t lb_scan_json(const uint8_t *in, size_t len, uint8_t *out,
                              size_t cap, size_t max_event,
                              lb_scan_result_t *res);
lb_scan_status_t lb_scan_text(const uint8_t *in, size_t len, uint8_t *out,
                              size_t cap, size_t max_event,
                              lb_scan_result_t *res);
size_t lb_scan_json_out_max(size_t len);
size_t lb_scan_text_out_max(size_t len);

/*
 * The cold path: words for an error a person can act on, from jansson where
 * it finds the same fault, else the scanner's own.  Writes at most size bytes
 * to text, zero-terminated, valid UTF-8, and returns text.
 */
const char *lb_scan_explain(const uint8_t *in, size_t len,
                            const lb_scan_result_t *res, char *text,
                            size_t size);

#endif /* _LB_SCANNER_H_INCLUDED_ */
