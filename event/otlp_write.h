/*
 * OTLP: the lines of otlp.h, written by both decoders.  Private to them.
 *
 * Members are written with a comma behind each; what ends an object takes the
 * last one back.  Nothing is written at or behind limit, which is where out
 * ends, or where the line may not be longer.
 */

#ifndef _LB_OTLP_WRITE_H_INCLUDED_
#define _LB_OTLP_WRITE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "event/block.h"
#include "event/format.h"
#include "event/json.h"
#include "event/repair.h"
#include "event/utf8.h"
#include "event/ways.h"

/* Returns from a function of lb_otlp_rc_t what is not LB_OTLP_OK. */
#define LB_OTLP_TRY(call)                                                      \
    do {                                                                       \
        lb_otlp_rc_t rc_ = (call);                                             \
        if (lb_unlikely(rc_ != LB_OTLP_OK)) {                                  \
            return rc_;                                                        \
        }                                                                      \
    } while (0)

/* What a writing function returns. */
typedef enum {
    LB_OTLP_OK = 0,
    LB_OTLP_FULL, /* limit */
    LB_OTLP_BAD,  /* the record is malformed */
    LB_OTLP_DEEP, /* nested too deep */
} lb_otlp_rc_t;

/* A string of the request. */
typedef struct {
    const uint8_t *p; /* NULL: not given */
    size_t len;
    int json; /* it is the inside of a JSON string, as the scanner writes it */
} lb_otlp_text_t;

/* What a record has beside body and attributes; all zero at first. */
typedef struct {
    uint64_t time;
    uint64_t observed;
    int32_t severity_number;
    uint32_t flags;
    uint32_t dropped;
    lb_otlp_text_t severity_text;
    lb_otlp_text_t trace_id;
    lb_otlp_text_t span_id;
    lb_otlp_text_t event_name;
} lb_otlp_record_t;

/* Members that are there, so that no attribute takes their name. */
enum {
    LB_OTLP_TIMESTAMP = 1 << 0,
    LB_OTLP_LEVEL = 1 << 1,
    LB_OTLP_SEVERITY_NUMBER = 1 << 2,
    LB_OTLP_MESSAGE = 1 << 3,
    LB_OTLP_TRACE_ID = 1 << 4,
    LB_OTLP_SPAN_ID = 1 << 5,
    LB_OTLP_FLAGS = 1 << 6,
    LB_OTLP_EVENT_NAME = 1 << 7,
    LB_OTLP_OBSERVED = 1 << 8,
    LB_OTLP_DROPPED = 1 << 9,
    LB_OTLP_SCHEMA_URL = 1 << 10,
    LB_OTLP_NAME = 1 << 11,
    LB_OTLP_VERSION = 1 << 12,
};

typedef struct {
    const lb_scan_options_t *options;
    lb_scan_result_t *res;
    const uint8_t *in;
    const uint8_t *in_end; /* a string may be read up to here */

    uint8_t *out;
    uint8_t *o;     /* the next byte */
    uint8_t *end;   /* of out */
    uint8_t *limit; /* of the line */
    uint8_t *line;  /* where it began */

    unsigned names; /* of the object that is written */
    uint64_t replaced;

    /* the context line in force, 0 long: none */
    uint8_t *context;
    size_t context_len;
    int rejecting; /* that of rejected events is in force instead */

    /* the resource as it was written in a context line, with its comma */
    uint8_t *resource; /* NULL: not yet */
    size_t resource_len;
    int resource_too_large;

    /* where the record is */
    unsigned nresource;
    unsigned nscope;
    unsigned nrecord;

    uint64_t second; /* of date */
    char date[20];   /* "2026-03-04T05:06:07." */
} lb_otlp_t;

void lb_otlp_start(lb_otlp_t *w, const uint8_t *in, size_t len, uint8_t *out,
                   size_t cap, const lb_scan_options_t *options,
                   lb_scan_result_t *res);

/* Ends the scan: what it returns. */
lb_scan_status_t lb_otlp_finish(lb_otlp_t *w);

/* The body is bad at this byte; returns LB_SCAN_BAD. */
lb_scan_status_t lb_otlp_bad(lb_otlp_t *w, const uint8_t *at,
                             const char *error);

/* A line of at most max_event bytes begins. */
void lb_otlp_begin(lb_otlp_t *w);

/* A record is written, or could not be: rc.  bytes are the request's, for what
 * is kept of one that is rejected.  LB_SCAN_OK: go on. */
lb_scan_status_t lb_otlp_end_record(lb_otlp_t *w, lb_otlp_rc_t rc,
                                    const uint8_t *bytes, size_t len);

/* Writes a part of a context, a member and its comma, or nothing. */
typedef lb_otlp_rc_t (*lb_otlp_part_fn)(lb_otlp_t *w, void *arg);

/* The context of the records that come now, if it is not in force: the parts
 * are written by these functions, the resource only if w->resource is NULL (a
 * new one).  LB_SCAN_OK, LB_SCAN_NOSPACE, LB_SCAN_BAD, or LB_SCAN_TOOBIG: the
 * records have to be rejected by lb_otlp_no_context. */
lb_scan_status_t lb_otlp_enter(lb_otlp_t *w, lb_otlp_part_fn resource,
                               lb_otlp_part_fn scope, void *arg);
lb_scan_status_t lb_otlp_no_context(lb_otlp_t *w, const uint8_t *bytes,
                                    size_t len);

/* otlp_record.c: the parts of a record around its body and its attributes. */
lb_otlp_rc_t lb_otlp_first(lb_otlp_t *w, const lb_otlp_record_t *record);
lb_otlp_rc_t lb_otlp_second(lb_otlp_t *w, const lb_otlp_record_t *record);

/* What ends a resource or a scope: these two members and the bracket.  Without
 * any member it goes back to begin, where the part began. */
lb_otlp_rc_t lb_otlp_end_part(lb_otlp_t *w, uint32_t dropped,
                              const lb_otlp_text_t *schema_url, uint8_t *begin);

/* Values */
lb_otlp_rc_t lb_otlp_base64(lb_otlp_t *w, const uint8_t *s, size_t len);
lb_otlp_rc_t lb_otlp_double(lb_otlp_t *w, double value);
lb_otlp_rc_t lb_otlp_signed(lb_otlp_t *w, int64_t value);
lb_otlp_rc_t lb_otlp_unsigned(lb_otlp_t *w, uint64_t value);

/* The byte that cannot be copied as it is: written escaped, or its character,
 * or U+FFFD; *s and *len move behind it. */
lb_otlp_rc_t lb_otlp_special(lb_otlp_t *w, const uint8_t **s, size_t *len);

LB_INLINE lb_otlp_rc_t
lb_otlp_raw(lb_otlp_t *w, const void *s, size_t len)
{
    if (lb_unlikely((size_t)(w->limit - w->o) < len)) {
        return LB_OTLP_FULL;
    }

    memcpy(w->o, s, len);
    w->o += len;

    return LB_OTLP_OK;
}

#define lb_otlp_literal(w, s) lb_otlp_raw(w, s, sizeof(s) - 1)

/* Of 16 bytes those that are no ordinary ones of a string: '"', '\\', below
 * 0x20, above 0x7f; the lowest bit for the first. */
LB_INLINE unsigned
lb_otlp_mask(const uint8_t *p)
{
#if LB_WAYS_X86
    __m128i v = _mm_loadu_si128((const __m128i *)p);

    /* signed: above 0x7f is below 0x20 too */
    return (unsigned)_mm_movemask_epi8(
        _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                                  _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))),
                     _mm_cmplt_epi8(v, _mm_set1_epi8(0x20))));
#else
    unsigned mask = 0;

    for (unsigned i = 0; i < 16; i += 8) {
        uint64_t x, low, hit;

        memcpy(&x, p + i, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        x = __builtin_bswap64(x);
#endif
        low = x & (LB_ONES * 0x7f);
        hit = lb_word_equal(low, '"') | lb_word_equal(low, '\\') |
              (~(low + LB_ONES * 0x60) & (LB_ONES * 0x80)) |
              (x & (LB_ONES * 0x80));
        mask |= (unsigned)lb_word_pack(hit) << i;
    }

    return mask;
#endif
}

/* The inside of a string. */
LB_INLINE lb_otlp_rc_t
lb_otlp_text(lb_otlp_t *w, const uint8_t *s, size_t len)
{
    unsigned n, mask;
    uint8_t *o = w->o;
    lb_otlp_rc_t rc;

    while (len > 0) {

        if (lb_likely(w->limit - o >= 16 && w->in_end - s >= 16)) {

            memcpy(o, s, 16);
            mask = lb_otlp_mask(s);

            if (len >= 16 && mask == 0) {
                s += 16;
                o += 16;
                len -= 16;
                continue;
            }

            n = (unsigned)__builtin_ctz(mask | 0x10000);
            n = n < len ? n : (unsigned)len;
            s += n;
            o += n;
            len -= n;

            if (len == 0) {
                break;
            }
        }

        w->o = o;
        rc = lb_otlp_special(w, &s, &len);
        if (lb_unlikely(rc != LB_OTLP_OK)) {
            return rc;
        }
        o = w->o;
    }

    w->o = o;

    return LB_OTLP_OK;
}

/* A string with its quotes. */
LB_INLINE lb_otlp_rc_t
lb_otlp_string(lb_otlp_t *w, const lb_otlp_text_t *s)
{
    lb_otlp_rc_t rc;

    if (lb_unlikely(w->limit - w->o < 2)) {
        return LB_OTLP_FULL;
    }

    *w->o++ = '"';
    rc = s->json ? lb_otlp_raw(w, s->p, s->len) : lb_otlp_text(w, s->p, s->len);

    return rc != LB_OTLP_OK ? rc : lb_otlp_literal(w, "\"");
}

/* Which name of otlp.h an attribute has, or 0. */
LB_INLINE unsigned
lb_otlp_name(const uint8_t *s, size_t len)
{
#define NAME(name, bit)                                                        \
    if (memcmp(s, name, sizeof(name) - 1) == 0) {                              \
        return bit;                                                            \
    }

    switch (len) {
    case 4:
        NAME("name", LB_OTLP_NAME)
        break;
    case 5:
        NAME("level", LB_OTLP_LEVEL)
        NAME("flags", LB_OTLP_FLAGS)
        break;
    case 7:
        NAME("message", LB_OTLP_MESSAGE)
        NAME("span_id", LB_OTLP_SPAN_ID)
        NAME("version", LB_OTLP_VERSION)
        break;
    case 8:
        NAME("trace_id", LB_OTLP_TRACE_ID)
        NAME("observed", LB_OTLP_OBSERVED)
        break;
    case 9:
        NAME("timestamp", LB_OTLP_TIMESTAMP)
        break;
    case 10:
        NAME("event_name", LB_OTLP_EVENT_NAME)
        NAME("schema_url", LB_OTLP_SCHEMA_URL)
        break;
    case 15:
        NAME("severity_number", LB_OTLP_SEVERITY_NUMBER)
        break;
    case 24:
        NAME("dropped_attributes_count", LB_OTLP_DROPPED)
        break;
    }

#undef NAME
    return 0;
}

/* The key of an attribute, up to the colon; top: of an object that has names of
 * our own. */
LB_INLINE lb_otlp_rc_t
lb_otlp_key(lb_otlp_t *w, const lb_otlp_text_t *key, int top)
{
    lb_otlp_rc_t rc;

    if (lb_unlikely(w->limit - w->o < 16)) {
        return LB_OTLP_FULL;
    }

    *w->o++ = '"';
    if (top && (lb_otlp_name(key->p, key->len) & w->names)) {
        memcpy(w->o, "attributes.", 11);
        w->o += 11;
    }

    rc = key->json ? lb_otlp_raw(w, key->p, key->len)
                   : lb_otlp_text(w, key->p, key->len);

    return rc != LB_OTLP_OK ? rc : lb_otlp_literal(w, "\":");
}

/* Behind the last member, whose comma goes, or behind none. */
LB_INLINE lb_otlp_rc_t
lb_otlp_close(lb_otlp_t *w, uint8_t bracket)
{
    if (w->o[-1] == ',') {
        w->o[-1] = bracket;
        return LB_OTLP_OK;
    }

    return lb_otlp_raw(w, &bracket, 1);
}

#endif /* _LB_OTLP_WRITE_H_INCLUDED_ */
