/*
 * Context lines: see context.h.
 */

#include "event/context.h"

#include <stdlib.h>
#include <string.h>

#include "event/members.h"

void
lb_context_start(lb_context_t *c)
{
    uint8_t *line = c->line;
    size_t size = c->size;

    memset(c, 0, sizeof(*c));
    c->line = line;
    c->size = size;
}

void
lb_context_free(lb_context_t *c)
{
    free(c->line);
    memset(c, 0, sizeof(*c));
}

/* Service and host of an object, those that are not known yet; scratch moves
 * behind what they need of it. */
static void
lift(lb_context_t *c, lb_str_t object, uint8_t **scratch)
{
    lb_fields_t f;

    if (object.len == 0 || (c->service.len > 0 && c->host.len > 0)) {
        return;
    }

    lb_lift(object.data, object.len, 0, 0, *scratch, &f);
    *scratch += lb_lift_scratch(object.len);

    if (c->service.len == 0) {
        c->service = f.service;
    }
    if (c->host.len == 0) {
        c->host = f.host;
    }
}

/* The line is whole: its members. */
static void
read_members(lb_context_t *c)
{
    lb_member_t m;
    lb_str_t *to;
    uint8_t *scratch = c->line + c->len;
    const uint8_t *p = c->line + 2, *end = c->line + c->len - 1;

    if (c->len < 3 || p[-1] != '{' || *end != '}') {
        return;
    }

    while (p < end) {
        p = lb_member(p, end, &m);

        to = lb_member_is(&m, "resource") ? &c->resource
             : lb_member_is(&m, "scope")  ? &c->scope
             : lb_member_is(&m, "fields") ? &c->fields
                                          : NULL;

        if (to != NULL && m.end - m.value >= 2 && *m.value == '{') {
            to->data = m.value;
            to->len = (size_t)(m.end - m.value);
        } else if (lb_member_is(&m, "stream") && m.end - m.value >= 2 &&
                   *m.value == '"') {
            c->stream.data = m.value + 1;
            c->stream.len = (size_t)(m.end - m.value) - 2;
        }
    }

    lift(c, c->resource, &scratch);
    lift(c, c->fields, &scratch);
}

int
lb_context_line(lb_context_t *c, const lb_line_t *line)
{
    size_t size;
    uint8_t *more;

    if (line->begins) {
        lb_context_start(c);
    }

    /* resource and fields are lifted behind it */
    size = c->len + line->len;
    size += 2 * lb_lift_scratch(size);

    if (size > c->size) {
        more = realloc(c->line, size);
        if (more == NULL) {
            return -1;
        }
        c->line = more;
        c->size = size;
    }

    memcpy(c->line + c->len, line->data, line->len);
    c->len += line->len;

    if (line->ends) {
        read_members(c);
    }

    return 0;
}

size_t
lb_context_event(const lb_context_t *c, const uint8_t *event, size_t len,
                 uint8_t *out)
{
    size_t n;
    lb_member_t m;
    uint8_t *o = out + len - 1;
    const uint8_t *p = c->fields.data + 1;
    const uint8_t *end = c->fields.data + c->fields.len - 1;

    memcpy(out, event, len - 1);

    while (p < end) {
        p = lb_member(p, end, &m);
        if (lb_object_has(event, event + len, m.key, m.key_len)) {
            continue;
        }
        if (o - out > 1) {
            *o++ = ',';
        }
        n = (size_t)(m.end - m.key) + 1;
        memcpy(o, m.key - 1, n);
        o += n;
    }

    *o++ = '}';

    return (size_t)(o - out);
}

/* A member and its comma; NULL: no room. */
static uint8_t *
put(uint8_t *o, const uint8_t *end, const char *name, lb_str_t value,
    int string)
{
    size_t n = strlen(name);

    if (o == NULL || value.len == 0) {
        return o;
    }
    if ((size_t)(end - o) < n + value.len + 6) {
        return NULL;
    }

    *o++ = '"';
    memcpy(o, name, n);
    o += n;
    *o++ = '"';
    *o++ = ':';
    if (string) {
        *o++ = '"';
    }
    memcpy(o, value.data, value.len);
    o += value.len;
    if (string) {
        *o++ = '"';
    }
    *o++ = ',';

    return o;
}

size_t
lb_context_put(uint8_t *out, size_t cap, const lb_context_t *parts)
{
    uint8_t *o = out;
    const uint8_t *end = out + cap;

    if (cap < 4) {
        return 0;
    }

    *o++ = LB_LINES_CONTEXT;
    *o++ = '{';
    end -= 2;
    o = put(o, end, "stream", parts->stream, 1);
    o = put(o, end, "resource", parts->resource, 0);
    o = put(o, end, "scope", parts->scope, 0);
    o = put(o, end, "fields", parts->fields, 0);

    if (o == NULL) {
        return 0;
    }
    if (o[-1] == ',') {
        o--;
    }
    *o++ = '}';
    *o++ = '\n';

    return (size_t)(o - out);
}
