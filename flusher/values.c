#include "flusher/values.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "flusher/options.h"
#include "spool/lb_format.h"

void
lb_one_line(char *p)
{
    for (; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ') {
            *p = '?';
        }
    }
}

void
lb_mistake(lb_report_t *r, const char *fmt, ...)
{
    va_list ap;

    /* only the first mistake is reported */
    if (!r->failed) {
        va_start(ap, fmt);
        (void)vsnprintf(r->text, r->size, fmt, ap);
        va_end(ap);

        lb_one_line(r->text);
    }

    r->failed = 1;
}

char *
lb_value_string(lb_report_t *r, const char *path, const json_t *v)
{
    if (!json_is_string(v) || json_string_length(v) == 0 ||
        strlen(json_string_value(v)) != json_string_length(v)) {
        lb_mistake(r, "%s: must be a string that is not empty", path);
        return NULL;
    }

    return strdup(json_string_value(v));
}

uint64_t
lb_value_number(lb_report_t *r, const char *path, const json_t *v, uint64_t min,
                uint64_t max)
{
    if (!json_is_integer(v) || json_integer_value(v) < (json_int_t)min ||
        json_integer_value(v) > (json_int_t)max) {
        lb_mistake(r, "%s: must be a whole number from %llu to %llu", path,
                   (unsigned long long)min, (unsigned long long)max);
        return min;
    }

    return (uint64_t)json_integer_value(v);
}

void
lb_value_name(lb_report_t *r, const char *at, const char *name)
{
    if (name != NULL &&
        (strlen(name) > LB_TABLE_MAX / 2 - 1 ||
         strspn(name,
                "abcdefghijklmnopqrstuvwxyz"
                "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != strlen(name))) {
        lb_mistake(r, "%s: must be at most %u letters, digits and _", at,
                   LB_TABLE_MAX / 2 - 1);
    }
}

void
lb_value_header(lb_report_t *r, const char *at, const char *value, size_t max)
{
    const char *p;

    if (value == NULL) {
        return;
    }

    if (strlen(value) > max) {
        lb_mistake(r, "%s: must be at most %zu bytes", at, max);
    }

    for (p = value; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            lb_mistake(r, "%s: must not hold control characters", at);
        }
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

char *
lb_value_url(lb_report_t *r, const char *path, size_t i, const char *url)
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
        lb_mistake(r,
                   "%s[%zu]: must be like \"http://host:8123\" or "
                   "\"https://host:8443\"",
                   path, i);
        return NULL;
    }

    len = strcspn(url + scheme, "/?#");

    if (memchr(url + scheme, '@', len) != NULL) {
        lb_mistake(r,
                   "%s[%zu]: must not hold a user or password: set "
                   "clickhouse.user and clickhouse.password_file",
                   path, i);
        return NULL;
    }

    if (strpbrk(url, "?#") != NULL) {
        lb_mistake(r,
                   "%s[%zu]: must not hold a query (?) or fragment "
                   "(#): settings of ClickHouse belong into the user's profile",
                   path, i);
        return NULL;
    }

    for (p = url; *p != '\0'; p++) {
        if ((unsigned char)*p <= ' ' || (unsigned char)*p > '~' ||
            strchr("\"\\<>^`{|}", *p) != NULL) {
            lb_mistake(r,
                       "%s[%zu]: must not hold blanks, quotes or "
                       "letters beyond ASCII",
                       path, i);
            return NULL;
        }
    }

    /* host, [address], and a port */

    p = url + scheme;
    host = p[0] == '[' ? strcspn(p, "]/") + 1 : strcspn(p, ":/");

    if (host > len || (p[host] != ':' && host != len) ||
        !(p[0] == '[' ? p[host - 1] == ']' && ipv6(p + 1, host - 2)
                      : host_name(p, host))) {
        lb_mistake(r,
                   "%s[%zu]: the host must be a name, an IPv4 address "
                   "or an IPv6 address like [::1]",
                   path, i);
        return NULL;
    }

    if (p[host] == ':' && host != len) {
        port = strtoul(p + host + 1, &end, 10);
        if (p[host + 1] < '0' || p[host + 1] > '9' || end != p + len ||
            port < 1 || port > 65535) {
            lb_mistake(r,
                       "%s[%zu]: the port must be a number from 1 to "
                       "65535",
                       path, i);
            return NULL;
        }
    }

    len = strlen(url);
    while (url[len - 1] == '/') {
        len--;
    }

    if (len > LB_URL_MAX) {
        lb_mistake(r, "%s[%zu]: must be at most %d bytes", path, i, LB_URL_MAX);
        return NULL;
    }

    copy = strndup(url, len);
    for (end = copy; end != NULL && *end != ':'; end++) {
        *end = (char)(*end | 0x20);
    }

    return copy;
}

void
lb_value_file(lb_report_t *r, const char *setting, const char *path)
{
    FILE *f;
    struct stat st;

    f = fopen(path, "re");

    if (f == NULL) {
        lb_mistake(r, "%s: cannot open \"%s\": %s", setting, path,
                   strerror(errno));
        return;
    }

    if (fstat(fileno(f), &st) == 0 &&
        (!S_ISREG(st.st_mode) || st.st_size == 0)) {
        lb_mistake(r, "%s: \"%s\" is %s", setting, path,
                   S_ISREG(st.st_mode) ? "empty" : "not a file");
    }

    fclose(f);
}

char *
lb_options_password(const char *path, char *text, size_t size)
{
    FILE *f;
    char buf[LB_PASSWORD_MAX + 2], *copy;
    lb_report_t r = {text, size, 0};

    f = fopen(path, "re");

    if (f == NULL) {
        lb_mistake(&r, "clickhouse.password_file: cannot open \"%s\": %s", path,
                   strerror(errno));
        return NULL;
    }

    errno = 0;
    if (fgets(buf, sizeof(buf), f) == NULL) {
        buf[0] = '\0';
        if (ferror(f)) {
            lb_mistake(&r, "clickhouse.password_file: cannot read \"%s\": %s",
                       path, strerror(errno));
        }
    }

    fclose(f);
    buf[strcspn(buf, "\r\n")] = '\0';

    if (buf[0] == '\0') {
        lb_mistake(&r, "clickhouse.password_file: \"%s\" is empty", path);
    }

    lb_value_header(&r, "clickhouse.password_file: the first line", buf,
                    LB_PASSWORD_MAX);
    copy = r.failed ? NULL : strdup(buf);
    explicit_bzero(buf, sizeof(buf));

    return copy;
}
