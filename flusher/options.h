/*
 * The flusher's settings: one JSON file, every mistake named with its path.
 * options.c has the table of them.
 */

#ifndef _LB_OPTIONS_H_INCLUDED_
#define _LB_OPTIONS_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define LB_URLS_MAX 16
#define LB_URL_MAX 512
#define LB_NAME_MAX 256
#define LB_PASSWORD_MAX 1024

typedef struct {
    char *spool;
    char *broker;

    char *urls[LB_URLS_MAX]; /* scheme://host[:port][/path], no / at the end */
    uint32_t nurls;
    char *database;
    char *table;
    char *user;          /* "" for the server's default user */
    char *password_file; /* NULL: none */
    char *password;      /* what is in it, without the newline */
    uint32_t connect_timeout_ms;
    uint32_t request_timeout_ms;
    int zstd;
    char *ca_file;            /* NULL: the system's authorities */
    char *client_certificate; /* NULL: none */
    char *client_key;         /* set if the certificate is */
    int tls_minimum;          /* 12 or 13 */

    uint32_t node_index;
    uint32_t node_count;

    uint64_t max_rows;
    uint64_t max_bytes;

    uint32_t backoff_min_ms;
    uint32_t backoff_max_ms;
    uint32_t shutdown_timeout_ms;
    uint64_t dead_bytes;
} lb_options_t;

/* Reads and checks a file.  NULL on a mistake, which is then in text. */
lb_options_t *lb_options_load(const char *path, char *text, size_t size);
void lb_options_free(lb_options_t *o);

/* The password in a file, for the caller to free.  NULL, with the reason in
 * text. */
char *lb_options_password(const char *path, char *text, size_t size);

/* The settings as JSON, defaults filled in, secrets left out; the caller
 * frees it. */
char *lb_options_dump(const lb_options_t *o);

/* All settings as a table in Markdown: that of docs/flusher.md. */
void lb_options_print(FILE *f);

#endif /* _LB_OPTIONS_H_INCLUDED_ */
