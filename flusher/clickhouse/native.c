#include "flusher/clickhouse/native.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "event/context.h"
#include "event/lift.h"
#include "flusher/clickhouse/bytes.h"
#include "flusher/clickhouse/columns.h"
#include "flusher/clickhouse/low.h"
#include "flusher/clickhouse/more.h"

/* lb_columns[] */
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
    FIXED,
};

_Static_assert(FIXED == LB_COLUMNS_FIXED, "columns");

/* those behind them */
enum {
    SPAN_ID,
    TRACE_FLAGS,
    SEVERITY,
    EVENT_NAME,
    RESOURCE,
    SCOPE,
    MORE,
};

_Static_assert(MORE == LB_COLUMNS_MORE && 1u << SCOPE == LB_LIFT_SCOPE,
               "LB_LIFT_*");

/* those that are LowCardinality(String) since version 5 */
enum {
    LOW_STREAM,
    LOW_LEVEL,
    LOW_SERVICE,
    LOW_HOST,
    LOW_BROKER,
    LOW_EVENT_NAME,
    LOW,
};

_Static_assert(LB_LOW_ROWS == LB_NATIVE_ROWS, "rows of a block");

typedef struct {
    uint32_t columns; /* LB_LIFT_* */
    lb_low_t *low;    /* LOW of them, or NULL: version 4 */
    lb_bytes_t column[FIXED];
    lb_more_t more[MORE];
    lb_bytes_t header[LB_COLUMNS]; /* what comes before the values */
    size_t rows;
    size_t bytes;
    size_t due; /* rows whose constant columns are not written yet */

    int closed;
    size_t piece; /* of 2 * LB_COLUMNS: header, values, header, ... */
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

    unsigned lift; /* LB_LIFT_*, of the events to come */

    /* of the events to come; all empty in most records */
    lb_context_t context;
    lb_bytes_t rest;  /* of its resource and scope, those without a column, as
                       members of attributes */
    lb_bytes_t event; /* with the context's fields */
} native_t;

/* The lifter's scratch is the room behind the messages.  It unescapes the
 * message first: with a length of two bytes, as most have, it then lies where
 * it belongs. */
#define SCRATCH_AT 2

static inline int
reserve_message(lb_bytes_t *b, size_t event_len, uint8_t **scratch)
{
    if (lb_reserve(b, LB_VARINT_MAX + lb_lift_scratch(event_len)) != 0) {
        return -ENOMEM;
    }

    *scratch = b->data + b->len + SCRATCH_AT;

    return 0;
}

/* Destroys what else is in the scratch. */
static inline void
put_message(lb_bytes_t *b, lb_str_t message)
{
    uint8_t size[LB_VARINT_MAX];
    size_t n = lb_varint(size, message.len);

    if (message.data != b->data + b->len + n) {
        memmove(b->data + b->len + n, message.data, message.len);
    }

    memcpy(b->data + b->len, size, n);
    b->len += n + message.len;
}

static int
put_string_again(lb_bytes_t *b, const char *data, size_t len, size_t n)
{
    uint8_t value[LB_VARINT_MAX + LB_BROKER_MAX];
    size_t used;

    used = lb_varint(value, len);
    memcpy(value + used, data, len);

    return lb_put_again(b, value, used + len, n);
}

static void
native_close(void *arg)
{
    size_t i;
    native_t *n = arg;

    if (n == NULL) {
        return;
    }

    for (i = 0; i < FIXED; i++) {
        free(n->column[i].data);
    }
    for (i = 0; i < MORE; i++) {
        lb_more_free(&n->more[i]);
    }
    for (i = 0; i < LB_COLUMNS; i++) {
        free(n->header[i].data);
    }

    lb_context_free(&n->context);
    free(n->rest.data);
    free(n->event.data);
    free(n->low);
    free(n->broker);
    free(n);
}

static void *
open_4(const char *broker, uint32_t columns)
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
    n->columns = columns & LB_LIFT_ALL;

    return n;
}

static void
reset(native_t *n)
{
    size_t i;

    for (i = 0; i < FIXED; i++) {
        n->column[i].len = 0;
    }
    for (i = 0; i < MORE; i++) {
        lb_more_reset(&n->more[i]);
    }
    for (i = 0; i < LOW && n->low != NULL; i++) {
        lb_low_reset(&n->low[i]);
    }
    for (i = 0; i < LB_COLUMNS; i++) {
        n->header[i].len = 0;
    }

    n->rows = 0;
    n->bytes = 0;
    n->due = 0;
    n->closed = 0;
    n->piece = 0;
    n->taken = 0;
}

static void *
native_open(const char *broker, uint32_t columns)
{
    native_t *n = open_4(broker, columns);

    if (n == NULL) {
        return NULL;
    }

    n->low = calloc(LOW, sizeof(n->low[0]));
    if (n->low == NULL) {
        native_close(n);
        return NULL;
    }

    reset(n);

    return n;
}

/* Does the context say what is in this column, for all of its events? */
static int
of_context(const native_t *n, uint32_t column, lb_str_t value)
{
    return (n->columns & column) != 0 && value.len > 2;
}

/* The resource or scope of the last rows. */
static int
put_value(native_t *n, unsigned column, lb_str_t s, size_t rows)
{
    long added = lb_more_value(&n->more[column], n->rows - rows, rows, s);

    if (added < 0) {
        return -ENOMEM;
    }
    n->bytes += (size_t)added;

    return 0;
}

/* The stream or the broker of the last rows. */
static int
put_shared(native_t *n, unsigned column, unsigned low, const char *data,
           size_t len, size_t rows)
{
    const lb_str_t s = {(const uint8_t *)data, len};

    return n->low != NULL
               ? lb_low_put(&n->low[low], &n->column[column], n->rows - rows,
                            rows, s)
               : put_string_again(&n->column[column], data, len, rows);
}

/* What all events of a record share, for those that were added. */
static int
put_due(native_t *n)
{
    int rc;
    size_t due = n->due;
    uint64_t received = htole64(n->received_us);
    lb_bytes_t *c = n->column;
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

    rc = lb_put_again(&c[RECEIVED_AT], &received, sizeof(received), due);
    rc |= put_shared(n, STREAM, LOW_STREAM, stream, stream_len, due);
    rc |= put_string_again(&c[CLIENT], n->client, n->client_len, due);
    rc |= put_shared(n, BROKER, LOW_BROKER, n->broker, n->broker_len, due);
    rc |= lb_put_again(&c[RING], n->ring, LB_UUID_LEN, due);

    if (of_context(n, LB_LIFT_RESOURCE, n->context.resource)) {
        rc |= put_value(n, RESOURCE, n->context.resource, due);
    }
    if (of_context(n, LB_LIFT_SCOPE, n->context.scope)) {
        rc |= put_value(n, SCOPE, n->context.scope, due);
    }

    return rc != 0 ? -ENOMEM : 0;
}

/* The columns to look for in an event: what its context says goes before what it
 * says itself. */
static unsigned
lifted(const native_t *n)
{
    unsigned more = n->columns;

    if (of_context(n, LB_LIFT_RESOURCE, n->context.resource)) {
        more &= ~LB_LIFT_RESOURCE;
    }
    if (of_context(n, LB_LIFT_SCOPE, n->context.scope)) {
        more &= ~LB_LIFT_SCOPE;
    }

    return more;
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
    n->lift = n->columns;

    return 0;
}

/* ,"name":value, if there is a value */
static int
put_member(lb_bytes_t *b, const char *name, lb_str_t value)
{
    int rc;

    if (value.len <= 2) {
        return 0;
    }

    rc = lb_put_bytes(b, ",\"", 2);
    rc |= lb_put_bytes(b, name, strlen(name));
    rc |= lb_put_bytes(b, "\":", 2);
    rc |= lb_put_bytes(b, value.data, value.len);

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

    if (line->ends) {
        n->lift = lifted(n);
        if ((!(n->columns & LB_LIFT_RESOURCE) &&
             put_member(&n->rest, "resource", n->context.resource) != 0) ||
            (!(n->columns & LB_LIFT_SCOPE) &&
             put_member(&n->rest, "scope", n->context.scope) != 0)) {
            return -ENOMEM;
        }
    }

    return 0;
}

/* Attributes and behind them the resource and the scope of the context. */
static int
put_attributes(native_t *n, lb_str_t attributes)
{
    int rc;
    uint8_t size[LB_VARINT_MAX];
    lb_bytes_t *b = &n->column[ATTRIBUTES];
    const int none = attributes.len <= 2;

    rc = lb_put_bytes(
        b, size,
        lb_varint(size, attributes.len + n->rest.len - (none ? 1 : 0)));
    rc |= lb_put_bytes(b, attributes.data, attributes.len - 1);
    rc |= lb_put_bytes(b, n->rest.data + (none ? 1 : 0),
                       n->rest.len - (none ? 1 : 0));
    rc |= lb_put_bytes(b, "}", 1);

    return rc;
}

/* What the event that was added last has for columns that a table may lack. */
static int
put_more(native_t *n, const lb_fields_t *f)
{
    int rc = 0;
    const size_t row = n->rows - 1;

    if (f->more & LB_LIFT_SPAN_ID) {
        rc |= lb_more_string(&n->more[SPAN_ID], row, f->span_id);
    }
    if (f->more & LB_LIFT_TRACE_FLAGS) {
        rc |= lb_more_byte(&n->more[TRACE_FLAGS], row, f->trace_flags);
    }
    if (f->more & LB_LIFT_EVENT_NAME) {
        rc |=
            n->low != NULL
                ? lb_low_put(&n->low[LOW_EVENT_NAME],
                             &n->more[EVENT_NAME].values, row, 1, f->event_name)
                : lb_more_string(&n->more[EVENT_NAME], row, f->event_name);
    }
    if (f->more & LB_LIFT_RESOURCE) {
        rc |= put_value(n, RESOURCE, f->resource, 1);
    }
    if (f->more & LB_LIFT_SCOPE) {
        rc |= put_value(n, SCOPE, f->scope, 1);
    }

    return rc != 0 ? -ENOMEM : 0;
}

/* What an event has of its own in a column of few values. */
static inline int
put_own(native_t *n, unsigned column, unsigned low, lb_str_t s)
{
    return n->low != NULL
               ? lb_low_put(&n->low[low], &n->column[column], n->rows, 1, s)
               : lb_put_string(&n->column[column], s.data, s.len);
}

static int
native_add(void *arg, const uint8_t *event, size_t len, uint64_t seq)
{
    int rc;
    uint8_t *scratch;
    native_t *n = arg;
    lb_bytes_t *c = n->column;
    lb_fields_t f;
    const int context = n->context.len > 0;

    if (context && n->context.fields.len > 2) {
        n->event.len = 0;
        if (lb_reserve(&n->event, len + n->context.fields.len) != 0) {
            return -ENOMEM;
        }
        len = lb_context_event(&n->context, event, len, n->event.data);
        event = n->event.data;
    }

    if (reserve_message(&c[MESSAGE], len, &scratch) != 0) {
        return -ENOMEM;
    }

    lb_lift(event, len, n->received_us, n->lift, scratch, &f);

    if (context) {
        f.service = f.service.len > 0 ? f.service : n->context.service;
        f.host = f.host.len > 0 ? f.host : n->context.host;
    }

    rc = lb_put_u64(&c[TIMESTAMP], (uint64_t)f.timestamp_ns);
    rc |= put_own(n, LEVEL, LOW_LEVEL, f.level);
    rc |= put_own(n, SERVICE, LOW_SERVICE, f.service);
    rc |= put_own(n, HOST, LOW_HOST, f.host);
    rc |= lb_put_string(&c[TRACE_ID], f.trace_id.data, f.trace_id.len);
    rc |= n->rest.len > 0 ? put_attributes(n, f.attributes)
                          : lb_put_string(&c[ATTRIBUTES], f.attributes.data,
                                          f.attributes.len);
    rc |= lb_put_u64(&c[SEQ], seq);

    if (n->columns & LB_LIFT_SEVERITY) {
        rc |= lb_put_byte(&n->more[SEVERITY].values, f.severity_number);
    }

    if (rc != 0) {
        return -ENOMEM;
    }

    put_message(&c[MESSAGE], f.message);

    n->due++;
    n->rows++;
    n->bytes += len + n->rest.len;

    return (f.more & ~LB_LIFT_SEVERITY) != 0 ? put_more(n, &f) : 0;
}

static int
native_full(const void *arg)
{
    const native_t *n = arg;

    return n->rows >= LB_NATIVE_ROWS || n->bytes >= LB_NATIVE_BYTES;
}

/* The index of a column that is LowCardinality(String) since version 5 in low, or
 * LOW: it is none. */
static unsigned
low_of(size_t column)
{
    switch (column) {
    case STREAM:
        return LOW_STREAM;
    case LEVEL:
        return LOW_LEVEL;
    case SERVICE:
        return LOW_SERVICE;
    case HOST:
        return LOW_HOST;
    case BROKER:
        return LOW_BROKER;
    case FIXED + EVENT_NAME:
        return LOW_EVENT_NAME;
    default:
        return LOW;
    }
}

static lb_bytes_t *
values_of(native_t *n, size_t column)
{
    return column < FIXED ? &n->column[column]
                          : &n->more[column - FIXED].values;
}

/* Name and type of a column, and what else comes before its values. */
static int
put_header(native_t *n, size_t i)
{
    lb_bytes_t *h = &n->header[i];
    const lb_column_t *c = &lb_columns[i];
    const unsigned low = low_of(i);
    const char *type = low != LOW && n->low == NULL ? "String" : c->type;

    h->len = 0;

    if (i == 0) {
        if (lb_reserve(h, 2 * LB_VARINT_MAX) != 0) {
            return -ENOMEM;
        }
        h->len += lb_varint(h->data,
                            FIXED + (unsigned)__builtin_popcount(n->columns));
        h->len += lb_varint(h->data + h->len, n->rows);
    }

    if (lb_put_string(h, c->name, strlen(c->name)) != 0 ||
        lb_put_string(h, type, strlen(type)) != 0) {
        return -ENOMEM;
    }

    if (low != LOW && n->low != NULL) {
        return lb_low_end(&n->low[low], values_of(n, i), n->rows, h);
    }

    switch (i) {
    case FIXED + SPAN_ID:
    case FIXED + TRACE_FLAGS:
    case FIXED + EVENT_NAME:
        return lb_more_end(&n->more[i - FIXED], n->rows);
    case FIXED + RESOURCE:
    case FIXED + SCOPE:
        return lb_more_end_values(&n->more[i - FIXED], n->rows, h);
    default:
        return 0;
    }
}

static int
native_end(void *arg)
{
    size_t i;
    native_t *n = arg;

    if (n->rows == 0) {
        return 0;
    }

    if (put_due(n) != 0) {
        return -ENOMEM;
    }

    for (i = 0; i < LB_COLUMNS; i++) {
        if (lb_columns_has(n->columns, i) && put_header(n, i) != 0) {
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
    size_t done = 0, k, column;
    native_t *n = arg;
    const lb_bytes_t *b;

    if (!n->closed) {
        return 0;
    }

    while (done < size && n->piece < 2 * LB_COLUMNS) {

        column = n->piece / 2;
        b = n->piece % 2 == 0 ? &n->header[column] : values_of(n, column);

        k = b->len - n->taken;
        if (k > size - done) {
            k = size - done;
        }

        if (k > 0) { /* a column the table has not: no bytes at all */
            memcpy((uint8_t *)buf + done, b->data + n->taken, k);
            done += k;
            n->taken += k;
        }

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
    LB_NATIVE_VERSION, LB_LIFT_ALL, native_open, native_close, native_record,
    native_context,    native_add,  native_full, native_end,   native_take,
};

const lb_encoder_t lb_native_encoder_4 = {
    4,
    LB_LIFT_ALL,
    open_4,
    native_close,
    native_record,
    native_context,
    native_add,
    native_full,
    native_end,
    native_take,
};
