/*
 * Fuzzer of gRPC's frames: the first byte is the limit, the rest a body.  What
 * is taken is made again of what was found in it, and any bytes as words come
 * back as they were.
 */

#include "event/grpc.h"

#include <string.h>

#include "tests/fuzz/check.h"

static void
check_frame(const uint8_t *body, size_t len, size_t max)
{
    lb_grpc_message_t message;
    lb_grpc_status_t rc = lb_grpc_message(body, len, max, &message);
    uint8_t header[LB_GRPC_HEADER];
    size_t said = 0;

    for (size_t i = 1; i < LB_GRPC_HEADER && i < len; i++) {
        said = said << 8 | body[i];
    }

    CHECK((rc == LB_GRPC_OK) == (message.error == NULL), "no words");
    CHECK((rc == LB_GRPC_OK) == (len >= LB_GRPC_HEADER && body[0] <= 1 &&
                                 said == len - LB_GRPC_HEADER && said <= max),
          "another opinion of the frame");
    CHECK((rc == LB_GRPC_TOO_LONG) ==
              (len >= LB_GRPC_HEADER && body[0] <= 1 && said > max),
          "another opinion of its length");
    if (rc != LB_GRPC_OK) {
        return;
    }

    CHECK(message.data == body + LB_GRPC_HEADER && message.len == said,
          "another message");
    CHECK(lb_grpc_header(header, (uint32_t)message.len) ==
              header + LB_GRPC_HEADER,
          "a header of another length");
    header[0] = (uint8_t)message.packed;
    CHECK(memcmp(header, body, LB_GRPC_HEADER) == 0, "another header");
}

static unsigned
digit(uint8_t c)
{
    return c <= '9' ? c - (unsigned)'0' : c - (unsigned)'A' + 10;
}

static void
check_words(const uint8_t *text, size_t len)
{
    uint8_t *out = exactly(3 * len);
    uint8_t *end = lb_grpc_words(out, text, len);

    for (uint8_t *p = out; p < end; p++, text++, len--) {
        uint8_t c = *p;

        CHECK(c >= ' ' && c <= '~' && len > 0, "words are no header");
        if (c == '%') {
            CHECK(end - p > 2, "a code is cut");
            c = (uint8_t)(digit(p[1]) << 4 | digit(p[2]));
            p += 2;
        }
        CHECK(c == *text, "other words");
    }
    CHECK(len == 0, "words are missing");
    free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *body;

    if (size == 0) {
        return 0;
    }
    body = exactly(size - 1);
    memcpy(body, data + 1, size - 1);
    check_frame(body, size - 1, data[0]);
    check_words(body, size - 1);
    free(body);
    return 0;
}
