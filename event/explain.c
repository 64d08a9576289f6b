/*
 * Words for an error, on the cold path: the scanner says what was expected and
 * where; jansson, asked about the same event, adds what it saw there.
 */

#include "event/explain.h"
#include "event/utf8.h"

#include <stdio.h>
#include <jansson.h>

/* jansson needs a tree for what goes before the error: beyond this much of it
 * the scanner's words have to do. */
#define TREE_MAX 65536

/* What jansson is shown behind the fault: enough for the token it is in. */
#define BEHIND_MAX 256

/* Appends to text what fits of from[0..len), as valid UTF-8 without control
 * characters, never half a character. */
static void
add(char *text, size_t size, size_t *used, const char *from, size_t len)
{
    static const char instead[] = "\xef\xbf\xbd";

    for (size_t i = 0; i < len;) {
        const uint8_t *p = (const uint8_t *)from + i;
        size_t n = lb_utf8_len(p, len - i);
        const char *put = from + i;
        size_t put_len = n;

        if (n == 0) {
            put = instead;
            put_len = sizeof(instead) - 1;
            n = 1;
        } else if (*p < 0x20 || *p == 0x7f) {
            put = " ";
        }
        if (size - *used <= put_len) {
            return;
        }
        memcpy(text + *used, put, put_len);
        *used += put_len;
        text[*used] = '\0';
        i += n;
    }
}

/* What jansson saw at the fault (" near '...'", or which byte it could not
 * decode), as a part of error->text; "" if it finds no fault or another one. */
static const char *
seen_at(const uint8_t *in, size_t len, const lb_scan_result_t *res,
        json_error_t *error)
{
    size_t want = res->offset - res->event_start;
    size_t have = len - res->event_start;
    size_t seen, token;
    const char *near;
    json_t *json;

    if (want > TREE_MAX) {
        return "";
    }
    if (have > want + BEHIND_MAX) {
        have = want + BEHIND_MAX;
    }

    json = json_loadb((const char *)in + res->event_start, have,
                      JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, error);
    if (json != NULL) {
        json_decref(json);
        return "";
    }

    /* jansson's position is behind the token it could not use. */
    near = strstr(error->text, " near '");
    token = near ? strlen(near) - strlen(" near ''") : 0;
    seen = error->position < 0 ? 0 : (size_t)error->position;
    if (want > seen + 1 || want + token + 1 < seen) {
        return "";
    }

    if (json_error_code(error) == json_error_invalid_utf8) {
        return error->text;
    }
    return near ? near : "";
}

const char *
lb_scan_explain(const uint8_t *in, size_t len, const lb_scan_result_t *res,
                char *text, size_t size)
{
    json_error_t error;
    const char *words = res->error ? res->error : "malformed";
    const char *seen = "";
    size_t used = 0;

    if (size == 0) {
        return text;
    }
    text[0] = '\0';

    /* A larger event than allowed is not malformed, and what is no event at
     * all is not worth asking about. */
    if (res->event_start <= res->offset && res->offset <= len &&
        res->event_start < len && in[res->event_start] == '{' &&
        res->event_start < res->offset) {
        seen = seen_at(in, len, res, &error);
    }

    add(text, size, &used, words, strlen(words));
    if (*seen == ' ') {
        add(text, size, &used, ",", 1);
    } else if (*seen != '\0') {
        add(text, size, &used, ": ", 2);
    }
    add(text, size, &used, seen, strlen(seen));
    return text;
}
