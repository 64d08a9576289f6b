#include "tests/fuzz/scanner_oracle.h"

#include "event/explain.h"
#include "event/json.h"
#include "event/text.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_EVENT 100000

size_t scanner_oracle_compared;
size_t scanner_oracle_accepted;

typedef struct {
    uint8_t *data;
    size_t len;
    uint32_t events;
} expect_t;

/* What jansson says about a body. */
typedef enum {
    TAKES,
    REFUSES,
    DIFFERS
} verdict_t;

static size_t
skip_space(const uint8_t *in, size_t len, size_t i)
{
    while (i < len && strchr(" \t\r\n", in[i]) && in[i] != 0) {
        i++;
    }
    return i;
}

/* The documented differences: what jansson cannot hold and JSON can. */
static int
is_difference(const json_error_t *error)
{
    switch (json_error_code(error)) {
    case json_error_numeric_overflow:
    case json_error_null_byte_in_key:
    case json_error_null_character:
        return 1;
    default:
        /* Lone surrogates in escapes. */
        return strstr(error->text, "invalid Unicode") != NULL;
    }
}

/* One event at in + *i: its bytes without white space outside strings go to
 * out. */
static verdict_t
take_event(const uint8_t *in, size_t len, size_t *i, expect_t *out)
{
    json_error_t error;
    json_t *json;
    size_t end;
    int in_string = 0;

    json = json_loadb((const char *)in + *i, len - *i,
                      JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL |
                          JSON_DECODE_INT_AS_REAL,
                      &error);
    if (json == NULL) {
        return is_difference(&error) ? DIFFERS : REFUSES;
    }
    json_decref(json);

    end = *i + (size_t)error.position;
    for (size_t k = *i; k < end; k++) {
        uint8_t c = in[k];

        if (!in_string && strchr(" \t\r\n", c) != NULL && c != 0) {
            continue;
        }
        out->data[out->len++] = c;
        if (c == '"') {
            in_string = !in_string;
        } else if (c == '\\' && in_string) {
            out->data[out->len++] = in[++k];
        }
    }
    out->data[out->len++] = '\n';
    out->events++;
    *i = end;
    return TAKES;
}

static verdict_t
take_body(const uint8_t *in, size_t len, expect_t *out)
{
    size_t i = 0;

    for (;;) {
        verdict_t verdict;

        i = skip_space(in, len, i);
        if (i == len) {
            return TAKES;
        }
        if (in[i] == '{') {
            verdict = take_event(in, len, &i, out);
            if (verdict != TAKES) {
                return verdict;
            }
            continue;
        }
        if (in[i] != '[') {
            return REFUSES;
        }

        i = skip_space(in, len, i + 1);
        if (i < len && in[i] == ']') {
            i++;
            continue;
        }
        for (;;) {
            if (i == len || in[i] != '{') {
                return REFUSES;
            }
            verdict = take_event(in, len, &i, out);
            if (verdict != TAKES) {
                return verdict;
            }
            i = skip_space(in, len, i);
            if (i == len) {
                return REFUSES;
            }
            if (in[i] == ']') {
                i++;
                break;
            }
            if (in[i] != ',') {
                return REFUSES;
            }
            i = skip_space(in, len, i + 1);
        }
    }
}

static const char *
check_place(const uint8_t *in, size_t len, const lb_scan_result_t *res)
{
    size_t row = 1, column = 1;

    if (res->error == NULL || res->error[0] == '\0') {
        return "an error without words";
    }
    if (res->offset > len || res->event_start > res->offset) {
        return "an error outside the body or before its event";
    }
    for (size_t i = 0; i < res->offset; i++) {
        if (in[i] == '\n') {
            row++;
            column = 1;
        } else if ((in[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    if (row != res->row || column != res->column) {
        return "row or column do not belong to the offset";
    }
    return NULL;
}

/* Words must be UTF-8 within their size, whatever the body. */
static const char *
check_words(const uint8_t *in, size_t len, const lb_scan_result_t *res)
{
    char text[200];

    for (size_t size = 1; size <= sizeof(text); size += 13) {
        json_t *json;

        memset(text, 'x', sizeof(text));
        lb_scan_explain(in, len, res, text, size);
        if (memchr(text, '\0', size) == NULL) {
            return "explanation is longer than its size";
        }
        json = json_string(text);
        if (json == NULL) {
            return "explanation is not UTF-8";
        }
        json_decref(json);
    }
    if (strncmp(text, res->error, strlen(res->error)) != 0) {
        return "explanation does not begin with the scanner's words";
    }
    return NULL;
}

static const char *
compare_results(lb_scan_status_t s1, const lb_scan_result_t *a,
                lb_scan_status_t s2, const lb_scan_result_t *b)
{
    if (s1 != s2) {
        return "implementations differ in status";
    }
    if (a->out_len != b->out_len || a->events != b->events ||
        a->offset != b->offset || a->event_start != b->event_start ||
        a->row != b->row || a->column != b->column || a->error != b->error) {
        return "implementations differ in their results";
    }
    return NULL;
}

/* Runs every implementation with exactly the room it needs, with one byte
 * less, and with enough; their common result is left in res and out. */
static const char *
run_all(int text, const uint8_t *in, size_t len, uint8_t **out,
        lb_scan_status_t *status, lb_scan_result_t *res)
{
    const size_t n = lb_ways();
    size_t cap = text ? lb_scan_text_out_max(len) : lb_scan_json_out_max(len);

    *out = malloc(cap + 1);
    if (*out == NULL) {
        abort();
    }
    for (size_t i = 0; i < n; i++) {
        lb_scan_fn fn = text ? lb_text_ways[i] : lb_json_ways[i];
        lb_scan_result_t again;
        lb_scan_status_t s;
        const char *error;
        uint8_t *tight;

        if (i == 0) {
            *status = fn(in, len, *out, cap, MAX_EVENT, res);
            if (*status == LB_SCAN_NOSPACE) {
                return "out_max does not suffice";
            }
        }

        tight = malloc(cap + 1);
        if (tight == NULL) {
            abort();
        }
        s = fn(in, len, tight, cap, MAX_EVENT, &again);
        error = compare_results(*status, res, s, &again);
        if (error == NULL && s == LB_SCAN_OK &&
            memcmp(*out, tight, res->out_len) != 0) {
            error = "implementations differ in output";
        }
        free(tight);
        if (error) {
            return error;
        }
        if (*status != LB_SCAN_OK) {
            continue;
        }

        tight = malloc(res->out_len);
        if (tight == NULL) {
            abort();
        }
        s = fn(in, len, tight, res->out_len, MAX_EVENT, &again);
        if (s != LB_SCAN_OK || memcmp(*out, tight, res->out_len) != 0) {
            error = "does not do with exactly the room it needs";
        } else if (fn(in, len, tight, res->out_len - 1, MAX_EVENT, &again) !=
                   LB_SCAN_NOSPACE) {
            error = "does with less room than it needs";
        }
        free(tight);
        if (error) {
            return error;
        }
    }

    if (*status == LB_SCAN_BAD) {
        const char *error = check_place(in, len, res);

        return error ? error : check_words(in, len, res);
    }
    return NULL;
}

/* The body between flat lines, at a place in a block that depends on it: the
 * implementations must agree on that too. */
static const char *
run_between_lines(const uint8_t *in, size_t len)
{
    static const char line[] = "{\"k\":1,\"message\":\"between lines\"}\n";
    size_t before = 0, room = 2048 + len;
    char *body = malloc(room);
    lb_scan_status_t status;
    lb_scan_result_t res;
    uint8_t *out = NULL;
    const char *error;

    if (body == NULL) {
        abort();
    }
    before =
        (size_t)sprintf(body, "{\"k\":\"%*s\"}\n", (int)(len * 7 % 64), "");
    while (before < 600) {
        before += (size_t)sprintf(body + before, "%s", line);
    }
    memcpy(body + before, in, len);
    len += before;
    for (int i = 0; i < 5; i++) {
        len += (size_t)sprintf(body + len, "%s", line);
    }

    error = run_all(0, (uint8_t *)body, len, &out, &status, &res);
    free(out);
    free(body);
    return error;
}

const char *
scanner_oracle_json(const uint8_t *in, size_t len)
{
    expect_t expect = {NULL, 0, 0};
    lb_scan_status_t status;
    lb_scan_result_t res;
    const char *error;
    verdict_t verdict;
    uint8_t *out = NULL;

    error = run_between_lines(in, len);
    if (error) {
        return error;
    }
    error = run_all(0, in, len, &out, &status, &res);
    if (error || status == LB_SCAN_TOOBIG ||
        (status == LB_SCAN_BAD && strstr(res.error, "deeper"))) {
        free(out);
        return error;
    }

    expect.data = malloc(lb_scan_json_out_max(len) + 1);
    if (expect.data == NULL) {
        abort();
    }
    verdict = take_body(in, len, &expect);
    if (verdict != DIFFERS) {
        scanner_oracle_compared++;
    }
    switch (verdict) {
    case DIFFERS:
        break;
    case REFUSES:
        if (status != LB_SCAN_BAD) {
            error = "jansson refuses what the scanner takes";
        }
        break;
    case TAKES:
        scanner_oracle_accepted++;
        if (status == LB_SCAN_BAD) {
            error = "the scanner refuses what jansson takes";
        } else if ((status == LB_SCAN_EMPTY) != (expect.events == 0)) {
            error = "one of them sees no event";
        } else if (expect.events != res.events || expect.len != res.out_len ||
                   memcmp(expect.data, out, expect.len) != 0) {
            error = "the scanner writes something else than expected";
        }
        break;
    }

    free(expect.data);
    free(out);
    return error;
}

const char *
scanner_oracle_text(const uint8_t *in, size_t len)
{
    lb_scan_status_t status;
    lb_scan_result_t res;
    const char *error;
    uint8_t *out = NULL;
    const uint8_t *p;
    size_t i = 0;
    uint32_t events = 0;
    int bad = 0;

    error = run_all(1, in, len, &out, &status, &res);
    if (error || status == LB_SCAN_TOOBIG) {
        free(out);
        return error;
    }

    p = out;
    while (i < len && !error) {
        const uint8_t *nl = memchr(in + i, '\n', len - i);
        size_t end = nl ? (size_t)(nl - in) : len;
        size_t stop = end > i && in[end - 1] == '\r' ? end - 1 : end;
        json_t *want = json_stringn((const char *)in + i, stop - i);

        if (want == NULL) {
            bad = 1;
            break;
        }
        if (stop > i && status == LB_SCAN_OK) {
            const uint8_t *line =
                memchr(p, '\n', res.out_len - (size_t)(p - out));
            json_t *have = NULL;

            if (line != NULL) {
                have = json_loadb((const char *)p, (size_t)(line - p),
                                  JSON_ALLOW_NUL, NULL);
                p = line + 1;
            }
            if (have == NULL || json_object_size(have) != 1 ||
                !json_equal(json_object_get(have, "message"), want)) {
                error = "a line is not what it was";
            }
            json_decref(have);
        }
        events += stop > i;
        json_decref(want);
        i = end + 1;
    }

    if (!error) {
        if (bad != (status == LB_SCAN_BAD)) {
            error = "one of them takes this for UTF-8";
        } else if (!bad && (events != res.events ||
                            (events == 0) != (status == LB_SCAN_EMPTY) ||
                            (size_t)(p - out) != res.out_len)) {
            error = "another number of lines";
        }
    }

    free(out);
    return error;
}
