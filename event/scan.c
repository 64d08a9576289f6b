#include "event/scan.h"
#include "event/window.h"

/* Rows and columns are counted only now. */
LB_COLD lb_scan_status_t
lb_scan_failed(lb_scan_status_t status, const uint8_t *in, const uint8_t *at,
               const uint8_t *event, const char *error, lb_scan_result_t *res)
{
    const uint8_t *p;
    const uint8_t *line = in;

    res->row = 1;
    for (p = in; p < at; p++) {
        if (*p == '\n') {
            res->row++;
            line = p + 1;
        }
    }

    res->column = 1;
    for (p = line; p < at; p++) {
        if ((*p & 0xc0) != 0x80) {
            res->column++;
        }
    }

    res->error = error;
    res->offset = (size_t)(at - in);
    res->event_start = (size_t)(event - in);
    return status;
}
