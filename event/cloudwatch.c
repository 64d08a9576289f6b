/*
 * Subscriptions of CloudWatch Logs: see cloudwatch.h.
 */

#include "event/cloudwatch.h"
#include "event/inner.h"

static const char log_events[] = "logEvents";

int
lb_cloudwatch_maybe(const uint8_t *p, size_t len)
{
    return memmem(p, len, log_events, sizeof(log_events) - 1) != NULL;
}

static int
is_string(const lb_member_t *m, const char *text)
{
    size_t len = strlen(text);

    return *m->value == '"' && lb_member_len(m) == len + 2 &&
           memcmp(m->value + 1, text, len) == 0;
}

lb_cloudwatch_t
lb_cloudwatch(const uint8_t *line, size_t len, lb_member_t *events)
{
    const uint8_t *p = line + 1, *const end = line + len - 1;
    int data = 0, control = 0;
    lb_member_t m;

    events->value = NULL;
    while (p < end) {
        p = lb_member(p, end, &m);
        if (lb_member_is(&m, log_events) && *m.value == '[') {
            *events = m;
        } else if (lb_member_is(&m, "messageType")) {
            data |= is_string(&m, "DATA_MESSAGE");
            control |= is_string(&m, "CONTROL_MESSAGE");
        }
    }
    return events->value == NULL ? LB_CLOUDWATCH_NONE
           : control             ? LB_CLOUDWATCH_CONTROL
           : data                ? LB_CLOUDWATCH_EVENTS
                                 : LB_CLOUDWATCH_NONE;
}

int
lb_cloudwatch_shared(lb_out_t *out, const uint8_t *line, size_t len)
{
    const uint8_t *p = line + 1, *const end = line + len - 1;
    lb_member_t m;
    int bad = 0;

    while (p < end && !bad) {
        p = lb_member(p, end, &m);
        bad = !lb_member_is(&m, log_events) &&
              !lb_member_is(&m, "messageType") && lb_put_member(out, &m, 0);
    }
    return bad;
}

static int
has_member(const lb_inner_t *inner, const lb_member_t *member)
{
    const uint8_t *p = inner->p;
    lb_member_t m;

    while (p < inner->end) {
        p = lb_member(p, inner->end, &m);
        if (m.key_len == member->key_len &&
            memcmp(m.key, member->key, m.key_len) == 0) {
            return 1;
        }
    }
    return 0;
}

/* A member beside the message: what the message says itself goes before it. */
static int
put_member(lb_out_t *out, const lb_member_t *m, const lb_inner_t *inner)
{
    int time = lb_member_is(m, "timestamp");

    if (has_member(inner, m) || (time && inner->time)) {
        return lb_out_puts(out, "\"cloudwatch.") ||
               lb_out_put(out, m->key, (size_t)(m->end - m->key)) ||
               lb_out_puts(out, ",");
    }
    return time ? lb_put_time(out, m) : lb_put_member(out, m, 0);
}

static lb_scan_status_t
put_event(lb_door_t *d, const lb_member_t *event)
{
    const uint8_t *p, *const end = event->end - 1, *message = NULL;
    lb_inner_t inner;
    lb_member_t m;
    int rc = 1;

    if (lb_door_begin(d) != 0) {
        return LB_SCAN_NOSPACE;
    }
    memset(&inner, 0, sizeof(inner));
    for (p = event->value + 1; p < end && message == NULL;) {
        p = lb_member(p, end, &m);
        if (lb_member_is(&m, "message")) {
            rc = lb_inner(&d->out, m.value, m.end, &inner);
            message = m.key;
        }
    }
    if (rc < 0) {
        return LB_SCAN_NOSPACE;
    }
    for (p = event->value + 1; p < end;) {
        p = lb_member(p, end, &m);
        if ((rc != 0 || m.key != message) &&
            put_member(&d->out, &m, &inner) != 0) {
            return LB_SCAN_NOSPACE;
        }
    }
    return lb_door_end_of(d, event->value, lb_member_len(event));
}

lb_scan_status_t
lb_cloudwatch_put(lb_door_t *d, const lb_member_t *events)
{
    const uint8_t *p = events->value + 1, *const end = events->end - 1;
    lb_scan_status_t rc = LB_SCAN_OK;
    lb_member_t m;

    while (p < end && rc == LB_SCAN_OK) {
        p = lb_element(p, end, &m);
        rc = *m.value == '{'
                 ? put_event(d, &m)
                 : lb_door_reject(d, m.value, lb_member_len(&m),
                                  "an event of CloudWatch is an object");
    }
    return rc;
}
