/*
 * What the scanners of JSON and of text share: the block they look at, the
 * copying of what stays as it is, the place of an error.
 */

#ifndef _LB_WINDOW_H_INCLUDED_
#define _LB_WINDOW_H_INCLUDED_

#include "event/scan.h"
#include "event/utf8.h"

static const char lb_words_utf8[] = "this is not valid UTF-8";
static const char lb_words_toobig[] =
    "the event is larger than the limit for one event";

typedef struct {
    const uint8_t *in;
    const uint8_t *end;
} lb_input_t;

/* The last block looked at. */
typedef struct {
    size_t base; /* its offset in the body */
    uint64_t mask;
    uint64_t next; /* the mask of the block behind it */
} lb_window_t;

/* No offset is in the block of this base, or in the one behind it. */
static const lb_window_t lb_window_none = {(size_t)0 - 2 * LB_BLOCK, 0, 0};

/* memcpy of n bytes; short ones by whole registers where both sides have the
 * room (what is written too much is overwritten by what comes next). */
LB_INLINE void
lb_window_copy(uint8_t *to, const uint8_t *to_end, const uint8_t *from,
               const uint8_t *from_end, size_t n)
{
    if (n <= 32 && to_end - to >= 32 && from_end - from >= 32) {
        memcpy(to, from, 16);
        memcpy(to + 16, from + 16, 16);
    } else {
        memcpy(to, from, n);
    }
}

/* Puts [run, stop) out and makes run = next. */
#define LB_PUT_RUN(stop, next)                                                 \
    do {                                                                       \
        size_t run_len_ = (size_t)((stop)-run);                                \
        if (lb_unlikely((size_t)(out_end - o) < run_len_)) {                   \
            return LB_SCAN_NOSPACE;                                            \
        }                                                                      \
        lb_window_copy(o, out_end, run, src.end, run_len_);                    \
        o += run_len_;                                                         \
        run = (next);                                                          \
    } while (0)

/* Sets all of res but events, and returns status. */
lb_scan_status_t lb_scan_failed(lb_scan_status_t status, const uint8_t *in,
                                const uint8_t *at, const uint8_t *event,
                                const char *error, lb_scan_result_t *res);

#endif /* _LB_WINDOW_H_INCLUDED_ */
