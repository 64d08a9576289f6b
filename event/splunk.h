/*
 * Splunk's HTTP Event Collector: envelopes.
 *
 *   {"time":1764151200.5,"host":"web1","source":"app","event":{"a":1}}
 *
 * Envelopes follow each other with anything between them or nothing, or stand
 * in arrays.  An event that is an object becomes the event; a string, number,
 * boolean or array its message.  Of one that Docker's driver made, a line that
 * is an object is taken apart too.  "time" is the timestamp; the members of
 * "fields", and those of the envelope that are unknown, are members of the
 * event.
 *
 * "host", "source", "sourcetype" and "index" hold for the envelopes behind
 * theirs in the request too, until another one says otherwise: they stand in a
 * context line once.  The first ones may be parameters of those names.  The
 * index is the stream; one that is no name of a stream is a field.  Where an
 * event has a member of that name itself, the envelope's host goes before it,
 * and the others are called "hec.source", "hec.sourcetype" and "hec.index".
 *
 * An envelope that is bad is kept, see reject.h; a body without any JSON object
 * is bad as a whole.
 *
 * The reply is the status of the answer, a space, and the answer.  It is 200 if
 * anything was taken: a client that repeats what is answered otherwise would
 * bring the neighbours again.  Its code names the first envelope that was not
 * taken.
 *
 * After Splunk's documentation, "Format events for HTTP Event Collector".
 */

#ifndef _LB_SPLUNK_H_INCLUDED_
#define _LB_SPLUNK_H_INCLUDED_

#include "event/format.h"

extern const lb_format_t lb_format_splunk;

#endif /* _LB_SPLUNK_H_INCLUDED_ */
