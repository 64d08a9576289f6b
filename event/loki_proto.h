/*
 * Loki's push in protobuf, inside snappy's block format.  What becomes of it:
 * see loki_json.h.  Strings that are not UTF-8 are repaired.
 *
 *   PushRequest { 1 repeated Stream { 1 string labels, 2 repeated Entry } }
 *   Entry { 1 Timestamp { 1 int64 seconds, 2 int32 nanos }, 2 string line,
 *           3 repeated LabelPair { 1 string name, 2 string value } }
 *
 * After pkg/push/push.proto of Loki; unknown fields are passed over.
 */

#ifndef _LB_LOKI_PROTO_H_INCLUDED_
#define _LB_LOKI_PROTO_H_INCLUDED_

#include "event/format.h"

extern const lb_format_t lb_format_loki_proto;

#endif /* _LB_LOKI_PROTO_H_INCLUDED_ */
