/*
 * The checksum of everything in a spool.
 */

#ifndef _LB_CRC32C_H_INCLUDED_
#define _LB_CRC32C_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli, RFC 3720 B.4) of data; crc is 0 or the CRC of what
 * went before. */
uint32_t lb_crc32c(uint32_t crc, const void *data, size_t len);

#endif /* _LB_CRC32C_H_INCLUDED_ */
