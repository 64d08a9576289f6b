/*
 * A line of text that may be a JSON object: many programs log so, and what
 * carries their lines (Loki, Logplex) knows nothing of it.
 */

#ifndef _LB_EVENT_LINE_H_INCLUDED_
#define _LB_EVENT_LINE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "event/out.h"
#include "event/scan.h"

/* Writes the object's members as the scanner does, a comma behind each.
 * LB_SCAN_EMPTY: it is none, larger than max_event as one, or has no members;
 * nothing was written.  LB_SCAN_NOSPACE: out may be too small.  The line lies
 * outside of out, or behind all that its members need of it. */
lb_scan_status_t lb_line_members(lb_out_t *out, const uint8_t *line, size_t len,
                                 size_t max_event);

/* The same for the inside of a JSON string, whose escapes are taken off. */
lb_scan_status_t lb_line_members_quoted(lb_out_t *out, const uint8_t *text,
                                        size_t len, size_t max_event);

#endif /* _LB_EVENT_LINE_H_INCLUDED_ */
