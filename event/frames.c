/* Many requests in one body: see frames.h. */

#include "event/frames.h"

#include <string.h>

#include "event/wire.h"

#define HEADER 12

static void
put_little(uint8_t *p, size_t value, unsigned n)
{
    for (; n > 0; n--, value >>= 8) {
        *p++ = (uint8_t)value;
    }
}

static int
address(size_t len)
{
    return len == 0 || len == 4 || len == 16;
}

static size_t
words(const lb_frame_t *frame)
{
    return frame->parts[LB_FRAME_PATH].len + frame->parts[LB_FRAME_TYPE].len +
           frame->parts[LB_FRAME_STREAMS].len;
}

size_t
lb_frame_size(const lb_frame_t *frame)
{
    const lb_frame_part_t *parts = frame->parts;

    /* the words one by one first: their sum may be anything */
    if (!address(parts[LB_FRAME_CLIENT].len) ||
        parts[LB_FRAME_PATH].len > LB_FRAME_WORDS_MAX ||
        parts[LB_FRAME_TYPE].len > LB_FRAME_WORDS_MAX ||
        parts[LB_FRAME_STREAMS].len > LB_FRAME_WORDS_MAX ||
        words(frame) > LB_FRAME_WORDS_MAX ||
        parts[LB_FRAME_BODY].len > UINT32_MAX) {
        return 0;
    }

    return HEADER + parts[LB_FRAME_CLIENT].len + words(frame) +
           parts[LB_FRAME_BODY].len;
}

uint8_t *
lb_frame_put(uint8_t *p, const lb_frame_t *frame)
{
    const lb_frame_part_t *parts = frame->parts;

    put_little(p, parts[LB_FRAME_BODY].len, 4);
    put_little(p + 4, parts[LB_FRAME_PATH].len, 2);
    put_little(p + 6, parts[LB_FRAME_TYPE].len, 2);
    put_little(p + 8, parts[LB_FRAME_STREAMS].len, 2);
    put_little(p + 10, parts[LB_FRAME_CLIENT].len, 2);
    p += HEADER;

    for (unsigned i = 0; i < LB_FRAME_PARTS; i++) {
        if (parts[i].len > 0) {
            memcpy(p, parts[i].data, parts[i].len);
            p += parts[i].len;
        }
    }

    return p;
}

int
lb_frames_next(const uint8_t **p, const uint8_t *data, size_t len,
               lb_frame_t *frame)
{
    size_t left;
    const uint8_t *at = *p;
    lb_frame_part_t *parts = frame->parts;

    if (at == NULL) {
        if (len < LB_FRAMES_MAGIC_LEN ||
            memcmp(data, LB_FRAMES_MAGIC, LB_FRAMES_MAGIC_LEN) != 0) {
            return -1;
        }
        at = data + LB_FRAMES_MAGIC_LEN;
    }

    left = len - (size_t)(at - data);

    if (left == 0) {
        return 0;
    }
    if (left < HEADER) {
        return -1;
    }

    parts[LB_FRAME_BODY].len = (size_t)lb_wire_little(at, 4);
    parts[LB_FRAME_PATH].len = (size_t)lb_wire_little(at + 4, 2);
    parts[LB_FRAME_TYPE].len = (size_t)lb_wire_little(at + 6, 2);
    parts[LB_FRAME_STREAMS].len = (size_t)lb_wire_little(at + 8, 2);
    parts[LB_FRAME_CLIENT].len = (size_t)lb_wire_little(at + 10, 2);

    if (lb_frame_size(frame) == 0 || lb_frame_size(frame) > left) {
        return -1;
    }

    at += HEADER;

    for (unsigned i = 0; i < LB_FRAME_PARTS; i++) {
        parts[i].data = at;
        at += parts[i].len;
    }

    *p = at;

    return 1;
}
