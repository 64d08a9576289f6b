#include "flusher/options.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
        if (!json_is_string(v) ||
            (strncmp(json_string_value(v), "http://", 7) != 0 &&
             strncmp(json_string_value(v), "https://", 8) != 0) ||
            strchr(json_string_value(v), '?') != NULL) {
            mistake(r,
                    "clickhouse.urls[%zu]: must be like "
                    "\"http://host:8123\"",
                    i);
            return;
        }
        o->urls[o->nurls++] = strdup(json_string_value(v));
    }
}

static void
read_password(report_t *r, lb_options_t *o)
{
    FILE *f;
    char buf[1024];

    f = fopen(o->password_file, "r");

    if (f == NULL) {
        mistake(r, "clickhouse.password_file: cannot open \"%s\": %s",
                o->password_file, strerror(errno));
        return;
    }

    if (fgets(buf, sizeof(buf), f) == NULL) {
        buf[0] = '\0';
    }

    fclose(f);
    buf[strcspn(buf, "\r\n")] = '\0';

    if (buf[0] == '\0') {
        mistake(r, "clickhouse.password_file: \"%s\" is empty",
                o->password_file);
    }

    o->password = strdup(buf);
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

    if (o->password_file != NULL && !r->failed) {
        read_password(r, o);
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
