/*
 * Heroku's Logplex: syslog frames, each behind its length.
 *
 *   83 <40>1 2026-03-04T05:06:07+00:00 host app web.3 - State changed ...\n
 *
 * As RFC 6587 (3.4.1) and RFC 5424 have it, but for the structured data, which
 * Logplex leaves out: all behind the sixth field is the message, or the members
 * of the event, if it is a JSON object.
 *
 * A frame that is none is kept in the stream "rejected", and its neighbours
 * are taken.  The parameter "count" is the number of frames that there should
 * be (Logplex-Msg-Count); another number is LB_SCAN_BAD.  The parameter
 * "context", the object of a context line, holds for all events.
 */

#ifndef _LB_EVENT_LOGPLEX_H_INCLUDED_
#define _LB_EVENT_LOGPLEX_H_INCLUDED_

#include "event/format.h"

extern const lb_format_t lb_format_logplex;

#endif /* _LB_EVENT_LOGPLEX_H_INCLUDED_ */
