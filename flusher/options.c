#include "flusher/options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/lb_format.h"

typedef struct {
    char *text;
    size_t size;
    int failed;
} report_t;

/* Whatever the file holds. */
static void
one_line(char *p)
{
    for (; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ') {
            *p = '?';
        }
    }
}

__attribute__((format(printf, 2, 3))) static void
mistake(report_t *r, const char *fmt, ...)
{
    va_list ap;

    /* the first one is the one to mend */
    if (!r->failed) {
        va_start(ap, fmt);
        (void)vsnprintf(r->text, r->size, fmt, ap);
        va_end(ap);

        one_line(r->text);
    }

    r->failed = 1;
}

static const char *
dot(const char *at)
{
    return *at ? "." : "";
}

/* Every key of object must be one of the NULL-terminated names. */
static void
known_keys(report_t *r, const char *at, json_t *object,
           const char *const *names)
{
    size_t i;
    json_t *value;
    const char *key;

    json_object_foreach(object, key, value)
    {
        for (i = 0; names[i] != NULL; i++) {
            if (strcmp(names[i], key) == 0) {
                break;
            }
        }

        if (names[i] == NULL) {
            mistake(r, "%s%s%s: there is no such setting", at, dot(at), key);
        }
    }
}

static json_t *
section(report_t *r, json_t *root, const char *name)
{
    json_t *v = json_object_get(root, name);

    if (v != NULL && !json_is_object(v)) {
        mistake(r, "%s: must be an object", name);
        return NULL;
    }

    return v;
}

static char *
string(report_t *r, const char *at, json_t *object, const char *key,
       const char *preset)
{
    json_t *v = json_object_get(object, key);

    if (v == NULL) {
        return preset != NULL ? strdup(preset) : NULL;
    }

    if (!json_is_string(v) || json_string_length(v) == 0 ||
        strlen(json_string_value(v)) != json_string_length(v)) {
        mistake(r, "%s%s%s: must be a string that is not empty", at, dot(at),
                key);
        return NULL;
    }

    return strdup(json_string_value(v));
}

static uint64_t
number(report_t *r, const char *at, json_t *object, const char *key,
       uint64_t preset, uint64_t min, uint64_t max)
{
    json_t *v = json_object_get(object, key);

    if (v == NULL) {
        return preset;
    }

    if (!json_is_integer(v) || json_integer_value(v) < (json_int_t)min ||
        json_integer_value(v) > (json_int_t)max) {
        mistake(r, "%s%s%s: must be a whole number from %llu to %llu", at,
                dot(at), key, (unsigned long long)min, (unsigned long long)max);
        return preset;
    }

    return (uint64_t)json_integer_value(v);
}

/* Names go into SQL between back-quotes and into the checkpoint. */
static void
plain_name(report_t *r, const char *at, const char *name)
{
    if (name != NULL &&
        (strlen(name) > LB_TABLE_MAX / 2 - 1 ||
         strspn(name,
                "abcdefghijklmnopqrstuvwxyz"
                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != strlen(name))) {
        mistake(r, "%s: must be at most %u letters, digits and _", at,
                LB_TABLE_MAX / 2 - 1);
    }
}

/* With or without a zone, %eth0 or %25eth0. */
static int
ipv6(const char *text, size_t len)
{
    char address[64];
    struct in6_addr in;
    const char *zone = memchr(text, '%', len);

    len = zone != NULL ? (size_t)(zone - text) : len;
    if (len >= sizeof(address)) {
        return 0;
    }

    memcpy(address, text, len);
    address[len] = '\0';

    return inet_pton(AF_INET6, address, &in) == 1;
}

static int
host_name(const char *text, size_t len)
{
    return len > 0 && strspn(text, "abcdefghijklmnopqrstuvwxyz"
                                   "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "0123456789-._") >= len;
}

/* A URL, and nothing of it in what is said: it may hold a secret. */
static char *
read_url(report_t *r, size_t i, const char *url)
{
    char *copy, *end;
    size_t len, host, scheme;
    const char *p;
    unsigned long port;

    scheme = url == NULL                            ? 0
             : strncasecmp(url, "http://", 7) == 0  ? 7
             : strncasecmp(url, "https://", 8) == 0 ? 8
                                                    : 0;

    if (scheme == 0 || strcspn(url + scheme, "/?#") == 0) {
        mistake(r,
                "clickhouse.urls[%zu]: must be like \"http://host:8123\" or "
                "\"https://host:8443\"",
                i);
        return NULL;
    }

    len = strcspn(url + scheme, "/?#");

    if (memchr(url + scheme, '@', len) != NULL) {
        mistake(r,
                "clickhouse.urls[%zu]: must not hold a user or password: set "
                "clickhouse.user and clickhouse.password_file",
                i);
        return NULL;
    }

    if (strpbrk(url, "?#") != NULL) {
        mistake(r,
                "clickhouse.urls[%zu]: must not hold a query (?) or fragment "
                "(#): settings of ClickHouse belong into the user's profile",
                i);
        return NULL;
    }

    for (p = url; *p != '\0'; p++) {
        if ((unsigned char)*p <= ' ' || (unsigned char)*p > '~' ||
            strchr("\"\\<>^`{|}", *p) != NULL) {
            mistake(r,
                    "clickhouse.urls[%zu]: must not hold blanks, quotes or "
                    "letters beyond ASCII",
                    i);
            return NULL;
        }
    }

    /* host, [address], and a port */

    p = url + scheme;
    host = p[0] == '[' ? strcspn(p, "]/") + 1 : strcspn(p, ":/");

    if (host > len || (p[host] != ':' && host != len) ||
        !(p[0] == '[' ? p[host - 1] == ']' && ipv6(p + 1, host - 2)
                      : host_name(p, host))) {
        mistake(
            r,
            "clickhouse.urls[%zu]: the host must be a name, an IPv4 address "
            "or an IPv6 address like [::1]",
            i);
        return NULL;
    }

    if (p[host] == ':' && host != len) {
        port = strtoul(p + host + 1, &end, 10);
        if (p[host + 1] < '0' || p[host + 1] > '9' || end != p + len ||
            port < 1 || port > 65535) {
            mistake(r,
                    "clickhouse.urls[%zu]: the port must be a number from 1 to "
                    "65535",
                    i);
            return NULL;
        }
    }

    len = strlen(url);
    while (url[len - 1] == '/') {
        len--;
    }

    if (len > LB_URL_MAX) {
        mistake(r, "clickhouse.urls[%zu]: must be at most %d bytes", i,
                LB_URL_MAX);
        return NULL;
    }

    copy = strndup(url, len);
    for (end = copy; end != NULL && *end != ':'; end++) {
        *end = (char)(*end | 0x20);
    }

    return copy;
}

static void
read_urls(report_t *r, json_t *clickhouse, lb_options_t *o)
{
    size_t i;
    json_t *v, *urls = json_object_get(clickhouse, "urls");

    if (!json_is_array(urls) || json_array_size(urls) == 0 ||
        json_array_size(urls) > LB_URLS_MAX) {
        mistake(r, "clickhouse.urls: must be an array of 1 to %d URLs",
                LB_URLS_MAX);
        return;
    }

    json_array_foreach(urls, i, v)
    {
        char *url = read_url(r, i, json_string_value(v));

        if (url == NULL) {
            return;
        }
        o->urls[o->nurls++] = url;
    }
}

/* What goes into a header of a request. */
static void
one_header(report_t *r, const char *at, const char *value, size_t max)
{
    const char *p;

    if (value == NULL) {
        return;
    }

    if (strlen(value) > max) {
        mistake(r, "%s: must be at most %zu bytes", at, max);
    }

    for (p = value; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            mistake(r, "%s: must not hold control characters", at);
        }
    }
}

char *
lb_options_password(const char *path, char *text, size_t size)
{
    FILE *f;
    char buf[LB_PASSWORD_MAX + 2], *copy;
    report_t r = {text, size, 0};

    f = fopen(path, "re");

    if (f == NULL) {
        mistake(&r, "clickhouse.password_file: cannot open \"%s\": %s", path,
                strerror(errno));
        return NULL;
    }

    errno = 0;
    if (fgets(buf, sizeof(buf), f) == NULL) {
        buf[0] = '\0';
        if (ferror(f)) {
            mistake(&r, "clickhouse.password_file: cannot read \"%s\": %s",
                    path, strerror(errno));
        }
    }

    fclose(f);
    buf[strcspn(buf, "\r\n")] = '\0';

    if (buf[0] == '\0') {
        mistake(&r, "clickhouse.password_file: \"%s\" is empty", path);
    }

    one_header(&r, "clickhouse.password_file: the first line", buf,
               LB_PASSWORD_MAX);
    copy = r.failed ? NULL : strdup(buf);
    explicit_bzero(buf, sizeof(buf));

    return copy;
}

/* A file that curl will read for each connection. */
static char *
file(report_t *r, json_t *c, const char *key)
{
    FILE *f;
    char *path = string(r, "clickhouse", c, key, NULL);
    struct stat st;

    if (path == NULL) {
        return NULL;
    }

    f = fopen(path, "re");

    if (f == NULL) {
        mistake(r, "clickhouse.%s: cannot open \"%s\": %s", key, path,
                strerror(errno));
        return path;
    }

    if (fstat(fileno(f), &st) == 0 &&
        (!S_ISREG(st.st_mode) || st.st_size == 0)) {
        mistake(r, "clickhouse.%s: \"%s\" is %s", key, path,
                S_ISREG(st.st_mode) ? "empty" : "not a file");
    }

    fclose(f);

    return path;
}

static void
read_tls(report_t *r, json_t *c, lb_options_t *o)
{
    char *minimum;

    o->ca_file = file(r, c, "ca_file");
    o->client_certificate = file(r, c, "client_certificate");
    o->client_key = file(r, c, "client_key");

    if (o->client_key != NULL && o->client_certificate == NULL) {
        mistake(r,
                "clickhouse.client_key: needs clickhouse.client_certificate");
    }
    if (o->client_certificate != NULL && o->client_key == NULL) {
        mistake(r, "clickhouse.client_certificate: needs clickhouse.client_key "
                   "(the same file, if the key is in it)");
    }

    minimum = string(r, "clickhouse", c, "tls_minimum", "1.2");
    o->tls_minimum = 12;
    if (minimum != NULL) {
        if (strcmp(minimum, "1.3") == 0) {
            o->tls_minimum = 13;
        } else if (strcmp(minimum, "1.2") != 0) {
            mistake(r, "clickhouse.tls_minimum: must be \"1.2\" or \"1.3\"");
        }
        free(minimum);
    }
}

static void
read_root(report_t *r, json_t *root, lb_options_t *o)
{
    char *compression, host[HOST_NAME_MAX + 1];
    json_t *c, *s;

    static const char *const top[] = {
        "spool", "broker",  "clickhouse",          "node",
        "batch", "backoff", "shutdown_timeout_ms", "dead_letters",
        NULL};
    static const char *const clickhouse[] = {"urls",
                                             "database",
                                             "table",
                                             "user",
                                             "password_file",
                                             "connect_timeout_ms",
                                             "request_timeout_ms",
                                             "compression",
                                             "ca_file",
                                             "client_certificate",
                                             "client_key",
                                             "tls_minimum",
                                             NULL};
    static const char *const node[] = {"index", "count", NULL};
    static const char *const batch[] = {"max_rows", "max_bytes", NULL};
    static const char *const backoff[] = {"min_ms", "max_ms", NULL};
    static const char *const dead[] = {"max_bytes", NULL};

    known_keys(r, "", root, top);

    o->spool = string(r, "", root, "spool", NULL);
    if (o->spool == NULL) {
        mistake(r, "spool: is missing (the directory given to "
                   "logbroker_spool)");
    }

    if (gethostname(host, sizeof(host)) != 0) {
        (void)snprintf(host, sizeof(host), "broker");
    }
    host[sizeof(host) - 1] = '\0';

    o->broker = string(r, "", root, "broker", host);
    if (o->broker != NULL && strlen(o->broker) > LB_BROKER_MAX) {
        mistake(r, "broker: must be at most %u bytes", LB_BROKER_MAX);
    }

    c = section(r, root, "clickhouse");
    if (c == NULL) {
        mistake(r, "clickhouse: is missing");
        return;
    }

    known_keys(r, "clickhouse", c, clickhouse);
    read_urls(r, c, o);
    o->database = string(r, "clickhouse", c, "database", "logbroker");
    o->table = string(r, "clickhouse", c, "table", "logs");
    o->user = string(r, "clickhouse", c, "user", "");
    o->password_file = string(r, "clickhouse", c, "password_file", NULL);
    plain_name(r, "clickhouse.database", o->database);
    plain_name(r, "clickhouse.table", o->table);

    o->connect_timeout_ms = (uint32_t)number(
        r, "clickhouse", c, "connect_timeout_ms", 5000, 10, 600000);
    o->request_timeout_ms = (uint32_t)number(
        r, "clickhouse", c, "request_timeout_ms", 60000, 100, 3600000);

    compression = string(r, "clickhouse", c, "compression", "none");
    if (compression != NULL) {
        o->zstd = strcmp(compression, "zstd") == 0;
        if (!o->zstd && strcmp(compression, "none") != 0) {
            mistake(r, "clickhouse.compression: must be \"none\" or "
                       "\"zstd\"");
        }
        free(compression);
    }

    one_header(r, "clickhouse.user", o->user, LB_NAME_MAX);
    read_tls(r, c, o);

    if (o->password_file != NULL && !r->failed) {
        o->password = lb_options_password(o->password_file, r->text, r->size);
        r->failed = o->password == NULL;
    }

    s = section(r, root, "node");
    known_keys(r, "node", s, node);
    o->node_count = (uint32_t)number(r, "node", s, "count", 1, 1, 10000);
    o->node_index = (uint32_t)number(r, "node", s, "index", 0, 0, 9999);
    if (o->node_index >= o->node_count) {
        mistake(r, "node.index: must be below node.count, which is %u",
                o->node_count);
    }

    s = section(r, root, "batch");
    known_keys(r, "batch", s, batch);
    o->max_rows = number(r, "batch", s, "max_rows", 500000, 1, 4000000);
    o->max_bytes =
        number(r, "batch", s, "max_bytes", 64u << 20, 1024, 512u << 20);

    s = section(r, root, "backoff");
    known_keys(r, "backoff", s, backoff);
    o->backoff_min_ms =
        (uint32_t)number(r, "backoff", s, "min_ms", 1000, 1000, 3600000);
    o->backoff_max_ms =
        (uint32_t)number(r, "backoff", s, "max_ms", 30000, 1000, 3600000);
    if (o->backoff_max_ms < o->backoff_min_ms) {
        mistake(r, "backoff.max_ms: must not be below backoff.min_ms");
    }

    o->shutdown_timeout_ms =
        (uint32_t)number(r, "", root, "shutdown_timeout_ms", 10000, 0, 3600000);

    s = section(r, root, "dead_letters");
    known_keys(r, "dead_letters", s, dead);
    o->dead_bytes = number(r, "dead_letters", s, "max_bytes", 16u << 20,
                           1u << 20, 1ull << 40);
}

lb_options_t *
lb_options_load(const char *path, char *text, size_t size)
{
    char *near;
    json_t *root;
    report_t r = {text, size, 0};
    json_error_t err;
    lb_options_t *o;

    root = json_load_file(path, JSON_REJECT_DUPLICATES, &err);

    if (root == NULL) {
        if (err.line > 0) {
            (void)snprintf(text, size, "%s:%d:%d: %s", path, err.line,
                           err.column, err.text);
        } else {
            (void)snprintf(text, size, "%s", err.text);
        }
        /* what it is near to may be a URL with a password */
        near = strstr(text, " near ");
        if (near != NULL && strstr(near, "://") != NULL) {
            *near = '\0';
        }
        one_line(text);
        return NULL;
    }

    o = calloc(1, sizeof(*o));

    if (o == NULL) {
        mistake(&r, "no memory");
    } else if (!json_is_object(root)) {
        mistake(&r, "%s: must hold one object", path);
    } else {
        read_root(&r, root, o);
    }

    json_decref(root);

    if (r.failed) {
        lb_options_free(o);
        return NULL;
    }

    return o;
}

void
lb_options_free(lb_options_t *o)
{
    uint32_t i;

    if (o == NULL) {
        return;
    }

    for (i = 0; i < o->nurls; i++) {
        free(o->urls[i]);
    }

    free(o->spool);
    free(o->broker);
    free(o->database);
    free(o->table);
    free(o->user);
    free(o->password_file);
    free(o->password);
    free(o->ca_file);
    free(o->client_certificate);
    free(o->client_key);
    free(o);
}

char *
lb_options_dump(const lb_options_t *o)
{
    char *text;
    json_t *root, *urls, *clickhouse;
    uint32_t i;

    urls = json_array();
    for (i = 0; i < o->nurls; i++) {
        json_array_append_new(urls, json_string(o->urls[i]));
    }

    clickhouse =
        json_pack("{s:o, s:s, s:s, s:I, s:I, s:s}", "urls", urls, "database",
                  o->database, "table", o->table, "connect_timeout_ms",
                  (json_int_t)o->connect_timeout_ms, "request_timeout_ms",
                  (json_int_t)o->request_timeout_ms, "compression",
                  o->zstd ? "zstd" : "none");

    if (o->user[0] != '\0') {
        json_object_set_new(clickhouse, "user", json_string(o->user));
    }

    if (o->password_file != NULL) {
        json_object_set_new(clickhouse, "password_file",
                            json_string(o->password_file));
    }

    json_object_set_new(clickhouse, "tls_minimum",
                        json_string(o->tls_minimum == 13 ? "1.3" : "1.2"));

    if (o->ca_file != NULL) {
        json_object_set_new(clickhouse, "ca_file", json_string(o->ca_file));
    }

    if (o->client_certificate != NULL) {
        json_object_set_new(clickhouse, "client_certificate",
                            json_string(o->client_certificate));
        json_object_set_new(clickhouse, "client_key",
                            json_string(o->client_key));
    }

    root = json_pack(
        "{s:s, s:s, s:o, s:{s:I, s:I}, s:{s:I, s:I}, s:{s:I, s:I}, s:I, "
        "s:{s:I}}",
        "spool", o->spool, "broker", o->broker, "clickhouse", clickhouse,
        "node", "index", (json_int_t)o->node_index, "count",
        (json_int_t)o->node_count, "batch", "max_rows", (json_int_t)o->max_rows,
        "max_bytes", (json_int_t)o->max_bytes, "backoff", "min_ms",
        (json_int_t)o->backoff_min_ms, "max_ms", (json_int_t)o->backoff_max_ms,
        "shutdown_timeout_ms", (json_int_t)o->shutdown_timeout_ms,
        "dead_letters", "max_bytes", (json_int_t)o->dead_bytes);

    text = root != NULL ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);

    return text;
}
