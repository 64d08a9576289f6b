/*
 * Fuzzer: any bytes as the body of a request.  All implementations of the
 * scanner must agree with each other and with jansson, apart from the
 * differences docs/events.md lists.
 */

#include "tests/fuzz/scanner_oracle.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *error = scanner_oracle_json(data, size);

    if (error == NULL) {
        error = scanner_oracle_text(data, size);
    }
    if (error != NULL) {
        fprintf(stderr, "fuzz_scanner: %s\n", error);
        abort();
    }
    return 0;
}
