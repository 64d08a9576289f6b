/*
 * gRPC's frames and words: see grpc.h.
 */

#include "event/grpc.h"

lb_grpc_status_t
lb_grpc_message(const uint8_t *in, size_t len, size_t max,
                lb_grpc_message_t *message)
{
    size_t said;

    message->data = NULL;
    message->len = 0;
    message->packed = 0;
    message->error = NULL;

    if (len < LB_GRPC_HEADER) {
        message->error = len == 0 ? "the call has no message"
                                  : "the frame of the message is cut short";
        return LB_GRPC_BAD;
    }
    if (in[0] > 1) {
        message->error = "the body is no frame of gRPC: its first byte is "
                         "neither 0 nor 1";
        return LB_GRPC_BAD;
    }

    said = (size_t)in[1] << 24 | (size_t)in[2] << 16 | (size_t)in[3] << 8 |
           (size_t)in[4];
    if (said > max) {
        message->error = "the message is too large";
        return LB_GRPC_TOO_LONG;
    }

    len -= LB_GRPC_HEADER;
    if (said != len) {
        message->error = said > len ? "the message is shorter than its frame "
                                      "says"
                                    : "more than one message in the call";
        return LB_GRPC_BAD;
    }

    message->data = in + LB_GRPC_HEADER;
    message->len = said;
    message->packed = in[0];
    return LB_GRPC_OK;
}

uint8_t *
lb_grpc_header(uint8_t *out, uint32_t len)
{
    *out++ = 0;
    *out++ = (uint8_t)(len >> 24);
    *out++ = (uint8_t)(len >> 16);
    *out++ = (uint8_t)(len >> 8);
    *out++ = (uint8_t)len;
    return out;
}

uint8_t *
lb_grpc_words(uint8_t *out, const uint8_t *text, size_t len)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; len > 0; text++, len--) {
        if (*text >= ' ' && *text <= '~' && *text != '%') {
            *out++ = *text;
            continue;
        }
        *out++ = '%';
        *out++ = (uint8_t)digits[*text >> 4];
        *out++ = (uint8_t)digits[*text & 15];
    }
    return out;
}
