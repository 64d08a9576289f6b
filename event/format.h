/*
 * Input formats: how a body becomes events.
 *
 * Whatever a client sends, a record holds lines.  A line is an event: a JSON
 * object as the scanner writes it (no insignificant white space, valid UTF-8,
 * one \n behind it); or, with 0x01 as its first byte, a context, for what holds
 * for the events behind it in the same payload (a resource, a scope; see
 * event/lines.h).  So events are counted by who writes them, never by their
 * \n.
 *
 * To add an input format
 *
 *  1. event/NAME.c defines a scan and the row `const lb_format_t
 *     lb_format_NAME`; event/NAME.h declares the row.  Nothing of nginx and
 *     nothing of the spool is known here: bytes in, lines out.
 *  2. The file goes into the list of event/CMakeLists.txt, which the module's
 *     build reads too.
 *  3. The row goes into the formats of a dialect
 *     (ngx_http_logbroker_dialect.c), which is a protocol: directive, formats,
 *     answers.  The recipe for one is in ngx_http_logbroker_dialect.h.
 *  4. A unit test and a fuzzer with a corpus, as the scanner has them
 *     (tests/unit/event.cmake, tests/fuzz/event.cmake).
 *
 * What a scan may rely on, and what it owes:
 *
 *  - It is a function of its arguments: the same body gives the same bytes.
 *    It is called again, from the begin, if out was too small; the reply is
 *    emptied before.
 *  - It runs in the event loop for bodies up to 128 KB: microseconds.  What
 *    takes longer (an inner decompression, more memory than the stack has) it
 *    leaves to a thread by LB_SCAN_LATER, unless options->patient.
 *  - An event that is bad refuses the body (LB_SCAN_BAD, with error, row,
 *    column and offset), or is left out and counted in res->rejected, where
 *    the protocol has words for that: the first one's error, row, column,
 *    offset and event_start are those of the result then.
 *  - Where it writes a context line it sets res->contexts: a ring that has one
 *    is not for releases that know none.
 *  - Lengths in the body are the client's: checked before they are believed,
 *    memory and nesting (LB_SCAN_DEPTH_MAX) bounded.
 */

#ifndef _LB_EVENT_FORMAT_H_INCLUDED_
#define _LB_EVENT_FORMAT_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "event/scan.h"

/* What a scan leaves for the answer to its request, sent when the events are
 * durable; its form is between a format and its dialect.  malloc()ed, zeroed
 * by its owner. */
typedef struct {
    uint8_t *data;
    size_t len;
    size_t size;
} lb_reply_t;

typedef struct {
    size_t max_event;   /* bytes of an event, without its \n */
    size_t max_body;    /* bytes of what the scan itself decompresses */
    int patient;        /* in a thread: what takes long is done */
    const char *params; /* see lb_param() */
    size_t params_len;
    lb_reply_t *reply; /* never NULL */
} lb_scan_options_t;

/* Reads nothing outside in[0..len), writes nothing outside out[0..cap); out
 * does not overlap in.  All of *res is set. */
typedef lb_scan_status_t (*lb_format_scan_fn)(const uint8_t *in, size_t len,
                                              uint8_t *out, size_t cap,
                                              const lb_scan_options_t *options,
                                              lb_scan_result_t *res);

/* Words for an error, in at most size bytes of text or static; returns them.
 * The cold path. */
typedef const char *(*lb_format_explain_fn)(const uint8_t *in, size_t len,
                                            const lb_scan_result_t *res,
                                            char *text, size_t size);

typedef struct {
    const char *name;

    /* Media types, lower case, without parameters; NULL behind the last.
     * "x/" stands for all that begin so, "" for every type and for none. */
    const char *const *types;

    lb_format_scan_fn scan;

    /* Bytes of out that most bodies need for 8 of theirs: tried first. */
    unsigned out_usual;

    /* Bytes of out that a body of len bytes needs; one that grows by more says
     * LB_SCAN_NOSPACE and may get more. */
    size_t (*out_max)(size_t len);

    lb_format_explain_fn explain; /* NULL: res->error says it all */

    int binary; /* no text, so that nothing in it is a byte order mark */
} lb_format_t;

/* A type that does not clearly name something else than log events, and none.
 * Clients have their own ideas of a media type for JSON. */
#define LB_TYPE_UNCLEAR "*"

/* JSON: objects and arrays of them; an object that wraps events becomes these
 * (event/unfold.h). */
extern const lb_format_t lb_format_json;

/* text/plain, one event a line. */
extern const lb_format_t lb_format_text;

/* text/plain as browsers send it: JSON if all of it is, or else text. */
extern const lb_format_t lb_format_plain;

/* JSON, whatever its type. */
extern const lb_format_t lb_format_any;

/* One JSON object of our own making, taken as it is. */
extern const lb_format_t lb_format_event;

/* The first of the formats, NULL behind the last, that takes a media type (in
 * any case, len 0: none given), or NULL. */
const lb_format_t *lb_format_find(const lb_format_t *const *formats,
                                  const char *type, size_t len);

/* What a body is scanned by: format->scan, behind the byte order mark that text
 * may begin with.  Rows and columns do not count it. */
lb_scan_status_t lb_format_scan(const lb_format_t *format, const uint8_t *in,
                                size_t len, uint8_t *out, size_t cap,
                                const lb_scan_options_t *options,
                                lb_scan_result_t *res);

/* The words for LB_SCAN_BAD, LB_SCAN_TOOBIG and a rejected event: static or in
 * text. */
const char *lb_format_explain(const lb_format_t *format, const uint8_t *in,
                              size_t len, const lb_scan_result_t *res,
                              char *text, size_t size);

/*
 * What the request says beside its body (in its path, its query, its headers),
 * as the dialect has named it: "name\0value\0name\0value\0...", one piece of
 * memory, so that it can be copied for a thread.  The value of the first one of
 * that name, zero-terminated, or NULL.
 */
const char *lb_param(const lb_scan_options_t *options, const char *name);

/* Appends to the reply: 0, or -1 without memory (LB_SCAN_NOMEM is what the
 * scan has to say then). */
int lb_reply_put(lb_reply_t *reply, const void *data, size_t len);
void lb_reply_free(lb_reply_t *reply);

#endif /* _LB_EVENT_FORMAT_H_INCLUDED_ */
