/*
 * The lifter's walk over the members of an event; lift.c includes this file
 * once per way, see ways.h.
 */

/* The block at an offset of the event, behind the one in *block. */
LB_HERE void
LB_NAME(block)(const lb_walk_t *walk, size_t base, window_t *block)
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
LB_NAME(string)(const uint8_t *p, const lb_walk_t *walk, window_t *block,
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

/* From p, a bracket, to behind the one that closes it; NULL if there is none. */
LB_HERE const uint8_t *
LB_NAME(skip)(const uint8_t *p, const lb_walk_t *walk, window_t *block)
{
    size_t depth = 0;
    int ignored;

    do {
        if (lb_unlikely(p >= walk->end)) {
            return NULL;
        }
        if (*p == '"') {
            p = LB_NAME(string)(p + 1, walk, block, &ignored);
            if (lb_unlikely(p == NULL)) {
                return NULL;
            }
        } else if (*p == '{' || *p == '[') {
            depth++;
        } else if (*p == '}' || *p == ']') {
            depth--;
        }
        p++;
    } while (depth > 0);

    return p;
}

/* The quote that ends the key at p, or NULL: there is none, or no value behind
 * it. */
LB_HERE const uint8_t *
LB_NAME(key)(const uint8_t *p, const lb_walk_t *walk, window_t *block)
{
    int ignored = 0;

    if (lb_unlikely(p >= walk->end || *p != '"')) {
        return NULL;
    }
    p = LB_NAME(string)(p + 1, walk, block, &ignored);
    return lb_likely(p != NULL && walk->end - p >= 3 && p[1] == ':') ? p : NULL;
}

/* Behind the value at p, or NULL; *escapes is set as by string(). */
LB_HERE const uint8_t *
LB_NAME(value)(const uint8_t *p, const lb_walk_t *walk, window_t *block,
               int *escapes)
{
    if (*p == '"') {
        p = LB_NAME(string)(p + 1, walk, block, escapes);
        p = lb_likely(p != NULL) ? p + 1 : NULL;
    } else if (*p == '{' || *p == '[') {
        p = LB_NAME(skip)(p, walk, block);
    } else {
        p = skip_literal(p, walk->end);
    }
    return lb_likely(p != NULL && p < walk->end) ? p : NULL;
}

/* Notes the members of an object that is looked into, which begins at p.
 * Behind it, or NULL. */
LB_TARGET static const uint8_t *
LB_NAME(inside)(const uint8_t *p, lb_walk_t *walk, window_t *block, int parent,
                const uint8_t *parent_key)
{
    if (walk->end - p >= 2 && p[1] == '}') {
        return p + 2;
    }
    do {
        const uint8_t *key = p + 2;
        const uint8_t *quote = LB_NAME(key)(p + 1, walk, block);
        int escapes = 0;

        if (lb_unlikely(quote == NULL)) {
            return NULL;
        }
        p = LB_NAME(value)(quote + 2, walk, block, &escapes);
        if (lb_unlikely(p == NULL)) {
            return NULL;
        }
        take_inside(walk, parent, parent_key, key, (size_t)(quote - key),
                    quote + 2, p, escapes);
    } while (*p == ',');

    return *p == '}' ? p + 1 : NULL;
}

/* Notes the well-known members of the event.  0 if it is not a LB_FORM_JSON object as
 * the scanner writes it. */
LB_TARGET static int
LB_NAME(walk)(lb_walk_t *noted)
{
    /* what is noted does not change where the event is */
    const lb_walk_t walk = {.event = noted->event, .end = noted->end};
    const uint8_t *p = walk.event;
    window_t block = no_window;

    if (walk.end - p < 2 || p[0] != '{') {
        return 0;
    }
    if (p[1] == '}') {
        return walk.end - p == 2;
    }
    do {
        const uint8_t *key = p + 2;
        const uint8_t *quote = LB_NAME(key)(p + 1, &walk, &block);
        int row, escapes = 0;

        if (lb_unlikely(quote == NULL)) {
            return 0;
        }
        row = lb_name_find(key, (size_t)(quote - key));
        if (row < 0) {
            p = LB_NAME(value)(quote + 2, &walk, &block, &escapes);
            if (lb_unlikely(p == NULL)) {
                return 0;
            }
            continue;
        }

        if (lb_unlikely(quote[2] == '{') && lb_names[row].inside != 0) {
            /* a copy, so that the window itself can be in registers */
            window_t copy = block;

            p = LB_NAME(inside)(quote + 2, noted, &copy, row, key);
            block = copy;
            p = p != NULL && p < walk.end ? p : NULL;
        } else {
            p = LB_NAME(value)(quote + 2, &walk, &block, &escapes);
        }
        if (lb_unlikely(p == NULL)) {
            return 0;
        }
        if (lb_names[row].field < LB_FIELDS) {
            take(noted, (unsigned)row, lb_names[row].field, 0, NULL, escapes,
                 key, quote + 2, p);
            continue;
        }
        noted->signs |= lb_names[row].sign;
        if (lb_names[row].field > LB_FIELDS) {
            take_more(noted, (unsigned)row, 0, NULL, escapes, key, quote + 2,
                      p);
        }
    } while (*p == ',');

    return *p == '}' && walk.end - p == 1;
}

#undef LB_WAY
