/*
 * OTLP's logs: an ExportLogsServiceRequest becomes events.
 *
 * Resource and scope are for many records: they stand in a context line
 * (context.h) before the records of each ScopeLogs, unless it is the same as
 * before.  In "resource" are the attributes under their keys, then
 * "dropped_attributes_count" and "schema_url" if they say anything; in "scope"
 * first "name" and "version".
 *
 * The members of an event, in this order, those that say something:
 *
 *   timestamp        of time_unix_nano, or else of the observed time, as a date
 *                    with nanoseconds: a date is taken before any number that
 *                    an attribute may have, and however old it is
 *   level            severity_text, or else a word for severity_number
 *   severity_number
 *   message          the body: a string, or else the JSON of what it is
 *   trace_id         lower-case hexadecimal
 *   span_id
 *   flags
 *   event_name
 *   observed         nanoseconds since 1970
 *   dropped_attributes_count
 *   ...              the attributes, under their keys
 *
 * An attribute that has the name of a member that is there becomes
 * "attributes.NAME".  An id of zeros is none; one of another length than it
 * has to have is an attribute of the name "attributes.trace_id" or
 * "attributes.span_id".  Maps are objects, bytes base64, doubles that no number
 * of JSON can be "NaN", "Infinity" and "-Infinity"; a double without a fraction
 * is written with ".0".  Keys may occur twice, as the client sent them.
 *
 * What is not UTF-8 becomes U+FFFD.  A record that cannot be read, is nested
 * deeper than LB_SCAN_DEPTH_MAX or is larger than options->max_event is
 * rejected (reject.h) and its neighbours are taken.  Whatever stands between
 * records must be right, or the body is bad as a whole.
 */

#ifndef _LB_OTLP_H_INCLUDED_
#define _LB_OTLP_H_INCLUDED_

#include <stdint.h>

/* What is in the reply of a scan that had to replace anything. */
typedef struct {
    uint64_t replaced; /* U+FFFD written for bytes that are not UTF-8 */
} lb_otlp_reply_t;

#endif /* _LB_OTLP_H_INCLUDED_ */
