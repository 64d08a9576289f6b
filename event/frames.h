/*
 * Many requests to /log in one body, as an edge carries them to a broker.
 *
 *     "lbgroup1"
 *     each request: length of the body   4 bytes, little endian
 *                   of path, media type and streams, 2 bytes each
 *                   of the client's address   1 byte: 0, 4 or 16
 *                   0                         1 byte
 *                   address, path, media type, streams, body
 *
 * Whoever cannot read it refuses all of it; a change has another number.
 */

#ifndef _LB_FRAMES_H_INCLUDED_
#define _LB_FRAMES_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#define LB_FRAMES_MAGIC "lbgroup1"
#define LB_FRAMES_MAGIC_LEN 8

/* of path, media type and streams together, at most */
#define LB_FRAME_WORDS_MAX 4096

typedef struct {
    const uint8_t *data;
    size_t len;
} lb_frame_part_t;

/* In the order of the bytes. */
enum {
    LB_FRAME_CLIENT = 0, /* its address: 0, 4 or 16 bytes */
    LB_FRAME_PATH,
    LB_FRAME_TYPE,
    LB_FRAME_STREAMS, /* that its sender may write to; empty: all */
    LB_FRAME_BODY,
    LB_FRAME_PARTS
};

typedef struct {
    lb_frame_part_t parts[LB_FRAME_PARTS];
} lb_frame_t;

/* Bytes of the frame, or 0: it cannot be written. */
size_t lb_frame_size(const lb_frame_t *frame);

/* Writes the frame, lb_frame_size() bytes; returns what is behind it. */
uint8_t *lb_frame_put(uint8_t *p, const lb_frame_t *frame);

/*
 * The frames of a body one by one, in place.  *p is NULL at first, and belongs
 * to this function then.  1: *frame is one; 0: that was all; -1: this is no
 * such body, or not all of it.
 */
int lb_frames_next(const uint8_t **p, const uint8_t *data, size_t len,
                   lb_frame_t *frame);

#endif /* _LB_FRAMES_H_INCLUDED_ */
