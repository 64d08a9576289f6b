/*
 * Fuzzer of the content codings of the module.  The first byte chooses the
 * row, the second one the limit.  Whatever the body is: no more than the limit
 * comes out, the room for it stays below what the limit allows, the same body
 * gives the same bytes from a decoder that has seen another one, and what zlib
 * alone takes for gzip is that to both decoders of it.  (They take a little
 * more, under a checksum that holds: libdeflate knows lengths that nobody
 * writes.)
 */

#include "event/inflate.h"
#include "ngx_logbroker_module/ngx_http_logbroker_decode.h"
#include "ngx_logbroker_module/ngx_http_logbroker_reason.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "tests/fuzz/check.h"

/* What decode.c wants of nginx itself. */

ngx_int_t
ngx_strncasecmp(u_char *s1, u_char *s2, size_t n)
{
    return strncasecmp((char *)s1, (char *)s2, n);
}

u_char *
ngx_slprintf(u_char *buf, u_char *last, const char *fmt, ...)
{
    (void)last;
    (void)fmt;
    return buf;
}

static const char *const names[] = {"gzip", "deflate", "zstd", "snappy", "lz4"};

static ngx_uint_t
decode(ngx_http_logbroker_codec_t *codec, const char *name, const uint8_t *in,
       size_t len, size_t limit, ngx_http_logbroker_mem_t *out)
{
    ngx_int_t row = ngx_http_logbroker_coding((u_char *)name, strlen(name));
    char *error = NULL;
    ngx_uint_t reason;
    /* of exactly this size, so that a sanitizer sees the byte behind */
    uint8_t *copy = malloc(len > 0 ? len : 1);

    CHECK(row > 0 && copy != NULL, "no such coding");
    memcpy(copy, in, len);
    reason = ngx_http_logbroker_decode(codec, (ngx_uint_t)row, copy, len, limit,
                                       out, &error);
    free(copy);

    CHECK(reason == 0 || error != NULL, "no words for an error");
    CHECK(reason == 0 || reason == NGX_HTTP_LOGBROKER_CORRUPT ||
              reason == NGX_HTTP_LOGBROKER_BODY_TOO_BIG,
          "an odd reason");
    CHECK(reason != 0 || out->len <= limit, "more than the limit came out");
    CHECK(out->size <= 2 * limit + 1, "more memory than the limit needs");
    return reason;
}

/* Member by member by zlib: is it gzip to the end, of at most limit bytes?
 * padding: what does not begin as a member behind the first one is none. */
static int
reference(const uint8_t *in, size_t len, size_t limit, int padding,
          uint8_t *out, size_t *out_len)
{
    z_stream z = {0};
    int rc = Z_OK;

    CHECK(inflateInit2(&z, MAX_WBITS + 16) == Z_OK, "no memory");
    z.next_in = (Bytef *)(uintptr_t)in;
    z.avail_in = (uInt)len;
    z.next_out = out;
    z.avail_out = (uInt)limit + 1;
    while (rc == Z_OK) {
        rc = inflate(&z, Z_NO_FLUSH);
        if (rc == Z_STREAM_END && z.avail_in > 0 &&
            (!padding || (z.avail_in > 1 && z.next_in[0] == 0x1f &&
                          z.next_in[1] == 0x8b))) {
            rc = inflateReset(&z);
        }
    }
    *out_len = limit + 1 - z.avail_out;
    inflateEnd(&z);
    return rc == Z_STREAM_END && *out_len <= limit;
}

static void
compare(const uint8_t *in, size_t len, size_t limit, ngx_uint_t reason,
        const ngx_http_logbroker_mem_t *body)
{
    uint8_t *out = malloc(limit + 1), *inner = NULL;
    size_t n;
    int good;

    CHECK(out != NULL, "no memory");
    good = reference(in, len, limit, 0, out, &n);
    CHECK(!good || reason == 0, "zlib takes this gzip");
    CHECK(!good || (n == body->len && memcmp(out, body->data, n) == 0),
          "zlib makes something else of gzip");

    if (len >= 2 && in[0] == 0x1f) {
        lb_scan_status_t rc = lb_inflate(in, len, limit, &inner, &n);
        size_t m;

        good = reference(in, len, limit, 1, out, &m);
        CHECK(!good || rc == LB_SCAN_OK, "zlib takes this gzip, inside");
        CHECK(!good || (n == m && memcmp(out, inner, n) == 0),
              "zlib makes something else, inside");
    }
    free(inner);
    free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ngx_http_logbroker_codec_t codec = {0};
    ngx_http_logbroker_mem_t first = {0}, second = {0};
    const char *name;
    size_t limit;
    ngx_uint_t reason;

    if (size < 2) {
        return 0;
    }
    name = names[data[0] % (sizeof(names) / sizeof(names[0]))];
    limit = (size_t)(data[1] + 1) * 1024;

    reason = decode(&codec, name, data + 2, size - 2, limit, &first);
    if (strcmp(name, "gzip") == 0 && size > 2) {
        compare(data + 2, size - 2, limit, reason, &first);
    }
    decode(&codec, name, data + 2, (size - 2) / 2, limit, &second);
    CHECK(decode(&codec, name, data + 2, size - 2, limit, &second) == reason,
          "the same body, another reason");
    CHECK(reason != 0 || (first.len == second.len &&
                          memcmp(first.data, second.data, first.len) == 0),
          "the same body, other bytes");

    ngx_http_logbroker_codec_free(&codec);
    ngx_http_logbroker_mem_free(&first);
    ngx_http_logbroker_mem_free(&second);
    return 0;
}
