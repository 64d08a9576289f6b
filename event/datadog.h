/*
 * Datadog's log intake: events in JSON, as its agent, its libraries and its
 * browser SDK send them; and text, a line an event.
 *
 *   [{"message":"m","status":"warn","timestamp":1772600767123,
 *     "hostname":"h1","service":"pay","ddsource":"go","ddtags":"env:prod"}]
 *
 * "status" is the level and "timestamp" the time.  A message that is a JSON
 * object, or the text of one, becomes members of the event, before its own;
 * where it says itself when it was or how bad, what the envelope says of that
 * is called "datadog.timestamp" and "datadog.status".
 *
 * Tags become members, but for those that would have the name of another
 * member, or one that stands for a column (event/names.c), unless that is a
 * service or host behind the event's own: they stay in "ddtags", as do those
 * beyond the 64th, or the 128th name of the event.
 *
 * The parameters "ddsource", "ddtags", "env", "host", "hostname", "service" and
 * "version" hold for all events of the body, in a context line.
 *
 * An event without members is a probe and none.  What is no JSON object among
 * others is rejected, see reject.h, with the parameter "stream" as its origin.
 *
 * After Datadog's documentation, "Send logs", "Log HTTP API".
 */

#ifndef _LB_DATADOG_H_INCLUDED_
#define _LB_DATADOG_H_INCLUDED_

#include "event/format.h"

extern const lb_format_t lb_format_datadog;

/* text/plain: each line that is an object is such an event. */
extern const lb_format_t lb_format_datadog_text;

/* application/logplex-1, Heroku's drains: see logplex.h, also for "count". */
extern const lb_format_t lb_format_datadog_logplex;

#endif /* _LB_DATADOG_H_INCLUDED_ */
