#include "flusher/clickhouse/http.h"

#include <curl/curl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>

#include "flusher/clickhouse/connect.h"
#include "flusher/notify.h"
#include "flusher/clickhouse/settings.h"
#include "spool/lb_ring.h"

/* A question is answered within that, or not soon. */
#define QUERY_TIMEOUT_MS 10000

/* A connection may stand so long before its request leaves. */
#define GATE_TIMEOUT_MS 10000

struct lb_ch_s {
    CURL *curl;
    const lb_options_t *options;
    const volatile sig_atomic_t *abort;
    uint32_t url;
    lb_settings_t settings;
    struct curl_slist *query_headers;
    struct curl_slist *insert_headers;
    struct curl_slist *form_headers;
    char *password;
    lb_connect_t connect;
    int (*gate)(void *arg);
    void *gate_arg;
    char curl_text[CURL_ERROR_SIZE];

    /* of the request */
    const lb_ch_insert_t *insert;
    int read_failed;
    ZSTD_CCtx *zstd;
    uint8_t *raw; /* input of the compressor */
    ZSTD_inBuffer in;
    int last;

    int fd;           /* of the connection, once it stands */
    int64_t deadline; /* monotonic ms for the answer; 0: nothing has left */
    uint32_t timeout_ms;
    int64_t sent_mono;
    struct tcp_info before; /* the request */
    int arrived;            /* its first bytes surely have */

    int code;
    int named; /* the answer is ClickHouse's own */
    int truncated;
    char summary[1024];
    char location[256];
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

static void
look_at_packets(const lb_ch_t *ch, struct tcp_info *info)
{
    socklen_t len = sizeof(*info);

    memset(info, 0, sizeof(*info));
    (void)getsockopt(ch->fd, IPPROTO_TCP, TCP_INFO, info, &len);
}

/* Has the server got the first packet, and had it to be sent again? */
static void
watch_arrival(lb_ch_t *ch)
{
    struct tcp_info now;

    if (ch->arrived || ch->deadline == 0) {
        return;
    }

    look_at_packets(ch, &now);

    ch->arrived = now.tcpi_bytes_acked > ch->before.tcpi_bytes_acked;
    ch->result->repeated =
        now.tcpi_total_retrans != ch->before.tcpi_total_retrans;
}

/* The value of a header line of that name, NULL: it is another. */
static const char *
value_of(const char *line, const char *name)
{
    size_t len = strlen(name);

    if (strncasecmp(line, name, len) != 0 || line[len] != ':') {
        return NULL;
    }

    return line + len + 1 + strspn(line + len + 1, " \t");
}

static size_t
on_header(char *data, size_t size, size_t n, void *arg)
{
    size_t len = size * n, cut;
    lb_ch_t *ch = arg;
    char line[1200];
    const char *value;

    cut = len < sizeof(line) - 1 ? len : sizeof(line) - 1;
    memcpy(line, data, cut);
    line[cut] = '\0';
    line[strcspn(line, "\r\n")] = '\0';

    if (ch->result->dated_ms == 0) {
        watch_arrival(ch);
        ch->arrived = 1;

        /* the wall clock may have been set in between */
        ch->result->dated_mono = lb_mono_ms();
        ch->result->dated_ms = (int64_t)(lb_now_us() / 1000);
        ch->result->sent_ms =
            ch->result->dated_ms - (ch->result->dated_mono - ch->sent_mono);
    }

    if ((value = value_of(line, "Date")) != NULL) {
        ch->result->date = (int64_t)curl_getdate(value, NULL);
        if (ch->result->date < 0) {
            ch->result->date = 0;
        }

    } else if ((value = value_of(line, "Location")) != NULL) {
        (void)snprintf(ch->location, sizeof(ch->location), "%.255s", value);

    } else if ((value = value_of(line, "X-ClickHouse-Exception-Code")) !=
               NULL) {
        ch->code = atoi(value);

    } else if ((value = value_of(line, "X-ClickHouse-Summary")) != NULL) {
        (void)snprintf(ch->summary, sizeof(ch->summary), "%.1023s", value);
    }

    ch->named |= strncasecmp(line, "X-ClickHouse-", 13) == 0;

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
    watch_arrival(ch);

    if (ch->zstd == NULL) {
        got = read_rows(ch, buf, size);
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

    return out.pos;
}

/* The flusher blocks its signals while it works. */
static int
aborted(const lb_ch_t *ch)
{
    sigset_t none;
    struct timespec zero = {0, 0};

    lb_notify_alive();

    sigemptyset(&none);
    (void)ppoll(NULL, 0, &zero, &none);

    return *ch->abort != 0;
}

/* Nothing has come but the end: what is sent now is read by nobody. */
static int
closed(const lb_ch_t *ch)
{
    struct pollfd p;

    p.fd = ch->fd;
    p.events = POLLRDHUP;
    p.revents = 0;

    return poll(&p, 1, 0) > 0 &&
           (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* The connection stands and nothing of the request has left. */
static int
on_ready(void *arg, char *to, char *from, int to_port, int from_port)
{
    lb_ch_t *ch = arg;

    (void)to;
    (void)from;
    (void)to_port;

    ch->fd = lb_connect_made(&ch->connect, from_port);

    if (ch->gate != NULL && ch->gate(ch->gate_arg) != 0) {
        ch->result->late = 1;
        return CURL_PREREQFUNC_ABORT;
    }

    if (closed(ch)) {
        return CURL_PREREQFUNC_ABORT;
    }

    look_at_packets(ch, &ch->before);
    ch->arrived = 0;
    ch->sent_mono = lb_mono_ms();
    ch->result->sent_ms = (int64_t)(lb_now_us() / 1000);
    ch->deadline = ch->sent_mono + ch->timeout_ms;

    return CURL_PREREQFUNC_OK;
}

static int
on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    lb_ch_t *ch = arg;

    (void)a;
    (void)b;
    (void)c;
    (void)d;

    watch_arrival(ch);

    if (ch->deadline != 0 && lb_mono_ms() >= ch->deadline) {
        ch->result->timed_out = 1;
        return 1;
    }

    return aborted(ch);
}

/* Closing a socket leaves it to the kernel to send what is in its buffers, for
 * minutes: an INSERT given up would come in long after nobody waits for it, and
 * no question can see it.  Without an answer the connection is reset instead. */
static int
on_close(void *arg, curl_socket_t fd)
{
    lb_ch_t *ch = arg;

    static const struct linger reset = {1, 0};

    if (ch->result->dated_ms == 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }

    return close(fd);
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
make_headers(lb_ch_t *ch)
{
    int i;
    const char *user = ch->options->user;
    struct curl_slist *lists[3] = {NULL, NULL, NULL};

    for (i = 0; i < 3; i++) {
        /* no "Expect: 100-continue": one more round trip for nothing */
        if (add_header(&lists[i], "Expect", "") != 0 ||
            /* a form's type is curl's, with the boundary */
            (i < 2 && add_header(&lists[i], "Content-Type",
                                 "application/octet-stream") != 0) ||
            (user != NULL && user[0] != '\0' &&
             add_header(&lists[i], "X-ClickHouse-User", user) != 0) ||
            (ch->password != NULL &&
             add_header(&lists[i], "X-ClickHouse-Key", ch->password) != 0)) {
            goto failed;
        }
    }

    if (add_header(&lists[1], "Transfer-Encoding", "chunked") != 0 ||
        (ch->options->zstd &&
         add_header(&lists[1], "Content-Encoding", "zstd") != 0)) {
        goto failed;
    }

    curl_slist_free_all(ch->query_headers);
    curl_slist_free_all(ch->insert_headers);
    curl_slist_free_all(ch->form_headers);
    ch->query_headers = lists[0];
    ch->insert_headers = lists[1];
    ch->form_headers = lists[2];

    return 0;

failed:

    curl_slist_free_all(lists[0]);
    curl_slist_free_all(lists[1]);
    curl_slist_free_all(lists[2]);

    return -1;
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

    if (options->password != NULL) {
        ch->password = strdup(options->password);
    }

    if (ch->curl == NULL || ch->raw == NULL ||
        (options->password != NULL && ch->password == NULL) ||
        make_headers(ch) != 0) {
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
        curl_slist_free_all(ch->form_headers);
        curl_easy_cleanup(ch->curl);
        ZSTD_freeCCtx(ch->zstd);
        free(ch->raw);
        free(ch->password);
        free(ch);
    }
}

void
lb_ch_set_gate(lb_ch_t *ch, int (*gate)(void *arg), void *arg)
{
    ch->gate = gate;
    ch->gate_arg = arg;
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
    ch->named = 0;
    ch->truncated = 0;
    ch->summary[0] = '\0';
    ch->location[0] = '\0';
    ch->answer_len = 0;
    ch->read_failed = 0;
    ch->insert = NULL;
    ch->timeout_ms = o->request_timeout_ms;
    ch->curl_text[0] = '\0';

    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, ch->curl_text);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, ch);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, ch);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, ch);
    curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_ready);
    curl_easy_setopt(c, CURLOPT_PREREQDATA, ch);
    curl_easy_setopt(c, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(c, CURLOPT_CLOSESOCKETDATA, ch);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);

    lb_connect_prepare(&ch->connect, c, o);
}

/* The outcome as far as curl knows it: 1 if there is an answer to judge. */
static int
perform(lb_ch_t *ch)
{
    long sent = 0;
    CURLcode rc;
    lb_ch_result_t *r = ch->result;
    const lb_options_t *o = ch->options;

    /* on_progress is more exact, but called only when curl turns */
    curl_easy_setopt(ch->curl, CURLOPT_TIMEOUT_MS,
                     (long)o->connect_timeout_ms + GATE_TIMEOUT_MS +
                         (long)ch->timeout_ms);

    ch->deadline = 0;
    ch->fd = -1;

    do {
        rc = curl_easy_perform(ch->curl);

        /* There is no connection: nothing of the request has left. */
    } while (rc != CURLE_OK && ch->fd < 0 && ch->deadline == 0 && !r->late &&
             *ch->abort == 0 && lb_connect_failed(&ch->connect));

    curl_easy_getinfo(ch->curl, CURLINFO_RESPONSE_CODE, &r->http);
    curl_easy_getinfo(ch->curl, CURLINFO_REQUEST_SIZE, &sent);
    r->code = ch->code;

    /* A proxy has a clock of its own. */
    if (!ch->named) {
        r->date = 0;
    }

    if (rc == CURLE_OK) {
        return 1;
    }

    r->timed_out |= rc == CURLE_OPERATION_TIMEDOUT && ch->deadline != 0;
    r->outcome = ch->deadline == 0 || (rc == CURLE_SEND_ERROR && sent == 0)
                     ? LB_CH_NOT_SENT
                     : LB_CH_UNKNOWN;

    if (r->outcome == LB_CH_NOT_SENT) {
        r->complete = 0;
    }

    if (r->late) {
        say(r,
            "%s: the connection was there too late for this node's turn, it "
            "takes the next",
            lb_ch_url(ch));
    } else if (r->outcome == LB_CH_NOT_SENT && ch->fd >= 0) {
        say(r, "%s: the server closed the connection before the request",
            lb_ch_url(ch));
    } else if (ch->read_failed) {
        say(r, "%s: reading the batch failed", lb_ch_url(ch));
    } else if (r->timed_out) {
        say(r, "%s: no answer within %u ms", lb_ch_url(ch), ch->timeout_ms);
    } else {
        say(r, "%s: %.200s%s", lb_ch_url(ch),
            ch->curl_text[0] != '\0' ? ch->curl_text : curl_easy_strerror(rc),
            ch->deadline == 0 ? lb_connect_advice(ch->curl, rc) : "");
    }

    return 0;
}

/* Passwords change: the server's first or the file's.  The next request carries
 * what is in the file now. */
static void
read_password_again(lb_ch_t *ch)
{
    char *password, *before, text[512];
    size_t len;
    lb_ch_result_t *r = ch->result;

    static const int codes[] = {192, 193, 194, 516};

    for (len = 0; len < sizeof(codes) / sizeof(codes[0]); len++) {
        if (r->code == codes[len]) {
            break;
        }
    }

    if ((len == sizeof(codes) / sizeof(codes[0]) && r->http != 401) ||
        ch->options->password_file == NULL) {
        return;
    }

    password =
        lb_options_password(ch->options->password_file, text, sizeof(text));
    len = strlen(r->text);

    if (password == NULL) {
        (void)snprintf(r->text + len, sizeof(r->text) - len, "; %s", text);
        return;
    }

    r->new_password =
        ch->password == NULL || strcmp(password, ch->password) != 0;

    before = ch->password;
    ch->password = password;
    if (make_headers(ch) != 0) {
        ch->password = before;
        free(password);
        return;
    }
    free(before);
}

/* What the server said, for people. */
static void
quote(lb_ch_t *ch)
{
    lb_ch_result_t *r = ch->result;

    if (r->http >= 300 && r->http < 400) {
        say(r,
            "%s: HTTP %ld: redirects are not followed, clickhouse.urls must "
            "name the server itself%s%.200s",
            lb_ch_url(ch), r->http, ch->location[0] != '\0' ? ": " : "",
            ch->location);
    } else if (r->answer[0] != '\0') {
        say(r, "%s: HTTP %ld, %.300s", lb_ch_url(ch), r->http, r->answer);
    } else if (ch->insert != NULL) {
        say(r, "%s: HTTP %ld, summary %.200s for %llu rows", lb_ch_url(ch),
            r->http, ch->summary, (unsigned long long)ch->insert->rows);
    } else {
        say(r, "%s: HTTP %ld", lb_ch_url(ch), r->http);
    }

    read_password_again(ch);
}

/* A setting that the server does not know is not needed there; one that may not
 * be changed may be a wrong one. */
static void
learn(lb_ch_t *ch)
{
    lb_ch_result_t *r = ch->result;

    r->relearn = lb_settings_learn(&ch->settings, r->code, r->answer);
}

#define URL_SETTINGS 256

/* Parameters of the URL.  The whole answer is known before its headers come; an
 * INSERT's always is. */
static void
url_settings(const lb_ch_t *ch, char out[URL_SETTINGS])
{
    static const char wait[] = "wait_end_of_query=1";

    memcpy(out, wait, sizeof(wait));
    lb_settings_url(&ch->settings, out + sizeof(wait) - 1,
                    URL_SETTINGS - (sizeof(wait) - 1));
}

void
lb_ch_insert(lb_ch_t *ch, const lb_ch_insert_t *insert, lb_ch_result_t *result)
{
    char url[12288], sql[4096], settings[LB_SETTINGS_SQL], more[URL_SETTINGS],
        *escaped;
    lb_ch_result_t *r = result;

    url_settings(ch, more);
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
        quote(ch);
    }

    learn(ch);
}

/* "SQL SETTINGS ...", to be freed; NULL: no memory, which result says. */
static char *
with_settings(lb_ch_t *ch, const char *sql)
{
    char settings[LB_SETTINGS_SQL], *text;
    size_t size;

    lb_settings_sql(&ch->settings, 0, NULL, settings, sizeof(settings));
    size = strlen(sql) + strlen(settings) + sizeof(" SETTINGS ");
    text = malloc(size);
    if (text == NULL) {
        ch->result->outcome = LB_CH_NOT_SENT;
        say(ch->result, "no memory for a question");
        return NULL;
    }
    (void)snprintf(text, size, "%s SETTINGS %s", sql, settings);

    return text;
}

/* The outcome of a query that was sent. */
static void
judge_query(lb_ch_t *ch)
{
    lb_ch_result_t *r = ch->result;

    if (r->http == 200 && r->code == 0 && !ch->truncated &&
        strstr(r->answer, "DB::Exception") == NULL) {
        r->outcome = LB_CH_DONE;
        return;
    }

    r->outcome = r->code != 0 ? LB_CH_REFUSED : LB_CH_UNKNOWN;
    quote(ch);
    learn(ch);
}

void
lb_ch_query(lb_ch_t *ch, const char *sql, lb_ch_result_t *result)
{
    char url[2048], more[URL_SETTINGS], *text;

    url_settings(ch, more);
    (void)snprintf(url, sizeof(url), "%s/?%s", lb_ch_url(ch), more);

    prepare(ch, url, result);

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

    if (perform(ch)) {
        judge_query(ch);
    }

    free(text);
}

/* For a form, which is never compressed. */
static size_t
on_read_plain(char *buf, size_t size, size_t n, void *arg)
{
    long got = read_rows(arg, buf, size * n);

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

    prepare(ch, lb_ch_url(ch), result);

    text = with_settings(ch, sql);
    if (text == NULL) {
        return;
    }

    url_settings(ch, more);
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
        result->outcome = LB_CH_NOT_SENT;
        say(result, "no memory for a question");
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

        if (perform(ch)) {
            judge_query(ch);
        }
    }

    curl_free(query);
    curl_free(columns);
    curl_mime_free(form);
    free(url);
}

void
lb_ch_forget_settings(lb_ch_t *ch)
{
    memset(&ch->settings, 0, sizeof(ch->settings));
}
