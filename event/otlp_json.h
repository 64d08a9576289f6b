/*
 * OTLP's logs in JSON, as protobuf's mapping has it, with ids in hexadecimal: see
 * otlp.h.
 */

#ifndef _LB_OTLP_JSON_H_INCLUDED_
#define _LB_OTLP_JSON_H_INCLUDED_

#include "event/format.h"
#include "event/otlp.h"

extern const lb_format_t lb_format_otlp_json;

#endif /* _LB_OTLP_JSON_H_INCLUDED_ */
