#include "flusher/clickhouse/request.h"

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

#include "flusher/notify.h"
#include "spool/lb_clock.h"

/* A connection may stand so long before its request leaves. */
#define GATE_TIMEOUT_MS 10000

/* curl turns at least so often during a request.  By itself it does once a
 * second from 8 on, too rarely to see when a request arrived, or each of two
 * signals. */
#define TURN_MS 50

static void
look_at_packets(const lb_ch_t *ch, struct tcp_info *info)
{
    socklen_t len = sizeof(*info);

    memset(info, 0, sizeof(*info));
    (void)getsockopt(ch->fd, IPPROTO_TCP, TCP_INFO, info, &len);
}

void
lb_ch_watch(lb_ch_t *ch)
{
    struct tcp_info now;

    if (ch->arrived || ch->deadline == 0) {
        return;
    }

    look_at_packets(ch, &now);

    /* curl 8 reads some of the body before anything leaves */
    if (ch->result->left_mono == 0 &&
        now.tcpi_bytes_sent > ch->before.tcpi_bytes_sent) {
        ch->result->left_mono = lb_mono_ms();
    }

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
        lb_ch_watch(ch);
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

/* The server has closed its end: what is sent now would not be read. */
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

    lb_ch_watch(ch);

    if (ch->deadline != 0 && lb_mono_ms() >= ch->deadline) {
        ch->result->timed_out = 1;
        return 1;
    }

    return aborted(ch);
}

/* Closing a socket leaves it to the kernel to send what is in its buffers, for
 * minutes: an INSERT given up would come in long afterwards, and
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
    ch->multi = curl_multi_init();
    ch->raw = malloc(RAW_SIZE);

    if (options->password != NULL) {
        ch->password = strdup(options->password);
    }

    if (ch->curl == NULL || ch->multi == NULL || ch->raw == NULL ||
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
        (void)curl_multi_cleanup(ch->multi);
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

void
lb_ch_say(lb_ch_result_t *r, const char *fmt, ...)
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

void
lb_ch_prepare(lb_ch_t *ch, const char *url, lb_ch_result_t *result)
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

/* As curl_easy_perform(). */
static CURLcode
perform(lb_ch_t *ch)
{
    int n;
    CURLMcode mc;
    CURLMsg *msg;
    CURLcode rc = CURLE_FAILED_INIT;

    mc = curl_multi_add_handle(ch->multi, ch->curl);
    if (mc != CURLM_OK) {
        return rc;
    }

    for (;;) {
        mc = curl_multi_perform(ch->multi, &n);
        if (mc != CURLM_OK || n == 0) {
            break;
        }
        mc = curl_multi_poll(ch->multi, NULL, 0, TURN_MS, NULL);
        if (mc != CURLM_OK) {
            break;
        }
    }

    while ((msg = curl_multi_info_read(ch->multi, &n)) != NULL) {
        if (msg->msg == CURLMSG_DONE) {
            rc = msg->data.result;
        }
    }

    (void)curl_multi_remove_handle(ch->multi, ch->curl);

    return rc;
}

int
lb_ch_perform(lb_ch_t *ch)
{
    long sent = 0;
    CURLcode rc;
    const char *words;
    lb_ch_result_t *r = ch->result;
    const lb_options_t *o = ch->options;

    /* on_progress is more exact, but called only when curl turns */
    curl_easy_setopt(ch->curl, CURLOPT_TIMEOUT_MS,
                     (long)o->connect_timeout_ms + GATE_TIMEOUT_MS +
                         (long)ch->timeout_ms);

    ch->deadline = 0;
    ch->fd = -1;

    do {
        rc = perform(ch);

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
                     ? LB_SINK_NOT_SENT
                     : LB_SINK_UNKNOWN;

    if (r->outcome == LB_SINK_NOT_SENT) {
        r->complete = 0;
    }

    if (r->late) {
        lb_ch_say(
            r,
            "%s: the connection was there too late for this node's turn, it "
            "takes the next",
            lb_ch_url(ch));
    } else if (r->outcome == LB_SINK_NOT_SENT && ch->fd >= 0) {
        /* in TLS 1.3 a client's certificate is refused only now */
        lb_ch_say(r,
                  "%s: the server closed the connection before the request%s",
                  lb_ch_url(ch),
                  strncmp(lb_ch_url(ch), "https:", 6) == 0
                      ? "; with TLS that may mean that it refuses "
                        "clickhouse.client_certificate, or wants one"
                      : "");
    } else if (ch->read_failed) {
        lb_ch_say(r, "%s: reading the batch failed", lb_ch_url(ch));
    } else if (r->timed_out) {
        lb_ch_say(r, "%s: no answer within %u ms", lb_ch_url(ch),
                  ch->timeout_ms);
    } else {
        words =
            ch->curl_text[0] != '\0' ? ch->curl_text : curl_easy_strerror(rc);
        lb_ch_say(r, "%s: %.200s%s", lb_ch_url(ch), words,
                  lb_connect_advice(ch->curl, ch->deadline == 0 ? rc : CURLE_OK,
                                    words));
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

    if ((!(lb_ch_error(r->code) & LB_CH_LOGIN) && r->http != 401) ||
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

void
lb_ch_quote(lb_ch_t *ch)
{
    lb_ch_result_t *r = ch->result;

    if (r->http >= 300 && r->http < 400) {
        lb_ch_say(
            r,
            "%s: HTTP %ld: redirects are not followed, clickhouse.urls must "
            "name the server itself%s%.200s",
            lb_ch_url(ch), r->http, ch->location[0] != '\0' ? ": " : "",
            ch->location);
    } else if (r->answer[0] != '\0') {
        lb_ch_say(r, "%s: HTTP %ld, %.300s", lb_ch_url(ch), r->http, r->answer);
    } else if (ch->insert != NULL) {
        lb_ch_say(r, "%s: HTTP %ld, summary %.200s for %llu rows",
                  lb_ch_url(ch), r->http, ch->summary,
                  (unsigned long long)ch->insert->rows);
    } else {
        lb_ch_say(r, "%s: HTTP %ld", lb_ch_url(ch), r->http);
    }

    read_password_again(ch);
}

void
lb_ch_learn(lb_ch_t *ch)
{
    lb_ch_result_t *r = ch->result;

    r->relearn = lb_settings_learn(&ch->settings, r->code, r->answer);
}

void
lb_ch_url_settings(const lb_ch_t *ch, char out[URL_SETTINGS])
{
    static const char wait[] = "wait_end_of_query=1";

    memcpy(out, wait, sizeof(wait));
    lb_settings_url(&ch->settings, out + sizeof(wait) - 1,
                    URL_SETTINGS - (sizeof(wait) - 1));
}

void
lb_ch_forget_settings(lb_ch_t *ch)
{
    memset(&ch->settings, 0, sizeof(ch->settings));
}
