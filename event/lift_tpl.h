/*
 * The lifter's walk over the members of an event.  lift.c includes this file
 * once for each way of looking at a block; see json_tpl.h for the macros.
 */

/* The block at an offset of the event, behind the one in *block. */
LB_LOOP_INLINE void
LB_LOOP(block)(const lb_walk_t *walk, size_t base, lb_lift_block_t *block)
{
    size_t len = (size_t)(walk->end - walk->event);
    size_t left = len - base;
    uint64_t escaped = block->base + LB_BLOCK == base ? block->carry : 0;
    lb_quotes_t q;

    if (lb_likely(left >= LB_BLOCK)) {
        q = LB_LOOP_QUOTES(walk->event + base);
    } else if (len >= LB_BLOCK) {
        q = LB_LOOP_QUOTES(walk->event + len - LB_BLOCK);
        q.quote >>= LB_BLOCK - left;
        q.backslash >>= LB_BLOCK - left;
    } else {
        uint8_t small[LB_BLOCK] = {0};

        memcpy(small, walk->event + base, left);
        q = LB_LOOP_QUOTES(small);
    }

    block->base = base;
    block->backslash = q.backslash;
    block->carry = escaped;
    if (lb_unlikely((q.backslash | escaped) != 0)) {
        q.quote &= ~lb_escaped(q.backslash, &block->carry);
    }
    block->quote = q.quote;
}

/* From p, inside a string, to the closing quote; NULL if there is none.
 * *escapes is set if there is a backslash before it.  Strings come in their
 * order, so that a block continues the one before it or begins outside. */
LB_LOOP_INLINE const uint8_t *
LB_LOOP(string)(const uint8_t *p, const lb_walk_t *walk, lb_lift_block_t *block,
                int *escapes)
{
    for (;;) {
        size_t off = (size_t)(p - walk->event);
        size_t k = off - block->base;
        uint64_t quote, backslash;

        if (k >= LB_BLOCK) {
            if (lb_unlikely(p >= walk->end)) {
                return NULL;
            }
            LB_LOOP(block)(walk, off & ~(size_t)(LB_BLOCK - 1), block);
            k = off - block->base;
        }

        quote = block->quote >> k;
        backslash = block->backslash >> k;
        if (quote != 0) {
            *escapes |= (backslash & (quote ^ (quote - 1))) != 0;
            return p + __builtin_ctzll(quote);
        }
        *escapes |= backslash != 0;
        p = walk->event + block->base + LB_BLOCK;
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
        int ignored = 0;

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
            p = lb_lift_skip_literal(p, end);
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
