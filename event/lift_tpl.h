/*
 * The lifter's walk over the members of an event; lift.c includes this file
 * once per way, see ways.h.
 */

/* The block at an offset of the event, behind the one in *block. */
LB_HERE void
LB_NAME(block)(const walk_t *walk, size_t base, window_t *block)
{
    size_t len = (size_t)(walk->end - walk->event);
    size_t left = len - base;
    uint64_t escaped = block->base + LB_BLOCK == base ? block->carry : 0;
    lb_quotes_t q;

    if (lb_likely(left >= LB_BLOCK)) {
        q = LB_NAME(lb_quotes)(walk->event + base);
    } else if (len >= LB_BLOCK) {
        q = LB_NAME(lb_quotes)(walk->event + len - LB_BLOCK);
        q.quote >>= LB_BLOCK - left;
        q.backslash >>= LB_BLOCK - left;
    } else {
        uint8_t small[LB_BLOCK] = {0};

        memcpy(small, walk->event + base, left);
        q = LB_NAME(lb_quotes)(small);
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
LB_HERE const uint8_t *
LB_NAME(string)(const uint8_t *p, const walk_t *walk, window_t *block,
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
            LB_NAME(block)(walk, off & ~(size_t)(LB_BLOCK - 1), block);
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
LB_TARGET static int
LB_NAME(walk)(walk_t *walk)
{
    const uint8_t *p = walk->event;
    const uint8_t *const end = walk->end;
    window_t block = no_window;
    member_t member;

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
        p = LB_NAME(string)(p + 1, walk, &block, &ignored);
        if (lb_unlikely(p == NULL || end - p < 3 || p[1] != ':')) {
            return 0;
        }
        member.key_len = (size_t)(p - member.key);
        p += 2;
        member.value = p;
        member.escapes = 0;

        if (*p == '"') {
            p = LB_NAME(string)(p + 1, walk, &block, &member.escapes);
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
                    p = LB_NAME(string)(p + 1, walk, &block, &ignored);
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
            p = skip_literal(p, end);
        }

        if (lb_unlikely(p >= end)) {
            return 0;
        }
        member.end = p;
        walk->members++;
        take(walk, &member);

        if (*p == '}') {
            return end - p == 1;
        }
        if (lb_unlikely(*p != ',')) {
            return 0;
        }
        p++;
    }
}

#undef LB_WAY
