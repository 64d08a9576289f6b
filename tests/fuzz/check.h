/*
 * What every fuzzer needs: the entry, a check that says what does not hold, and
 * memory that a sanitizer watches to the byte.
 */

#ifndef _LB_FUZZ_CHECK_H_INCLUDED_
#define _LB_FUZZ_CHECK_H_INCLUDED_

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(true_, words)                                                    \
    do {                                                                       \
        if (!(true_)) {                                                        \
            fprintf(stderr, "%s: %s\n", __FILE__, words);                      \
            abort();                                                           \
        }                                                                      \
    } while (0)

/* Memory of exactly size bytes, so that a sanitizer sees the one behind. */
static inline uint8_t *
exactly(size_t size)
{
    uint8_t *p = malloc(size > 0 ? size : 1);

    CHECK(p != NULL, "no memory");
    return p;
}

#endif /* _LB_FUZZ_CHECK_H_INCLUDED_ */
