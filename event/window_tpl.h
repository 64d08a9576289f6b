/*
 * The block that a scanner looks at; see ways.h.
 */

/* The mask of the block that begins at offset base: a bit for each byte that
 * ends a run inside a string, or at which something that is not UTF-8 begins
 * (the first one in the block suffices: the scan cannot get past it), or that
 * lies behind the end. */
LB_HERE uint64_t
LB_NAME(load)(const uint8_t *in, size_t len, size_t base)
{
    lb_block_t b;
    size_t left = len - base;

    if (lb_likely(left >= LB_BLOCK)) {
        b = LB_NAME(lb_block)(in + base);

    } else if (len >= LB_BLOCK) {
        /* The last 64 bytes of the body, less those before base. */
        b = LB_NAME(lb_block)(in + len - LB_BLOCK);
        b.special >>= LB_BLOCK - left;
        b.wide >>= LB_BLOCK - left;
        b.special |= ~UINT64_C(0) << left;

    } else {
        uint8_t small[LB_BLOCK] = {0};

        memcpy(small, in + base, left);
        b = LB_NAME(lb_block)(small);
    }

    if (lb_unlikely(b.wide != 0)) {
        if (base >= 3 && left >= LB_BLOCK &&
            LB_NAME(lb_utf8_block)(in + base) &&
            lb_utf8_whole(in + base, left)) {
            return b.special;
        }
        b.special |= lb_utf8_errors(in, len, base);
    }

    return b.special;
}

/* Makes block the one of offset off < len.  The one behind it is looked at in
 * advance: when the end of a string in the next block surprises the processor,
 * at least its mask is there. */
LB_HERE void
LB_NAME(advance)(const uint8_t *in, size_t len, size_t off, lb_window_t *block)
{
    size_t base = off & ~(size_t)(LB_BLOCK - 1);

    block->mask = block->base + LB_BLOCK == base ? block->next
                                                 : LB_NAME(load)(in, len, base);
    block->base = base;
    if (lb_likely(len - base > LB_BLOCK)) {
        block->next = LB_NAME(load)(in, len, base + LB_BLOCK);
    }
}
