/*
 * Rows in JSON: see row.h.
 */

#include "event/row.h"

#include "event/date.h"
#include "event/put.h"
#include "event/repair.h"

/* names, quotes, the date and the numbers */
#define FRAME 512

size_t
lb_row_max(size_t len, const lb_context_t *context)
{
    return FRAME + 7 * len +
           (context->len > 0 ? 12 * context->len + context->fields.len : 0);
}

static int
put_text(lb_out_t *out, const char *name, lb_str_t text)
{
    return lb_out_puts(out, "\"") || lb_out_puts(out, name) ||
           lb_out_puts(out, "\":\"") ||
           lb_repair_put(out, text.data, text.len, NULL) ||
           lb_out_puts(out, "\",");
}

static int
put_text_if(lb_out_t *out, const char *name, lb_str_t text)
{
    return text.len > 0 && put_text(out, name, text);
}

static int
put_object_if(lb_out_t *out, const char *name, lb_str_t object)
{
    return object.len > 2 && lb_put(out, name, object.data, object.len);
}

static lb_str_t
either(int has, lb_str_t own, lb_str_t other)
{
    return has ? own : other;
}

int
lb_row_put(lb_out_t *out, const lb_fields_t *f, const lb_context_t *c)
{
    char date[LB_DATE_LEN + 2];
    const lb_str_t none = {NULL, 0};
    const unsigned more = f->more;

    date[0] = '"';
    lb_date_ns(date + 1, f->timestamp_ns > 0 ? (uint64_t)f->timestamp_ns : 0);
    date[LB_DATE_LEN + 1] = '"';

    if (lb_put(out, "timestamp", (const uint8_t *)date, sizeof(date)) ||
        put_text_if(out, "level", f->level) ||
        put_text_if(out, "service",
                    either(f->service.len > 0, f->service, c->service)) ||
        put_text_if(out, "host", either(f->host.len > 0, f->host, c->host)) ||
        put_text(out, "message", f->message) ||
        put_text_if(out, "trace_id", f->trace_id) ||
        put_text_if(out, "span_id",
                    either(more & LB_LIFT_SPAN_ID, f->span_id, none)) ||
        put_text_if(out, "event_name",
                    either(more & LB_LIFT_EVENT_NAME, f->event_name, none)) ||
        put_object_if(out, "attributes", f->attributes) ||
        put_object_if(
            out, "resource",
            either(more & LB_LIFT_RESOURCE, f->resource, c->resource)) ||
        put_object_if(out, "scope",
                      either(more & LB_LIFT_SCOPE, f->scope, c->scope))) {
        return -1;
    }

    return 0;
}
