/*
 * The text of ids and filters.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <locale.h>
#include <wctype.h>

#include "event/repair.h"

#include "ngx_http_logbroker_tail_text.h"


static ngx_int_t ngx_http_logbroker_tail_list(ngx_http_request_t *r,
    char *name, ngx_str_t *list);
static ngx_int_t ngx_http_logbroker_tail_text(ngx_str_t *text);
static size_t ngx_http_logbroker_tail_escape(const u_char *p,
    const u_char *end, uint32_t *c);
static u_char *ngx_http_logbroker_tail_utf8(u_char *o, uint32_t c);


ngx_int_t
ngx_http_logbroker_tail_ask(ngx_http_request_t *r,
    ngx_http_logbroker_tail_feed_t *f)
{
    if (ngx_http_logbroker_tail_list(r, "stream", &f->stream) != NGX_OK
        || ngx_http_logbroker_tail_list(r, "level", &f->level) != NGX_OK
        || ngx_http_logbroker_tail_list(r, "service", &f->service) != NGX_OK
        || ngx_http_logbroker_tail_list(r, "text", &f->text) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_logbroker_tail_text(&f->text);
}


/* An argument as it was meant, in memory of its own: the thread reads it. */

static ngx_int_t
ngx_http_logbroker_tail_list(ngx_http_request_t *r, char *name,
    ngx_str_t *list)
{
    u_char     *src, *dst, *p;
    ngx_str_t   value;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &value) != NGX_OK
        || value.len == 0)
    {
        return NGX_OK;
    }

    list->data = malloc(value.len);
    if (list->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(list->data, value.data, value.len);

    for (p = list->data; p < list->data + value.len; p++) {
        if (*p == '+') {
            *p = ' ';
        }
    }

    src = list->data;
    dst = list->data;

    ngx_unescape_uri(&dst, &src, value.len, 0);

    list->len = dst - list->data;

    return NGX_OK;
}


/* The text that is sought, as a row has it: in a string of JSON, small. */

static ngx_int_t
ngx_http_logbroker_tail_text(ngx_str_t *text)
{
    u_char    *folded;
    size_t     len;
    lb_out_t   out;
    uint8_t   *quoted;

    if (text->len == 0) {
        return NGX_OK;
    }

    len = 6 * text->len + 64;

    quoted = malloc(len);
    folded = malloc(2 * len);

    if (quoted == NULL || folded == NULL) {
        free(quoted);
        free(folded);
        return NGX_ERROR;
    }

    out.o = quoted;
    out.end = quoted + len;

    (void) lb_repair_put(&out, text->data, text->len, NULL);

    free(text->data);

    text->data = folded;
    text->len = ngx_http_logbroker_tail_fold(folded, quoted, out.o - quoted);

    free(quoted);

    return NGX_OK;
}


ngx_uint_t
ngx_http_logbroker_tail_listed(ngx_str_t *list, const uint8_t *value,
    size_t len)
{
    u_char  *p, *end, *comma;

    if (list->len == 0) {
        return 1;
    }

    end = list->data + list->len;

    for (p = list->data; p <= end; p = comma + 1) {

        comma = ngx_strlchr(p, end, ',');

        if (comma == NULL) {
            comma = end;
        }

        if ((size_t) (comma - p) == len
            && (len == 0
                || ngx_strncasecmp(p, (u_char *) value, len) == 0))
        {
            return 1;
        }
    }

    return 0;
}


size_t
ngx_http_logbroker_tail_fold(u_char *to, const u_char *text, size_t len)
{
    size_t         n;
    u_char        *p, *o;
    uint32_t       c;
    const u_char  *end;

    static locale_t  locale;

    if (locale == (locale_t) 0) {
        locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t) 0);
    }

    o = to;
    end = text + len;

    while (text < end) {

        if (*text == '\\' && end - text > 1) {

            n = ngx_http_logbroker_tail_escape(text, end, &c);

            if (c < 0x80) {
                o = ngx_cpymem(o, text, n);
                text += n;
                continue;
            }

            text += n;

        } else if (*text < 0x80 || locale == (locale_t) 0) {
            *o++ = ngx_tolower(*text);
            text++;
            continue;

        } else {
            p = (u_char *) text;
            c = ngx_utf8_decode(&p, end - text);

            if (c > 0x10ffff) {
                *o++ = *text++;
                continue;
            }

            text = p;
        }

        if (locale != (locale_t) 0) {
            c = (uint32_t) towlower_l((wint_t) c, locale);
        }

        o = ngx_http_logbroker_tail_utf8(o, c);
    }

    return o - to;
}


/* The escape of a string of JSON at p: its length, and the character it stands
 * for if that is none of ASCII, or 0: it stays as it is. */

static size_t
ngx_http_logbroker_tail_escape(const u_char *p, const u_char *end, uint32_t *c)
{
    ngx_int_t  high, low;

    *c = 0;

    if (p[1] != 'u' || end - p < 6) {
        return 2;
    }

    high = ngx_hextoi((u_char *) p + 2, 4);

    if (high < 0x80 || (high >= 0xdc00 && high < 0xe000)) {
        return 2;
    }

    if (high < 0xd800 || high >= 0xe000) {
        *c = (uint32_t) high;
        return 6;
    }

    if (end - p < 12 || p[6] != '\\' || p[7] != 'u') {
        return 2;
    }

    low = ngx_hextoi((u_char *) p + 8, 4);

    if (low < 0xdc00 || low >= 0xe000) {
        return 2;
    }

    *c = 0x10000 + (((uint32_t) high - 0xd800) << 10) + (uint32_t) low - 0xdc00;

    return 12;
}


static u_char *
ngx_http_logbroker_tail_utf8(u_char *o, uint32_t c)
{
    if (c < 0x80) {
        *o++ = (u_char) c;

    } else if (c < 0x800) {
        *o++ = (u_char) (0xc0 | (c >> 6));
        *o++ = (u_char) (0x80 | (c & 0x3f));

    } else if (c < 0x10000) {
        *o++ = (u_char) (0xe0 | (c >> 12));
        *o++ = (u_char) (0x80 | ((c >> 6) & 0x3f));
        *o++ = (u_char) (0x80 | (c & 0x3f));

    } else {
        *o++ = (u_char) (0xf0 | (c >> 18));
        *o++ = (u_char) (0x80 | ((c >> 12) & 0x3f));
        *o++ = (u_char) (0x80 | ((c >> 6) & 0x3f));
        *o++ = (u_char) (0x80 | (c & 0x3f));
    }

    return o;
}


u_char *
ngx_http_logbroker_tail_print(u_char *p, ngx_http_logbroker_tail_mark_t *mark)
{
    return ngx_sprintf(p, "%02xd%02xd%02xd%02xd:%uL:%uL", mark->ring[0],
                       mark->ring[1], mark->ring[2], mark->ring[3],
                       mark->position, mark->seq);
}


ngx_int_t
ngx_http_logbroker_tail_resume(ngx_http_logbroker_tail_group_t *group,
    ngx_str_t *id)
{
    u_char                          *p, *end, *comma, *colon, *second;
    ngx_int_t                        n, position, seq;
    ngx_uint_t                       i;
    ngx_http_logbroker_tail_mark_t  *mark;

    end = id->data + id->len;

    for (p = id->data; p < end; p = comma + 1) {

        comma = ngx_strlchr(p, end, ',');

        if (comma == NULL) {
            comma = end;
        }

        colon = ngx_strlchr(p, comma, ':');
        second = colon ? ngx_strlchr(colon + 1, comma, ':') : NULL;

        if (second == NULL || colon - p != 8 || group->n == LB_SLOTS_MAX) {
            goto none;
        }

        position = ngx_atoi(colon + 1, second - colon - 1);
        seq = ngx_atoi(second + 1, comma - second - 1);

        if (position == NGX_ERROR || seq == NGX_ERROR) {
            goto none;
        }

        mark = &group->marks[group->n];

        for (i = 0; i < 4; i++) {
            n = ngx_hextoi(p + 2 * i, 2);

            if (n == NGX_ERROR) {
                goto none;
            }

            mark->ring[i] = (uint8_t) n;
        }

        mark->position = position;
        mark->seq = seq;
        group->n++;
    }

    if (group->n) {
        group->begun = 1;
        return NGX_OK;
    }

none:

    group->n = 0;

    return NGX_DECLINED;
}
