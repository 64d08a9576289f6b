/*
 * Elasticsearch's _bulk: pairs of lines, an action and a document.
 *
 *   {"create":{"_index":"app-2026.11.26","_id":"7"}}
 *   {"@timestamp":"2026-11-26T10:00:00Z","message":"hi"}
 *
 * The index is the stream, without a date at its end; one that an action does
 * not name is that of the request's path (parameter "index"), or else the
 * location's stream.  Where it changes, a context line says so.  The _id is
 * kept as a member of the event.  Only create and index are taken; a document
 * that is none, an update, a delete, and an action that is none get an item
 * with a status of 400; what they hold is kept, see reject.h.
 *
 * The reply is the whole answer: "errors" before "items" and no white space
 * but where "errors" is true, since some clients search for
 * "errors":false,"items":[ as it stands.  With the parameter "filter_path" an
 * item has its status alone.
 *
 * After the reference of Elasticsearch 8, "Bulk API".
 */

#ifndef _LB_BULK_H_INCLUDED_
#define _LB_BULK_H_INCLUDED_

#include "event/format.h"

extern const lb_format_t lb_format_bulk;

/* The name of an index without its date, "-2026.11.26", "-2026-11-26" or
 * "-2026.11", and a data stream's backing index without what is before and
 * behind its name (".ds-logs-app-default-2026.11.26-000001"). *len is set. */
const char *lb_bulk_stream(const char *index, size_t *len);

#endif /* _LB_BULK_H_INCLUDED_ */
