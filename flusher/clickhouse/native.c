#include "flusher/clickhouse/native.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/context.h"
#include "event/lift.h"
#include "event/members.h"

enum {
    TIMESTAMP,
    RECEIVED_AT,
    STREAM,
    LEVEL,
    SERVICE,
    HOST,
    MESSAGE,
    TRACE_ID,
    ATTRIBUTES,
    CLIENT,
    BROKER,
    RING,
    SEQ,
};

_Static_assert(SEQ + 1 == LB_NATIVE_COLUMNS, "columns");

const char lb_native_columns[] =
    "timestamp,received_at,stream,level,service,host,message,trace_id,"
    "attributes,client,broker,ring,seq";

static const struct {
    const char *name;
    const char *type;
} columns[LB_NATIVE_COLUMNS] = {
    {"timestamp", "DateTime64(9, 'UTC')"},
    {"received_at", "DateTime64(6, 'UTC')"},
    {"stream", "String"},
    {"level", "String"},
    {"service", "String"},
    {"host", "String"},
    {"message", "String"},
    {"trace_id", "String"},
    {"attributes", "String"},
    {"client", "String"},
    {"broker", "String"},
    {"ring", "UUID"},
    {"seq", "UInt64"},
};

void
lb_native_structure(char *out, size_t size)
{
    int n;
    size_t i;

    for (i = 0; i < LB_NATIVE_COLUMNS && size > 0; i++) {
        n = snprintf(out, size, "%s%s %s", i > 0 ? "," : "", columns[i].name,
                     columns[i].type);
        n = n < (int)size ? n : (int)size;
        out += n;
        size -= (size_t)n;
    }
}

typedef struct {
    uint8_t *data;
    size_t len;
    size_t cap;
} buffer_t;

typedef struct {
    buffer_t column[LB_NATIVE_COLUMNS];
    buffer_t header[LB_NATIVE_COLUMNS]; /* what comes before the values */
    size_t rows;
    size_t bytes;
    size_t due; /* rows whose constant columns are not written yet */

    int closed;
    size_t piece; /* of 2 * LB_NATIVE_COLUMNS: header, values, header, ... */
    size_t taken; /* of that piece */

    char *broker;
    size_t broker_len;

    /* of the record */
    uint8_t ring[LB_UUID_LEN]; /* as ClickHouse keeps it */
    uint64_t received_us;
    char stream[LB_STREAM_MAX];
    size_t stream_len;
    char client[INET6_ADDRSTRLEN];
    size_t client_len;

    /* of the events to come; all empty in most records */
    lb_context_t context;
    buffer_t rest;  /* its resource and scope, as members of attributes */
    buffer_t event; /* with the context's fields */
} native_t;

static int
reserve(buffer_t *b, size_t more)
{
    size_t cap;
    uint8_t *data;

    if (b->cap - b->len >= more) {
        return 0;
    }

    cap = b->cap * 2 > 4096 ? b->cap * 2 : 4096;
    if (cap < b->len + more) {
        cap = b->len + more;
    }

    data = realloc(b->data, cap);
    if (data == NULL) {
        return -ENOMEM;
    }

    b->data = data;
    b->cap = cap;

    return 0;
}

#define VARINT_MAX 10

static size_t
varint(uint8_t *p, uint64_t v)
{
    size_t n = 0;

    while (v >= 0x80) {
        p[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }

    p[n++] = (uint8_t)v;

    return n;
}

/* memcpy, without the call for the few bytes that most strings have. */
static inline void
copy(uint8_t *to, const uint8_t *from, size_t len)
{
    if (len > 16) {
        memcpy(to, from, len);
    } else if (len >= 8) {
        memcpy(to, from, 8);
        memcpy(to + len - 8, from + len - 8, 8);
    } else if (len >= 4) {
        memcpy(to, from, 4);
        memcpy(to + len - 4, from + len - 4, 4);
    } else {
        while (len-- > 0) {
            to[len] = from[len];
        }
    }
}

static inline int
put_string(buffer_t *b, const void *data, size_t len)
{
    if (reserve(b, len + VARINT_MAX) != 0) {
        return -ENOMEM;
    }

    b->len += varint(b->data + b->len, len);
    copy(b->data + b->len, data, len);
    b->len += len;

    return 0;
}

/* The lifter's scratch is the room behind the messages.  It unescapes the
 * message first: with a length of two bytes, as most have, it then lies where
 * it belongs. */
#define SCRATCH_AT 2

static inline int
reserve_message(buffer_t *b, size_t event_len, uint8_t **scratch)
{
    if (reserve(b, VARINT_MAX + lb_lift_scratch(event_len)) != 0) {
        return -ENOMEM;
    }

    *scratch = b->data + b->len + SCRATCH_AT;

    return 0;
}

/* Destroys what else is in the scratch. */
static inline void
put_message(buffer_t *b, lb_str_t message)
{
    uint8_t size[VARINT_MAX];
    size_t n = varint(size, message.len);

    if (message.data != b->data + b->len + n) {
        memmove(b->data + b->len + n, message.data, message.len);
    }

    memcpy(b->data + b->len, size, n);
    b->len += n + message.len;
}

/* The same bytes n times; n and len are not 0. */
static int
put_again(buffer_t *b, const void *data, size_t len, size_t n)
{
    size_t done = len, more;
    uint8_t *to;

    if (reserve(b, len * n) != 0) {
        return -ENOMEM;
    }

    to = b->data + b->len;
    memcpy(to, data, len);

    /* what is there is doubled */
    while (done < len * n) {
        more = done < len * n - done ? done : len * n - done;
        memcpy(to + done, to, more);
        done += more;
    }

    b->len += done;

    return 0;
}

static int
put_string_again(buffer_t *b, const char *data, size_t len, size_t n)
{
    uint8_t value[VARINT_MAX + LB_BROKER_MAX];
    size_t used;

    used = varint(value, len);
    memcpy(value + used, data, len);

    return put_again(b, value, used + len, n);
}

static int
put_u64(buffer_t *b, uint64_t v)
{
    if (reserve(b, 8) != 0) {
        return -ENOMEM;
    }

    v = htole64(v);
    memcpy(b->data + b->len, &v, 8);
    b->len += 8;

    return 0;
}

static void *
native_open(const char *broker)
{
    native_t *n = calloc(1, sizeof(*n));

    if (n == NULL) {
        return NULL;
    }

    n->broker = strdup(broker);
    if (n->broker == NULL) {
        free(n);
        return NULL;
    }

    n->broker_len = strlen(broker);

    return n;
}

static void
native_close(void *arg)
{
    size_t i;
    native_t *n = arg;

    if (n == NULL) {
        return;
    }

    for (i = 0; i < LB_NATIVE_COLUMNS; i++) {
        free(n->column[i].data);
        free(n->header[i].data);
    }

    lb_context_free(&n->context);
    free(n->rest.data);
    free(n->event.data);
    free(n->broker);
    free(n);
}

static void
reset(native_t *n)
{
    size_t i;

    for (i = 0; i < LB_NATIVE_COLUMNS; i++) {
        n->column[i].len = 0;
        n->header[i].len = 0;
    }

    n->rows = 0;
    n->bytes = 0;
    n->due = 0;
    n->closed = 0;
    n->piece = 0;
    n->taken = 0;
}

/* What all events of a record share, for those that were added. */
static int
put_due(native_t *n)
{
    int rc;
    size_t due = n->due;
    uint64_t received = htole64(n->received_us);
    buffer_t *c = n->column;
    const char *stream = n->stream;
    size_t stream_len = n->stream_len;

    if (due == 0) {
        return 0;
    }

    n->due = 0;

    if (n->context.stream.len > 0 && n->context.stream.len <= LB_STREAM_MAX) {
        stream = (const char *)n->context.stream.data;
        stream_len = n->context.stream.len;
    }

    rc = put_again(&c[RECEIVED_AT], &received, sizeof(received), due);
    rc |= put_string_again(&c[STREAM], stream, stream_len, due);
    rc |= put_string_again(&c[CLIENT], n->client, n->client_len, due);
    rc |= put_string_again(&c[BROKER], n->broker, n->broker_len, due);
    rc |= put_again(&c[RING], n->ring, LB_UUID_LEN, due);

    return rc != 0 ? -ENOMEM : 0;
}

static int
native_record(void *arg, const uint8_t ring[LB_UUID_LEN],
              const lb_record_t *record)
{
    size_t i;
    native_t *n = arg;

    if (put_due(n) != 0) {
        return -ENOMEM;
    }

    /* A UUID is two 64-bit integers, the high one first, each of them
     * little-endian. */
    for (i = 0; i < 8; i++) {
        n->ring[i] = ring[7 - i];
        n->ring[8 + i] = ring[15 - i];
    }

    n->received_us = record->received_us;
    n->stream_len = record->stream_len;
    memcpy(n->stream, record->stream, record->stream_len);

    n->client[0] = '\0';
    if (record->client_len == 4) {
        (void)inet_ntop(AF_INET, record->client, n->client, sizeof(n->client));
    } else if (record->client_len == 16) {
        (void)inet_ntop(AF_INET6, record->client, n->client, sizeof(n->client));
    }
    n->client_len = strlen(n->client);

    lb_context_start(&n->context);
    n->rest.len = 0;

    return 0;
}

static int
put_bytes(buffer_t *b, const void *data, size_t len)
{
    if (reserve(b, len) != 0) {
        return -ENOMEM;
    }

    memcpy(b->data + b->len, data, len);
    b->len += len;

    return 0;
}

/* ,"name":value, if there is a value */
static int
put_member(buffer_t *b, const char *name, lb_str_t value)
{
    int rc;

    if (value.len <= 2) {
        return 0;
    }

    rc = put_bytes(b, ",\"", 2);
    rc |= put_bytes(b, name, strlen(name));
    rc |= put_bytes(b, "\":", 2);
    rc |= put_bytes(b, value.data, value.len);

    return rc;
}

static int
native_context(void *arg, const lb_line_t *line)
{
    native_t *n = arg;

    if (line->begins) {
        if (put_due(n) != 0) {
            return -ENOMEM;
        }
        n->rest.len = 0;
    }

    if (lb_context_line(&n->context, line) != 0) {
        return -ENOMEM;
    }

    if (line->ends &&
        (put_member(&n->rest, "resource", n->context.resource) != 0 ||
         put_member(&n->rest, "scope", n->context.scope) != 0)) {
        return -ENOMEM;
    }

    return 0;
}

/* The event with those of the context's fields that it has not itself. */
static int
with_fields(native_t *n, const uint8_t **event, size_t *len)
{
    lb_member_t m;
    lb_str_t fields = n->context.fields;
    const uint8_t *p = fields.data + 1, *end = fields.data + fields.len - 1;
    buffer_t *b = &n->event;

    b->len = 0;
    if (put_bytes(b, *event, *len - 1) != 0) {
        return -ENOMEM;
    }

    while (p < end) {
        p = lb_member(p, end, &m);
        if (lb_object_has(*event, *event + *len, m.key, m.key_len)) {
            continue;
        }
        if ((b->len > 1 && put_bytes(b, ",", 1) != 0) ||
            put_bytes(b, m.key - 1, (size_t)(m.end - m.key) + 1) != 0) {
            return -ENOMEM;
        }
    }

    if (put_bytes(b, "}", 1) != 0) {
        return -ENOMEM;
    }

    *event = b->data;
    *len = b->len;

    return 0;
}

/* Attributes and behind them the resource and the scope of the context. */
static int
put_attributes(native_t *n, lb_str_t attributes)
{
    int rc;
    uint8_t size[VARINT_MAX];
    buffer_t *b = &n->column[ATTRIBUTES];
    const int none = attributes.len <= 2;

    rc = put_bytes(b, size,
                   varint(size, attributes.len + n->rest.len - (none ? 1 : 0)));
    rc |= put_bytes(b, attributes.data, attributes.len - 1);
    rc |= put_bytes(b, n->rest.data + (none ? 1 : 0),
                    n->rest.len - (none ? 1 : 0));
    rc |= put_bytes(b, "}", 1);

    return rc;
}

static int
native_add(void *arg, const uint8_t *event, size_t len, uint64_t seq)
{
    int rc;
    uint8_t *scratch;
    native_t *n = arg;
    buffer_t *c = n->column;
    lb_fields_t f;
    const int context = n->context.len > 0;

    if (context && n->context.fields.len > 2 &&
        with_fields(n, &event, &len) != 0) {
        return -ENOMEM;
    }

    if (reserve_message(&c[MESSAGE], len, &scratch) != 0) {
        return -ENOMEM;
    }

    lb_lift(event, len, n->received_us, scratch, &f);

    if (context) {
        f.service = f.service.len > 0 ? f.service : n->context.service;
        f.host = f.host.len > 0 ? f.host : n->context.host;
    }

    rc = put_u64(&c[TIMESTAMP], (uint64_t)f.timestamp_ns);
    rc |= put_string(&c[LEVEL], f.level.data, f.level.len);
    rc |= put_string(&c[SERVICE], f.service.data, f.service.len);
    rc |= put_string(&c[HOST], f.host.data, f.host.len);
    rc |= put_string(&c[TRACE_ID], f.trace_id.data, f.trace_id.len);
    rc |= n->rest.len > 0
              ? put_attributes(n, f.attributes)
              : put_string(&c[ATTRIBUTES], f.attributes.data, f.attributes.len);
    rc |= put_u64(&c[SEQ], seq);

    if (rc != 0) {
        return -ENOMEM;
    }

    put_message(&c[MESSAGE], f.message);

    n->due++;
    n->rows++;
    n->bytes += len + n->rest.len;

    return 0;
}

static int
native_full(const void *arg)
{
    const native_t *n = arg;

    return n->rows >= LB_NATIVE_ROWS || n->bytes >= LB_NATIVE_BYTES;
}

static int
native_end(void *arg)
{
    size_t i;
    native_t *n = arg;
    buffer_t *h;

    if (n->rows == 0) {
        return 0;
    }

    if (put_due(n) != 0) {
        return -ENOMEM;
    }

    for (i = 0; i < LB_NATIVE_COLUMNS; i++) {
        h = &n->header[i];
        h->len = 0;

        if (i == 0) {
            if (reserve(h, 20) != 0) {
                return -ENOMEM;
            }
            h->len += varint(h->data, LB_NATIVE_COLUMNS);
            h->len += varint(h->data + h->len, n->rows);
        }

        if (put_string(h, columns[i].name, strlen(columns[i].name)) != 0 ||
            put_string(h, columns[i].type, strlen(columns[i].type)) != 0) {
            return -ENOMEM;
        }
    }

    n->closed = 1;
    n->piece = 0;
    n->taken = 0;

    return 0;
}

static size_t
native_take(void *arg, void *buf, size_t size)
{
    size_t done = 0, k;
    native_t *n = arg;
    buffer_t *b;

    if (!n->closed) {
        return 0;
    }

    while (done < size && n->piece < 2 * LB_NATIVE_COLUMNS) {

        b = n->piece % 2 ? &n->column[n->piece / 2] : &n->header[n->piece / 2];

        k = b->len - n->taken;
        if (k > size - done) {
            k = size - done;
        }

        memcpy((uint8_t *)buf + done, b->data + n->taken, k);
        done += k;
        n->taken += k;

        if (n->taken == b->len) {
            n->piece++;
            n->taken = 0;
        }
    }

    if (done == 0) {
        reset(n);
    }

    return done;
}

const lb_encoder_t lb_native_encoder = {
    LB_NATIVE_VERSION, native_open, native_close, native_record, native_context,
    native_add,        native_full, native_end,   native_take,
};
