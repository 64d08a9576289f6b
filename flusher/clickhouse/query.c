#include "flusher/clickhouse/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A question is answered within that, or not soon. */
#define QUERY_TIMEOUT_MS 10000

/* An index whose files are damaged, by a disk that failed while they were
 * written, must not keep a batch in doubt for good: its rows can be counted
 * without. */
#define NO_INDEXES ",`use_skip_indexes`=0"

/* "SQL SETTINGS ...", to be freed; NULL: no memory, which result says. */
static char *
with_settings(lb_ch_t *ch, const char *sql)
{
    char settings[LB_SETTINGS_SQL], *text;
    size_t size;

    lb_settings_sql(&ch->settings, 0, NULL, settings, sizeof(settings));
    size = strlen(sql) + strlen(settings) + sizeof(" SETTINGS ") +
           sizeof(NO_INDEXES);
    text = malloc(size);
    if (text == NULL) {
        ch->result->outcome = LB_SINK_NOT_SENT;
        lb_ch_say(ch->result, "no memory for a question");
        return NULL;
    }
    (void)snprintf(text, size, "%s SETTINGS %s%s", sql, settings,
                   ch->plain ? NO_INDEXES : "");

    return text;
}

/* The outcome of a query that was sent. */
static void
judge_query(lb_ch_t *ch)
{
    lb_ch_result_t *r = ch->result;

    if (r->http == 200 && r->code == 0 && !ch->truncated &&
        strstr(r->answer, "DB::Exception") == NULL) {
        r->outcome = LB_SINK_DONE;
        ch->plain = 0;
        return;
    }

    ch->plain = !ch->plain && (lb_ch_error(r->code) & LB_CH_DAMAGE) != 0;
    r->outcome = r->code != 0 ? LB_SINK_REFUSED : LB_SINK_UNKNOWN;
    lb_ch_quote(ch);
    lb_ch_learn(ch);
}

void
lb_ch_query(lb_ch_t *ch, const char *sql, lb_ch_result_t *result)
{
    char url[2048], more[URL_SETTINGS], *text;

    lb_ch_url_settings(ch, more);
    (void)snprintf(url, sizeof(url), "%s/?%s", lb_ch_url(ch), more);

    lb_ch_prepare(ch, url, result);

    if (ch->timeout_ms > QUERY_TIMEOUT_MS) {
        ch->timeout_ms = QUERY_TIMEOUT_MS;
    }

    text = with_settings(ch, sql);
    if (text == NULL) {
        return;
    }

    curl_easy_setopt(ch->curl, CURLOPT_HTTPHEADER, ch->query_headers);
    result->complete = 1;

    curl_easy_setopt(ch->curl, CURLOPT_POSTFIELDS, text);
    curl_easy_setopt(ch->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(text));

    if (lb_ch_perform(ch)) {
        judge_query(ch);
    }

    free(text);
}

/* For a form, which is never compressed. */
static size_t
on_read_plain(char *buf, size_t size, size_t n, void *arg)
{
    long got = lb_ch_read_rows(arg, buf, size * n);

    return got < 0 ? CURL_READFUNC_ABORT : (size_t)got;
}

void
lb_ch_query_rows(lb_ch_t *ch, const char *sql, const char *structure,
                 const lb_ch_insert_t *rows, lb_ch_result_t *result)
{
    char *url = NULL, *text, *query, *columns, more[URL_SETTINGS];
    size_t size;
    curl_mime *form;
    curl_mimepart *part;

    lb_ch_prepare(ch, lb_ch_url(ch), result);

    text = with_settings(ch, sql);
    if (text == NULL) {
        return;
    }

    lb_ch_url_settings(ch, more);
    query = curl_easy_escape(ch->curl, text, 0);
    columns = curl_easy_escape(ch->curl, structure, 0);
    form = curl_mime_init(ch->curl);
    part = form != NULL ? curl_mime_addpart(form) : NULL;
    free(text);

    if (query != NULL && columns != NULL && part != NULL) {
        size = strlen(lb_ch_url(ch)) + strlen(query) + strlen(columns) +
               sizeof(more) + 64;
        url = malloc(size);
    }

    if (url == NULL) {
        result->outcome = LB_SINK_NOT_SENT;
        lb_ch_say(result, "no memory for a question");
    } else {
        (void)snprintf(url, size,
                       "%s/?query=%s&batch_format=Native&batch_structure=%s"
                       "&%s",
                       lb_ch_url(ch), query, columns, more);

        ch->insert = rows;
        curl_mime_name(part, "batch");
        curl_mime_filename(part, "batch");
        curl_mime_data_cb(part, -1, on_read_plain, NULL, NULL, ch);
        curl_easy_setopt(ch->curl, CURLOPT_URL, url);
        curl_easy_setopt(ch->curl, CURLOPT_HTTPHEADER, ch->form_headers);
        curl_easy_setopt(ch->curl, CURLOPT_MIMEPOST, form);
        curl_easy_setopt(ch->curl, CURLOPT_UPLOAD_BUFFERSIZE, 1L << 20);

        if (lb_ch_perform(ch)) {
            judge_query(ch);
        }
    }

    curl_free(query);
    curl_free(columns);
    curl_mime_free(form);
    free(url);
}
