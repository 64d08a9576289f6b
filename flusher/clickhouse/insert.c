#include "flusher/clickhouse/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

lb_sink_outcome_t
lb_ch_judge(long http, int code, const char *summary, const char *body,
            uint64_t rows, uint64_t reads, uint64_t *read_rows)
{
    const char *p;

    *read_rows = 0;

    if (code != 0) {
        return (lb_ch_error(code) & LB_CH_DEFINITE) && !lb_ch_blames_view(body)
                   ? LB_SINK_REFUSED
                   : LB_SINK_UNKNOWN;
    }

    /* An exception may follow the headers of a 200. */
    if (http != 200 || strstr(body, "DB::Exception") != NULL) {
        return LB_SINK_UNKNOWN;
    }

    /* A body that was cut, or read otherwise than it was meant, can be
     * answered with 200: what counts is how many rows arrived. */
    p = summary != NULL ? strstr(summary, "\"read_rows\":") : NULL;
    if (p == NULL) {
        return LB_SINK_UNKNOWN;
    }

    p += strlen("\"read_rows\":");
    p += strspn(p, " \"");

    *read_rows = strtoull(p, NULL, 10);

    /* views may have views, which read what those let through */
    return *read_rows == rows * reads ||
                   (reads > 1 && *read_rows > rows * reads)
               ? LB_SINK_DONE
               : LB_SINK_UNKNOWN;
}

long
lb_ch_read_rows(lb_ch_t *ch, void *buf, size_t size)
{
    long n = ch->insert->read(ch->insert->arg, buf, size);

    if (n < 0) {
        ch->read_failed = 1;
    }

    return n;
}

static size_t
on_read(char *buf, size_t size, size_t n, void *arg)
{
    long got;
    size_t rc;
    lb_ch_t *ch = arg;
    ZSTD_outBuffer out;

    size *= n;
    lb_ch_watch(ch);

    if (ch->zstd == NULL) {
        got = lb_ch_read_rows(ch, buf, size);
        if (got < 0) {
            return CURL_READFUNC_ABORT;
        }
        ch->result->complete |= got == 0;
        return (size_t)got;
    }

    out.dst = buf;
    out.size = size;
    out.pos = 0;

    while (out.pos == 0) {

        if (ch->in.pos == ch->in.size && ch->last == 0) {
            got = lb_ch_read_rows(ch, ch->raw, RAW_SIZE);
            if (got < 0) {
                return CURL_READFUNC_ABORT;
            }
            ch->in.src = ch->raw;
            ch->in.size = (size_t)got;
            ch->in.pos = 0;
            ch->last = got == 0;
        }

        if (ch->last == 2) {
            ch->result->complete = 1;
            return 0;
        }

        rc = ZSTD_compressStream2(ch->zstd, &out, &ch->in,
                                  ch->last ? ZSTD_e_end : ZSTD_e_continue);

        if (ZSTD_isError(rc)) {
            ch->read_failed = 1;
            return CURL_READFUNC_ABORT;
        }

        if (ch->last && rc == 0) {
            ch->last = 2;
            break;
        }
    }

    return out.pos;
}

void
lb_ch_insert(lb_ch_t *ch, const lb_ch_insert_t *insert, lb_ch_result_t *result)
{
    char url[12288], sql[4096], settings[LB_SETTINGS_SQL], more[URL_SETTINGS],
        *escaped;
    lb_ch_result_t *r = result;

    lb_ch_url_settings(ch, more);
    lb_settings_sql(&ch->settings, 1, insert->token, settings,
                    sizeof(settings));
    (void)snprintf(sql, sizeof(sql),
                   "INSERT INTO %s (%s) SETTINGS %s FORMAT Native",
                   insert->table, insert->columns, settings);

    escaped = curl_easy_escape(ch->curl, sql, 0);
    (void)snprintf(url, sizeof(url),
                   "%s/?query=%s&%s&query_id=%s"
                   "&insert_deduplication_token=%s",
                   lb_ch_url(ch), escaped != NULL ? escaped : "", more,
                   insert->token, insert->token);
    curl_free(escaped);

    lb_ch_prepare(ch, url, result);

    ch->insert = insert;
    ch->last = 0;
    memset(&ch->in, 0, sizeof(ch->in));

    if (ch->options->zstd) {
        if (ch->zstd == NULL) {
            ch->zstd = ZSTD_createCCtx();
        }
        if (ch->zstd == NULL) {
            r->outcome = LB_SINK_NOT_SENT;
            lb_ch_say(r, "no memory for the compressor");
            return;
        }
        ZSTD_CCtx_reset(ch->zstd, ZSTD_reset_session_only);
        ZSTD_CCtx_setParameter(ch->zstd, ZSTD_c_compressionLevel, 1);
    }

    curl_easy_setopt(ch->curl, CURLOPT_HTTPHEADER, ch->insert_headers);
    curl_easy_setopt(ch->curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(ch->curl, CURLOPT_READDATA, ch);
    curl_easy_setopt(ch->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)-1);
    curl_easy_setopt(ch->curl, CURLOPT_UPLOAD_BUFFERSIZE, 1L << 20);

    if (!lb_ch_perform(ch)) {
        return;
    }

    r->outcome = lb_ch_judge(r->http, r->code, ch->summary, r->answer,
                             insert->rows, insert->reads, &r->read_rows);

    if (r->outcome != LB_SINK_DONE) {
        lb_ch_quote(ch);
    }

    lb_ch_learn(ch);
}
