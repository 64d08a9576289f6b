/*
 * Unescaping by blocks; unescape.c includes this file once per way that has
 * registers, see ways.h.
 */

/* A block is copied, whole, behind every escape: to write too much is cheaper
 * than a branch on where the next escape is. */
LB_TARGET static uint8_t *
LB_NAME(unescape)(uint8_t *o, const uint8_t *p, const uint8_t *end,
                  const uint8_t *event, const uint8_t *event_end)
{
    while (p < end) {
        const uint8_t *const block = p;
        const uint8_t *stop = p + LB_BLOCK;
        size_t left = (size_t)(event_end - p);
        uint64_t m;

        if (lb_likely(left >= LB_BLOCK)) {
            m = LB_NAME(lb_quotes)(p).backslash;
        } else if (lb_likely(event_end - event >= (ptrdiff_t)LB_BLOCK)) {
            m = LB_NAME(lb_quotes)(event_end - LB_BLOCK).backslash >>
                (LB_BLOCK - left);
        } else {
            uint8_t small[LB_BLOCK] = {0};

            memcpy(small, p, left);
            m = LB_NAME(lb_quotes)(small).backslash;
        }
        if (end - p < (ptrdiff_t)LB_BLOCK) {
            m &= (UINT64_C(1) << (end - p)) - 1;
            stop = end;
        }

        copy_block(o, p, left);
        while (m != 0) {
            const uint8_t *escape = block + __builtin_ctzll(m);
            size_t taken;

            o += escape - p;
            p = escape;
            o = put_escape(o, &p, end);
            if (p >= stop) {
                break;
            }
            copy_block(o, p, (size_t)(event_end - p));
            taken = (size_t)(p - block);
            m = m >> taken << taken;
        }
        if (p < stop) {
            o += stop - p;
            p = stop;
        }
    }

    return o;
}

#undef LB_WAY
