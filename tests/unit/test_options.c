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
    assert_int_equal(o->max_rows, 500000);
    assert_int_equal(o->max_bytes, 64 << 20);
    assert_int_equal(o->node_count, 1);
    assert_true(strlen(o->broker) > 0);
    assert_false(o->zstd);
    lb_options_free(o);
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
