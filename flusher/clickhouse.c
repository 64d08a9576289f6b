#include "flusher/clickhouse.h"

#include <curl/curl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zstd.h>

#include "flusher/notify.h"
#include "flusher/settings.h"
#include "spool/lb_ring.h"

/* Parameters of the URL, which a proxy may drop: the statements' own settings
 * (settings.h) are enough.  The whole answer is known before its headers come;
 * an INSERT's always is. */
static const char url_settings[] = "wait_end_of_query=1&dialect=clickhouse";

struct lb_ch_s {
    CURL *curl;
    const lb_options_t *options;
    const volatile sig_atomic_t *abort;
    uint32_t url;
    lb_settings_t settings;
    struct curl_slist *query_headers;
    struct curl_slist *insert_headers;

    /* of the request */
    const lb_ch_insert_t *insert;
    int read_failed;
    uint64_t sent;
    ZSTD_CCtx *zstd;
    uint8_t *raw; /* input of the compressor */
    ZSTD_inBuffer in;
    int last;

    int code;
    int truncated;
    char summary[1024];
    size_t answer_len;
    lb_ch_result_t *result;
};

#define RAW_SIZE (256u << 10)

int
lb_ch_definite(int code)
{
    size_t i;

    /* Thrown while the query is parsed, checked or admitted, before a block is
     * read.  Codes that a materialized view can cause after the table itself
     * has the rows are left out: those are asked about.
     * src/Common/ErrorCodes.cpp has the numbers. */
    static const int codes[] = {
        60,  /* UNKNOWN_TABLE */
        62,  /* SYNTAX_ERROR */
        73,  /* UNKNOWN_FORMAT */
        81,  /* UNKNOWN_DATABASE */
        115, /* UNKNOWN_SETTING */
        164, /* READONLY */
        192, /* UNKNOWN_USER */
        193, /* WRONG_PASSWORD */
        194, /* REQUIRED_PASSWORD */
        195, /* IP_ADDRESS_NOT_ALLOWED */
        201, /* QUOTA_EXCEEDED */
        202, /* TOO_MANY_SIMULTANEOUS_QUERIES */
        291, /* DATABASE_ACCESS_DENIED */
        452, /* SETTING_CONSTRAINT_VIOLATION */
        497, /* ACCESS_DENIED */
        516, /* AUTHENTICATION_FAILED */
    };

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i] == code) {
            return 1;
        }
    }

    return 0;
}

int
lb_ch_blames_view(const char *body)
{
    return strstr(body, "while pushing to view") != NULL;
}

int
lb_ch_blames_size(long http, int code)
{
    size_t i;

    static const int codes[] = {
        158, /* TOO_MANY_ROWS */
        159, /* TIMEOUT_EXCEEDED */
        160, /* TOO_SLOW */
        241, /* MEMORY_LIMIT_EXCEEDED */
        307, /* TOO_MANY_BYTES */
        396, /* TOO_MANY_ROWS_OR_BYTES */
    };

    if (code == 0) {
        return http == 413;
    }

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i] == code) {
            return 1;
        }
    }

    return 0;
}

lb_ch_outcome_t
lb_ch_judge(long http, int code, const char *summary, const char *body,
            uint64_t rows, uint64_t reads, uint64_t *read_rows)
{
    const char *p;

    *read_rows = 0;

    if (code != 0) {
        return lb_ch_definite(code) && !lb_ch_blames_view(body) ? LB_CH_REFUSED
                                                                : LB_CH_UNKNOWN;
    }

    /* An exception may follow the headers of a 200. */
    if (http != 200 || strstr(body, "DB::Exception") != NULL) {
        return LB_CH_UNKNOWN;
    }

    /* A body that was cut, or read otherwise than it was meant, can be
     * answered with 200: what counts is how many rows arrived. */
    p = summary != NULL ? strstr(summary, "\"read_rows\":") : NULL;
    if (p == NULL) {
        return LB_CH_UNKNOWN;
    }

    p += strlen("\"read_rows\":");
    p += strspn(p, " \"");

    *read_rows = strtoull(p, NULL, 10);

    /* views may have views, which read what those let through */
    return *read_rows == rows * reads ||
                   (reads > 1 && *read_rows > rows * reads)
               ? LB_CH_DONE
               : LB_CH_UNKNOWN;
}

static size_t
on_header(char *data, size_t size, size_t n, void *arg)
{
    size_t len = size * n, value;
    lb_ch_t *ch = arg;

    static const char code[] = "X-ClickHouse-Exception-Code:";
    static const char summary[] = "X-ClickHouse-Summary:";
    static const char date[] = "Date:";

    if (len >= sizeof(date) - 1 && len < 64 &&
        strncasecmp(data, date, sizeof(date) - 1) == 0) {
        char text[64];

        memcpy(text, data + sizeof(date) - 1, len - (sizeof(date) - 1));
        text[len - (sizeof(date) - 1)] = '\0';
        ch->result->date = (int64_t)curl_getdate(text, NULL);
        ch->result->dated_ms = (int64_t)(lb_now_us() / 1000);
        if (ch->result->date < 0) {
            ch->result->date = 0;
        }
    }

    if (len >= sizeof(code) - 1 &&
        strncasecmp(data, code, sizeof(code) - 1) == 0) {
        ch->code = atoi(data + sizeof(code) - 1);
    }

    if (len >= sizeof(summary) - 1 &&
        strncasecmp(data, summary, sizeof(summary) - 1) == 0) {
        value = len - (sizeof(summary) - 1);
        if (value < sizeof(ch->summary)) {
            memcpy(ch->summary, data + sizeof(summary) - 1, value);
            ch->summary[value] = '\0';
        }
    }

    return len;
}

static size_t
on_answer(char *data, size_t size, size_t n, void *arg)
{
    size_t len = size * n, room;
    lb_ch_t *ch = arg;

    room = sizeof(ch->result->answer) - 1 - ch->answer_len;
    if (len > room) {
        ch->truncated = 1;
    }
    room = len < room ? len : room;

    memcpy(ch->result->answer + ch->answer_len, data, room);
    ch->answer_len += room;
    ch->result->answer[ch->answer_len] = '\0';

    return len;
}

static long
read_rows(lb_ch_t *ch, void *buf, size_t size)
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

    if (ch->zstd == NULL) {
        got = read_rows(ch, buf, size);
        if (got < 0) {
            return CURL_READFUNC_ABORT;
        }
        ch->sent += (uint64_t)got;
        ch->result->complete |= got == 0;
        return (size_t)got;
    }

    out.dst = buf;
    out.size = size;
    out.pos = 0;

    while (out.pos == 0) {

        if (ch->in.pos == ch->in.size && ch->last == 0) {
            got = read_rows(ch, ch->raw, RAW_SIZE);
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

    ch->sent += out.pos;

    return out.pos;
}

static int
on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    lb_ch_t *ch = arg;

    (void)a;
    (void)b;
    (void)c;
    (void)d;

    lb_notify_alive();

    return *ch->abort != 0;
}

static int
add_header(struct curl_slist **list, const char *name, const char *value)
{
    char line[1200];
    struct curl_slist *more;

    /* curl takes "Name:" as: do not send this header */
    (void)snprintf(line, sizeof(line), "%s:%s%s", name,
                   value[0] != '\0' ? " " : "", value);

    more = curl_slist_append(*list, line);
    if (more == NULL) {
        return -1;
    }

    *list = more;

    return 0;
}

static int
credentials(struct curl_slist **list, const lb_options_t *o)
{
    /* no "Expect: 100-continue": one more round trip for nothing */
    if (add_header(list, "Expect", "") != 0 ||
        add_header(list, "Content-Type", "application/octet-stream") != 0) {
        return -1;
    }

    if (o->user != NULL && o->user[0] != '\0' &&
        add_header(list, "X-ClickHouse-User", o->user) != 0) {
        return -1;
    }

    if (o->password != NULL &&
        add_header(list, "X-ClickHouse-Key", o->password) != 0) {
        return -1;
    }

    return 0;
}

lb_ch_t *
lb_ch_new(const lb_options_t *options, const volatile sig_atomic_t *abort)
{
    lb_ch_t *ch = calloc(1, sizeof(*ch));

    if (ch == NULL) {
        return NULL;
    }

    ch->options = options;
    ch->abort = abort;
    ch->curl = curl_easy_init();
    ch->raw = malloc(RAW_SIZE);

    if (ch->curl == NULL || ch->raw == NULL ||
        credentials(&ch->query_headers, options) != 0 ||
        credentials(&ch->insert_headers, options) != 0 ||
        add_header(&ch->insert_headers, "Transfer-Encoding", "chunked") != 0 ||
        (options->zstd &&
         add_header(&ch->insert_headers, "Content-Encoding", "zstd") != 0)) {
        lb_ch_free(ch);
        return NULL;
    }

    return ch;
}

void
lb_ch_free(lb_ch_t *ch)
{
    if (ch != NULL) {
        curl_slist_free_all(ch->query_headers);
        curl_slist_free_all(ch->insert_headers);
        curl_easy_cleanup(ch->curl);
        ZSTD_freeCCtx(ch->zstd);
        free(ch->raw);
        free(ch);
    }
}

void
lb_ch_next_url(lb_ch_t *ch)
{
    ch->url = (ch->url + 1) % ch->options->nurls;
}

const char *
lb_ch_url(const lb_ch_t *ch)
{
    return ch->options->urls[ch->url];
}

__attribute__((format(printf, 2, 3))) static void
say(lb_ch_result_t *r, const char *fmt, ...)
{
    char *p;
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(r->text, sizeof(r->text), fmt, ap);
    va_end(ap);

    /* what comes from the server may have lines of its own */
    for (p = r->text; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ') {
            *p = ' ';
        }
    }
}

static void
prepare(lb_ch_t *ch, const char *url, lb_ch_result_t *result)
{
    CURL *c = ch->curl;
    const lb_options_t *o = ch->options;

    memset(result, 0, offsetof(lb_ch_result_t, answer) + 1);

    ch->result = result;
    ch->code = 0;
    ch->truncated = 0;
    ch->summary[0] = '\0';
    ch->answer_len = 0;
    ch->sent = 0;
    ch->read_failed = 0;

    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, ch);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, ch);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, ch);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_timeout_ms);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)o->request_timeout_ms);

    /* One connection a second is cheap, and one that the server closed while
     * it was idle cannot put an outcome in doubt. */
    curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L);
}

/* The outcome as far as curl knows it: 1 if there is an answer to judge. */
static int
perform(lb_ch_t *ch)
{
    CURLcode rc;
    lb_ch_result_t *r = ch->result;
    curl_off_t connected = 0;

    r->sent_ms = (int64_t)(lb_now_us() / 1000);

    rc = curl_easy_perform(ch->curl);

    curl_easy_getinfo(ch->curl, CURLINFO_RESPONSE_CODE, &r->http);
    curl_easy_getinfo(ch->curl, CURLINFO_CONNECT_TIME_T, &connected);
    r->code = ch->code;

    if (rc == CURLE_OK) {
        return 1;
    }

    r->outcome = LB_CH_UNKNOWN;
    r->timed_out = rc == CURLE_OPERATION_TIMEDOUT;

    switch (rc) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        r->outcome = LB_CH_NOT_SENT;
        break;
    case CURLE_OPERATION_TIMEDOUT:
        /* still connecting */
        if (connected == 0 && ch->sent == 0) {
            r->outcome = LB_CH_NOT_SENT;
        }
        break;
    default:
        break;
    }

    say(r, "%s: %s", lb_ch_url(ch),
        ch->read_failed ? "reading the batch failed" : curl_easy_strerror(rc));

    return 0;
}

/* A setting that the server does not know is not needed there; one that may not
 * be changed may be a wrong one. */
static void
learn(lb_ch_t *ch)
{
    lb_ch_result_t *r = ch->result;

    r->relearn = lb_settings_learn(&ch->settings, r->code, r->answer);
}

void
lb_ch_insert(lb_ch_t *ch, const lb_ch_insert_t *insert, lb_ch_result_t *result)
{
    char url[12288], sql[4096], settings[LB_SETTINGS_SQL], *escaped;
    lb_ch_result_t *r = result;

    lb_settings_sql(&ch->settings, 1, insert->token, settings,
                    sizeof(settings));
    (void)snprintf(sql, sizeof(sql),
                   "INSERT INTO %s (%s) SETTINGS %s FORMAT Native",
                   insert->table, insert->columns, settings);

    escaped = curl_easy_escape(ch->curl, sql, 0);
    (void)snprintf(url, sizeof(url),
                   "%s/?query=%s&%s&query_id=%s"
                   "&insert_deduplication_token=%s",
                   lb_ch_url(ch), escaped != NULL ? escaped : "", url_settings,
                   insert->token, insert->token);
    curl_free(escaped);

    prepare(ch, url, result);

    ch->insert = insert;
    ch->last = 0;
    memset(&ch->in, 0, sizeof(ch->in));

    if (ch->options->zstd) {
        if (ch->zstd == NULL) {
            ch->zstd = ZSTD_createCCtx();
        }
        if (ch->zstd == NULL) {
            r->outcome = LB_CH_NOT_SENT;
            say(r, "no memory for the compressor");
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

    if (!perform(ch)) {
        return;
    }

    r->outcome = lb_ch_judge(r->http, r->code, ch->summary, r->answer,
                             insert->rows, insert->reads, &r->read_rows);

    if (r->outcome != LB_CH_DONE) {
        if (r->answer[0] != '\0') {
            say(r, "%s: HTTP %ld, %.400s", lb_ch_url(ch), r->http, r->answer);
        } else {
            say(r, "%s: HTTP %ld, summary %.200s for %llu rows", lb_ch_url(ch),
                r->http, ch->summary, (unsigned long long)insert->rows);
        }
    }

    learn(ch);
}

void
lb_ch_query(lb_ch_t *ch, const char *sql, lb_ch_result_t *result)
{
    char url[2048], settings[LB_SETTINGS_SQL], *text;
    size_t size;
    lb_ch_result_t *r = result;

    (void)snprintf(url, sizeof(url), "%s/?%s", lb_ch_url(ch), url_settings);

    prepare(ch, url, result);

    lb_settings_sql(&ch->settings, 0, NULL, settings, sizeof(settings));
    size = strlen(sql) + strlen(settings) + sizeof(" SETTINGS ");
    text = malloc(size);
    if (text == NULL) {
        r->outcome = LB_CH_NOT_SENT;
        say(r, "no memory for a question");
        return;
    }
    (void)snprintf(text, size, "%s SETTINGS %s", sql, settings);

    curl_easy_setopt(ch->curl, CURLOPT_HTTPHEADER, ch->query_headers);
    r->complete = 1;

    curl_easy_setopt(ch->curl, CURLOPT_POSTFIELDS, text);
    curl_easy_setopt(ch->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(text));

    if (perform(ch)) {
        if (r->http == 200 && r->code == 0 && !ch->truncated &&
            strstr(r->answer, "DB::Exception") == NULL) {
            r->outcome = LB_CH_DONE;
        } else {
            r->outcome = r->code != 0 ? LB_CH_REFUSED : LB_CH_UNKNOWN;
            say(r, "%s: HTTP %ld, %.400s", lb_ch_url(ch), r->http, r->answer);
            learn(ch);
        }
    }

    free(text);
}

void
lb_ch_forget_settings(lb_ch_t *ch)
{
    memset(&ch->settings, 0, sizeof(ch->settings));
}
