/*
 * OTLP in JSON: values.  See otlp_value.h.
 */

#include "event/otlp_value.h"

#include <errno.h>
#include <stdlib.h>

#include "event/otlp_walk.h"

/* The longest number that is read, as text. */
#define NUMBER 64

/* A string from p to end, with its quotes; 0: it is none.  null is none that is
 * given. */
int
lb_otlp_get_string(const uint8_t *p, const uint8_t *end, lb_otlp_text_t *s)
{
    if (*p != '"') {
        return *p == 'n';
    }

    s->p = p + 1;
    s->len = (size_t)(end - p) - 2;
    s->json = 1;

    return 1;
}

/* The bytes of a number, or of a string with one in it, as a string of C; 0: it
 * is too long to be one. */
static int
number_text(const uint8_t *p, const uint8_t *end, char text[NUMBER])
{
    size_t len;

    if (*p == '"') {
        p++;
        end--;
    }

    len = (size_t)(end - p);
    if (len == 0 || len >= NUMBER) {
        return 0;
    }

    memcpy(text, p, len);
    text[len] = '\0';

    return 1;
}

/* A number of 1 to 19 digits and nothing else, or a string of them. */
LB_INLINE int
digits_alone(const uint8_t *p, const uint8_t *end, uint64_t *value)
{
    uint64_t v = 0;

    if (*p == '"') {
        p++;
        end--;
    }
    if (p == end || end - p > 19) {
        return 0;
    }

    for (; p < end; p++) {
        if (*p < '0' || *p > '9') {
            return 0;
        }
        v = v * 10 + (uint64_t)(*p - '0');
    }
    *value = v;

    return 1;
}

/* An integer in [low, high], modulo 2^64; 0: it is none.  Some write it as a
 * double with an exponent or a fraction of zeros. */
int
lb_otlp_integer(const uint8_t *p, const uint8_t *end, int64_t low,
                uint64_t high, uint64_t *value)
{
    int minus;
    char text[NUMBER], *behind;
    const char *digits;
    double number;

    if (*p == 'n') {
        *value = 0;
        return 1;
    }
    if (digits_alone(p, end, value)) {
        return *value <= high;
    }
    if (!number_text(p, end, text)) {
        return 0;
    }

    minus = text[0] == '-';
    digits = text + minus;
    if (*digits < '0' || *digits > '9') {
        return 0;
    }

    errno = 0;
    *value = strtoull(digits, &behind, 10);

    if (*behind != '\0') {
        number = strtod(digits, &behind);
        if (*behind != '\0' || number >= 18446744073709551616.0 ||
            number != (double)(uint64_t)number) {
            return 0;
        }
        *value = (uint64_t)number;

    } else if (errno != 0) {
        return 0;
    }

    if (minus) {
        if (*value > 0 - (uint64_t)low) {
            return 0;
        }
        *value = 0 - *value;
        return 1;
    }

    return *value <= high;
}

static lb_otlp_rc_t
put_double(lb_otlp_t *w, const uint8_t *p, const uint8_t *end)
{
    char text[NUMBER], *behind;
    double number;

    if (*p != '"') {
        if (*p != '-' && (*p < '0' || *p > '9')) {
            return LB_OTLP_BAD;
        }
        LB_OTLP_TRY(lb_otlp_raw(w, p, (size_t)(end - p)));
        for (; p < end; p++) {
            if (*p == '.' || *p == 'e' || *p == 'E') {
                return LB_OTLP_OK;
            }
        }
        return lb_otlp_literal(w, ".0");
    }

    if (!number_text(p, end, text)) {
        return LB_OTLP_BAD;
    }
    if (strcmp(text, "NaN") != 0 && strcmp(text, "Infinity") != 0 &&
        strcmp(text, "-Infinity") != 0 &&
        (text[strspn(text, "+-.0123456789eE")] != '\0')) {
        return LB_OTLP_BAD;
    }

    number = strtod(text, &behind);

    return *behind != '\0' ? LB_OTLP_BAD : lb_otlp_double(w, number);
}

/* {"values":[...]} */
static lb_otlp_rc_t
put_list(lb_otlp_t *w, const uint8_t *p, int map)
{
    const uint8_t *values = NULL;
    lb_otlp_text_t key;

    if (*p != '{') {
        return LB_OTLP_BAD;
    }

    for (p++; lb_otlp_member(&p, &key); p = lb_otlp_skip(p)) {
        if (LB_OTLP_IS(key, "values") && *p != 'n') {
            values = p;
        }
    }

    if (values != NULL && *values != '[') {
        return LB_OTLP_BAD;
    }

    LB_OTLP_TRY(lb_otlp_raw(w, map ? "{" : "[", 1));

    if (values != NULL && map) {
        LB_OTLP_TRY(lb_otlp_put_attributes(w, values, 0));

    } else if (values != NULL) {
        for (p = values + 1; lb_otlp_element(&p);) {
            LB_OTLP_TRY(lb_otlp_put_any(w, p, &p));
            LB_OTLP_TRY(lb_otlp_literal(w, ","));
        }
    }

    return lb_otlp_close(w, map ? '}' : ']');
}

/* The AnyValue at p; *behind is behind it. */
lb_otlp_rc_t
lb_otlp_put_any(lb_otlp_t *w, const uint8_t *p, const uint8_t **behind)
{
    enum {
        NONE,
        STRING,
        BOOL,
        INT,
        DOUBLE,
        ARRAY,
        MAP
    } kind = NONE, as;
    const uint8_t *value = NULL, *end = NULL;
    uint64_t number;
    lb_otlp_text_t key, s;

    if (*p != '{') {
        *behind = lb_otlp_skip(p);
        return *p == 'n' ? lb_otlp_literal(w, "null") : LB_OTLP_BAD;
    }

    for (p++; lb_otlp_member(&p, &key);) {
        as = LB_OTLP_IS(key, "stringValue")   ? STRING
             : LB_OTLP_IS(key, "intValue")    ? INT
             : LB_OTLP_IS(key, "boolValue")   ? BOOL
             : LB_OTLP_IS(key, "doubleValue") ? DOUBLE
             : LB_OTLP_IS(key, "arrayValue")  ? ARRAY
             : LB_OTLP_IS(key, "kvlistValue") ? MAP
             : LB_OTLP_IS(key, "bytesValue")  ? STRING
                                              : NONE;
        if (as != NONE && *p != 'n') {
            kind = as;
            value = p;
            p = end = lb_otlp_skip(p);
        } else {
            p = lb_otlp_skip(p);
        }
    }
    *behind = p + 1;

    switch (kind) {

    case STRING:
        if (*value != '"') {
            return LB_OTLP_BAD;
        }
        s.p = value + 1;
        s.len = (size_t)(end - value) - 2;
        s.json = 1;
        return lb_otlp_string(w, &s);

    case BOOL:
        return *value == 't' || *value == 'f'
                   ? lb_otlp_raw(w, value, (size_t)(end - value))
                   : LB_OTLP_BAD;

    case INT:
        return lb_otlp_integer(value, end, INT64_MIN, INT64_MAX, &number)
                   ? lb_otlp_signed(w, (int64_t)number)
                   : LB_OTLP_BAD;

    case DOUBLE:
        return put_double(w, value, end);

    case ARRAY:
    case MAP:
        return put_list(w, value, kind == MAP);

    default:
        return lb_otlp_literal(w, "null");
    }
}

/* The KeyValues of the array at p; top: their object has names of our own. */
lb_otlp_rc_t
lb_otlp_put_attributes(lb_otlp_t *w, const uint8_t *p, int top)
{
    const uint8_t *value, *at;
    lb_otlp_text_t name, key;

    if (*p != '[') {
        return LB_OTLP_BAD;
    }

    for (p++; lb_otlp_element(&p); p++) {

        if (*p != '{') {
            return LB_OTLP_BAD;
        }

        value = NULL;
        key.p = (const uint8_t *)"";
        key.len = 0;
        key.json = 1;

        for (p++; lb_otlp_member(&p, &name);) {
            at = p;
            p = lb_otlp_skip(p);
            if (LB_OTLP_IS(name, "key")) {
                if (!lb_otlp_get_string(at, p, &key)) {
                    return LB_OTLP_BAD;
                }
            } else if (LB_OTLP_IS(name, "value")) {
                value = at;
            }
        }

        LB_OTLP_TRY(lb_otlp_key(w, &key, top));
        LB_OTLP_TRY(value != NULL ? lb_otlp_put_any(w, value, &at)
                                  : lb_otlp_literal(w, "null"));
        LB_OTLP_TRY(lb_otlp_literal(w, ","));
    }

    return LB_OTLP_OK;
}
