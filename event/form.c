/*
 * Fields of a form: see form.h.  URL Standard (WHATWG), 5.1,
 * "application/x-www-form-urlencoded parsing".
 */

#include "event/form.h"
#include "event/out.h"
#include "event/repair.h"

#include <stdlib.h>
#include <string.h>

/* A name or a value up to this size is decoded on the stack. */
#define STACK_MAX 4096

static const char words_form[] =
    "neither JSON nor the fields of a form (name=value&...)";
static const char words_size[] = "the event is larger than the limit";

typedef struct {
    lb_out_t out;
    uint8_t *text; /* room for the largest name or value */
    uint64_t replaced;
} form_t;

static int
hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The name or value from p to end as a JSON string: 0, or -1 without room. */
static int
put_string(form_t *f, const uint8_t *p, const uint8_t *end)
{
    uint8_t *t = f->text;
    size_t len;

    for (; p < end; p++) {
        if (*p == '%' && end - p > 2 && hex(p[1]) >= 0 && hex(p[2]) >= 0) {
            *t++ = (uint8_t)(hex(p[1]) << 4 | hex(p[2]));
            p += 2;
        } else {
            *t++ = *p == '+' ? ' ' : *p;
        }
    }
    len = (size_t)(t - f->text);
    if (lb_out_room(&f->out) < 6 * len + 2) {
        return -1;
    }
    *f->out.o++ = '"';
    lb_repair_quote(&f->out.o, f->text, len, len, &f->replaced);
    *f->out.o++ = '"';
    return 0;
}

/* Behind the field at p: its '&', or end; *eq is its '='.  NULL: it is none. */
static const uint8_t *
field(const uint8_t *p, const uint8_t *end, const uint8_t **eq)
{
    const uint8_t *begin = p;

    *eq = NULL;
    for (; p < end && *p != '&'; p++) {
        if (*p == '=' && *eq == NULL) {
            *eq = p;
        }
        /* nobody leaves these as they are */
        if (*p <= ' ' || *p == '"' || *p == 0x7f) {
            return NULL;
        }
    }
    return *eq == NULL || *eq == begin ? NULL : p;
}

/* All of it must be fields; the longest name or value, or 0: it is no form. */
static size_t
check(const uint8_t *p, const uint8_t *end, const uint8_t **at)
{
    const uint8_t *eq, *next;
    size_t longest = 0;

    for (; p < end; p = next + (next < end)) {
        *at = p;
        if (*p == '&') {
            next = p;
            continue;
        }
        next = field(p, end, &eq);
        if (next == NULL) {
            return 0;
        }
        longest = (size_t)(next - p) > longest ? (size_t)(next - p) : longest;
    }
    return longest;
}

static lb_scan_status_t
put_event(form_t *f, const uint8_t *p, const uint8_t *end)
{
    const uint8_t *eq, *next;
    int bad = lb_out_puts(&f->out, "{");

    for (; p < end && !bad; p = next + (next < end)) {
        next = p;
        if (*p == '&') {
            continue;
        }
        next = field(p, end, &eq);
        bad = (f->out.o[-1] == '"' && lb_out_puts(&f->out, ",")) ||
              put_string(f, p, eq) || lb_out_puts(&f->out, ":") ||
              put_string(f, eq + 1, next);
    }
    return bad || lb_out_puts(&f->out, "}\n") ? LB_SCAN_NOSPACE : LB_SCAN_OK;
}

static lb_scan_status_t
scan_fields(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
            const lb_scan_options_t *options, lb_scan_result_t *res)
{
    uint8_t stack[STACK_MAX];
    form_t f = {.out = {out, out + cap}, .text = stack};
    const uint8_t *at = in, *end = in + len;
    size_t longest;
    lb_scan_status_t rc;

    memset(res, 0, sizeof(*res));
    while (end > in && (end[-1] == '\n' || end[-1] == '\r')) {
        end--;
    }
    if (in == end) {
        return LB_SCAN_EMPTY;
    }
    longest = check(in, end, &at);
    if (longest == 0) {
        res->error = words_form;
        res->offset = res->event_start = (size_t)(at - in);
        return LB_SCAN_BAD;
    }
    if (longest > STACK_MAX) {
        if (!options->patient) {
            return LB_SCAN_LATER;
        }
        f.text = malloc(longest);
        if (f.text == NULL) {
            return LB_SCAN_NOMEM;
        }
    }

    rc = put_event(&f, in, end);
    if (f.text != stack) {
        free(f.text);
    }
    if (rc != LB_SCAN_OK) {
        return rc;
    }
    res->out_len = (size_t)(f.out.o - out);
    if (res->out_len - 1 > options->max_event) {
        res->error = words_size;
        return LB_SCAN_TOOBIG;
    }
    res->events = 1;
    res->replaced = f.replaced;
    return LB_SCAN_OK;
}

static lb_scan_status_t
scan_form(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
          const lb_scan_options_t *options, lb_scan_result_t *res)
{
    size_t i = 0;

    while (i < len && strchr(" \t\r\n", in[i]) != NULL && in[i] != '\0') {
        i++;
    }
    return i < len && (in[i] == '{' || in[i] == '[')
               ? lb_format_json.scan(in, len, out, cap, options, res)
               : scan_fields(in, len, out, cap, options, res);
}

/* A byte may need 6, and there are names without a value. */
static size_t
out_max(size_t len)
{
    return len > (SIZE_MAX - 16) / 8 ? SIZE_MAX : 8 * len + 16;
}

static const char *const types[] = {"application/x-www-form-urlencoded", NULL};

static const char *
explain(const uint8_t *in, size_t len, const lb_scan_result_t *res, char *text,
        size_t size)
{
    return lb_format_json.explain(in, len, res, text, size);
}

const lb_format_t lb_format_form = {
    .name = "form",
    .types = types,
    .scan = scan_form,
    .out_usual = 9,
    .out_max = out_max,
    .explain = explain,
};
