/*
 * What CloudWatch Logs sends to a subscription: one object with the events of a
 * log stream.  Private to formats.
 *
 *   {"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"g",
 *    "logStream":"s","subscriptionFilters":["f"],
 *    "logEvents":[{"id":"3","timestamp":1578090901599,"message":"m"}]}
 */

#ifndef _LB_CLOUDWATCH_H_INCLUDED_
#define _LB_CLOUDWATCH_H_INCLUDED_

#include "event/door.h"

typedef enum {
    LB_CLOUDWATCH_NONE,    /* it is another object */
    LB_CLOUDWATCH_EVENTS,  /* it holds events */
    LB_CLOUDWATCH_CONTROL, /* it only asks whether somebody listens */
} lb_cloudwatch_t;

/* Can there be one in these bytes?  Cheap. */
int lb_cloudwatch_maybe(const uint8_t *p, size_t len);

/* An object as the scanner writes it; *events is the array of its events. */
lb_cloudwatch_t lb_cloudwatch(const uint8_t *line, size_t len,
                              lb_member_t *events);

/* What the events share, a comma behind each: 0, or not 0 if there is no
 * room. */
int lb_cloudwatch_shared(lb_out_t *out, const uint8_t *line, size_t len);

/* All of them.  LB_SCAN_OK, or LB_SCAN_NOSPACE. */
lb_scan_status_t lb_cloudwatch_put(lb_door_t *door, const lb_member_t *events);

#endif /* _LB_CLOUDWATCH_H_INCLUDED_ */
