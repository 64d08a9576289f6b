/*
 * A request as it is made: what http.c, insert.c and query.c share.
 */

#ifndef _LB_REQUEST_H_INCLUDED_
#define _LB_REQUEST_H_INCLUDED_

#include <curl/curl.h>
#include <linux/tcp.h>
#include <zstd.h>

#include "flusher/clickhouse/connect.h"
#include "flusher/clickhouse/http.h"
#include "flusher/clickhouse/settings.h"

#define RAW_SIZE (256u << 10)

struct lb_ch_s {
    CURL *curl;
    CURLM *multi;
    const lb_options_t *options;
    const volatile sig_atomic_t *abort;
    uint32_t url;
    lb_settings_t settings;
    int plain; /* the next question does without indexes */
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

/* Words for people, one line. */
void lb_ch_say(lb_ch_result_t *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Forgets the last request and sets what all have in common. */
void lb_ch_prepare(lb_ch_t *ch, const char *url, lb_ch_result_t *result);

/* Makes the request.  The outcome as far as curl knows it: 1 if there is an
 * answer to judge. */
int lb_ch_perform(lb_ch_t *ch);

/* Whether the server has got the first packet, and it had to be sent again. */
void lb_ch_watch(lb_ch_t *ch);

/* What the server said, for people. */
void lb_ch_quote(lb_ch_t *ch);

/* A setting that the server does not know is not needed there; one that may not
 * be changed may be a wrong one. */
void lb_ch_learn(lb_ch_t *ch);

#define URL_SETTINGS 256

/* Parameters of the URL.  The whole answer is known before its headers come; an
 * INSERT's always is. */
void lb_ch_url_settings(const lb_ch_t *ch, char out[URL_SETTINGS]);

/* Up to size bytes of the rows; negative on failure. */
long lb_ch_read_rows(lb_ch_t *ch, void *buf, size_t size);

#endif /* _LB_REQUEST_H_INCLUDED_ */
