/*
 * Loki's labels as text: see loki_labels.h.
 *
 * After the Go language's specification, "String literals".
 */

#include "event/loki_labels.h"
#include "event/repair.h"

#include <string.h>

/* Bytes of one value without its escapes. */
#define VALUE_MAX 4096

static const uint8_t *
skip_space(const uint8_t *p, const uint8_t *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) {
        p++;
    }
    return p;
}

/* digits of that base at p, or -1. */
static int64_t
number(const uint8_t *p, const uint8_t *end, int digits, int base)
{
    int64_t n = 0;

    if (end - p < digits) {
        return -1;
    }
    for (; digits > 0; digits--, p++) {
        int d = *p >= '0' && *p <= '9'   ? *p - '0'
                : *p >= 'a' && *p <= 'f' ? *p - 'a' + 10
                : *p >= 'A' && *p <= 'F' ? *p - 'A' + 10
                                         : 16;

        if (d >= base) {
            return -1;
        }
        n = n * base + d;
    }
    return n;
}

/* A character as UTF-8, of at most 4 bytes; a surrogate has none. */
static uint8_t *
put_char(uint8_t *o, int64_t c)
{
    if (c >= 0xd800 && c <= 0xdfff) {
        c = 0xfffd;
    }
    if (c < 0x80) {
        *o++ = (uint8_t)c;
    } else if (c < 0x800) {
        *o++ = (uint8_t)(0xc0 | c >> 6);
        *o++ = (uint8_t)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *o++ = (uint8_t)(0xe0 | c >> 12);
        *o++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *o++ = (uint8_t)(0x80 | (c & 0x3f));
    } else {
        *o++ = (uint8_t)(0xf0 | c >> 18);
        *o++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        *o++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *o++ = (uint8_t)(0x80 | (c & 0x3f));
    }
    return o;
}

/* The escape behind a backslash at p; where it ends, or NULL. */
static const uint8_t *
unescape(const uint8_t *p, const uint8_t *end, uint8_t **o)
{
    static const char from[] = "abfnrtv\\'\"";
    static const char to[] = "\a\b\f\n\r\t\v\\'\"";
    const char *simple;
    int digits;
    int64_t n;

    if (p == end) {
        return NULL;
    }
    simple = *p != '\0' ? strchr(from, *p) : NULL;
    if (simple != NULL) {
        *(*o)++ = (uint8_t)to[simple - from];
        return p + 1;
    }
    if (*p >= '0' && *p <= '7') {
        n = number(p, end, 3, 8);
        if (n < 0 || n > 255) {
            return NULL;
        }
        *(*o)++ = (uint8_t)n;
        return p + 3;
    }
    digits = *p == 'x' ? 2 : *p == 'u' ? 4 : *p == 'U' ? 8 : 0;
    n = digits > 0 ? number(p + 1, end, digits, 16) : -1;
    if (n < 0 || n > 0x10ffff) {
        return NULL;
    }
    if (digits == 2) {
        *(*o)++ = (uint8_t)n;
    } else {
        *o = put_char(*o, n);
    }
    return p + 1 + digits;
}

/* The quoted string at p, without quotes and escapes; where it ends, or NULL.
 * *to is moved, up to end_to. */
static const uint8_t *
string(const uint8_t *p, const uint8_t *end, uint8_t **to,
       const uint8_t *end_to)
{
    const uint8_t quote = p < end ? *p : 0;
    uint8_t *o = *to;

    if (quote != '"' && quote != '`') {
        return NULL;
    }
    for (p++; p < end && *p != quote;) {
        if (end_to - o < 4) {
            return NULL;
        }
        if (*p == '\\' && quote == '"') {
            p = unescape(p + 1, end, &o);
            if (p == NULL) {
                return NULL;
            }
        } else {
            *o++ = *p++;
        }
    }
    *to = o;
    return p < end ? p + 1 : NULL;
}

/* A name, in quotes or without. */
static const uint8_t *
name(const uint8_t *p, const uint8_t *end, uint8_t **to, const uint8_t *end_to)
{
    if (p < end && *p == '"') {
        return string(p, end, to, end_to);
    }
    while (p < end && *to<end_to && * p> ' ' && *p != '=' && *p != ',' &&
           *p != '}' && *p != '{') {
        *(*to)++ = *p++;
    }
    return p;
}

/* Bytes in quotes. */
static int
put_string(uint8_t **o, const uint8_t *end, const uint8_t *s, size_t len,
           uint64_t *replaced)
{
    if ((size_t)(end - *o) < 6 * len + 4) {
        return -1;
    }
    *(*o)++ = '"';
    lb_repair_quote(o, s, len, len, replaced);
    *(*o)++ = '"';
    return 0;
}

/* NAME="VALUE" at p as a member; where it ends, or NULL. */
static const uint8_t *
label(const uint8_t *p, const uint8_t *end, uint8_t **o, const uint8_t *o_end,
      uint64_t *replaced)
{
    uint8_t text[VALUE_MAX];
    uint8_t *t = text;

    p = name(p, end, &t, text + sizeof(text));
    if (p == NULL || t == text ||
        put_string(o, o_end, text, (size_t)(t - text), replaced) != 0) {
        return NULL;
    }
    *(*o)++ = ':';

    p = skip_space(p, end);
    if (p == end || *p != '=') {
        return NULL;
    }
    t = text;
    p = string(skip_space(p + 1, end), end, &t, text + sizeof(text));
    if (p == NULL ||
        put_string(o, o_end, text, (size_t)(t - text), replaced) != 0) {
        return NULL;
    }
    return skip_space(p, end);
}

int
lb_loki_labels(const uint8_t *text, size_t len, uint8_t *out, size_t size,
               uint64_t *replaced)
{
    const uint8_t *p = text, *end = text + len;
    uint8_t *o = out;

    p = skip_space(p, end);
    if (p == end || *p != '{') {
        return -1;
    }
    p = skip_space(p + 1, end);

    while (p < end && *p != '}') {
        p = label(p, end, &o, out + size, replaced);
        if (p == NULL || p == end) {
            return -1;
        }
        if (*p == ',') {
            p = skip_space(p + 1, end);
            if (p < end && *p != '}') {
                *o++ = ',';
            }
        } else if (*p != '}') {
            return -1;
        }
    }

    return p < end && skip_space(p + 1, end) == end ? (int)(o - out) : -1;
}
