/*
 * Fuzzer of many requests in one body.  What is read lies behind each other in
 * the body, without a gap, and put again it is the same bytes.
 */

#include "event/frames.h"

#include <string.h>

#include "tests/fuzz/check.h"

/* Of a frame that was read: its bytes, which begin at `at`. */
static size_t
check_frame(const lb_frame_t *frame, const uint8_t *at)
{
    const lb_frame_part_t *parts = frame->parts;
    size_t size = lb_frame_size(frame);
    size_t sum = 0;
    uint8_t *out;

    for (unsigned i = 0; i < LB_FRAME_PARTS; i++) {
        sum += parts[i].len;
    }
    CHECK(size > sum, "another size");

    for (unsigned i = 0; i < LB_FRAME_PARTS; i++) {
        CHECK(parts[i].data == at + (size - sum), "a part is elsewhere");
        sum -= parts[i].len;
    }

    CHECK(parts[LB_FRAME_CLIENT].len == 0 || parts[LB_FRAME_CLIENT].len == 4 ||
              parts[LB_FRAME_CLIENT].len == 16,
          "no address");
    CHECK(parts[LB_FRAME_PATH].len + parts[LB_FRAME_TYPE].len +
                  parts[LB_FRAME_STREAMS].len <=
              LB_FRAME_WORDS_MAX,
          "too many words");

    out = exactly(size);
    CHECK(lb_frame_put(out, frame) == out + size, "another end");
    CHECK(memcmp(out, at, size) == 0, "other bytes");
    free(out);

    return size;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *body = exactly(size);
    const uint8_t *p = NULL;
    size_t at = LB_FRAMES_MAGIC_LEN;
    lb_frame_t frame;
    int rc;

    if (size > 0) {
        memcpy(body, data, size);
    }

    while ((rc = lb_frames_next(&p, body, size, &frame)) > 0) {
        at += check_frame(&frame, body + at);
        CHECK(at <= size, "beyond the body");
    }

    CHECK(rc == 0 || rc == -1, "another result");
    CHECK(rc == -1 || at == size, "not all of it");
    CHECK(rc == -1 || memcmp(body, LB_FRAMES_MAGIC, LB_FRAMES_MAGIC_LEN) == 0,
          "another beginning");

    free(body);
    return 0;
}
