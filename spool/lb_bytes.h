/*
 * Little-endian integers of the on-disk format, and its alignment.
 */

#ifndef _LB_BYTES_H_INCLUDED_
#define _LB_BYTES_H_INCLUDED_

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline void
lb_put16(uint8_t *p, uint16_t v)
{
    v = htole16(v);
    memcpy(p, &v, 2);
}

static inline void
lb_put32(uint8_t *p, uint32_t v)
{
    v = htole32(v);
    memcpy(p, &v, 4);
}

static inline void
lb_put64(uint8_t *p, uint64_t v)
{
    v = htole64(v);
    memcpy(p, &v, 8);
}

static inline uint16_t
lb_get16(const uint8_t *p)
{
    uint16_t v;

    memcpy(&v, p, 2);

    return le16toh(v);
}

static inline uint32_t
lb_get32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, 4);

    return le32toh(v);
}

static inline uint64_t
lb_get64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, 8);

    return le64toh(v);
}

/* Records and dead letters begin at multiples of 8. */
static inline uint64_t
lb_align8(uint64_t n)
{
    return (n + 7) & ~(uint64_t)7;
}

#endif /* _LB_BYTES_H_INCLUDED_ */
