/*
 * How a connection to ClickHouse is made: TLS, names and addresses, and no
 * proxies but ours.
 */

#ifndef _LB_CONNECT_H_INCLUDED_
#define _LB_CONNECT_H_INCLUDED_

#include <curl/curl.h>
#include <stdint.h>
#include <sys/socket.h>

#include "flusher/options.h"

/* Addresses of a name that did not answer while another one did are left out
 * for a while, so that one dead server of several costs time once. */
#define LB_ADDRESSES_MAX 32
#define LB_ADDRESS_AVOID_MS 60000

typedef struct {
    struct sockaddr_storage addr;
    socklen_t len;
    int fd;        /* it was tried just now, or -1 */
    int64_t until; /* monotonic ms: left out */
} lb_address_t;

typedef struct {
    lb_address_t address[LB_ADDRESSES_MAX];
    uint32_t n;
    int all;      /* none is left out */
    int left_out; /* of the last connection, one was */
} lb_connect_t;

/* Sets what a request's connection is to be like. */
void lb_connect_prepare(lb_connect_t *c, CURL *curl,
                        const lb_options_t *options);

/* The connection with this local port stands: its descriptor, or -1. */
int lb_connect_made(lb_connect_t *c, int local_port);

/* No connection could be made: 1 if there are addresses left to try. */
int lb_connect_failed(lb_connect_t *c);

/* What to do about an error of which curl says text, or "".  code is CURLE_OK if
 * it came with the request or after. */
const char *lb_connect_advice(CURL *curl, CURLcode code, const char *text);

#endif /* _LB_CONNECT_H_INCLUDED_ */
