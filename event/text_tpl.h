/*
 * The scanner's loop for text; text.c includes this file once per way, see
 * ways.h.
 */

#include "event/window_tpl.h"

LB_TARGET static lb_scan_status_t
LB_NAME(text)(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
              size_t max_event, lb_scan_result_t *res)
{
    static const char open[] = "{\"message\":\"";
    static const char close[] = "\"}\n";
    const lb_input_t src = {in, in + len};
    const uint8_t *p = in;
    const uint8_t *run;
    const uint8_t *line = in;
    uint8_t *o = out;
    uint8_t *const out_end = out + cap;
    uint8_t *begin;
    lb_window_t block;
    uint32_t events = 0;

    memset(res, 0, sizeof(*res));
    block = lb_window_none;

    for (;;) {
        while (p < src.end && is_line_end(p, src.end)) {
            p++;
        }
        if (p == src.end) {
            break;
        }

        line = p;
        begin = o;
        if (lb_unlikely((size_t)(out_end - o) < sizeof(open) - 1)) {
            return LB_SCAN_NOSPACE;
        }
        memcpy(o, open, sizeof(open) - 1);
        o += sizeof(open) - 1;
        run = p;

        for (;;) {
            size_t off = (size_t)(p - in);
            size_t k = off - block.base;
            uint64_t m;

            if (k >= LB_BLOCK) {
                if (p == src.end) {
                    break;
                }
                LB_NAME(advance)(in, len, off, &block);
                k = off - block.base;
            }

            m = block.mask >> k;
            if (m == 0) {
                p = in + block.base + LB_BLOCK;
                continue;
            }
            p += __builtin_ctzll(m);
            if (lb_unlikely(p >= src.end)) {
                p = src.end;
                break;
            }

            if (*p == '"' || *p == '\\') {
                /* The character itself is the first of the next run. */
                LB_PUT_RUN(p, p);
                if (lb_unlikely(o == out_end)) {
                    return LB_SCAN_NOSPACE;
                }
                *o++ = '\\';
                p++;

            } else if (is_line_end(p, src.end)) {
                break;

            } else if (lb_likely(*p < 0x20)) {
                LB_PUT_RUN(p, p + 1);
                k = put_control(o, (size_t)(out_end - o), *p);
                if (lb_unlikely(k == 0)) {
                    return LB_SCAN_NOSPACE;
                }
                o += k;
                p++;

            } else {
                res->events = events;
                return lb_scan_failed(LB_SCAN_BAD, in, p, line, lb_words_utf8,
                                      res);
            }
        }

        LB_PUT_RUN(p, p);
        if (lb_unlikely((size_t)(out_end - o) < sizeof(close) - 1)) {
            return LB_SCAN_NOSPACE;
        }
        memcpy(o, close, sizeof(close) - 1);
        o += sizeof(close) - 1;
        events++;

        if (lb_unlikely((size_t)(o - begin) - 1 > max_event)) {
            res->events = events - 1;
            return lb_scan_failed(LB_SCAN_TOOBIG, in, line, line,
                                  lb_words_toobig, res);
        }
    }

    res->out_len = (size_t)(o - out);
    res->events = events;
    return events ? LB_SCAN_OK : LB_SCAN_EMPTY;
}

#undef LB_WAY
