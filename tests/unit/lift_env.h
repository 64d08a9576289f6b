/*
 * Lifting one event, for the tests of the lifter.
 */

#ifndef _LB_LIFT_ENV_H_INCLUDED_
#define _LB_LIFT_ENV_H_INCLUDED_

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/lift.h"
#include "tests/fuzz/lift_oracle.h"

#define RECEIVED UINT64_C(1715950000123456)

static uint8_t scratch[65536];

static inline lb_fields_t
lift(const char *event)
{
    lb_fields_t f;

    /* Nothing may depend on what scratch held before, nor may anything be
     * written beside it. */
    memset(scratch, 0xee, sizeof(scratch));
    lb_lift((const uint8_t *)event, strlen(event), RECEIVED, 0, scratch + 64,
            &f);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(scratch[i], 0xee);
        assert_int_equal(scratch[64 + lb_lift_scratch(strlen(event)) + i],
                         0xee);
    }
    return f;
}

static inline void
assert_str(lb_str_t s, const char *want)
{
    if (s.len != strlen(want) || memcmp(s.data, want, s.len) != 0) {
        fail_msg("'%.*s' instead of '%s'", (int)s.len, (const char *)s.data,
                 want);
    }
}

#endif /* _LB_LIFT_ENV_H_INCLUDED_ */
