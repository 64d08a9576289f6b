#include "flusher/clickhouse/connect.h"

#include <netinet/in.h>
#include <string.h>

#include "spool/lb_clock.h"

static curl_socket_t
on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    int fd;
    uint32_t i;
    lb_address_t *a = NULL;
    lb_connect_t *c = arg;

    (void)purpose;

    for (i = 0; i < c->n && a == NULL; i++) {
        if (c->address[i].len == to->addrlen &&
            memcmp(&c->address[i].addr, &to->addr, to->addrlen) == 0) {
            a = &c->address[i];
        }
    }

    if (a != NULL && a->until > lb_mono_ms() && !c->all) {
        c->left_out = 1;
        return CURL_SOCKET_BAD;
    }

    fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);

    if (a == NULL) {
        /* the oldest may be tried again */
        if (c->n == LB_ADDRESSES_MAX) {
            memmove(c->address, c->address + 1,
                    (LB_ADDRESSES_MAX - 1) * sizeof(c->address[0]));
            c->n--;
        }
        a = &c->address[c->n++];
        memcpy(&a->addr, &to->addr, to->addrlen);
        a->len = to->addrlen;
    }

    a->fd = fd;
    a->until = 0;

    return fd;
}

void
lb_connect_prepare(lb_connect_t *c, CURL *curl, const lb_options_t *o)
{
    uint32_t i;

    for (i = 0; i < c->n; i++) {
        c->address[i].fd = -1;
    }
    c->left_out = 0;

    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)o->connect_timeout_ms);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, c);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");

    /* The settings say where ClickHouse is, not the environment. */
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");

    /* A name is looked up for each connection; a look-up that hangs does not
     * hold us. */
    curl_easy_setopt(curl, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);

    /* One connection a second is cheap, and one that the server closed while
     * it was idle cannot put an outcome in doubt. */
    curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);

    curl_easy_setopt(curl, CURLOPT_SSLVERSION,
                     o->tls_minimum == 13 ? (long)CURL_SSLVERSION_TLSv1_3
                                          : (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_CA_CACHE_TIMEOUT, 60L);

    if (o->ca_file != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, o->ca_file);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }

    if (o->client_certificate != NULL) {
        curl_easy_setopt(curl, CURLOPT_SSLCERT, o->client_certificate);
        curl_easy_setopt(curl, CURLOPT_SSLKEY, o->client_key);
        /* a key with a passphrase is refused, not asked for at a terminal */
        curl_easy_setopt(curl, CURLOPT_KEYPASSWD, "");
    }
}

static int
port_of(int fd)
{
    socklen_t len = sizeof(struct sockaddr_storage);
    struct sockaddr_storage addr;

    memset(&addr, 0, sizeof(addr));

    if (fd < 0 || getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        return -1;
    }

    return ntohs(addr.ss_family == AF_INET6
                     ? ((struct sockaddr_in6 *)&addr)->sin6_port
                     : ((struct sockaddr_in *)&addr)->sin_port);
}

int
lb_connect_made(lb_connect_t *c, int local_port)
{
    int fd = -1;
    uint32_t i;
    socklen_t len = sizeof(struct sockaddr_storage);
    lb_address_t *a;
    struct sockaddr_storage peer;

    for (i = 0; i < c->n && fd < 0; i++) {
        if (port_of(c->address[i].fd) == local_port) {
            fd = c->address[i].fd;
        }
    }

    memset(&peer, 0, sizeof(peer));
    (void)getpeername(fd, (struct sockaddr *)&peer, &len);

    /* those that were tried in vain; their descriptors may be others' by now */
    for (i = 0; i < c->n && fd >= 0; i++) {
        a = &c->address[i];
        if (a->fd >= 0 &&
            (a->len != len || memcmp(&a->addr, &peer, len) != 0)) {
            a->until = lb_mono_ms() + LB_ADDRESS_AVOID_MS;
        }
    }

    c->all = 0;

    return fd;
}

int
lb_connect_failed(lb_connect_t *c)
{
    if (c->left_out && !c->all) {
        c->all = 1;
        return 1;
    }

    /* whichever answers first next time */
    c->all = 0;
    c->n = 0;

    return 0;
}

/* Why a server's certificate is not believed, as OpenSSL counts it
 * (X509_V_ERR_* of openssl/x509_vfy.h). */
static const char *
distrusted(long reason)
{
    switch (reason) {
    case 1:  /* UNSPECIFIED: curl compares names before it asks OpenSSL */
    case 62: /* HOSTNAME_MISMATCH */
    case 64: /* IP_ADDRESS_MISMATCH */
        return "; the certificate is for other names: use one of them in "
               "clickhouse.urls, or give the server a certificate for this one";
    case 9: /* CERT_NOT_YET_VALID */
        return "; the certificate is not valid yet: check this machine's clock";
    case 10: /* CERT_HAS_EXPIRED */
        return "; the server's certificate, or one of those that vouch for it, "
               "has expired: renew it there (and check this machine's clock)";
    case 23: /* CERT_REVOKED */
        return "; the certificate was revoked: give the server a new one";
    case 26: /* INVALID_PURPOSE */
        return "; the certificate is not one for servers: give the server "
               "another one";
    default:
        return "; no authority known here vouches for the server's "
               "certificate: set clickhouse.ca_file to its authority's, and "
               "let the server send those in between as well";
    }
}

/* A server refuses a client's certificate by an alert, in TLS 1.3 after the
 * client's side of the handshake.  curl takes one of them, that it has expired,
 * for a finding of its own. */
static int
client_refused(const char *text)
{
    return strcmp(text, "SSL certificate verification failed") == 0 ||
           (strstr(text, "alert") != NULL &&
            (strstr(text, "certificate") != NULL ||
             strstr(text, "unknown ca") != NULL ||
             strstr(text, "access denied") != NULL));
}

const char *
lb_connect_advice(CURL *curl, CURLcode code, const char *text)
{
    long reason = 0;
    curl_off_t looked_up = 0;

    if (client_refused(text)) {
        return "; the server refuses clickhouse.client_certificate, or there "
               "is none: it must not have expired, and come from an authority "
               "that the server knows";
    }

    (void)curl_easy_getinfo(curl, CURLINFO_NAMELOOKUP_TIME_T, &looked_up);

    if (code == CURLE_OPERATION_TIMEDOUT && looked_up == 0) {
        code = CURLE_COULDNT_RESOLVE_HOST;
    }

    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return "; check the name in clickhouse.urls and this machine's DNS";
    case CURLE_COULDNT_CONNECT:
        return "; check that ClickHouse runs and that no firewall in between "
               "keeps this machine out";
    case CURLE_OPERATION_TIMEDOUT:
        return "; nothing answers within clickhouse.connect_timeout_ms: check "
               "that no firewall in between drops it";
    case CURLE_PEER_FAILED_VERIFICATION:
        (void)curl_easy_getinfo(curl, CURLINFO_SSL_VERIFYRESULT, &reason);
        return distrusted(reason);
    case CURLE_SSL_CACERT_BADFILE:
        return "; clickhouse.ca_file must hold certificates in PEM";
    case CURLE_SSL_CERTPROBLEM:
        return "; clickhouse.client_certificate and clickhouse.client_key "
               "must be in PEM and belong together, the key without a "
               "passphrase";
    case CURLE_SSL_CONNECT_ERROR:
        return "; check that this port speaks TLS (https), a version allowed "
               "by "
               "clickhouse.tls_minimum, and whether it wants a "
               "clickhouse.client_certificate";
    default:
        return "";
    }
}
