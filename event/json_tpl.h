/*
 * The scanner's loop for JSON; json.c includes this file once per way, see
 * ways.h.
 *
 * What makes it fast: a block's mask is computed once, and only where a
 * string is; the end of a string is found by shifting the mask, without a
 * branch that depends on the data; and what stays as it is, white space
 * between compact lines included, is copied in long runs.
 */

#include "event/window_tpl.h"

/*
 * From p, inside a string, to the closing quote.  On failure returns NULL and
 * *at, *error say where and what.
 */
LB_HERE const uint8_t *
LB_NAME(string)(const uint8_t *p, const lb_input_t *src, lb_window_t *block,
                const uint8_t **at, const char **error)
{
    for (;;) {
        size_t off = (size_t)(p - src->in);
        size_t k = off - block->base;
        uint64_t m;

        if (k >= LB_BLOCK) {
            if (lb_unlikely(p >= src->end)) {
                *at = src->end;
                *error = lb_words_cut_string;
                return NULL;
            }
            LB_NAME(advance)(src->in, (size_t)(src->end - src->in), off, block);
            k = off - block->base;
        }

        m = block->mask >> k;
        if (m == 0) {
            p = src->in + block->base + LB_BLOCK;
            continue;
        }

        p += __builtin_ctzll(m);
        if (lb_unlikely(p >= src->end)) {
            *at = src->end;
            *error = lb_words_cut_string;
            return NULL;
        }
        if (*p == '"') {
            return p;
        }
        if (lb_unlikely(*p != '\\')) {
            *at = p;
            *error = *p < 0x20 ? words_control : lb_words_utf8;
            return NULL;
        }

        if (lb_likely(src->end - p >= 2) && lb_json_escape[p[1]] == 1) {
            p += 2;
            continue;
        }
        k = lb_json_long_escape(p, src->end, at, error);
        if (k == 0) {
            return NULL;
        }
        p += k;
    }
}

#define LB_FAIL(where, words)                                                  \
    do {                                                                       \
        at = (where);                                                          \
        error = (words);                                                       \
        goto bad;                                                              \
    } while (0)

/* Drops white space at p, inside an event; p < end afterwards. */
#define LB_SPACE()                                                             \
    do {                                                                       \
        if (lb_unlikely(p >= src.end)) {                                       \
            LB_FAIL(src.end, lb_words_cut);                                    \
        }                                                                      \
        if (*p <= ' ' && lb_json_is_space(*p)) {                               \
            const uint8_t *space_ = p;                                         \
            p = lb_json_skip_space(p + 1, src.end);                            \
            LB_PUT_RUN(space_, p);                                             \
            if (lb_unlikely(p >= src.end)) {                                   \
                LB_FAIL(src.end, lb_words_cut);                                \
            }                                                                  \
        }                                                                      \
    } while (0)

LB_TARGET static lb_scan_status_t
LB_NAME(json)(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
              size_t max_event, lb_scan_result_t *res)
{
    const lb_input_t src = {in, in + len};
    lb_window_t block;
    const uint8_t *p = in;
    const uint8_t *run = in;  /* what is kept from here on, is not out yet */
    const uint8_t *stop = in; /* between events: the end of that */
    const uint8_t *event = in;
    const uint8_t *at = in;
    const char *error = "";
    uint8_t *o = out;
    uint8_t *const out_end = out + cap;
    uint64_t nested[LB_SCAN_DEPTH_MAX / 64] = {0}; /* 1: in an object */
    unsigned depth = 0;
    int object = 1; /* the innermost thing open is an object, not an array */
    int array = 0;  /* in an array of events */
    size_t begin;   /* where the event begins in out */
#if LB_NAME(LB_JSON_FLAT)
    const uint8_t *flat = in; /* from here on flat lines are worth a try */
    size_t flat_gap = LB_JSON_FLAT_MIN;
#endif
    uint32_t events = 0;

    memset(res, 0, sizeof(*res));

    block = lb_window_none;

next:
    /* Between events, outside an array. */
    p = lb_json_skip_space(p, src.end);
    if (p == src.end) {
        LB_PUT_RUN(stop, p);
        res->out_len = (size_t)(o - out);
        res->events = events;
        return events ? LB_SCAN_OK : LB_SCAN_EMPTY;
    }
    if (*p == '[') {
        p = lb_json_skip_space(p + 1, src.end);
        if (p < src.end && *p == ']') {
            p++;
            goto next;
        }
        array = 1;
    }

item:
    event = p;
    if (lb_unlikely(p == src.end)) {
        LB_FAIL(p, words_cut_array);
    }
    if (lb_unlikely(*p != '{')) {
        LB_FAIL(p, words_item(p, array));
    }
    if (p != stop) {
        LB_PUT_RUN(stop, p);
    }
#if LB_NAME(LB_JSON_FLAT)
    if (!array && p >= flat && src.end - p >= LB_JSON_FLAT_MIN) {
        size_t n;

        LB_PUT_RUN(p, p);
        n = lb_json_flat(p, (size_t)(src.end - p), o, (size_t)(out_end - o),
                         max_event, &events);
        o += n;
        p += n;
        run = stop = p;
        flat_gap = n < LB_JSON_FLAT_MIN ? flat_gap * 2 : LB_JSON_FLAT_MIN;
        flat = (size_t)(src.end - p) > flat_gap ? p + flat_gap : src.end;
        goto next;
    }
#endif
    begin = (size_t)(o - out) + (size_t)(p - run);

open_object:
    if (lb_unlikely(depth == LB_SCAN_DEPTH_MAX)) {
        LB_FAIL(p, words_depth);
    }
    nested[depth / 64] |= UINT64_C(1) << (depth % 64);
    depth++;
    object = 1;
    p++;
    LB_SPACE();
    if (*p == '}') {
        goto close;
    }
    if (lb_unlikely(*p != '"')) {
        LB_FAIL(p, words_first_key);
    }

key:
    p = LB_NAME(string)(p + 1, &src, &block, &at, &error);
    if (lb_unlikely(p == NULL)) {
        goto bad;
    }
    p++;
    if (lb_likely(src.end - p >= 2) && p[0] == ':' && p[1] == '"') {
        p++;
        goto string;
    }
    LB_SPACE();
    if (lb_unlikely(*p != ':')) {
        LB_FAIL(p, words_colon);
    }
    p++;
    LB_SPACE();

value:
    if (*p == '"') {
    string:
        p = LB_NAME(string)(p + 1, &src, &block, &at, &error);
        if (lb_unlikely(p == NULL)) {
            goto bad;
        }
        p++;

    } else if (*p == '{') {
        goto open_object;

    } else if (*p == '[') {
        if (lb_unlikely(depth == LB_SCAN_DEPTH_MAX)) {
            LB_FAIL(p, words_depth);
        }
        nested[depth / 64] &= ~(UINT64_C(1) << (depth % 64));
        depth++;
        object = 0;
        p++;
        LB_SPACE();
        if (*p == ']') {
            goto close;
        }
        goto value;

    } else {
        p = *p == '-' || (uint8_t)(*p - '0') <= 9
                ? lb_json_number(p, src.end, &at, &error)
                : lb_json_literal(p, src.end, &at, &error);
        if (lb_unlikely(p == NULL)) {
            goto bad;
        }
    }

after:
    LB_SPACE();
    if (*p == ',') {
        p++;
        LB_SPACE();
        if (!object) {
            goto value;
        }
        if (lb_unlikely(*p != '"')) {
            LB_FAIL(p, words_key);
        }
        goto key;
    }
    if (lb_unlikely(*p != (object ? '}' : ']'))) {
        LB_FAIL(p, object ? words_object_after : words_array_after);
    }

close:
    p++;
    depth--;
    if (depth > 0) {
        object = (nested[(depth - 1) / 64] >> ((depth - 1) % 64)) & 1;
        goto after;
    }

    /* The event is complete.  Its \n is the client's own if it stands right
     * here: compact NDJSON is one run. */
    if (lb_unlikely((size_t)(o - out) + (size_t)(p - run) - begin >
                    max_event)) {
        res->events = events;
        return lb_scan_failed(LB_SCAN_TOOBIG, in, event, event, lb_words_toobig,
                              res);
    }
    events++;
    if (p < src.end && *p == '\n') {
        p++;
        stop = p;
        if (stop - run >= RUN_MAX) {
            LB_PUT_RUN(stop, p);
        }
    } else {
        LB_PUT_RUN(p, p);
        if (lb_unlikely(o == out_end)) {
            return LB_SCAN_NOSPACE;
        }
        *o++ = '\n';
        stop = p;
    }

    if (lb_likely(!array)) {
        if (lb_likely(p < src.end) && *p == '{') {
            goto item;
        }
        goto next;
    }

    p = lb_json_skip_space(p, src.end);
    event = p;
    if (lb_unlikely(p == src.end)) {
        LB_FAIL(p, words_cut_array);
    }
    if (*p == ',') {
        p = lb_json_skip_space(p + 1, src.end);
        goto item;
    }
    if (lb_unlikely(*p != ']')) {
        LB_FAIL(p, words_array);
    }
    p++;
    array = 0;
    goto next;

bad:
    res->events = events;
    return lb_scan_failed(LB_SCAN_BAD, in, at, event, error, res);
}

#undef LB_FAIL
#undef LB_SPACE
#undef LB_WAY
