/*
 * Flat events, compact, each on a line of its own: see json_flat.c.
 */

#ifndef _LB_JSON_FLAT_H_INCLUDED_
#define _LB_JSON_FLAT_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

/* which ways of json_tpl.h have it */
#define LB_JSON_FLAT_plain 0
#define LB_JSON_FLAT_sse2 0
#define LB_JSON_FLAT_avx2 1
#define LB_JSON_FLAT_neon 0

/* Less is not worth the start. */
#define LB_JSON_FLAT_MIN 512

/* Only where LB_WAY_AVX2 runs: copies whole flat events from the start of in to
 * out.  Returns their bytes and adds their number to *events; what is in out
 * behind them has no meaning. */
size_t lb_json_flat(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
                    size_t max_event, uint32_t *events);

#endif /* _LB_JSON_FLAT_H_INCLUDED_ */
