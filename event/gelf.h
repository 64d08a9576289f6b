/*
 * GELF, Graylog's extended log format, as it is sent over HTTP.
 *
 *   {"version":"1.1","host":"h1","short_message":"boom","timestamp":1.5,
 *    "level":3,"full_message":"boom\nstack","_app":"pay"}
 *
 * Messages follow each other with newlines, NULs or nothing between them, or
 * stand in arrays.  A body that is gzip or zlib is decompressed, as GELF's own
 * chunks may be.
 *
 * "short_message" is the message; "timestamp", in seconds, becomes a date; an
 * additional field loses the underscore of its name, unless it would be one of
 * GELF's own then.  The "version" of the format is left out.
 *
 * A message without a text is rejected, see reject.h; a body without any JSON
 * object is bad as a whole.  The parameter "stream" is the origin of what is
 * rejected.
 *
 * After Graylog's documentation, "GELF Payload Specification".
 */

#ifndef _LB_GELF_H_INCLUDED_
#define _LB_GELF_H_INCLUDED_

#include "event/format.h"

extern const lb_format_t lb_format_gelf;

#endif /* _LB_GELF_H_INCLUDED_ */
