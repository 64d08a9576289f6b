/*
 * Bytes that should be UTF-8 and may not be: what is wrong is replaced.
 */

#ifndef _LB_REPAIR_H_INCLUDED_
#define _LB_REPAIR_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "event/out.h"

/* Room for len bytes with everything that may be wrong in them replaced. */
#define LB_REPAIR_MAX(len) (3 * (len))

/* The character at s, of at most len > 0 bytes: its length, 1 to 4; or minus
 * the bytes that one U+FFFD stands for, as the Unicode standard recommends
 * (3.9, "maximal subpart"): -1 to -3. */
int lb_repair_char(const uint8_t *s, size_t len);

/* Copies, with U+FFFD in place of what is not UTF-8; the length, at most
 * LB_REPAIR_MAX(len).  *replaced grows by the number of U+FFFD put in; it may
 * be NULL. */
size_t lb_repair(uint8_t *to, const uint8_t *from, size_t len,
                 uint64_t *replaced);

/* Bytes as the inside of a JSON string, what is not UTF-8 as U+FFFD: at most 6
 * for each.  Returns how many were taken, at most max and no part of a
 * character; *to is moved, *replaced as above. */
size_t lb_repair_quote(uint8_t **to, const uint8_t *s, size_t len, size_t max,
                       uint64_t *replaced);

/* All of s, quoted the same way: 0, or -1 if there may be no room; part of it
 * is written then. */
int lb_repair_put(lb_out_t *out, const uint8_t *s, size_t len,
                  uint64_t *replaced);

#endif /* _LB_REPAIR_H_INCLUDED_ */
