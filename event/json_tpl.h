/*
 * The scanner's loops.  json.c includes this file once for each way of
 * looking at a block, after defining
 *
 *   LB_LOOP(name)   name with the suffix of this way
 *   LB_LOOP_TARGET  function attributes of this way
 *   LB_LOOP_INLINE  LB_INLINE with the same target
 *   LB_LOOP_BLOCK   lb_block_*
 *   LB_LOOP_UTF8    lb_utf8_block_*; not defined if there is none
 *   LB_LOOP_FLAT    lb_scan_flat; ditto
 *
 * What makes it fast: a block's mask is computed once, and only where a
 * string is; the end of a string is found by shifting the mask, without a
 * branch that depends on the data; and what stays as it is, white space
 * between compact lines included, is copied in long runs.
 */

/* The mask of the block that begins at offset base: a bit for each byte that
 * ends a run inside a string, or at which something that is not UTF-8 begins
 * (the first one in the block suffices: the scan cannot get past it), or that
 * lies behind the end. */
LB_LOOP_INLINE uint64_t
LB_LOOP(load)(const uint8_t *in, size_t len, size_t base)
{
    lb_block_t b;
    size_t left = len - base;

    if (lb_likely(left >= LB_BLOCK)) {
        b = LB_LOOP_BLOCK(in + base);

    } else if (len >= LB_BLOCK) {
        /* The last 64 bytes of the body, less those before base. */
        b = LB_LOOP_BLOCK(in + len - LB_BLOCK);
        b.special >>= LB_BLOCK - left;
        b.wide >>= LB_BLOCK - left;
        b.special |= ~UINT64_C(0) << left;

    } else {
        uint8_t small[LB_BLOCK] = {0};

        memcpy(small, in + base, left);
        b = LB_LOOP_BLOCK(small);
    }

    if (lb_unlikely(b.wide != 0)) {
#ifdef LB_LOOP_UTF8
        if (base >= 3 && left >= LB_BLOCK && LB_LOOP_UTF8(in + base) &&
            lb_scan_block_whole(in + base, left)) {
            return b.special;
        }
#endif
        b.special |= lb_scan_utf8_errors(in, len, base);
    }

    return b.special;
}

/* Makes block the one of offset off < len.  The one behind it is looked at in
 * advance: when the end of a string in the next block surprises the processor,
 * at least its mask is there. */
LB_LOOP_INLINE void
LB_LOOP(advance)(const uint8_t *in, size_t len, size_t off,
                 lb_scan_block_t *block)
{
    size_t base = off & ~(size_t)(LB_BLOCK - 1);

    block->mask = block->base + LB_BLOCK == base ? block->next
                                                 : LB_LOOP(load)(in, len, base);
    block->base = base;
    if (lb_likely(len - base > LB_BLOCK)) {
        block->next = LB_LOOP(load)(in, len, base + LB_BLOCK);
    }
}

/*
 * From p, inside a string, to the closing quote.  On failure returns NULL and
 * *at, *error say where and what.
 */
LB_LOOP_INLINE const uint8_t *
LB_LOOP(string)(const uint8_t *p, const lb_scan_input_t *src,
                lb_scan_block_t *block, const uint8_t **at, const char **error)
{
    for (;;) {
        size_t off = (size_t)(p - src->in);
        size_t k = off - block->base;
        uint64_t m;

        if (k >= LB_BLOCK) {
            if (lb_unlikely(p >= src->end)) {
                *at = src->end;
                *error = lb_scan_words_cut_string;
                return NULL;
            }
            LB_LOOP(advance)(src->in, (size_t)(src->end - src->in), off, block);
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
            *error = lb_scan_words_cut_string;
            return NULL;
        }
        if (*p == '"') {
            return p;
        }
        if (lb_unlikely(*p != '\\')) {
            *at = p;
            *error = *p < 0x20 ? lb_scan_words_control : lb_scan_words_utf8;
            return NULL;
        }

        if (lb_likely(src->end - p >= 2) && lb_scan_escape[p[1]] == 1) {
            p += 2;
            continue;
        }
        k = lb_scan_long_escape(p, src->end, at, error);
        if (k == 0) {
            return NULL;
        }
        p += k;
    }
}

/* Puts [run, stop) out and makes run = next. */
#define LB_PUT_RUN(stop, next)                                                 \
    do {                                                                       \
        size_t run_len_ = (size_t)((stop)-run);                                \
        if (lb_unlikely((size_t)(out_end - o) < run_len_)) {                   \
            return LB_SCAN_NOSPACE;                                            \
        }                                                                      \
        lb_scan_copy(o, out_end, run, src.end, run_len_);                      \
        o += run_len_;                                                         \
        run = (next);                                                          \
    } while (0)

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
            LB_FAIL(src.end, lb_scan_words_cut);                               \
        }                                                                      \
        if (*p <= ' ' && lb_scan_is_space(*p)) {                               \
            const uint8_t *space_ = p;                                         \
            p = lb_scan_skip_space(p + 1, src.end);                            \
            LB_PUT_RUN(space_, p);                                             \
            if (lb_unlikely(p >= src.end)) {                                   \
                LB_FAIL(src.end, lb_scan_words_cut);                           \
            }                                                                  \
        }                                                                      \
    } while (0)

LB_LOOP_TARGET static lb_scan_status_t
LB_LOOP(lb_scan_json)(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
                      size_t max_event, lb_scan_result_t *res)
{
    const lb_scan_input_t src = {in, in + len};
    lb_scan_block_t block;
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
#ifdef LB_LOOP_FLAT
    const uint8_t *flat = in; /* from here on flat lines are worth a try */
    size_t flat_gap = LB_FLAT_MIN;
#endif
    uint32_t events = 0;

    memset(res, 0, sizeof(*res));

    block = lb_scan_no_block;

next:
    /* Between events, outside an array. */
    p = lb_scan_skip_space(p, src.end);
    if (p == src.end) {
        LB_PUT_RUN(stop, p);
        res->out_len = (size_t)(o - out);
        res->events = events;
        return events ? LB_SCAN_OK : LB_SCAN_EMPTY;
    }
    if (*p == '[') {
        p = lb_scan_skip_space(p + 1, src.end);
        if (p < src.end && *p == ']') {
            p++;
            goto next;
        }
        array = 1;
    }

item:
    event = p;
    if (lb_unlikely(p == src.end)) {
        LB_FAIL(p, lb_scan_words_cut_array);
    }
    if (lb_unlikely(*p != '{')) {
        LB_FAIL(p, lb_scan_words_item(in, src.end, p, array));
    }
    if (p != stop) {
        LB_PUT_RUN(stop, p);
    }
#ifdef LB_LOOP_FLAT
    if (!array && p >= flat && src.end - p >= LB_FLAT_MIN) {
        size_t n;

        LB_PUT_RUN(p, p);
        n = LB_LOOP_FLAT(p, (size_t)(src.end - p), o, (size_t)(out_end - o),
                         max_event, &events);
        o += n;
        p += n;
        run = stop = p;
        flat_gap = n < LB_FLAT_MIN ? flat_gap * 2 : LB_FLAT_MIN;
        flat = (size_t)(src.end - p) > flat_gap ? p + flat_gap : src.end;
        goto next;
    }
#endif
    begin = (size_t)(o - out) + (size_t)(p - run);

open_object:
    if (lb_unlikely(depth == LB_SCAN_DEPTH_MAX)) {
        LB_FAIL(p, lb_scan_words_depth);
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
        LB_FAIL(p, lb_scan_words_first_key);
    }

key:
    p = LB_LOOP(string)(p + 1, &src, &block, &at, &error);
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
        LB_FAIL(p, lb_scan_words_colon);
    }
    p++;
    LB_SPACE();

value:
    if (*p == '"') {
    string:
        p = LB_LOOP(string)(p + 1, &src, &block, &at, &error);
        if (lb_unlikely(p == NULL)) {
            goto bad;
        }
        p++;

    } else if (*p == '{') {
        goto open_object;

    } else if (*p == '[') {
        if (lb_unlikely(depth == LB_SCAN_DEPTH_MAX)) {
            LB_FAIL(p, lb_scan_words_depth);
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
                ? lb_scan_number(p, src.end, &at, &error)
                : lb_scan_literal(p, src.end, &at, &error);
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
            LB_FAIL(p, lb_scan_words_key);
        }
        goto key;
    }
    if (lb_unlikely(*p != (object ? '}' : ']'))) {
        LB_FAIL(p, object ? lb_scan_words_object_after
                          : lb_scan_words_array_after);
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
        return lb_scan_failed(LB_SCAN_TOOBIG, in, event, event,
                              lb_scan_words_toobig, res);
    }
    events++;
    if (p < src.end && *p == '\n') {
        p++;
        stop = p;
        if (stop - run >= LB_SCAN_RUN) {
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

    p = lb_scan_skip_space(p, src.end);
    event = p;
    if (lb_unlikely(p == src.end)) {
        LB_FAIL(p, lb_scan_words_cut_array);
    }
    if (*p == ',') {
        p = lb_scan_skip_space(p + 1, src.end);
        goto item;
    }
    if (lb_unlikely(*p != ']')) {
        LB_FAIL(p, lb_scan_words_array);
    }
    p++;
    array = 0;
    goto next;

bad:
    res->events = events;
    return lb_scan_failed(LB_SCAN_BAD, in, at, event, error, res);
}

LB_LOOP_TARGET static lb_scan_status_t
LB_LOOP(lb_scan_text)(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
                      size_t max_event, lb_scan_result_t *res)
{
    static const char open[] = "{\"message\":\"";
    static const char close[] = "\"}\n";
    const lb_scan_input_t src = {in, in + len};
    const uint8_t *p = in;
    const uint8_t *run;
    const uint8_t *line = in;
    uint8_t *o = out;
    uint8_t *const out_end = out + cap;
    uint8_t *begin;
    lb_scan_block_t block;
    uint32_t events = 0;

    memset(res, 0, sizeof(*res));
    block = lb_scan_no_block;

    for (;;) {
        while (p < src.end && lb_scan_is_line_end(p, src.end)) {
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
                LB_LOOP(advance)(in, len, off, &block);
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

            } else if (lb_scan_is_line_end(p, src.end)) {
                break;

            } else if (lb_likely(*p < 0x20)) {
                LB_PUT_RUN(p, p + 1);
                k = lb_scan_put_control(o, (size_t)(out_end - o), *p);
                if (lb_unlikely(k == 0)) {
                    return LB_SCAN_NOSPACE;
                }
                o += k;
                p++;

            } else {
                res->events = events;
                return lb_scan_failed(LB_SCAN_BAD, in, p, line,
                                      lb_scan_words_utf8, res);
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
                                  lb_scan_words_toobig, res);
        }
    }

    res->out_len = (size_t)(o - out);
    res->events = events;
    return events ? LB_SCAN_OK : LB_SCAN_EMPTY;
}

#undef LB_PUT_RUN
#undef LB_FAIL
#undef LB_SPACE
