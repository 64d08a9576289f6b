/*
 * Records: the header that one accepted request has in a ring, encoded and
 * checked.  Nothing here reads a file.
 */

#ifndef _LB_RECORD_H_INCLUDED_
#define _LB_RECORD_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "lb_format.h"

/* What a writer knows of a record. */
typedef struct {
    uint64_t received_us;
    const uint8_t *stream; /* 1..LB_STREAM_MAX bytes */
    size_t stream_len;
    const uint8_t *client; /* network order */
    size_t client_len;     /* 0, 4 or 16 */
    const uint8_t *key;    /* LB_KEY_LEN bytes, or NULL */
    int contexts;          /* the payload holds context lines */
    uint32_t key_kind;     /* LB_KEY_*, with a key */
} lb_meta_t;

/* What a reader learns from a header. */
typedef struct {
    uint64_t position;
    uint64_t first_seq;
    uint64_t received_us;
    uint32_t payload_len;
    uint32_t payload_crc;
    uint32_t events;
    uint32_t epoch;
    uint32_t header_len;
    uint32_t format;
    uint64_t payload; /* position of the payload */
    uint64_t next;    /* position of the next record */
    uint8_t client[16];
    uint32_t client_len;
    uint8_t key[LB_KEY_LEN];
    uint32_t key_len;  /* 0 or LB_KEY_LEN */
    uint32_t key_kind; /* LB_KEY_* */
    uint32_t stream_len;
    char stream[LB_STREAM_MAX + 1]; /* zero-terminated */
} lb_record_t;

/* Header of a record into buf; returns its length. */
size_t lb_record_header_len(size_t stream_len, size_t key_len);
size_t lb_record_encode(uint8_t *buf, const lb_meta_t *meta, uint64_t position,
                        uint64_t first_seq, uint32_t epoch,
                        const uint8_t ring[LB_UUID_LEN], uint32_t payload_len,
                        uint32_t payload_crc, uint32_t events);

/* The length the header at buf claims, from its first LB_RECORD_FIXED bytes:
 * 0 if it cannot be a header. */
size_t lb_record_probe(const uint8_t *buf);

/* Decodes and checks a header of len bytes (what lb_record_probe said).
 * 0 or LB_ECORRUPT.  The payload is not looked at. */
int lb_record_decode(const uint8_t *buf, size_t len, uint64_t position,
                     const uint8_t ring[LB_UUID_LEN], lb_record_t *record);

#endif /* _LB_RECORD_H_INCLUDED_ */
