/*
 * Text, one event a line: see text.h.
 */

#include "event/text.h"
#include "event/window.h"

/* A \n, or the \r before it or at the end of the body. */
LB_INLINE int
is_line_end(const uint8_t *p, const uint8_t *end)
{
    return *p == '\n' || (*p == '\r' && (p + 1 == end || p[1] == '\n'));
}

/* A control character as JSON escapes it; 0 if there is no room. */
static size_t
put_control(uint8_t *to, size_t room, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    static const char names[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r',
    };

    if (names[c]) {
        if (room < 2) {
            return 0;
        }
        to[0] = '\\';
        to[1] = (uint8_t)names[c];
        return 2;
    }

    if (room < 6) {
        return 0;
    }
    memcpy(to, "\\u00", 4);
    to[4] = (uint8_t)hex[c >> 4];
    to[5] = (uint8_t)hex[c & 15];
    return 6;
}

#define LB_WAY plain
#include "event/text_tpl.h"
#if LB_WAYS_X86
#define LB_WAY sse2
#include "event/text_tpl.h"
#define LB_WAY avx2
#include "event/text_tpl.h"
#elif LB_WAYS_NEON
#define LB_WAY neon
#include "event/text_tpl.h"
#endif

const lb_scan_fn lb_text_ways[LB_WAYS] = LB_EACH_WAY(text);

lb_scan_status_t
lb_scan_text(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
             size_t max_event, lb_scan_result_t *res)
{
    return lb_text_ways[lb_way()](in, len, out, cap, max_event, res);
}

/* Worst: lines of one control character, 15 + 6 bytes for every two. */
size_t
lb_scan_text_out_max(size_t len)
{
    return len > (SIZE_MAX - 21) / 11 ? SIZE_MAX : len * 11 + 21;
}
