/*
 * gRPC over HTTP/2, as far as it is bytes: the frame around a message, and
 * words in a header.  Source: gRPC's "gRPC over HTTP2".
 */

#ifndef _LB_GRPC_H_INCLUDED_
#define _LB_GRPC_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

/* Bytes of a frame before its message: whether it is compressed, its length. */
#define LB_GRPC_HEADER 5

typedef enum {
    LB_GRPC_OK = 0,
    LB_GRPC_BAD,     /* not one whole message */
    LB_GRPC_TOO_LONG /* it says that it is longer than max */
} lb_grpc_status_t;

typedef struct {
    const uint8_t *data; /* within the body */
    size_t len;
    int packed; /* compressed, as the header of the request says */
    const char *error;
} lb_grpc_message_t;

/* The one message of a unary call, of at most max bytes, in the whole body of
 * the request. */
lb_grpc_status_t lb_grpc_message(const uint8_t *in, size_t len, size_t max,
                                 lb_grpc_message_t *message);

/* Writes the header of a frame whose message of len bytes, not compressed,
 * follows: returns where. */
uint8_t *lb_grpc_header(uint8_t *out, uint32_t len);

/* Any text as the value of "grpc-message": at most three times its bytes.
 * Returns where it ends. */
uint8_t *lb_grpc_words(uint8_t *out, const uint8_t *text, size_t len);

#endif /* _LB_GRPC_H_INCLUDED_ */
