/*
 * Settings: defaults, and every mistake named with its path.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "flusher/options.h"

static char dir[256], words[512];

static void
write_file(const char *name, const char *text, char *path, size_t size)
{
    FILE *f;

    (void)snprintf(path, size, "%.200s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static lb_options_t *
load(const char *json)
{
    char path[300];

    write_file("flusher.json", json, path, sizeof(path));
    words[0] = '\0';

    return lb_options_load(path, words, sizeof(words));
}

#define MINIMAL "\"spool\": \"/s\", \"clickhouse\": {\"urls\": [\"http://h\"]}"

/* with more settings of ClickHouse */
#define CLICKHOUSE(more)                                                       \
    "{\"spool\": \"/s\", \"clickhouse\": {\"urls\": [\"http://h\"], " more "}" \
    "}"

static void
defaults(void **state)
{
    lb_options_t *o = load("{" MINIMAL "}");

    (void)state;

    if (o == NULL) {
        fail_msg("%s", words);
    }

    assert_string_equal(o->spool, "/s");
    assert_string_equal(o->database, "logbroker");
    assert_string_equal(o->table, "logs");
    assert_int_equal(o->nurls, 1);
    assert_int_equal(o->max_rows, 2000000);
    assert_int_equal(o->max_bytes, 256 << 20);
    assert_int_equal(o->node_count, 1);
    assert_true(strlen(o->broker) > 0);
    assert_false(o->zstd);
    assert_null(o->ca_file);
    assert_int_equal(o->tls_minimum, 12);
    lb_options_free(o);
}

/* What may be in a URL, and as what it is kept. */
static void
urls(void **state)
{
    size_t i;
    char json[2048];
    lb_options_t *o;
    static const struct {
        const char *url;
        const char *kept; /* or, without "://", what is said */
    } cases[] = {
        {"http://h", "http://h"},
        {"http://h:8123/", "http://h:8123"},
        {"HTTPS://Click-House_1.example.org:8443//",
         "https://Click-House_1.example.org:8443"},
        {"http://h/click/house/", "http://h/click/house"},
        {"http://10.0.0.1:8123", "http://10.0.0.1:8123"},
        {"http://[::1]:8123/", "http://[::1]:8123"},
        {"http://[2001:db8::7]", "http://[2001:db8::7]"},
        {"http://[fe80::1%25eth0]:8123/x", "http://[fe80::1%25eth0]:8123/x"},
        {"", "must be like"},
        {"h:8123", "must be like"},
        {"ftp://h", "must be like"},
        {"http:/h", "must be like"},
        {"http://", "must be like"},
        {"http:///x", "must be like"},
        {"http://?x", "must be like"},
        {"http://sesame:sesame@h:8123", "must not hold a user or password"},
        {"https://sesame@h", "must not hold a user or password"},
        {"http://sesame:a@sesame@h/", "must not hold a user or password"},
        {"http://a:se/same@h", "port must be a number"},
        {"http://h/?user=default&password=sesame", "must not hold a query"},
        {"http://h#sesame", "must not hold a query (?) or fragment"},
        {"http://h:8123?", "must not hold a query"},
        {"http://h:", "port must be a number"},
        {"http://h:0", "port must be a number"},
        {"http://h:65536", "port must be a number"},
        {"http://h:81x", "port must be a number"},
        {"http://h:+81", "port must be a number"},
        {"http://:8123", "host must be a name"},
        {"http://[::1", "host must be a name"},
        {"http://[::1]8123", "host must be a name"},
        {"http://[sesame]:1", "host must be a name"},
        {"http://[]", "host must be a name"},
        {"http://::1:8123", "host must be a name"},
        {"http://a b", "must not hold blanks"},
        {"http://h/a b", "must not hold blanks"},
        {"http://h/\\n", "must not hold blanks"},
        {"http://h\\u00e4user", "must not hold blanks"},
        {"http://h%41", "host must be a name"},
    };

    (void)state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void)snprintf(json, sizeof(json),
                       "{\"spool\": \"/s\", \"clickhouse\": {\"urls\": "
                       "[\"http://first\", \"%s\"]}}",
                       cases[i].url);
        o = load(json);

        if (strstr(cases[i].kept, "://") != NULL) {
            if (o == NULL || strcmp(o->urls[1], cases[i].kept) != 0) {
                fail_msg("%s gave: %s", cases[i].url,
                         o != NULL ? o->urls[1] : words);
            }
        } else if (o != NULL || strstr(words, cases[i].kept) == NULL ||
                   strncmp(words, "clickhouse.urls[1]: ", 20) != 0 ||
                   strstr(words, "sesame") != NULL) {
            fail_msg("%s gave: %s", cases[i].url, words);
        }

        lb_options_free(o);
    }

    /* nor where the file is not JSON */
    assert_null(load("{\"clickhouse\": {\"urls\": [\"http://a\" "
                     "\"http://u:sesame@h\"]}}"));
    assert_non_null(strstr(words, "flusher.json:1:"));
    assert_null(strstr(words, "sesame"));
}

static void
mistakes_are_named(void **state)
{
    size_t i;
    static const struct {
        const char *json;
        const char *words;
    } cases[] = {
        {"", "flusher.json:1"},
        {"{", "flusher.json:1"},
        {"[]", "must hold one object"},
        {"{}", "spool: is missing"},
        {"{\"spool\": \"/s\"}", "clickhouse: is missing"},
        {"{\"spool\": 5}", "spool: must be a string"},
        {"{\"spool\": \"\"}", "spool: must be a string"},
        {"{\"spool\": \"/s\", \"clickhouse\": 1}", "clickhouse: must be"},
        {"{\"spool\": \"/s\", \"clickhouse\": {}}", "clickhouse.urls"},
        {"{\"spool\": \"/s\", \"clickhouse\": {\"urls\": []}}",
         "clickhouse.urls"},
        {"{\"spool\": \"/s\", \"clickhouse\": {\"urls\": [\"h:8123\"]}}",
         "clickhouse.urls[0]"},
        {"{\"spool\": \"/s\", \"clickhouse\": {\"urls\": [\"http://h\", 3]}}",
         "clickhouse.urls[1]"},
        {"{" MINIMAL ", \"colour\": 1}", "colour: there is no such setting"},
        {"{" MINIMAL ", \"node\": {\"idx\": 1}}",
         "node.idx: there is no such setting"},
        {"{" MINIMAL ", \"node\": {\"index\": 2, \"count\": 2}}",
         "node.index: must be below node.count, which is 2"},
        {"{" MINIMAL ", \"node\": {\"count\": 0}}",
         "node.count: must be a whole number from 1"},
        {"{" MINIMAL ", \"batch\": {\"max_rows\": \"many\"}}",
         "batch.max_rows: must be a whole number"},
        {"{" MINIMAL ", \"batch\": {\"max_rows\": 4000001}}",
         "batch.max_rows: must be a whole number"},
        {"{" MINIMAL ", \"backoff\": {\"min_ms\": 2000, \"max_ms\": 1500}}",
         "backoff.max_ms: must not be below"},
        {"{" MINIMAL ", \"spool\": \"/t\"}", "duplicate"},
        {"{\"spool\": \"/s\", \"clickhouse\": {\"urls\": [\"http://h\"], "
         "\"table\": \"a`b\"}}",
         "clickhouse.table: must be"},
        {"{\"spool\": \"/s\", \"clickhouse\": {\"urls\": [\"http://h\"], "
         "\"compression\": \"lzma\"}}",
         "clickhouse.compression: must be"},
        {"{\"spool\": \"/s\", \"clickhouse\": {\"urls\": [\"http://h\"], "
         "\"password_file\": \"/nowhere/at/all\"}}",
         "clickhouse.password_file: cannot open"},
        {CLICKHOUSE("\"ca_file\": \"/nowhere/ca.pem\""),
         "clickhouse.ca_file: cannot open \"/nowhere/ca.pem\""},
        {CLICKHOUSE("\"ca_file\": \"/\""), "\"/\" is not a file"},
        {CLICKHOUSE("\"ca_file\": \"/dev/null\""), "is not a file"},
        {CLICKHOUSE("\"client_certificate\": \"/nowhere/c.pem\", "
                    "\"client_key\": \"/nowhere/k.pem\""),
         "clickhouse.client_certificate: cannot open"},
        {CLICKHOUSE("\"client_certificate\": \"/proc/version\""),
         "clickhouse.client_certificate: \"/proc/version\" is empty"},
        {CLICKHOUSE("\"tls_minimum\": \"1.1\""),
         "clickhouse.tls_minimum: must be \"1.2\" or \"1.3\""},
        {CLICKHOUSE("\"tls_minimum\": 1.2"), "clickhouse.tls_minimum"},
        {CLICKHOUSE("\"user\": \"a\\nX-Other: b\""),
         "clickhouse.user: must not hold control characters"},
    };

    (void)state;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_null(load(cases[i].json));
        if (strstr(words, cases[i].words) == NULL) {
            fail_msg("%s\n gave: %s\n not: %s", cases[i].json, words,
                     cases[i].words);
        }
    }

    assert_null(lb_options_load("/nowhere/at/all", words, sizeof(words)));
    assert_non_null(strstr(words, "/nowhere/at/all"));
}

static void
secrets_stay_inside(void **state)
{
    char path[300], json[1024], *dump;
    lb_options_t *o;
    static char big[2000];

    (void)state;

    write_file("password", "s3cret word\r\nsecond line\n", path, sizeof(path));
    (void)snprintf(json, sizeof(json),
                   "{\"spool\": \"/s\", \"clickhouse\": {\"urls\": "
                   "[\"http://h\"], \"password_file\": \"%s\"}}",
                   path);
    o = load(json);
    assert_non_null(o);
    assert_string_equal(o->password, "s3cret word");

    dump = lb_options_dump(o);
    assert_non_null(dump);
    assert_null(strstr(dump, "s3cret"));
    assert_non_null(strstr(dump, path));

    /* what is printed can be read again */
    lb_options_free(o);
    o = load(dump);
    assert_non_null(o);
    lb_options_free(o);
    free(dump);

    write_file("password", "\n", path, sizeof(path));
    assert_null(load(json));
    assert_non_null(strstr(words, "is empty"));

    write_file("password", "s3cret\tword\n", path, sizeof(path));
    assert_null(load(json));
    assert_non_null(strstr(words, "must not hold control characters"));
    assert_null(strstr(words, "s3cret"));

    memset(big, 'x', sizeof(big) - 1);
    write_file("password", big, path, sizeof(path));
    assert_null(load(json));
    assert_non_null(strstr(words, "must be at most 1024 bytes"));
}

static void
tls(void **state)
{
    char path[300], json[2048], *dump;
    lb_options_t *o;

    (void)state;

    write_file("both.pem", "x", path, sizeof(path));
    (void)snprintf(json, sizeof(json),
                   "{\"spool\": \"/s\", \"clickhouse\": {\"urls\": "
                   "[\"https://h\"], \"ca_file\": \"%s\", "
                   "\"client_certificate\": \"%s\", \"client_key\": \"%s\", "
                   "\"tls_minimum\": \"1.3\"}}",
                   path, path, path);
    o = load(json);
    if (o == NULL) {
        fail_msg("%s", words);
    }
    assert_string_equal(o->ca_file, path);
    assert_string_equal(o->client_certificate, path);
    assert_string_equal(o->client_key, path);
    assert_int_equal(o->tls_minimum, 13);

    /* what is printed can be read again */
    dump = lb_options_dump(o);
    lb_options_free(o);
    o = load(dump);
    free(dump);
    if (o == NULL) {
        fail_msg("%s", words);
    }
    assert_string_equal(o->client_key, path);
    assert_int_equal(o->tls_minimum, 13);
    lb_options_free(o);

    /* one of the two */
    (void)snprintf(json, sizeof(json), CLICKHOUSE("\"client_key\": \"%s\""),
                   path);
    assert_null(load(json));
    assert_non_null(strstr(words, "client_key: needs"));
    (void)snprintf(json, sizeof(json),
                   CLICKHOUSE("\"client_certificate\": \"%s\""), path);
    assert_null(load(json));
    assert_non_null(strstr(words, "client_certificate: needs"));
}

/* 1 if a file with this number is taken. */
static int
takes(const char *path, unsigned long long n)
{
    char section[32], *text;
    size_t len = strcspn(path, ".");
    json_t *root = json_loads("{" MINIMAL ", \"node\": {\"count\": 10000}, "
                              "\"backoff\": {\"max_ms\": 3600000}}",
                              0, NULL);
    json_t *in = root, *sub;
    lb_options_t *o;

    if (path[len] == '.') {
        (void)snprintf(section, sizeof(section), "%.*s", (int)len, path);
        sub = json_object_get(root, section);
        if (sub == NULL) {
            sub = json_object();
            json_object_set_new(root, section, sub);
        }
        in = sub;
        len++;
    } else {
        len = 0;
    }

    json_object_set_new(in, path + len, json_integer((json_int_t)n));
    if (strcmp(path, "backoff.max_ms") == 0) {
        json_object_set_new(in, "min_ms", json_integer(1000));
    } else if (strcmp(path, "node.count") == 0) {
        json_object_set_new(in, "index", json_integer(0));
    }

    text = json_dumps(root, 0);
    json_decref(root);
    o = load(text);

    if (o == NULL && strncmp(words, path, strlen(path)) != 0) {
        fail_msg("%s gave: %s", text, words);
    }

    free(text);
    lb_options_free(o);

    return o != NULL;
}

/* What the printed table says is what is read: of each number the least and the
 * greatest are taken and those beyond are not, and every default can be seen in
 * what is printed for a file without it. */
static void
the_table_is_true(void **state)
{
    char path[64], word[64], key[80], *table, *line, *next, *dump;
    size_t size, numbers = 0, rows = 0;
    unsigned long long min, max, def;
    FILE *f = open_memstream(&table, &size);
    lb_options_t *o = load("{" MINIMAL "}");

    (void)state;

    assert_non_null(f);
    assert_non_null(o);
    dump = lb_options_dump(o);
    lb_options_free(o);
    lb_options_print(f);
    fclose(f);

    for (line = strtok_r(table, "\n", &next); line != NULL;
         line = strtok_r(NULL, "\n", &next)) {

        rows++;

        if (sscanf(line, "| `%63[^`]` | %llu | %llu to %llu |", path, &def,
                   &min, &max) == 4) {
            numbers++;
            assert_true(takes(path, min) && takes(path, max));
            assert_false(takes(path, max + 1));
            assert_true(min == 0 || !takes(path, min - 1));
            (void)snprintf(key, sizeof(key), "\"%s\": %llu",
                           strchr(path, '.') ? strchr(path, '.') + 1 : path,
                           def);
            assert_non_null(strstr(dump, key));

        } else if (sscanf(line, "| `%63[^`]` | `%63[^`]`", path, word) == 2) {
            (void)snprintf(key, sizeof(key), "\"%s\": \"%s\"",
                           strchr(path, '.') + 1, word);
            assert_non_null(strstr(dump, key));
        }
    }

    assert_int_equal(rows, 24);
    assert_int_equal(numbers, 8);
    free(table);
    free(dump);
}

int
main(void)
{
    int rc;
    char line[300];
    const char *tmp = getenv("TMPDIR");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(secrets_stay_inside),
        cmocka_unit_test(urls),
        cmocka_unit_test(tls),
        cmocka_unit_test(the_table_is_true),
    };

    (void)snprintf(dir, sizeof(dir), "%.200s/lb-options-XXXXXX",
                   tmp != NULL ? tmp : P_tmpdir);
    if (mkdtemp(dir) == NULL) {
        return 1;
    }

    rc = cmocka_run_group_tests(tests, NULL, NULL);
    (void)snprintf(line, sizeof(line), "rm -rf '%s'", dir);

    return system(line) == 0 ? rc : 1;
}
