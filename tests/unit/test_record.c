/*
 * CRC-32C and record headers.
 */

#include "spool_env.h"

uint32_t lb_crc32c_portable(uint32_t crc, const void *data, size_t len);
const char *lb_crc32c_way(void);

/* RFC 3720, appendix B.4 */
static void
crc_vectors(void **state)
{
    size_t i;
    uint8_t buf[32];

    (void)state;

    assert_int_equal(lb_crc32c(0, "123456789", 9), 0xe3069283u);

    memset(buf, 0, sizeof(buf));
    assert_int_equal(lb_crc32c(0, buf, 32), 0x8a9136aau);
    memset(buf, 0xff, sizeof(buf));
    assert_int_equal(lb_crc32c(0, buf, 32), 0x62a8ab43u);
    for (i = 0; i < 32; i++) {
        buf[i] = (uint8_t)i;
    }
    assert_int_equal(lb_crc32c(0, buf, 32), 0x46dd794eu);
    assert_int_equal(lb_crc32c_portable(0, buf, 32), 0x46dd794eu);

    /* for tests/portability/run.sh */
    printf("CRC-32C: %s\n", lb_crc32c_way());
}

/* Every length around the boundaries of the interleaved streams, every
 * alignment, and split in two: the same from both paths. */
static void
crc_paths_agree(void **state)
{
    size_t len, at, split;
    uint8_t *buf;
    uint32_t crc;
    static const size_t around[] = {0,    1,    7,     8,     9,    767,
                                    768,  769,  6143,  6144,  6145, 6912,
                                    6913, 9999, 12287, 12288, 20000};

    (void)state;

    buf = malloc(20016);
    assert_non_null(buf);
    for (len = 0; len < 20016; len++) {
        buf[len] = (uint8_t)(len * 2654435761u >> 13);
    }

    for (size_t i = 0; i < sizeof(around) / sizeof(around[0]); i++) {
        for (at = 0; at < 9; at++) {
            len = around[i];
            crc = lb_crc32c_portable(0, buf + at, len);
            assert_int_equal(lb_crc32c(0, buf + at, len), crc);
            split = len / 3;
            assert_int_equal(lb_crc32c(lb_crc32c(0, buf + at, split),
                                       buf + at + split, len - split),
                             crc);
        }
    }

    free(buf);
}

static const uint8_t ring[LB_UUID_LEN] = "ring-0123456789";

static size_t
encode_with(uint8_t *buf, const uint8_t *key)
{
    lb_meta_t meta = {1700000000000000u,
                      (const uint8_t *)"nginx.access",
                      12,
                      (const uint8_t *)"\x7f\0\0\1",
                      4,
                      key,
                      0,
                      LB_KEY_DIGEST};

    return lb_record_encode(buf, &meta, 4096, 77, 3, ring, 1000, 0xabcdef01u,
                            5);
}

static size_t
encode(uint8_t *buf)
{
    return encode_with(buf, NULL);
}

static void
record_with_a_key(void **state)
{
    size_t len;
    uint8_t buf[LB_RECORD_HEADER_MAX];
    lb_record_t r;

    (void)state;

    len = encode_with(buf, (const uint8_t *)"sixteen bytes...");

    assert_int_equal(len, 112);
    assert_int_equal(lb_record_probe(buf), 112);
    assert_int_equal(lb_record_decode(buf, len, 4096, ring, &r), 0);
    assert_string_equal(r.stream, "nginx.access");
    assert_int_equal(r.payload, 4096 + 112);
    assert_int_equal(r.key_len, LB_KEY_LEN);
    assert_memory_equal(r.key, "sixteen bytes...", LB_KEY_LEN);
    assert_int_equal(r.key_kind, LB_KEY_DIGEST);

    /* any other length is no header */
    buf[53] = 8;
    assert_int_equal(lb_record_probe(buf), 0);
}

static void
record_round_trip(void **state)
{
    size_t len;
    uint8_t buf[LB_RECORD_HEADER_MAX];
    lb_record_t r;

    (void)state;

    len = encode(buf);

    assert_int_equal(len, 96);
    assert_int_equal(lb_record_probe(buf), 96);
    assert_int_equal(lb_record_decode(buf, len, 4096, ring, &r), 0);
    assert_int_equal(r.position, 4096);
    assert_int_equal(r.first_seq, 77);
    assert_int_equal(r.events, 5);
    assert_int_equal(r.epoch, 3);
    assert_int_equal(r.payload, 4096 + 96);
    assert_int_equal(r.payload_len, 1000);
    assert_int_equal(r.next, 4096 + 96 + 1000);
    assert_int_equal(r.received_us, 1700000000000000u);
    assert_string_equal(r.stream, "nginx.access");
    assert_int_equal(r.client_len, 4);
    assert_memory_equal(r.client, "\x7f\0\0\1", 4);
    assert_int_equal(r.key_len, 0);
    assert_int_equal(buf[54], 0);
}

static void
every_bit_of_a_header_counts(void **state)
{
    size_t len, i, probe;
    uint8_t buf[LB_RECORD_HEADER_MAX];
    lb_record_t r;

    (void)state;

    len = encode(buf);

    for (i = 0; i < len * 8; i++) {
        buf[i / 8] ^= (uint8_t)(1u << i % 8);

        probe = lb_record_probe(buf);
        if (probe != 0) {
            assert_true(probe <= sizeof(buf));
            assert_int_not_equal(lb_record_decode(buf, probe, 4096, ring, &r),
                                 0);
        }

        buf[i / 8] ^= (uint8_t)(1u << i % 8);
    }

    assert_int_equal(lb_record_decode(buf, len, 4096, ring, &r), 0);
}

static void
leftovers_are_told_apart(void **state)
{
    size_t len;
    uint8_t buf[LB_RECORD_HEADER_MAX], other[LB_UUID_LEN] = "another";
    lb_record_t r;

    (void)state;

    len = encode(buf);

    /* an earlier lap, another ring */
    assert_int_equal(lb_record_decode(buf, len, 8192, ring, &r), LB_ECORRUPT);
    assert_int_equal(lb_record_decode(buf, len, 4096, other, &r), LB_ECORRUPT);
}

static void
uuid_text(void **state)
{
    char text[LB_UUID_TEXT];
    uint8_t a[LB_UUID_LEN], b[LB_UUID_LEN];

    (void)state;

    lb_uuid_new(a);
    lb_uuid_format(a, text);
    assert_int_equal(strlen(text), 36);
    assert_int_equal(lb_uuid_parse(text, b), 0);
    assert_memory_equal(a, b, LB_UUID_LEN);

    assert_int_not_equal(lb_uuid_parse("", b), 0);
    text[35] = 'g';
    assert_int_not_equal(lb_uuid_parse(text, b), 0);
    text[35] = '\0';
    assert_int_not_equal(lb_uuid_parse(text, b), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc_vectors),
        cmocka_unit_test(crc_paths_agree),
        cmocka_unit_test(record_round_trip),
        cmocka_unit_test(record_with_a_key),
        cmocka_unit_test(every_bit_of_a_header_counts),
        cmocka_unit_test(leftovers_are_told_apart),
        cmocka_unit_test(uuid_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
