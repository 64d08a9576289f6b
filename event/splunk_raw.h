/*
 * Splunk's HTTP Event Collector, raw: lines of text, an event each; what is not
 * UTF-8 is replaced.  The parameters "host", "source", "sourcetype" and "index"
 * hold for all of them.  Bodies, replies: see splunk.h.
 */

#ifndef _LB_SPLUNK_RAW_H_INCLUDED_
#define _LB_SPLUNK_RAW_H_INCLUDED_

#include "event/format.h"

extern const lb_format_t lb_format_splunk_raw;

#endif /* _LB_SPLUNK_RAW_H_INCLUDED_ */
