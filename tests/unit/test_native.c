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

#include "flusher/clickhouse/native.h"
#include "spool/lb_crc32c.h"

static const lb_encoder_t *const enc = &lb_native_encoder;

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
    void *e = enc->open("node-1");
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
    string(&p, "stream");
    string(&p, "String");
    string(&p, "one");
    string(&p, "two");
    string(&p, "level");
    string(&p, "String");
    string(&p, "error");
    string(&p, "");
    string(&p, "service");
    string(&p, "String");
    string(&p, "");
    string(&p, "");
    string(&p, "host");
    string(&p, "String");
    string(&p, "");
    string(&p, "h");
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
    string(&p, "broker");
    string(&p, "String");
    string(&p, "node-1");
    string(&p, "node-1");
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
    void *e = enc->open("b");
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
    e = enc->open("b");
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

    assert_int_equal(enc->version, 4);

    for (i = 0; i < 2; i++) {
        e = enc->open("broker");
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
    assert_int_equal(len[0], 154255u);
    assert_int_equal(crc[0], 0xde8bc547u);
}

static void
names(void **state)
{
    char structure[512], list[512] = "", *p;
    size_t n = 0;

    (void)state;

    /* "name Type,name Type(9, 'UTC'),...": the same names in the same order */
    lb_native_structure(structure, sizeof(structure));
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
    assert_string_equal(list, lb_native_columns);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block),
        cmocka_unit_test(ends),
        cmocka_unit_test(bytes_of_a_version),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
