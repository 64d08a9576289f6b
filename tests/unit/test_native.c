/*
 * The Native encoder: what a block says, where it ends, and that the bytes of a
 * version stay as they are.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "event/lift.h"
#include "flusher/clickhouse/columns.h"
#include "flusher/clickhouse/native.h"
#include "spool/lb_crc32c.h"

/* the newest, or an older one */
static const lb_encoder_t *enc = &lb_native_encoder;

#define NEWEST (enc->version >= 5)

static const uint8_t ring[LB_UUID_LEN] = {0, 1, 2,  3,  4,  5,  6,  7,
                                          8, 9, 10, 11, 12, 13, 14, 15};

static lb_record_t
record(const char *stream, const uint8_t *client, size_t client_len)
{
    lb_record_t r;

    memset(&r, 0, sizeof(r));
    r.received_us = 1700000000123456u;
    r.stream_len = (uint32_t)strlen(stream);
    memcpy(r.stream, stream, strlen(stream));
    r.client_len = (uint32_t)client_len;
    memcpy(r.client, client, client_len);

    return r;
}

/* Takes the block out, size bytes at a time; its length. */
static size_t
take(void *e, size_t size, uint8_t *out, size_t room)
{
    size_t n, len = 0;

    while ((n = enc->take(e, out + len,
                          size < room - len ? size : room - len)) > 0) {
        len += n;
        assert_true(len < room);
    }

    return len;
}

static uint64_t
varint(const uint8_t **p)
{
    int shift = 0;
    uint64_t v = 0;

    do {
        v |= (uint64_t)(**p & 0x7f) << shift;
        shift += 7;
    } while (*(*p)++ & 0x80);

    return v;
}

static void
string(const uint8_t **p, const char *wanted)
{
    uint64_t n = varint(p);

    assert_int_equal(n, strlen(wanted));
    assert_memory_equal(*p, wanted, n);
    *p += n;
}

static void
number(const uint8_t **p, uint64_t wanted)
{
    int i;
    uint64_t v = 0;

    for (i = 0; i < 8; i++) {
        v |= (uint64_t) * (*p)++ << 8 * i;
    }
    assert_int_equal(v, wanted);
}

static void
byte(const uint8_t **p, uint8_t wanted)
{
    assert_int_equal(*(*p)++, wanted);
}

/* A LowCardinality(String): its values, and each row's place among them. */
static void
dictionary(const uint8_t **p, const char *const *values, size_t n,
           const uint8_t *places, size_t rows, int two)
{
    size_t i;

    string(p, "LowCardinality(String)");
    number(p, 1);
    number(p, two ? 0x601 : 0x600);
    number(p, n);
    for (i = 0; i < n; i++) {
        string(p, values[i]);
    }
    number(p, rows);
    for (i = 0; i < rows; i++) {
        byte(p, places[i]);
        if (two) {
            byte(p, 0);
        }
    }
}

/* A column of few values: the n that are not empty, and the places, as they are
 * in the newest version; Strings before it. */
static void
few(const uint8_t **p, const char *name, size_t n, const char *const *values,
    size_t rows, const uint8_t *places)
{
    size_t i;
    const char *all[8] = {""};

    assert_true(n < 8);
    for (i = 0; i < n; i++) {
        all[i + 1] = values[i];
    }

    string(p, name);
    if (NEWEST) {
        dictionary(p, all, n + 1, places, rows, 0);
        return;
    }

    string(p, "String");
    for (i = 0; i < rows; i++) {
        string(p, all[places[i]]);
    }
}

static void
add(void *e, const char *event, uint64_t seq)
{
    assert_int_equal(enc->full(e), 0);
    assert_int_equal(enc->add(e, (const uint8_t *)event, strlen(event), seq),
                     0);
}

/* Two records of one block, read again by hand. */
static void
a_block(void **state)
{
    void *e = enc->open("node-1", 0);
    size_t len;
    const uint8_t *p;
    lb_record_t r;
    static uint8_t out[65536];
    static const uint8_t four[4] = {192, 0, 2, 7};
    static const uint8_t six[16] = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0,
                                    0,    0, 0,   0,    0, 0, 0, 9};

    (void)state;

    assert_non_null(e);
    r = record("one", four, 4);
    assert_int_equal(enc->record(e, ring, &r), 0);
    add(e,
        "{\"timestamp\":\"2024-05-17T10:05:03Z\",\"level\":\"error\","
        "\"message\":\"a\\tb\",\"n\":1}",
        7);
    r = record("two", six, 16);
    assert_int_equal(enc->record(e, ring, &r), 0);
    add(e, "{\"host\":\"h\"}", 8);
    assert_int_equal(enc->end(e), 0);
    len = take(e, sizeof(out), out, sizeof(out));

    p = out;
    assert_int_equal(varint(&p), 13);
    assert_int_equal(varint(&p), 2);
    string(&p, "timestamp");
    string(&p, "DateTime64(9, 'UTC')");
    number(&p, 1715940303000000000u);
    number(&p, 1700000000123456000u);
    string(&p, "received_at");
    string(&p, "DateTime64(6, 'UTC')");
    number(&p, 1700000000123456u);
    number(&p, 1700000000123456u);
    few(&p, "stream", 2, (const char *[]){"one", "two"}, 2,
        (const uint8_t[]){1, 2});
    few(&p, "level", 1, (const char *[]){"error"}, 2, (const uint8_t[]){1, 0});
    few(&p, "service", 0, NULL, 2, (const uint8_t[]){0, 0});
    few(&p, "host", 1, (const char *[]){"h"}, 2, (const uint8_t[]){0, 1});
    string(&p, "message");
    string(&p, "String");
    string(&p, "a\tb");
    string(&p, "");
    string(&p, "trace_id");
    string(&p, "String");
    string(&p, "");
    string(&p, "");
    string(&p, "attributes");
    string(&p, "String");
    string(&p, "{\"n\":1}");
    string(&p, "{}");
    string(&p, "client");
    string(&p, "String");
    string(&p, "192.0.2.7");
    string(&p, "2001:db8::9");
    few(&p, "broker", 1, (const char *[]){"node-1"}, 2,
        (const uint8_t[]){1, 1});
    string(&p, "ring");
    string(&p, "UUID");
    number(&p, 0x0001020304050607u);
    number(&p, 0x08090a0b0c0d0e0fu);
    number(&p, 0x0001020304050607u);
    number(&p, 0x08090a0b0c0d0e0fu);
    string(&p, "seq");
    string(&p, "UInt64");
    number(&p, 7);
    number(&p, 8);
    assert_int_equal(p - out, len);

    /* nothing of it is left for the next one, and none without rows */
    assert_int_equal(enc->end(e), 0);
    assert_int_equal(take(e, 100, out, sizeof(out)), 0);
    enc->close(e);
}

/* Where a block ends is a part of the encoding. */
static void
ends(void **state)
{
    uint64_t seq, n;
    void *e = enc->open("b", 0);
    lb_record_t r = record("s", ring, 4);
    static char big[1 << 18];

    (void)state;

    assert_int_equal(enc->record(e, ring, &r), 0);
    for (seq = 0; !enc->full(e); seq++) {
        add(e, "{}", seq);
    }
    assert_int_equal(seq, 8192);
    enc->close(e);

    /* a quarter of a MiB of text each: four are enough */
    memset(big, 'x', sizeof(big));
    memcpy(big, "{\"message\":\"", 12);
    memcpy(big + sizeof(big) - 2, "\"}", 2);
    e = enc->open("b", 0);
    assert_int_equal(enc->record(e, ring, &r), 0);
    for (n = 0; !enc->full(e); n++) {
        assert_int_equal(enc->add(e, (const uint8_t *)big, sizeof(big), n), 0);
    }
    assert_int_equal(n, 4);
    enc->close(e);
}

/* A batch in flight is made again by whatever release comes next: the bytes of
 * a version never change.  If this fails, what was changed needs a version of
 * its own; or, while no release has this one, other numbers here. */
static void
bytes_of_a_version(void **state)
{
    int i, size;
    const int newest = NEWEST;
    size_t k, len[2];
    uint32_t crc[2];
    uint64_t seq;
    void *e;
    lb_record_t r = record("default", ring, 4);
    static uint8_t out[1 << 20];

    /* what event/ lifts, in one of each kind */
    static const char *const others[] = {
        "{\"@timestamp\":\"2026-03-04T05:06:07.123Z\",\"log\":{\"level\":"
        "\"ERROR\","
        "\"logger\":\"a\"},\"message\":\"m\",\"service\":{\"name\":\"pay\"},"
        "\"host\":"
        "{\"name\":\"h\"},\"trace\":{\"id\":\"abc\"}}",
        "{\"level\":30,\"time\":1700000000123,\"pid\":1,\"hostname\":\"h\","
        "\"name\":\"svc\",\"msg\":\"m\"}",
        "{\"__REALTIME_TIMESTAMP\":\"1700000000123456\",\"PRIORITY\":\"3\","
        "\"MESSAGE\":[72,105,200]}",
        "{\"time_local\":\"04/Mar/2026:05:06:07 +0300\",\"message\":{\"a\":1},"
        "\"SeverityNumber\":17,\"traceparent\":"
        "\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"}",
        "{\"fields\":{\"message\":\"m\",\"x\":1},\"level\":\"debug2\",\"date\":"
        "1.700000000123e9}",
        "{\"t\":{\"$date\":\"Wed, 04 Mar 2026 05:06:07 "
        "GMT\"},\"s\":\"W\",\"msg\":"
        "7}",
    };

    (void)state;

    assert_int_equal(enc->version, newest ? 5 : 4);
    assert_int_equal(lb_native_encoder.version, LB_NATIVE_VERSION);

    for (i = 0; i < 2; i++) {
        e = enc->open("broker", 0);
        assert_int_equal(enc->record(e, ring, &r), 0);
        for (seq = 0; seq < 1000; seq++) {
            char event[256];

            (void)snprintf(event, sizeof(event),
                           "{\"ts\":%llu.25,\"severity\":\"WARNING\",\"msg\":"
                           "\"line %llu of \\u00e4\",\"trace_id\":\"t%llu\","
                           "\"deep\":{\"a\":[1,2,{\"b\":null}]},\"k\":%llu}",
                           1700000000ull + (unsigned long long)seq,
                           (unsigned long long)seq, (unsigned long long)seq,
                           (unsigned long long)seq * seq);
            add(e, event, seq);
        }
        for (k = 0; k < sizeof(others) / sizeof(others[0]); k++) {
            add(e, others[k], seq++);
        }
        assert_int_equal(enc->end(e), 0);
        size = i == 0 ? 7 : 1 << 20;
        len[i] = take(e, (size_t)size, out, sizeof(out));
        crc[i] = lb_crc32c(0, out, len[i]);
        enc->close(e);
    }

    /* however it is taken out */
    assert_int_equal(len[0], len[1]);
    assert_int_equal(crc[0], crc[1]);
    assert_int_equal(len[0], newest ? 137433u : 154255u);
    assert_int_equal(crc[0], newest ? 0xfd2d579cu : 0xde8bc547u);
}

static void
context(void *e, const char *line)
{
    lb_line_t l = {.data = (const uint8_t *)line,
                   .len = strlen(line),
                   .begins = 1,
                   .ends = 1,
                   .context = 1};

    assert_int_equal(enc->context(e, &l), 0);
}

/* Past the columns that every table has, to the name behind them. */
static const uint8_t *
past(const uint8_t *p, const uint8_t *end, const char *name)
{
    const size_t len = strlen(name);

    for (; (size_t)(end - p) > len + 1; p++) {
        if (p[0] == len && memcmp(p + 1, name, len) == 0) {
            return p;
        }
    }
    fail_msg("no column %s", name);

    return NULL;
}

/* Columns that a table may lack, read again by hand. */
static void
more_columns(void **state)
{
    int i;
    void *e = enc->open("b", LB_LIFT_ALL);
    size_t len;
    const uint8_t *p;
    lb_record_t r = record("s", ring, 4);
    static uint8_t out[65536];
    static const char *const resources[] = {"", "{\"own\":1}",
                                            "{\"service.name\":\"a\"}"};
    static const char *const scopes[] = {"", "{\"name\":\"l\"}"};

    (void)state;

    /* the second block is made like the first */
    for (i = 0; i < 2; i++) {
        assert_int_equal(enc->record(e, ring, &r), 0);
        add(e, "{}", 0);
        add(e,
            "{\"span_id\":\"s1\",\"flags\":1,\"level\":\"warn\",\"resource\":"
            "{\"own\":1}}",
            1);
        add(e, "{\"event_name\":\"e\",\"severity_number\":24}", 2);
        context(e, "\x01{\"resource\":{\"service.name\":\"a\"},\"scope\":{"
                   "\"name\":\"l\"}}");
        add(e, "{\"span_id\":\"s2\",\"n\":1}", 3);
        /* what the context says goes before what the event says */
        add(e, "{\"resource\":{\"own\":2},\"scope\":{}}", 4);
        context(e, "\x01{\"resource\":{\"service.name\":\"a\"}}");
        add(e, "{}", 5);
        assert_int_equal(enc->record(e, ring, &r), 0);
        add(e, "{}", 6);
        assert_int_equal(enc->end(e), 0);
        len = take(e, 11, out, sizeof(out));

        p = out;
        assert_int_equal(varint(&p), 19);
        assert_int_equal(varint(&p), 7);
        p = past(out, out + len, "attributes");
        string(&p, "attributes");
        string(&p, "String");
        string(&p, "{}");
        string(&p, "{}");
        string(&p, "{}");
        string(&p, "{\"n\":1}");
        string(&p, "{\"resource\":{\"own\":2},\"scope\":{}}");
        string(&p, "{}");
        string(&p, "{}");
        p = past(out, out + len, "span_id");
        string(&p, "span_id");
        string(&p, "String");
        string(&p, "");
        string(&p, "s1");
        string(&p, "");
        string(&p, "s2");
        string(&p, "");
        string(&p, "");
        string(&p, "");
        string(&p, "trace_flags");
        string(&p, "UInt8");
        assert_memory_equal(p, "\0\1\0\0\0\0\0", 7);
        p += 7;
        string(&p, "severity_number");
        string(&p, "UInt8");
        assert_memory_equal(p, "\0\15\30\0\0\0\0", 7);
        p += 7;
        few(&p, "event_name", 1, (const char *[]){"e"}, 7,
            (const uint8_t[]){0, 0, 1, 0, 0, 0, 0});
        string(&p, "resource");
        dictionary(&p, resources, 3, (const uint8_t[]){0, 1, 0, 2, 2, 2, 0}, 7,
                   1);
        string(&p, "scope");
        dictionary(&p, scopes, 2, (const uint8_t[]){0, 0, 0, 1, 1, 0, 0}, 7, 1);
        assert_int_equal(p - out, len);
    }
    enc->close(e);

    /* none of them: what is in them is in attributes, as it always was */
    e = enc->open("b", 0);
    assert_int_equal(enc->record(e, ring, &r), 0);
    context(e, "\x01{\"resource\":{\"x\":1},\"scope\":{\"name\":\"l\"}}");
    add(e, "{\"span_id\":\"s\",\"severity_number\":24}", 1);
    assert_int_equal(enc->end(e), 0);
    len = take(e, 4096, out, sizeof(out));
    p = past(out, out + len, "attributes");
    string(&p, "attributes");
    string(&p, "String");
    string(&p,
           "{\"span_id\":\"s\",\"severity_number\":24,\"resource\":{\"x\":1},"
           "\"scope\":{\"name\":\"l\"}}");
    enc->close(e);

    /* one of each */
    for (i = 0; i < 64; i++) {
        e = enc->open("b", (uint32_t)i);
        assert_int_equal(enc->record(e, ring, &r), 0);
        add(e, "{\"span_id\":\"s\",\"resource\":{\"a\":1}}", 1);
        assert_int_equal(enc->end(e), 0);
        len = take(e, 4096, out, sizeof(out));
        p = out;
        assert_int_equal(varint(&p), 13 + __builtin_popcount((unsigned)i));
        p = past(out, out + len, "attributes");
        string(&p, "attributes");
        string(&p, "String");
        string(&p, (i & 17) == 0 ? "{\"span_id\":\"s\",\"resource\":{\"a\":1}}"
                   : (i & 17) == 1  ? "{\"resource\":{\"a\":1}}"
                   : (i & 17) == 16 ? "{\"span_id\":\"s\"}"
                                    : "{}");
        enc->close(e);
    }
}

/* What a column of the table can take. */
static void
types(void **state)
{
    size_t i;
    static const struct {
        size_t column;
        const char *type;
        int takes;
    } cases[] = {
        {13, "String", 1},
        {13, "LowCardinality(String)", 1},
        {13, "LowCardinality(Nullable(String))", 1},
        {13, "Nullable(String)", 1},
        {13, "FixedString(16)", 0},
        {13, "UUID", 0},
        {13, "UInt64", 0},
        {14, "UInt8", 1},
        {14, "Nullable(UInt64)", 1},
        {14, "Int8", 0},
        {14, "UInt8x", 0},
        {14, "String", 0},
        {15, "LowCardinality(UInt16)", 1},
        {15, "Enum8('a' = 1)", 0},
        {17, "String", 1},
        {17, "LowCardinality(String)", 1},
        {17, "JSON", 0},
        {17, "Map(String, String)", 0},
        {18, "Array(String)", 0},
        {18, "", 0},
    };

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (lb_columns_takes(&lb_columns[cases[i].column], cases[i].type,
                             strlen(cases[i].type)) != cases[i].takes) {
            fail_msg("%s of %s", cases[i].type,
                     lb_columns[cases[i].column].name);
        }
    }
}

static void
names(void **state)
{
    char structure[LB_COLUMNS_TEXT], names[LB_COLUMNS_TEXT],
        list[LB_COLUMNS_TEXT], *p;
    size_t n;
    uint32_t columns;

    (void)state;

    /* "name Type,name Type(9, 'UTC'),...": the same names in the same order */
    for (columns = 0; columns <= LB_LIFT_ALL; columns++) {
        n = 0;
        lb_columns_structure(columns, structure);
        for (p = structure; p != NULL; p = strchr(p, ' ')) {
            if (p != structure) {
                p = strpbrk(p, ",(");
                p = p != NULL && *p == '(' ? strchr(p, ')') : p;
                p = p != NULL ? strchr(p, ',') : NULL;
                if (p == NULL) {
                    break;
                }
                p++;
            }
            n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%.*s",
                                  n > 0 ? "," : "", (int)strcspn(p, " "), p);
        }
        lb_columns_names(columns, names);
        assert_string_equal(list, names);
    }
}

static int
version_4(void **state)
{
    (void)state;
    enc = &lb_native_encoder_4;

    return 0;
}

static int
version_5(void **state)
{
    (void)state;
    enc = &lb_native_encoder;

    return 0;
}

#define OF_BOTH(test)                                                          \
    cmocka_unit_test_setup(test, version_4),                                   \
        cmocka_unit_test_setup(test, version_5)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        OF_BOTH(a_block),
        OF_BOTH(ends),
        OF_BOTH(bytes_of_a_version),
        OF_BOTH(more_columns),
        cmocka_unit_test(types),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
