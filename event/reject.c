/*
 * Rejected events: see reject.h.
 */

#include "event/reject.h"
#include "event/repair.h"

#include <stdio.h>
#include <string.h>

/* Bytes as the inside of a JSON string; what is not UTF-8 becomes U+FFFD.
 * Returns how many were taken, at most max and no part of a character; *to is
 * moved. */
static size_t
put_text(uint8_t **to, const uint8_t *s, size_t len, size_t max)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t *o = *to;
    size_t i = 0;

    while (i < len) {
        int n = lb_repair_char(s + i, len - i);
        size_t taken = n > 0 ? (size_t)n : (size_t)-n;

        if (i + taken > max) {
            break;
        }
        if (n < 0) {
            memcpy(o, "\xef\xbf\xbd", 3);
            o += 3;
        } else if (s[i] == '"' || s[i] == '\\') {
            *o++ = '\\';
            *o++ = s[i];
        } else if (s[i] < 0x20) {
            memcpy(o, "\\u00", 4);
            o[4] = (uint8_t)hex[s[i] >> 4];
            o[5] = (uint8_t)hex[s[i] & 15];
            o += 6;
        } else {
            memcpy(o, s + i, taken);
            o += taken;
        }
        i += taken;
    }

    *to = o;
    return i;
}

size_t
lb_reject_put(uint8_t *out, size_t cap, const lb_reject_t *r)
{
    uint8_t *o = out;
    size_t room = LB_REJECT_ROOM(r->body_len) + strlen(r->reason) +
                  strlen(r->place) + r->origin_len;
    size_t taken;

    if (cap < room) {
        return 0;
    }

    o += sprintf((char *)o,
                 "{\"reason\":\"%s\",\"origin\":\"%.*s\",\"place\":\"%s\","
                 "\"body\":\"",
                 r->reason, (int)r->origin_len,
                 r->origin_len != 0 ? r->origin : "", r->place);
    taken = put_text(&o, r->body, r->body_len, LB_REJECT_BODY);
    *o++ = '"';
    if (taken < r->body_len) {
        o += sprintf((char *)o, ",\"body_bytes\":%zu", r->body_len);
    }
    memcpy(o, "}\n", 2);
    return (size_t)(o + 2 - out);
}
