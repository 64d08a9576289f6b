/*
 * A window on the data area of a ring, by position; hides the wrap.
 */

#ifndef _LB_VIEW_H_INCLUDED_
#define _LB_VIEW_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "lb_record.h"
#include "lb_ringfile.h"

#define LB_VIEW_SIZE (1u << 20)

typedef struct {
    int fd;
    uint64_t capacity;
    uint8_t ring[LB_UUID_LEN];
    uint64_t start; /* position of buf[0] */
    size_t len;     /* bytes of buf that are filled */
    uint8_t *buf;   /* LB_VIEW_SIZE bytes */
} lb_view_t;

int lb_view_init(lb_view_t *view, int fd, const lb_ring_id_t *id);
void lb_view_free(lb_view_t *view);

/* Contracts of lb_reader_view and lb_reader_record. */
int lb_view_get(lb_view_t *view, uint64_t position, uint64_t end, size_t min,
                const uint8_t **data, size_t *len);
int lb_view_record(lb_view_t *view, uint64_t position, uint64_t end, int verify,
                   lb_record_t *record);

#endif /* _LB_VIEW_H_INCLUDED_ */
