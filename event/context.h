/*
 * Context lines: what holds for many events of a payload stands in it once.
 *
 * A context line (lines.h) is the byte 0x01, one JSON object as the scanner
 * writes it, and \n.  It applies to the events behind it, up to the next
 * context line, which replaces it wholly.  Its members, none of which has to be
 * there:
 *
 *   "stream"    string: the stream of the events, in place of the record's
 *   "resource"  object: who sent them (OTLP); flat, by attribute
 *   "scope"     object: what in it (OTLP); "name", "version" and attributes
 *   "fields"    object: members that each event has, unless it has one of that
 *               name itself (Loki's labels, HEC's envelope)
 *
 * Others are for later: a reader passes over them.
 */

#ifndef _LB_CONTEXT_H_INCLUDED_
#define _LB_CONTEXT_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "event/lift.h"
#include "event/lines.h"

/* The context in force, len 0 where there is nothing.  All strings live until
 * the next context of the payload.  All zero at first; one can serve many
 * payloads. */
typedef struct {
    lb_str_t stream;   /* without quotes */
    lb_str_t resource; /* JSON objects */
    lb_str_t scope;
    lb_str_t fields;

    /* What the lifter finds in resource, or else in fields, unescaped. */
    lb_str_t service;
    lb_str_t host;

    uint8_t *line; /* copy of the line, then room for the lifter */
    size_t len;
    size_t size;
} lb_context_t;

/* At the begin of a payload: none is in force. */
void lb_context_start(lb_context_t *context);

/* For each line or piece of one that is a context (line->context), in the
 * order of the payload.  0, or -1 without memory.  What is no context line as
 * above is one without members. */
int lb_context_line(lb_context_t *context, const lb_line_t *line);

/* Writes the event with those of the context's fields that it has not itself:
 * out has room for len + fields.len bytes.  Returns how many it wrote. */
size_t lb_context_event(const lb_context_t *context, const uint8_t *event,
                        size_t len, uint8_t *out);

void lb_context_free(lb_context_t *context);

/* Writes a context line with the parts that are there: stream a valid name,
 * the others objects as the scanner writes them.  The bytes written, or 0 if
 * out has no room. */
size_t lb_context_put(uint8_t *out, size_t cap, const lb_context_t *parts);

#endif /* _LB_CONTEXT_H_INCLUDED_ */
