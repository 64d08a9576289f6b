/*
 * Record headers: encode, decode, check.  Pure functions.
 */

#include "lb_record.h"

#include <string.h>

#include "lb_bytes.h"
#include "lb_crc32c.h"
#include "lb_error.h"

size_t
lb_record_header_len(size_t stream_len, size_t key_len)
{
    return LB_RECORD_FIXED + (size_t)lb_align8(stream_len) + key_len;
}

size_t
lb_record_encode(uint8_t *buf, const lb_meta_t *meta, uint64_t position,
                 uint64_t first_seq, uint32_t epoch,
                 const uint8_t ring[LB_UUID_LEN], uint32_t payload_len,
                 uint32_t payload_crc, uint32_t events)
{
    size_t key_len = meta->key != NULL ? LB_KEY_LEN : 0;
    size_t len = lb_record_header_len(meta->stream_len, key_len);

    memset(buf, 0, len);

    lb_put32(buf, LB_RECORD_MAGIC);
    lb_put64(buf + 8, position);
    lb_put64(buf + 16, first_seq);
    lb_put64(buf + 24, meta->received_us);
    lb_put32(buf + 32, payload_len);
    lb_put32(buf + 36, payload_crc);
    lb_put32(buf + 40, events);
    lb_put32(buf + 44, epoch);
    lb_put16(buf + 48, (uint16_t)len);
    buf[50] = LB_FORMAT_NDJSON;
    buf[51] = (uint8_t)meta->stream_len;
    buf[52] = (uint8_t)meta->client_len;
    buf[53] = (uint8_t)key_len;
    memcpy(buf + 56, ring, 8);
    if (meta->client_len) {
        memcpy(buf + 64, meta->client, meta->client_len);
    }
    memcpy(buf + LB_RECORD_FIXED, meta->stream, meta->stream_len);
    if (key_len) {
        buf[54] = (uint8_t)meta->key_kind;
        memcpy(buf + len - key_len, meta->key, key_len);
    }

    lb_put32(buf + 4, lb_crc32c(0, buf + 8, len - 8));

    return len;
}

size_t
lb_record_probe(const uint8_t *buf)
{
    size_t len;

    if (lb_get32(buf) != LB_RECORD_MAGIC) {
        return 0;
    }

    len = lb_get16(buf + 48);

    if (buf[51] < 1 || buf[51] > LB_STREAM_MAX ||
        (buf[53] != 0 && buf[53] != LB_KEY_LEN) ||
        len != lb_record_header_len(buf[51], buf[53])) {
        return 0;
    }

    return len;
}

int
lb_record_decode(const uint8_t *buf, size_t len, uint64_t position,
                 const uint8_t ring[LB_UUID_LEN], lb_record_t *record)
{
    if (lb_get32(buf + 4) != lb_crc32c(0, buf + 8, len - 8)) {
        return LB_ECORRUPT;
    }

    record->position = lb_get64(buf + 8);
    record->first_seq = lb_get64(buf + 16);
    record->received_us = lb_get64(buf + 24);
    record->payload_len = lb_get32(buf + 32);
    record->payload_crc = lb_get32(buf + 36);
    record->events = lb_get32(buf + 40);
    record->epoch = lb_get32(buf + 44);
    record->header_len = (uint32_t)len;
    record->format = buf[50];
    record->stream_len = buf[51];
    record->client_len = buf[52];
    record->key_len = buf[53];
    record->key_kind = buf[54];
    memcpy(record->key, buf + len - record->key_len, record->key_len);
    memcpy(record->client, buf + 64, 16);
    memcpy(record->stream, buf + LB_RECORD_FIXED, record->stream_len);
    record->stream[record->stream_len] = '\0';
    record->payload = position + len;
    record->next = position + lb_align8(len + (uint64_t)record->payload_len);

    /* The CRC is right, so what follows tells leftovers of earlier laps,
     * records of other rings and records of other versions apart. */

    if (record->position != position || memcmp(buf + 56, ring, 8) != 0 ||
        record->format != LB_FORMAT_NDJSON || record->events == 0 ||
        record->payload_len == 0 || record->first_seq >= LB_POSITION_MAX ||
        (record->client_len != 0 && record->client_len != 4 &&
         record->client_len != 16)) {
        return LB_ECORRUPT;
    }

    return 0;
}
