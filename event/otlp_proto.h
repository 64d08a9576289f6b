/*
 * OTLP's logs in protobuf, the body of OTLP/HTTP and of a message of OTLP/gRPC: see
 * otlp.h.
 */

#ifndef _LB_OTLP_PROTO_H_INCLUDED_
#define _LB_OTLP_PROTO_H_INCLUDED_

#include "event/format.h"
#include "event/otlp.h"

extern const lb_format_t lb_format_otlp_proto;

/* The same by the media types of gRPC: its message. */
extern const lb_format_t lb_format_otlp_grpc;

#endif /* _LB_OTLP_PROTO_H_INCLUDED_ */
