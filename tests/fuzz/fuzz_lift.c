/*
 * Fuzzer: any bytes as an event, and as a body whose events are lifted after
 * the scanner has taken them.
 */

#include "event/json.h"
#include "tests/fuzz/lift_oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(const char *error)
{
    if (error != NULL) {
        fprintf(stderr, "fuzz_lift: %s\n", error);
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t cap = lb_scan_json_out_max(size);
    uint8_t *out = malloc(cap + 1);
    lb_scan_result_t res;

    if (out == NULL) {
        abort();
    }
    require(lift_oracle_bytes(data, size));

    if (lb_scan_json(data, size, out, cap, size, &res) == LB_SCAN_OK) {
        const uint8_t *p = out;
        const uint8_t *end = out + res.out_len;

        while (p < end) {
            const uint8_t *line = memchr(p, '\n', (size_t)(end - p));
            size_t len = (size_t)(line - p);
            /* Exactly its own memory: see it read beyond. */
            uint8_t *event = malloc(len);

            if (event == NULL) {
                abort();
            }
            memcpy(event, p, len);
            require(lift_oracle_event(event, len));
            free(event);
            p = line + 1;
        }
    }

    free(out);
    return 0;
}
