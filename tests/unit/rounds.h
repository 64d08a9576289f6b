/*
 * How often a test rolls dice: LB_STEPS, if it is set, is the most.  Emulated
 * processors and valgrind are slow.
 */

#ifndef _LB_ROUNDS_H_INCLUDED_
#define _LB_ROUNDS_H_INCLUDED_

#include <stdlib.h>

static inline int
rounds(int most)
{
    const char *steps = getenv("LB_STEPS");
    int n = steps ? atoi(steps) : most;

    return n > 0 && n < most ? n : most;
}

#endif /* _LB_ROUNDS_H_INCLUDED_ */
