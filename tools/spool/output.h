/*
 * What logbroker-spool says: messages, JSON, progress.
 */

#ifndef _LB_TOOL_OUTPUT_H_INCLUDED_
#define _LB_TOOL_OUTPUT_H_INCLUDED_

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "spool/lb_ring.h"

/* A line of standard error. */
void lb_tool_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A string of bytes that others wrote: what is not UTF-8 becomes U+FFFD.  s
 * NULL: null. */
json_t *lb_tool_json_textn(const char *s, size_t len);
json_t *lb_tool_json_text(const char *s);

/* Ends the program with 1 and the reason if what was printed so far did not go
 * out: a full disk, for example. */
void lb_tool_printed(void);

/* Prints a value in one line of standard output and frees it. */
void lb_tool_json_print(json_t *value);

/* ... an object, open at its end: more members can follow, and the bracket. */
void lb_tool_json_open(json_t *object);

/* Room for lb_tool_time. */
#define LB_TOOL_TIME 32

/* A time as "2024-05-17 10:00:00 UTC", or in ISO 8601; returns buf. */
const char *lb_tool_time(uint64_t us, int iso, char buf[LB_TOOL_TIME]);

/* On a terminal: how far a long piece of work is.  total 0 ends the line. */
void lb_tool_progress(const char *what, uint64_t done, uint64_t total);

/* Where the spool was last used, and whether it is still there: an object, or
 * one line of standard output. */
json_t *lb_tool_tie_json(const lb_spool_t *spool);
void lb_tool_tie_print(const lb_spool_t *spool);

#endif /* _LB_TOOL_OUTPUT_H_INCLUDED_ */
