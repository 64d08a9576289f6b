/*
 * Fuzzer of the content codings of the module.  The first byte chooses the
 * row, the second one the limit.  Whatever the body is: no more than the limit
 * comes out, the room for it stays below what the limit allows, and the same
 * body gives the same bytes from a decoder that has seen another one.
 */

#include "ngx_logbroker_module/ngx_http_logbroker_decode.h"
#include "ngx_logbroker_module/ngx_http_logbroker_reason.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(true_, words)                                                    \
    do {                                                                       \
        if (!(true_)) {                                                        \
            fprintf(stderr, "fuzz_codings: %s\n", words);                      \
            abort();                                                           \
        }                                                                      \
    } while (0)

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
