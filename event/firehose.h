/*
 * Amazon Data Firehose: its requests to an HTTP endpoint.
 *
 *   {"requestId":"ed4acda5-...","timestamp":1578090901599,
 *    "records":[{"data":"aGVsbG8="}]}
 *
 * A record is base64 of JSON objects, of lines of text, or of both; what begins
 * as gzip or zlib is decompressed, as much of all records as max_body allows,
 * and half of it of one.  An object that CloudWatch Logs has wrapped its events
 * in (a subscription) becomes these events, what they share stands in a context
 * line once; a message of one that is a JSON object becomes its members.
 * CloudWatch's control messages are dropped.
 *
 * The parameter "id" is the request's id as the header has it: another one in
 * the body is bad.  "attributes" is the header with the common attributes of
 * all records, which are members of each event.  "stream" is the origin of what
 * is rejected.
 *
 * A record that is no base64, or cannot be decompressed, is rejected, see
 * reject.h.  The reply is the id of the request, as the inside of a JSON string;
 * it is there also if no record brought anything.
 *
 * After Amazon's documentation, "HTTP endpoint delivery request and response
 * specifications", and "Log group-level subscription filters" of CloudWatch
 * Logs.
 */

#ifndef _LB_FIREHOSE_H_INCLUDED_
#define _LB_FIREHOSE_H_INCLUDED_

#include "event/format.h"

extern const lb_format_t lb_format_firehose;

#endif /* _LB_FIREHOSE_H_INCLUDED_ */
