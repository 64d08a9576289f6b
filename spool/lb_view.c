/*
 * A window on the data area of a ring: reads by position, hides the wrap.
 *
 * What lies between acked and committed never changes, so a filled window
 * stays true for as long as its positions are not acked.
 */

#include "lb_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lb_crc32c.h"
#include "lb_error.h"
#include "lb_io.h"

int
lb_view_init(lb_view_t *view, int fd, const lb_ring_id_t *id)
{
    view->fd = fd;
    view->capacity = id->capacity;
    memcpy(view->ring, id->uuid, LB_UUID_LEN);
    view->start = 0;
    view->len = 0;
    view->buf = malloc(LB_VIEW_SIZE);

    return view->buf != NULL ? 0 : -ENOMEM;
}

void
lb_view_free(lb_view_t *view)
{
    free(view->buf);
    view->buf = NULL;
}

int
lb_view_get(lb_view_t *view, uint64_t position, uint64_t end, size_t min,
            const uint8_t **data, size_t *len)
{
    int rc;
    size_t have, want, n;
    uint64_t offset;

    if (position >= end) {
        *data = view->buf;
        *len = 0;
        return 0;
    }

    if (min > LB_VIEW_SIZE) {
        min = LB_VIEW_SIZE;
    }

    if (min > end - position) {
        min = (size_t)(end - position);
    }

    if (position >= view->start && position < view->start + view->len) {
        have = (size_t)(view->start + view->len - position);

        if (have >= min) {
            *data = view->buf + (position - view->start);
            *len = have < end - position ? have : (size_t)(end - position);
            return 0;
        }
    }

    want = LB_VIEW_SIZE;

    if (want > end - position) {
        want = (size_t)(end - position);
    }

    if (want > view->capacity) {
        want = (size_t)view->capacity;
    }

    view->start = position;
    view->len = 0;

    offset = position % view->capacity;
    n = want;

    if (n > view->capacity - offset) {
        n = (size_t)(view->capacity - offset);
    }

    rc = lb_io_read(view->fd, view->buf, n, (off_t)(LB_RING_DATA + offset));

    if (rc == 0 && n < want) {
        rc = lb_io_read(view->fd, view->buf + n, want - n, LB_RING_DATA);
    }

    if (rc != 0) {
        return rc;
    }

    view->len = want;
    *data = view->buf;
    *len = want;

    return 0;
}

static int
payload_valid(lb_view_t *view, const lb_record_t *record)
{
    int rc;
    size_t n;
    uint32_t crc = 0;
    uint64_t p, end;
    const uint8_t *data;

    end = record->payload + record->payload_len;

    for (p = record->payload; p < end; p += n) {
        rc = lb_view_get(view, p, end, 1, &data, &n);
        if (rc != 0) {
            return rc;
        }
        crc = lb_crc32c(crc, data, n);
    }

    return crc == record->payload_crc ? 0 : LB_ECORRUPT;
}

int
lb_view_record(lb_view_t *view, uint64_t position, uint64_t end, int verify,
               lb_record_t *record)
{
    int rc;
    size_t n, len;
    uint64_t left, want;
    const uint8_t *data;

    if (position >= end) {
        return LB_EEND;
    }

    left = end - position;

    if (left < LB_RECORD_FIXED) {
        return LB_ECORRUPT;
    }

    rc = lb_view_get(view, position, end, LB_RECORD_HEADER_MAX, &data, &n);
    if (rc != 0) {
        return rc;
    }

    len = lb_record_probe(data);

    if (len == 0 || len > n ||
        lb_record_decode(data, len, position, view->ring, record) != 0 ||
        record->next > end || record->next - position > view->capacity) {
        return LB_ECORRUPT;
    }

    if (!verify) {
        return 0;
    }

    /* One read for header and payload where both fit the window: what is
     * verified here is then also what the caller views next. */

    want = record->next - position;

    if (want > n && want <= LB_VIEW_SIZE) {
        rc = lb_view_get(view, position, end, (size_t)want, &data, &n);
        if (rc != 0) {
            return rc;
        }
    }

    return payload_valid(view, record);
}
