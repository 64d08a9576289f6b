/*
 * OTLP: the members of a record beside its body and its attributes, and those
 * at the end of a resource or a scope.  See otlp_write.h.
 */

#include "event/otlp_write.h"
#include "event/date.h"

static const char hex[] = "0123456789abcdef";

static void
set_second(lb_otlp_t *w, uint64_t second)
{
    lb_date_second(w->date, second);
    w->second = second;
}

static lb_otlp_rc_t
put_timestamp(lb_otlp_t *w, uint64_t ns)
{
    int i;
    uint8_t *o = w->o;
    unsigned fraction = (unsigned)(ns % 1000000000);

    if (ns / 1000000000 != w->second) {
        set_second(w, ns / 1000000000);
    }

    /* "timestamp":"2026-03-04T05:06:07.123456789Z", */
    if (w->limit - o < 46) {
        return LB_OTLP_FULL;
    }

    memcpy(o, "\"timestamp\":\"", 13);
    memcpy(o + 13, w->date, 20);
    for (i = 41; i >= 33; i--) {
        o[i] = (uint8_t)('0' + fraction % 10);
        fraction /= 10;
    }
    memcpy(o + 42, "Z\",", 3);
    w->o = o + 45;

    return LB_OTLP_OK;
}

/* The id as size lower-case digits; 0: it is none of this length. */
static int
id_digits(const lb_otlp_text_t *id, uint8_t *to, size_t size)
{
    size_t i;
    uint8_t c;

    if (!id->json) {
        if (id->len != size / 2) {
            return 0;
        }
        for (i = 0; i < id->len; i++) {
            to[2 * i] = (uint8_t)hex[id->p[i] >> 4];
            to[2 * i + 1] = (uint8_t)hex[id->p[i] & 15];
        }
        return 1;
    }

    if (id->len != size) {
        return 0;
    }

    for (i = 0; i < size; i++) {
        c = id->p[i];
        if (c >= 'A' && c <= 'F') {
            c |= 0x20;
        } else if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return 0;
        }
        to[i] = c;
    }

    return 1;
}

/* size: digits; bit: LB_OTLP_TRACE_ID, say. */
static lb_otlp_rc_t
put_id(lb_otlp_t *w, const lb_otlp_text_t *id, const char *name, size_t size,
       unsigned bit)
{
    size_t i, n = strlen(name);
    uint8_t digits[32];

    if (id->len == 0) {
        return LB_OTLP_OK;
    }

    if (id_digits(id, digits, size)) {

        if (memcmp(digits, "00000000000000000000000000000000", size) == 0) {
            return LB_OTLP_OK;
        }
        if ((size_t)(w->limit - w->o) < n + size + 6) {
            return LB_OTLP_FULL;
        }

        *w->o++ = '"';
        memcpy(w->o, name, n);
        w->o += n;
        memcpy(w->o, "\":\"", 3);
        memcpy(w->o + 3, digits, size);
        memcpy(w->o + 3 + size, "\",", 2);
        w->o += size + 5;
        w->names |= bit;
        return LB_OTLP_OK;
    }

    LB_OTLP_TRY(lb_otlp_literal(w, "\"attributes."));
    LB_OTLP_TRY(lb_otlp_raw(w, name, n));
    LB_OTLP_TRY(lb_otlp_literal(w, "\":"));

    if (id->json) {
        LB_OTLP_TRY(lb_otlp_string(w, id));
    } else {
        if ((size_t)(w->limit - w->o) / 2 < id->len + 2) {
            return LB_OTLP_FULL;
        }
        *w->o++ = '"';
        for (i = 0; i < id->len; i++) {
            *w->o++ = (uint8_t)hex[id->p[i] >> 4];
            *w->o++ = (uint8_t)hex[id->p[i] & 15];
        }
        *w->o++ = '"';
    }

    return lb_otlp_literal(w, ",");
}

lb_otlp_rc_t
lb_otlp_first(lb_otlp_t *w, const lb_otlp_record_t *r)
{
    static const char *const words[] = {"trace", "debug", "info",
                                        "warn",  "error", "fatal"};
    int32_t number = r->severity_number;
    const char *word;

    w->names = 0;
    LB_OTLP_TRY(lb_otlp_literal(w, "{"));

    if (r->time != 0 || r->observed != 0) {
        LB_OTLP_TRY(put_timestamp(w, r->time != 0 ? r->time : r->observed));
        w->names |= LB_OTLP_TIMESTAMP;
    }

    if (r->severity_text.len > 0) {
        LB_OTLP_TRY(lb_otlp_literal(w, "\"level\":"));
        LB_OTLP_TRY(lb_otlp_string(w, &r->severity_text));
        LB_OTLP_TRY(lb_otlp_literal(w, ","));
        w->names |= LB_OTLP_LEVEL;

    } else if (number >= 1 && number <= 24) {
        word = words[(number - 1) / 4];
        LB_OTLP_TRY(lb_otlp_literal(w, "\"level\":\""));
        LB_OTLP_TRY(lb_otlp_raw(w, word, strlen(word)));
        LB_OTLP_TRY(lb_otlp_literal(w, "\","));
        w->names |= LB_OTLP_LEVEL;
    }

    if (number != 0) {
        LB_OTLP_TRY(lb_otlp_literal(w, "\"severity_number\":"));
        LB_OTLP_TRY(lb_otlp_signed(w, number));
        LB_OTLP_TRY(lb_otlp_literal(w, ","));
        w->names |= LB_OTLP_SEVERITY_NUMBER;
    }

    return LB_OTLP_OK;
}

static lb_otlp_rc_t
put_number(lb_otlp_t *w, const char *name, uint64_t value, unsigned bit)
{
    if (value == 0) {
        return LB_OTLP_OK;
    }

    LB_OTLP_TRY(lb_otlp_literal(w, "\""));
    LB_OTLP_TRY(lb_otlp_raw(w, name, strlen(name)));
    LB_OTLP_TRY(lb_otlp_literal(w, "\":"));
    LB_OTLP_TRY(lb_otlp_unsigned(w, value));
    w->names |= bit;

    return lb_otlp_literal(w, ",");
}

lb_otlp_rc_t
lb_otlp_second(lb_otlp_t *w, const lb_otlp_record_t *r)
{
    LB_OTLP_TRY(put_id(w, &r->trace_id, "trace_id", 32, LB_OTLP_TRACE_ID));
    LB_OTLP_TRY(put_id(w, &r->span_id, "span_id", 16, LB_OTLP_SPAN_ID));
    LB_OTLP_TRY(put_number(w, "flags", r->flags, LB_OTLP_FLAGS));

    if (r->event_name.len > 0) {
        LB_OTLP_TRY(lb_otlp_literal(w, "\"event_name\":"));
        LB_OTLP_TRY(lb_otlp_string(w, &r->event_name));
        LB_OTLP_TRY(lb_otlp_literal(w, ","));
        w->names |= LB_OTLP_EVENT_NAME;
    }

    LB_OTLP_TRY(put_number(w, "observed", r->observed, LB_OTLP_OBSERVED));

    return put_number(w, "dropped_attributes_count", r->dropped,
                      LB_OTLP_DROPPED);
}

lb_otlp_rc_t
lb_otlp_end_part(lb_otlp_t *w, uint32_t dropped,
                 const lb_otlp_text_t *schema_url, uint8_t *begin)
{
    LB_OTLP_TRY(
        put_number(w, "dropped_attributes_count", dropped, LB_OTLP_DROPPED));

    if (schema_url->len > 0) {
        LB_OTLP_TRY(lb_otlp_literal(w, "\"schema_url\":"));
        LB_OTLP_TRY(lb_otlp_string(w, schema_url));
        LB_OTLP_TRY(lb_otlp_literal(w, ","));
    }

    if (w->o[-1] == '{') {
        w->o = begin;
        return LB_OTLP_OK;
    }

    LB_OTLP_TRY(lb_otlp_close(w, '}'));

    return lb_otlp_literal(w, ",");
}
