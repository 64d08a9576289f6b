#include "flusher/options.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flusher/values.h"
#include "spool/lb_format.h"

enum {
    STRING, /* char *, at most max bytes, 0: any */
    NAME,   /* char *, of a database or table */
    HEADER, /* char *, sent in a header, at most max bytes */
    FILES,  /* char *, a file that can be read */
    SECRET, /* char *, a file with a password */
    URLS,   /* urls, nurls */
    CHOICE, /* int, what one of the words stands for */
    NUMBER, /* uint32_t from min to max */
    COUNT,  /* uint64_t from min to max */
    BYTES,  /* the same, of bytes */
};

typedef struct {
    const char *word;
    int value;
} choice_t;

static const choice_t compressions[] = {{"none", 0}, {"zstd", 1}, {NULL, 0}};
static const choice_t tls_versions[] = {{"1.2", 12}, {"1.3", 13}, {NULL, 0}};

#define AT(field) offsetof(lb_options_t, field)
#define REQUIRED "" /* as preset */

/*
 * Every setting.  From here come what is read, --check's print, --settings and
 * with it the table of docs/flusher.md.
 */
static const struct {
    const char *path;
    int kind;
    size_t at;          /* in lb_options_t */
    uint64_t min;       /* of numbers */
    uint64_t max;       /* of numbers and strings */
    uint64_t number;    /* the default of numbers */
    const char *preset; /* the default of the others, NULL: none, REQUIRED */
    const choice_t *choices;
    const char *without; /* what is so without it, where preset cannot say */
    const char *help;
} settings[] = {
    {"spool", STRING, AT(spool), 0, 0, 0, REQUIRED, NULL, NULL,
     "the directory given to logbroker_spool; a change needs a restart"},
    {"broker", STRING, AT(broker), 0, LB_BROKER_MAX, 0, NULL, NULL, "host name",
     "name of the node in the column `broker`"},
    {"clickhouse.urls", URLS, 0, 1, LB_URLS_MAX, 0, REQUIRED, NULL, NULL,
     "servers that hold the same table, like `http://host:8123`, "
     "`https://host:8443/path` or `http://[::1]:8123`; the next one is used "
     "after a failure. No user, password or query in them"},
    {"clickhouse.database", NAME, AT(database), 0, 0, 0, "logbroker", NULL,
     NULL, "where the table is"},
    {"clickhouse.table", NAME, AT(table), 0, 0, 0, "logs", NULL, NULL,
     "the table that events go into"},
    {"clickhouse.user", HEADER, AT(user), 0, LB_NAME_MAX, 0, NULL, NULL,
     "the server's default user", "who inserts and asks"},
    {"clickhouse.password_file", SECRET, AT(password_file), 0, LB_PASSWORD_MAX,
     0, NULL, NULL, "no password",
     "its first line is the password; read again when the server refuses it, "
     "so a new password needs no reload"},
    {"clickhouse.connect_timeout_ms", NUMBER, AT(connect_timeout_ms), 10,
     600000, 5000, NULL, NULL, NULL,
     "to look up the name, connect and agree on TLS"},
    {"clickhouse.request_timeout_ms", NUMBER, AT(request_timeout_ms), 100,
     3600000, 60000, NULL, NULL, NULL,
     "an INSERT that takes longer has an unknown outcome; a question has 10 s "
     "at most"},
    {"clickhouse.compression", CHOICE, AT(zstd), 0, 0, 0, "none", compressions,
     NULL, "of what is sent; `zstd` at level 1"},
    {"clickhouse.ca_file", FILES, AT(ca_file), 0, 0, 0, NULL, NULL,
     "the system's authorities",
     "with `https`: certificates (PEM) of the authorities that may vouch for "
     "the server"},
    {"clickhouse.client_certificate", FILES, AT(client_certificate), 0, 0, 0,
     NULL, NULL, "none",
     "with `https`: the certificate (PEM) by which the server knows the "
     "flusher; this, its key and `ca_file` may be replaced at any time, "
     "within a minute the new ones are used"},
    {"clickhouse.client_key", FILES, AT(client_key), 0, 0, 0, NULL, NULL,
     "none", "its key (PEM); the same file, if the key is in it"},
    {"clickhouse.tls_minimum", CHOICE, AT(tls_minimum), 0, 0, 0, "1.2",
     tls_versions, NULL, "the lowest version of TLS"},
    {"node.count", NUMBER, AT(node_count), 1, 10000, 1, NULL, NULL, NULL,
     "all brokers that deliver into the same ClickHouse"},
    {"node.index", NUMBER, AT(node_index), 0, 9999, 0, NULL, NULL, NULL,
     "which of them this is; below `node.count`"},
    {"batch.max_rows", COUNT, AT(max_rows), 1, 4000000, 2000000, NULL, NULL,
     NULL,
     "the largest batch; one begins with 500000 and grows to that while there "
     "is a backlog and ClickHouse keeps up. A batch is one block in "
     "ClickHouse's memory, the flusher's own does not depend on it"},
    {"batch.max_bytes", BYTES, AT(max_bytes), 1024, 512u << 20, 256u << 20,
     NULL, NULL, NULL, "the same in bytes of event text, from 64 MiB on"},
    {"backoff.min_ms", NUMBER, AT(backoff_min_ms), 1000, 3600000, 1000, NULL,
     NULL, NULL, "pause after a failure; doubles with each in a row"},
    {"backoff.max_ms", NUMBER, AT(backoff_max_ms), 1000, 3600000, 30000, NULL,
     NULL, NULL, "up to this; not below `backoff.min_ms`"},
    {"shutdown_timeout_ms", NUMBER, AT(shutdown_timeout_ms), 0, 3600000, 10000,
     NULL, NULL, NULL, "how long SIGTERM goes on delivering"},
    {"dead_letters.max_bytes", BYTES, AT(dead_bytes), 1u << 20, 1ull << 40,
     16u << 20, NULL, NULL, NULL,
     "size of the file `dead`, when it is created"},
};

#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

#define FIELD(o, i, type) (*(type *)(void *)((char *)(o) + settings[i].at))
#define VALUE(o, i, type)                                                      \
    (*(const type *)(const void *)((const char *)(o) + settings[i].at))

static int
is_text(size_t i)
{
    return settings[i].kind <= SECRET;
}

/* The last word of a path; *section is as long as what is before its dot, 0. */
static const char *
key_of(const char *path, size_t *section)
{
    const char *dot = strchr(path, '.');

    *section = dot != NULL ? (size_t)(dot - path) : 0;

    return dot != NULL ? dot + 1 : path;
}

/*
 * Reading
 */

/* Every key of an object must be of a setting, or of a section of some. */
static void
known_keys(lb_report_t *r, const char *section, json_t *object)
{
    size_t i, n;
    json_t *value;
    const char *key, *last;

    json_object_foreach(object, key, value)
    {
        for (i = 0; i < SETTINGS; i++) {
            last = key_of(settings[i].path, &n);

            if (n == strlen(section) &&
                memcmp(settings[i].path, section, n) == 0 &&
                strcmp(last, key) == 0) {
                break;
            }

            if (section[0] == '\0' && n > 0 && n == strlen(key) &&
                memcmp(settings[i].path, key, n) == 0) {

                if (json_is_object(value)) {
                    known_keys(r, key, value);
                } else {
                    lb_mistake(r, "%s: must be an object", key);
                }
                break;
            }
        }

        if (i == SETTINGS) {
            lb_mistake(r, "%s%s%s: there is no such setting", section,
                       section[0] != '\0' ? "." : "", key);
        }
    }
}

/* What the file says of a setting, or NULL. */
static json_t *
find(json_t *root, const char *path)
{
    char section[32];
    size_t n;
    const char *key = key_of(path, &n);

    (void)snprintf(section, sizeof(section), "%.*s", (int)n, path);

    return json_object_get(n > 0 ? json_object_get(root, section) : root, key);
}

static void
read_text(lb_report_t *r, size_t i, const json_t *v, lb_options_t *o)
{
    char *text;
    const char *path = settings[i].path, *preset = settings[i].preset;

    if (v == NULL && preset == NULL) {
        return;
    }

    text = v != NULL ? lb_value_string(r, path, v) : strdup(preset);
    if (text == NULL) {
        lb_mistake(r, "%s: no memory", path);
        return;
    }

    FIELD(o, i, char *) = text;

    switch (settings[i].kind) {
    case NAME:
        lb_value_name(r, path, text);
        break;
    case HEADER:
        lb_value_header(r, path, text, settings[i].max);
        break;
    case FILES:
        lb_value_file(r, path, text);
        break;
    case STRING:
        if (settings[i].max != 0 && strlen(text) > settings[i].max) {
            lb_mistake(r, "%s: must be at most %llu bytes", path,
                       (unsigned long long)settings[i].max);
        }
        break;
    default:
        break;
    }
}

static void
read_choice(lb_report_t *r, size_t i, const json_t *v, lb_options_t *o)
{
    char words[64] = "";
    size_t n = 0;
    const char *word = settings[i].preset;
    const choice_t *c;

    if (v != NULL) {
        word = json_is_string(v) ? json_string_value(v) : "";
        if (strlen(word) != json_string_length(v)) {
            word = "";
        }
    }

    for (c = settings[i].choices; c->word != NULL; c++) {
        if (strcmp(word, c->word) == 0) {
            FIELD(o, i, int) = c->value;
            return;
        }
        n += (size_t)snprintf(words + n, sizeof(words) - n, "%s\"%s\"",
                              n > 0 ? " or " : "", c->word);
    }

    lb_mistake(r, "%s: must be %s", settings[i].path, words);
}

static void
read_urls(lb_report_t *r, size_t i, const json_t *urls, lb_options_t *o)
{
    char *url;
    size_t k;
    json_t *v;

    if (!json_is_array(urls) || json_array_size(urls) < settings[i].min ||
        json_array_size(urls) > settings[i].max) {
        lb_mistake(r, "%s: must be an array of %llu to %llu URLs",
                   settings[i].path, (unsigned long long)settings[i].min,
                   (unsigned long long)settings[i].max);
        return;
    }

    json_array_foreach(urls, k, v)
    {
        url = lb_value_url(r, settings[i].path, k, json_string_value(v));
        if (url == NULL) {
            lb_mistake(r, "%s: no memory", settings[i].path);
            return;
        }
        o->urls[o->nurls++] = url;
    }
}

static void
read_setting(lb_report_t *r, size_t i, const json_t *v, lb_options_t *o)
{
    uint64_t n = settings[i].number;

    if (is_text(i)) {
        read_text(r, i, v, o);
        return;
    }

    if (settings[i].kind == CHOICE) {
        read_choice(r, i, v, o);
        return;
    }

    if (settings[i].kind == URLS) {
        read_urls(r, i, v, o);
        return;
    }

    if (v != NULL) {
        n = lb_value_number(r, settings[i].path, v, settings[i].min,
                            settings[i].max);
    }

    if (settings[i].kind == NUMBER) {
        FIELD(o, i, uint32_t) = (uint32_t)n;
    } else {
        FIELD(o, i, uint64_t) = n;
    }
}

/* What is only wrong together, and what is not in the file. */
static void
complete(lb_report_t *r, lb_options_t *o)
{
    char host[HOST_NAME_MAX + 1];

    if (o->node_index >= o->node_count) {
        lb_mistake(r, "node.index: must be below node.count, which is %u",
                   o->node_count);
    }

    if (o->backoff_max_ms < o->backoff_min_ms) {
        lb_mistake(r, "backoff.max_ms: must not be below backoff.min_ms");
    }

    if (o->client_key != NULL && o->client_certificate == NULL) {
        lb_mistake(
            r, "clickhouse.client_key: needs clickhouse.client_certificate");
    }

    if (o->client_certificate != NULL && o->client_key == NULL) {
        lb_mistake(r, "clickhouse.client_certificate: needs "
                      "clickhouse.client_key (the same file, if the key is in "
                      "it)");
    }

    if (o->broker == NULL) {
        if (gethostname(host, sizeof(host)) != 0) {
            (void)snprintf(host, sizeof(host), "broker");
        }
        host[sizeof(host) - 1] = '\0';
        if (strlen(host) > LB_BROKER_MAX) {
            lb_mistake(r, "broker: must be at most %u bytes", LB_BROKER_MAX);
        }
        o->broker = strdup(host);
    }

    if (o->user == NULL) {
        o->user = strdup("");
    }

    if (o->broker == NULL || o->user == NULL) {
        lb_mistake(r, "no memory");
    }

    if (o->password_file != NULL && !r->failed) {
        o->password = lb_options_password(o->password_file, r->text, r->size);
        r->failed = o->password == NULL;
    }
}

static void
read_root(lb_report_t *r, json_t *root, lb_options_t *o)
{
    size_t i;
    json_t *v;

    known_keys(r, "", root);

    for (i = 0; i < SETTINGS; i++) {
        v = find(root, settings[i].path);

        if (v != NULL || settings[i].preset == NULL ||
            strcmp(settings[i].preset, REQUIRED) != 0) {
            read_setting(r, i, v, o);

        } else if (settings[i].kind == STRING) {
            lb_mistake(r, "%s: is missing (%.*s)", settings[i].path,
                       (int)strcspn(settings[i].help, ";"), settings[i].help);

        } else if (json_object_get(root, "clickhouse") == NULL) {
            lb_mistake(r, "clickhouse: is missing");

        } else {
            read_setting(r, i, NULL, o);
        }
    }

    complete(r, o);
}

lb_options_t *
lb_options_load(const char *path, char *text, size_t size)
{
    char *near;
    json_t *root;
    lb_report_t r = {text, size, 0};
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
        lb_one_line(text);
        return NULL;
    }

    o = calloc(1, sizeof(*o));

    if (o == NULL) {
        lb_mistake(&r, "no memory");
    } else if (!json_is_object(root)) {
        lb_mistake(&r, "%s: must hold one object", path);
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
    size_t i;

    if (o == NULL) {
        return;
    }

    for (i = 0; i < SETTINGS; i++) {
        if (is_text(i)) {
            free(FIELD(o, i, char *));
        }
    }

    for (i = 0; i < o->nurls; i++) {
        free(o->urls[i]);
    }

    free(o->password);
    free(o);
}

/*
 * Printing
 */

static json_t *
value_as_json(const lb_options_t *o, size_t i)
{
    uint32_t k;
    json_t *urls;
    const char *text;
    const choice_t *c;

    switch (settings[i].kind) {
    case URLS:
        urls = json_array();
        for (k = 0; k < o->nurls; k++) {
            json_array_append_new(urls, json_string(o->urls[k]));
        }
        return urls;
    case CHOICE:
        c = settings[i].choices;
        while (c->value != VALUE(o, i, int)) {
            c++;
        }
        return json_string(c->word);
    case NUMBER:
        return json_integer((json_int_t)VALUE(o, i, uint32_t));
    case COUNT:
    case BYTES:
        return json_integer((json_int_t)VALUE(o, i, uint64_t));
    default:
        text = VALUE(o, i, char *);
        return text != NULL && text[0] != '\0' ? json_string(text) : NULL;
    }
}

char *
lb_options_dump(const lb_options_t *o)
{
    char *text, name[32];
    size_t i, n;
    json_t *root = json_object(), *section, *value;
    const char *key;

    for (i = 0; i < SETTINGS; i++) {
        value = value_as_json(o, i);
        if (value == NULL) {
            continue;
        }

        key = key_of(settings[i].path, &n);
        section = root;

        if (n > 0) {
            (void)snprintf(name, sizeof(name), "%.*s", (int)n,
                           settings[i].path);
            section = json_object_get(root, name);
            if (section == NULL) {
                section = json_object();
                json_object_set_new(root, name, section);
            }
        }

        json_object_set_new(section, key, value);
    }

    text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);

    return text;
}

/* "16 MiB", if it is as round as that. */
static void
print_bytes(FILE *f, uint64_t n)
{
    size_t unit = 0;

    static const char *const units[] = {"", " KiB", " MiB", " GiB", " TiB"};

    while (unit < 4 && n >= 1024 && n % 1024 == 0) {
        n /= 1024;
        unit++;
    }

    fprintf(f, "%llu%s", (unsigned long long)n, units[unit]);
}

static void
print_number(FILE *f, size_t i, uint64_t n)
{
    if (settings[i].kind == BYTES) {
        print_bytes(f, n);
    } else {
        fprintf(f, "%llu", (unsigned long long)n);
    }
}

static void
print_default(FILE *f, size_t i)
{
    const char *preset = settings[i].preset;

    if (settings[i].kind >= NUMBER) {
        print_number(f, i, settings[i].number);
    } else if (preset == NULL) {
        fputs(settings[i].without, f);
    } else if (strcmp(preset, REQUIRED) == 0) {
        fputs("required", f);
    } else {
        fprintf(f, "`%s`", preset);
    }
}

static void
print_allowed(FILE *f, size_t i)
{
    const choice_t *c = settings[i].choices;

    switch (settings[i].kind) {
    case STRING:
        if (settings[i].max == 0) {
            fputs("a path", f);
            break;
        }
        /* fall through */
    case HEADER:
        fprintf(f, "at most %llu bytes", (unsigned long long)settings[i].max);
        break;
    case SECRET:
        fprintf(f, "a file; at most %llu bytes of it",
                (unsigned long long)settings[i].max);
        break;
    case FILES:
        fputs("a file", f);
        break;
    case NAME:
        fprintf(f, "at most %u letters, digits, `_`", LB_TABLE_MAX / 2 - 1);
        break;
    case URLS:
        fprintf(f, "%llu to %llu", (unsigned long long)settings[i].min,
                (unsigned long long)settings[i].max);
        break;
    case CHOICE:
        for (; c->word != NULL; c++) {
            fprintf(f, "`%s`%s", c->word, c[1].word != NULL ? ", " : "");
        }
        break;
    default:
        print_number(f, i, settings[i].min);
        fputs(" to ", f);
        print_number(f, i, settings[i].max);
        break;
    }
}

void
lb_options_print(FILE *f)
{
    size_t i;

    fputs("| setting | default | may be | |\n|---|---|---|---|\n", f);

    for (i = 0; i < SETTINGS; i++) {
        fprintf(f, "| `%s` | ", settings[i].path);
        print_default(f, i);
        fputs(" | ", f);
        print_allowed(f, i);
        fprintf(f, " | %s |\n", settings[i].help);
    }
}
