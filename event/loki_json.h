/*
 * Loki's push in JSON.
 *
 *   {"streams":[{"stream":{"app":"x"},
 *                "values":[["1764151200000000000","line",{"trace_id":"7"}]]}]}
 *
 * A line is the message of an event, its structured metadata are members of it;
 * the labels of a stream stand in a context line once.  A label that has the
 * name of another member is called "labels.NAME".  The older form has "labels"
 * as text and "entries" of "ts" and "line".
 *
 * An entry that is bad is kept, see reject.h; what is no push at all is bad as
 * a whole.
 *
 * After Grafana's documentation, "Loki HTTP API".
 */

#ifndef _LB_LOKI_JSON_H_INCLUDED_
#define _LB_LOKI_JSON_H_INCLUDED_

#include "event/format.h"

extern const lb_format_t lb_format_loki_json;

#endif /* _LB_LOKI_JSON_H_INCLUDED_ */
