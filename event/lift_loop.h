/*
 * The lifter's walk over the members of an event.  lift.c includes this file
 * once for each way of looking at a block; see scanner_loop.h for the macros.
 */

/* From p, inside a string, to the closing quote; NULL if there is none.
 * *escapes is set if there is a backslash before it. */
LB_LOOP_INLINE const uint8_t *
LB_LOOP(string)(const uint8_t *p, const lb_walk_t *walk, lb_lift_block_t *block,
                int *escapes)
{
    for (;;) {
        size_t off = (size_t)(p - walk->event);
        size_t k = off - block->base;
        uint64_t m;

        if (k >= LB_BLOCK) {
            size_t len = (size_t)(walk->end - walk->event);
            size_t left;

            if (lb_unlikely(p >= walk->end)) {
                return NULL;
            }
            block->base = off & ~(size_t)(LB_BLOCK - 1);
            left = len - block->base;
            if (lb_likely(left >= LB_BLOCK)) {
                block->mask = LB_LOOP_BLOCK(walk->event + block->base).special;
            } else if (len >= LB_BLOCK) {
                block->mask =
                    LB_LOOP_BLOCK(walk->event + len - LB_BLOCK).special >>
                        (LB_BLOCK - left) |
                    ~UINT64_C(0) << left;
            } else {
                uint8_t small[LB_BLOCK] = {0};

                memcpy(small, walk->event + block->base, left);
                block->mask = LB_LOOP_BLOCK(small).special;
            }
            k = off - block->base;
        }

        m = block->mask >> k;
        if (m == 0) {
            p = walk->event + block->base + LB_BLOCK;
            continue;
        }

        p += __builtin_ctzll(m);
        if (lb_unlikely(p >= walk->end)) {
            return NULL;
        }
        if (*p == '"') {
            return p;
        }
        if (*p == '\\') {
            *escapes = 1;
            if (lb_unlikely(walk->end - p < 2)) {
                return NULL;
            }
            p++;
        }
        p++;
    }
}

/* Notes the well-known members of the event.  0 if it is not a JSON object as
 * the scanner writes it. */
LB_LOOP_TARGET static int
LB_LOOP(walk)(lb_walk_t *walk)
{
    const uint8_t *p = walk->event;
    const uint8_t *const end = walk->end;
    lb_lift_block_t block = lb_lift_no_block;
    lb_member_t member;

    if (end - p < 2 || p[0] != '{') {
        return 0;
    }
    p++;
    if (*p == '}') {
        return end - p == 1;
    }

    for (;;) {
        int ignored;

        if (lb_unlikely(p >= end || *p != '"')) {
            return 0;
        }
        member.key = p + 1;
        p = LB_LOOP(string)(p + 1, walk, &block, &ignored);
        if (lb_unlikely(p == NULL || end - p < 3 || p[1] != ':')) {
            return 0;
        }
        member.key_len = (size_t)(p - member.key);
        p += 2;
        member.value = p;
        member.escapes = 0;

        if (*p == '"') {
            p = LB_LOOP(string)(p + 1, walk, &block, &member.escapes);
            if (lb_unlikely(p == NULL)) {
                return 0;
            }
            p++;

        } else if (*p == '{' || *p == '[') {
            size_t depth = 0;

            do {
                if (lb_unlikely(p >= end)) {
                    return 0;
                }
                if (*p == '"') {
                    p = LB_LOOP(string)(p + 1, walk, &block, &ignored);
                    if (lb_unlikely(p == NULL)) {
                        return 0;
                    }
                } else if (*p == '{' || *p == '[') {
                    depth++;
                } else if (*p == '}' || *p == ']') {
                    depth--;
                }
                p++;
            } while (depth > 0);

        } else {
            while (p < end && *p != ',' && *p != '}') {
                p++;
            }
        }

        if (lb_unlikely(p >= end)) {
            return 0;
        }
        member.end = p;
        walk->members++;
        lb_lift_member(walk, &member);

        if (*p == '}') {
            return end - p == 1;
        }
        if (lb_unlikely(*p != ',')) {
            return 0;
        }
        p++;
    }
}
